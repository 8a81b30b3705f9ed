//! Files and directories that only their owner reads: keys, data directories, recordings.
//!
//! On Unix a file has its permissions from its first moment: one that is created by the process's
//! umask and narrowed later can be opened in between, and that descriptor reads the file for as
//! long as it is kept. Other systems keep what is a user's own in directories that others cannot
//! read.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a file with secrets for reading and writing; creates it with the permissions 0600 where
/// there is none.
///
/// One with wider permissions is narrowed to 0600. A symbolic link is not followed: it could make
/// another file the one that secrets are written to.
///
/// # Errors
/// The system's error; [`InvalidInput`](io::ErrorKind::InvalidInput) for a symbolic link and for
/// what is no regular file.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    open_secret(OpenOptions::new().read(true).write(true).create(true).truncate(false), path)
}

/// As [`open_or_create`], for a file that is to be new.
///
/// # Errors
/// As [`open_or_create`], and [`AlreadyExists`](io::ErrorKind::AlreadyExists).
pub fn create_new(path: &Path) -> io::Result<File> {
    open_secret(OpenOptions::new().read(true).write(true).create_new(true), path)
}

/// As [`open_or_create`], for reading a file that exists.
///
/// # Errors
/// As [`open_or_create`], and [`NotFound`](io::ErrorKind::NotFound).
pub fn open(path: &Path) -> io::Result<File> {
    open_secret(OpenOptions::new().read(true), path)
}

/// Creates a file for a recording, a report or a log, with the permissions 0600; one that exists is
/// emptied and narrowed.
///
/// A symbolic link is followed and a device is written to: it is a place that the user named.
///
/// # Errors
/// The system's error; [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a file of another
/// user.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Emptied only once it is known to be this user's.
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    unix::narrow_recording(&file)?;
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

/// As [`create`], with all of its content.
///
/// # Errors
/// As [`create`], and those of writing.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    io::Write::write_all(&mut create(path)?, content.as_ref())
}

/// Creates a directory and those above it, where they do not exist, with the permissions 0700.
///
/// One that exists keeps its permissions: it may be the home directory. What is made in it by this
/// module is closed to others all the same.
///
/// # Errors
/// The system's error; [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a directory in
/// which every user may replace files.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    #[cfg(unix)]
    unix::check_directory(&std::fs::metadata(path)?)?;
    Ok(())
}

/// Whether a user other than this one and root may change a file. `false` on systems without Unix
/// permissions.
///
/// A group may where it is this user's own primary one, which on most systems has no other members.
pub fn others_can_write(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    return unix::others_can_write(metadata);
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

fn open_secret(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    return unix::open_secret(options, path);
    #[cfg(not(unix))]
    options.open(path)
}

#[cfg(unix)]
mod unix {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};

    use rustix::fs::OFlags;
    use rustix::process::{getegid, geteuid};

    use super::*;

    const OTHERS: u32 = 0o077;
    const GROUP_WRITES: u32 = 0o020;
    const ALL_WRITE: u32 = 0o002;
    /// Only the owner of a file in such a directory may replace it, as in `/tmp`.
    const STICKY: u32 = 0o1000;

    pub(super) fn open_secret(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        // Without NONBLOCK opening a pipe waits for its other end.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).expect("flags of open(2) are an int");
        let invalid = |why: &'static str| io::Error::new(io::ErrorKind::InvalidInput, why);
        let file = options.mode(0o600).custom_flags(flags).open(path).map_err(|error| match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                invalid("this is a symbolic link, which is not followed to a file with secrets")
            }
            _ => error,
        })?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(invalid("this is no regular file"));
        }
        if metadata.mode() & OTHERS != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }

    pub(super) fn narrow_recording(file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.mode() & OTHERS == 0 {
            return Ok(());
        }
        match file.set_permissions(Permissions::from_mode(0o600)) {
            // There are file systems without permissions; the file of another user stays readable
            // for that user.
            Err(error) if metadata.uid() != geteuid().as_raw() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn check_directory(metadata: &Metadata) -> io::Result<()> {
        if metadata.mode() & ALL_WRITE != 0 && metadata.mode() & STICKY == 0 {
            let why = "every user of this system may replace files in this directory; `chmod o-w` mends that, or name a directory in it";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(())
    }

    pub(super) fn others_can_write(metadata: &Metadata) -> bool {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let of_another = metadata.uid() != uid && metadata.uid() != 0;
        let mode = metadata.mode();
        of_another || mode & ALL_WRITE != 0 || (mode & GROUP_WRITES != 0 && metadata.gid() != gid)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A directory of the system's for temporary files, gone at the end.
    struct Directory(std::path::PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("blink-private-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn join(&self, name: &str) -> std::path::PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn files_with_secrets_are_closed_to_others_and_no_links() {
        let directory = Directory::new("secret");
        let (new, wide, link, pipe) =
            (directory.join("new"), directory.join("wide"), directory.join("link"), directory.join("pipe"));
        drop(open_or_create(&new).unwrap());
        assert_eq!(mode(&new), 0o600);
        assert_eq!(create_new(&new).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::write(&wide, "kept").unwrap();
        for open in [open_or_create, open] {
            set_mode(&wide, 0o644);
            drop(open(&wide).unwrap());
            assert_eq!(mode(&wide), 0o600);
        }
        assert_eq!(std::fs::read(&wide).unwrap(), b"kept");
        symlink(&wide, &link).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [&link, &pipe, &directory.0] {
            for open in [open_or_create, open] {
                open(path).expect_err("no regular file");
            }
        }
        assert!(open(&link).unwrap_err().to_string().contains("symbolic link"));
        assert_eq!(create_new(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn recordings_are_closed_to_others_and_go_where_the_user_says() {
        let directory = Directory::new("recording");
        let (new, wide, link) = (directory.join("new"), directory.join("wide"), directory.join("link"));
        write(&new, "a").unwrap();
        assert_eq!(mode(&new), 0o600);
        std::fs::write(&wide, "older and longer").unwrap();
        set_mode(&wide, 0o666);
        symlink(&wide, &link).unwrap();
        write(&link, "b").unwrap();
        assert_eq!((mode(&wide), &*std::fs::read(&wide).unwrap()), (0o600, &b"b"[..]));
        write(Path::new("/dev/null"), "c").unwrap();
    }

    #[test]
    fn directories_are_closed_to_others_where_they_are_made_here() {
        let directory = Directory::new("directory");
        let below = directory.join("a/b");
        create_directory(&below).unwrap();
        assert_eq!((mode(&below), mode(&directory.join("a"))), (0o700, 0o700));
        set_mode(&below, 0o755);
        create_directory(&below).unwrap();
        assert_eq!(mode(&below), 0o755, "one that exists is left as it is");
        set_mode(&below, 0o777);
        assert_eq!(create_directory(&below).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        set_mode(&below, 0o1777);
        create_directory(&below).unwrap();
        assert_eq!(
            create_directory(&{
                let file = directory.join("file");
                std::fs::write(&file, "").unwrap();
                file
            })
            .unwrap_err()
            .kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn files_that_others_can_write_are_known() {
        let directory = Directory::new("writable");
        let file = directory.join("blink.toml");
        std::fs::write(&file, "").unwrap();
        for (permissions, expected) in [(0o600, false), (0o644, false), (0o664, false), (0o646, true), (0o666, true)] {
            set_mode(&file, permissions);
            assert_eq!(others_can_write(&std::fs::metadata(&file).unwrap()), expected, "{permissions:o}");
        }
    }
}
