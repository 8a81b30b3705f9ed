//! Storage of a node's key in a file that only its owner can read.

use std::io::{self, Read, Write};
use std::path::Path;

use blink_api::{Error, Result, private};

/// Upper bound for the size of a key file, in bytes.
const LARGEST: u64 = 4096;

/// Reads a key file, or creates it from `new_key` if it does not exist.
///
/// Access is restricted to the owner ([`private`]), also for an existing file.
///
/// # Errors
/// The file system's error, with the path.
pub fn load(path: &Path, new_key: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>> {
    let loaded = match private::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path, new_key()),
        opened => opened.and_then(read),
    };
    loaded.map_err(|error| Error::from(error).with("file", path.display()))
}

fn read(file: std::fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn create(path: &Path, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut file = private::create_new(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use blink_api::ErrorKind;

    use super::*;

    #[test]
    fn a_key_file_is_created_once_and_then_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        assert_eq!(load(&path, || vec![1, 2]).unwrap(), [1, 2]);
        assert_eq!(load(&path, || unreachable!("it exists")).unwrap(), [1, 2]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(), 0o600, "only the owner can read it");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            load(&path, || unreachable!("it exists")).unwrap();
            assert_eq!(mode(), 0o600, "the mode of an existing file is tightened");
        }
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("node.key"), directory.path().join("elsewhere"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let error = load(&link, || vec![1]).unwrap_err();
        assert!(error.to_string().contains("node.key") && !target.exists(), "{error}");
        std::fs::write(&target, "key").unwrap();
        assert!(load(&link, || vec![1]).unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn a_missing_directory_is_named_in_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = load(&directory.path().join("nowhere/node.key"), || vec![1]).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::Unexpected);
        assert!(error.to_string().contains("nowhere/node.key"), "{error}");
    }
}
