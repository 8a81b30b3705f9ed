//! Checks of this machine: sound, clock, files.

use std::path::Path;
use std::time::{Duration, SystemTime};

use blink_api::{Configuration, DeviceDirection, ErrorKind, MediaHost, TrackKind};
use blink_engine::DataDirectory;

use super::{Check, Status};
use crate::contacts::Contacts;
use crate::files;
use crate::invite::unix_seconds;

/// Unix seconds of 2025-01-01, before this program was made.
const EARLIEST: u64 = 1_735_689_600;
/// Unix seconds of 2100-01-01.
const LATEST: u64 = 4_102_444_800;
/// Age in the future that a file may seem to have.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// Microphones and speakers, as `blink devices` finds them.
pub(super) async fn sound(configuration: &Configuration) -> Vec<Check> {
    let check = |status, found: String| Check::new("sound", status, found);
    let hosts = match configuration.chosen_all::<dyn MediaHost>() {
        Ok(hosts) => hosts,
        Err(error) => return vec![check(Status::Problem, error.to_string())],
    };
    let mut checks = Vec::new();
    for entry in hosts.into_iter().filter(|entry| entry.capabilities.hardware_clock) {
        let devices = match entry.create(configuration, &files::context(configuration)).await {
            Ok(host) => host.devices().await,
            Err(error) => Err(error),
        };
        checks.push(match devices {
            Err(error) => check(Status::Problem, format!("{}: {error}", entry.name))
                .advising("install or start a sound server; without one, calls can use files: --in, --out"),
            Ok(devices) => {
                let count = |direction| {
                    let is = |device: &&blink_api::DeviceInfo| {
                        device.kind == TrackKind::Audio && device.direction == direction
                    };
                    devices.iter().filter(is).count()
                };
                let (microphones, speakers) = (count(DeviceDirection::Source), count(DeviceDirection::Sink));
                let found = format!("{}: {microphones} microphones, {speakers} speakers", entry.name);
                match (microphones, speakers) {
                    (0, _) => check(Status::Warning, found)
                        .advising("connect a microphone: without one, the others do not hear you"),
                    (_, 0) => check(Status::Warning, found).advising("connect a speaker or headphones"),
                    _ => check(Status::Ok, found),
                }
            }
        });
    }
    if checks.is_empty() {
        let found = "no media host with hardware is configured".to_owned();
        checks.push(check(Status::Warning, found).advising("set media_host to one that `blink backends` lists"));
    }
    checks
}

/// The clock, as far as this machine alone can tell.
pub(super) fn clock(now: SystemTime, data_dir: Option<&Path>) -> Check {
    let seconds = unix_seconds(now);
    let date = crate::calendar::date(seconds * 1_000);
    let advice = "set the clock, best by NTP: offers and call histories carry its time";
    if !(EARLIEST..LATEST).contains(&seconds) {
        return Check::new("clock", Status::Problem, format!("it is not {date}")).advising(advice);
    }
    let newest = data_dir.into_iter().flat_map(|path| std::fs::read_dir(path).into_iter().flatten()).flatten();
    let newest = newest.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max();
    if newest.is_some_and(|newest| newest > now + AHEAD) {
        let found = format!("{date}, but the data directory was written later than that");
        return Check::new("clock", Status::Warning, found).advising(advice);
    }
    Check::new("clock", Status::Ok, date)
}

/// The data directory and its files.
pub(super) fn data_dir(data_dir: Option<&Path>, is_used: bool) -> Vec<Check> {
    let check = |status, found: String| Check::new("data_dir", status, found);
    let Some(path) = data_dir else {
        let found = "none: the identity is new at every start".to_owned();
        return vec![check(Status::Warning, found).advising("leave out --ephemeral, or set data_dir")];
    };
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![check(Status::Ok, format!("{shown} will be created at the first start"))];
        }
        Err(error) => return vec![check(Status::Problem, format!("{shown}: {error}"))],
        Ok(metadata) => metadata,
    };
    let mut checks = permissions(path, &metadata);
    if !is_used {
        match DataDirectory::open(path).and_then(|kept| kept.endpoint()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => checks.push(check(Status::Problem, error.to_string())),
        }
    }
    match Contacts::load(path) {
        Ok(contacts) => {
            checks.push(check(Status::Ok, format!("{shown}: readable, {} contacts", contacts.iter().count())));
        }
        Err(error) => checks
            .push(check(Status::Problem, error.to_string()).advising("repair contacts.json by hand, or move it away")),
    }
    checks
}

#[cfg(unix)]
fn permissions(path: &Path, metadata: &std::fs::Metadata) -> Vec<Check> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let mut checks = Vec::new();
    let shown = path.display();
    if !metadata.is_dir() {
        checks.push(Check::new("data_dir", Status::Problem, format!("{shown} is no directory")));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        let found = format!("{shown} belongs to another user");
        checks
            .push(Check::new("data_dir", Status::Problem, found).advising(format!("sudo chown -R \"$USER\" {shown}")));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        let found = format!("other users may write to {shown} (mode {mode:o})");
        checks.push(Check::new("data_dir", Status::Problem, found).advising(format!("chmod 700 {shown}")));
    } else if mode & 0o055 != 0 {
        let found = format!("other users may list {shown} (mode {mode:o})");
        checks.push(Check::new("data_dir", Status::Warning, found).advising(format!("chmod 700 {shown}")));
    }
    checks
}

#[cfg(not(unix))]
fn permissions(_path: &Path, _metadata: &std::fs::Metadata) -> Vec<Check> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn impossible_clocks_are_problems_and_clocks_behind_the_files_are_warnings() {
        assert_eq!(clock(at(0), None).status, Status::Problem);
        assert_eq!(clock(at(LATEST), None).status, Status::Problem);
        assert_eq!(clock(at(EARLIEST), None).status, Status::Ok);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("blink.redb"), "").unwrap();
        assert_eq!(clock(at(EARLIEST), Some(directory.path())).status, Status::Warning);
        assert_eq!(clock(SystemTime::now(), Some(directory.path())).status, Status::Ok);
    }

    #[cfg(unix)]
    #[test]
    fn open_directories_and_damaged_contacts_are_found() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let worst = || data_dir(Some(directory.path()), false).iter().map(|check| check.status).max().unwrap();
        for (mode, expected) in [(0o700, Status::Ok), (0o755, Status::Warning), (0o777, Status::Problem)] {
            std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(worst(), expected, "{mode:o}");
        }
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(directory.path().join("contacts.json"), "{").unwrap();
        assert_eq!(worst(), Status::Problem);
        assert_eq!(data_dir(None, false)[0].status, Status::Warning);
    }
}
