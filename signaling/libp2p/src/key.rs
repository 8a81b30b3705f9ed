//! The node's key: new at every start, or kept in a file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use blink_api::{Error, ErrorKind, Result};
use libp2p::identity::Keypair;

use crate::NAME;

/// The key in a file, which is made where there is none; without a path, a new key.
pub(crate) fn load(path: Option<&Path>) -> Result<Keypair> {
    let Some(path) = path else { return Ok(Keypair::generate_ed25519()) };
    match fs::read(path) {
        Ok(bytes) => Keypair::from_protobuf_encoding(&bytes)
            .map_err(|source| at(Error::new(ErrorKind::Invalid, "the file holds no node key"), path).source(source)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path),
        Err(error) => Err(at(error.into(), path)),
    }
}

fn create(path: &Path) -> Result<Keypair> {
    let key = Keypair::generate_ed25519();
    let bytes = key.to_protobuf_encoding().expect("an Ed25519 key has an encoding");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = options.open(path).and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
    write.map_err(|error| at(error.into(), path))?;
    Ok(key)
}

fn at(error: Error, path: &Path) -> Error {
    error.backend(NAME).with("key", "signalings.libp2p.node_key").with("file", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        let first = load(Some(&path)).unwrap().public();
        assert_eq!(load(Some(&path)).unwrap().public(), first);
        assert_ne!(load(None).unwrap().public(), first);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        fs::write(&path, b"not a key").unwrap();
        let error = load(Some(&path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("node.key"), "{error}");
    }
}
