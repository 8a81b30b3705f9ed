//! The node's key: new per start, or stored in a file.

use std::path::Path;

use blink_api::{Error, ErrorKind, Result};
use blink_signaling_kit::key_file;
use libp2p::identity::Keypair;

use crate::NAME;

/// Loads the key from a file, created if missing; without a path, generates a new key.
pub(crate) fn load(path: Option<&Path>) -> Result<Keypair> {
    let Some(path) = path else { return Ok(Keypair::generate_ed25519()) };
    load_file(path).map_err(|error| error.with("key", "signalings.libp2p.node_key"))
}

/// Loads the key from a file that only its owner can read, created if missing.
///
/// # Errors
/// The file system's error, or [`Invalid`](ErrorKind::Invalid) if the file contains no key; each
/// with the path.
pub fn load_file(path: &Path) -> Result<Keypair> {
    let new_key = || Keypair::generate_ed25519().to_protobuf_encoding().expect("an Ed25519 key has an encoding");
    let bytes = key_file::load(path, new_key).map_err(|error| error.backend(NAME))?;
    Keypair::from_protobuf_encoding(&bytes).map_err(|source| {
        let error = Error::new(ErrorKind::Invalid, "the file contains no node key").with("file", path.display());
        error.backend(NAME).source(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_in_a_file_survives_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        let first = load(Some(&path)).unwrap().public();
        assert_eq!(load(Some(&path)).unwrap().public(), first);
        assert_ne!(load(None).unwrap().public(), first);
    }

    #[test]
    fn a_file_without_a_key_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        std::fs::write(&path, b"not a key").unwrap();
        let error = load(Some(&path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("node.key"), "{error}");
    }
}
