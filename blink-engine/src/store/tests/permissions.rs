//! The secret key is read by its owner only, from the file's first moment.
#![cfg(unix)]

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_new_directory_and_its_file_are_closed_to_others() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("new/blink");
    let _store = Store::open(&directory).unwrap();
    assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
}

/// A descriptor that is opened between the making of a file and its narrowing reads the key later.
#[cfg(target_os = "linux")]
#[test]
fn the_file_is_never_wider_than_for_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(FILE);
    let done = Arc::new(AtomicBool::new(false));
    let watching = std::thread::spawn({
        let (file, done) = (file.clone(), done.clone());
        move || {
            let mut widest = 0;
            while !done.load(Ordering::Relaxed) {
                if let Ok(metadata) = std::fs::metadata(&file) {
                    widest |= metadata.permissions().mode() & 0o077;
                }
            }
            widest
        }
    });
    for _ in 0..50 {
        drop(Store::open(directory.path()).unwrap());
        std::fs::remove_file(&file).unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert_eq!(watching.join().unwrap(), 0);
}

#[test]
fn a_file_that_others_could_read_is_closed_to_them() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(FILE);
    drop(Store::open(directory.path()).unwrap());
    set_mode(&file, 0o644);
    drop(Store::open(directory.path()).unwrap());
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn a_link_and_a_directory_that_is_open_to_all_are_refused() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(other.path().join("taken"), directory.path().join(FILE)).unwrap();
    let refused = Store::open(directory.path()).err().unwrap().to_string();
    assert!(refused.contains("symbolic link") && !other.path().join("taken").exists(), "{refused}");
    set_mode(other.path(), 0o777);
    let refused = Store::open(other.path()).err().unwrap().to_string();
    assert!(refused.contains("chmod o-w") && !other.path().join(FILE).exists(), "{refused}");
}
