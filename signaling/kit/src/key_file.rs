//! The file with a node's key, made at the first start and readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use blink_api::{Error, Result};

/// The bytes of a key file. Where there is none it is made with the bytes of a new key.
///
/// # Errors
/// What the file system says, with the file.
pub fn load(path: &Path, new_key: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>> {
    let loaded = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path, new_key()),
        read => read,
    };
    loaded.map_err(|error| Error::from(error).with("file", path.display()))
}

fn create(path: &Path, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use blink_api::ErrorKind;

    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.key");
        assert_eq!(load(&path, || vec![1, 2]).unwrap(), [1, 2]);
        assert_eq!(load(&path, || unreachable!("it exists")).unwrap(), [1, 2]);
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o077, 0, "nobody else reads it");
        }
    }

    #[test]
    fn a_directory_that_does_not_exist_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = load(&directory.path().join("nowhere/node.key"), || vec![1]).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::Unexpected);
        assert!(error.to_string().contains("nowhere/node.key"), "{error}");
    }
}
