//! Files that a command reads and writes, checked before an engine starts.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use blink_api::{
    AudioFormat, AudioSource, Configuration, Context, DeviceDirection, Error, ErrorKind, MediaHost, OpenRequest,
    SystemClock, expand_path,
};

use blink_engine::{Blink, Device};
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::configuration::device_host;
use crate::failure::Failure;

/// Read period. Media hosts without a hardware clock produce the same samples at any rate.
const PERIOD: Duration = Duration::from_millis(20);

/// Parser of a path argument. `~/` is expanded also where no shell does it, as in
/// `--in=~/hello.wav`. Paths that are not UTF-8 are kept unchanged.
pub(crate) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text| match text.to_str() {
        Some(text) => expand_path(text).map_err(|error| error.message().to_owned()),
        None => Ok(PathBuf::from(text)),
    })
}

/// Device name of a file for the file media host.
///
/// # Errors
/// An input failure for a path that is not UTF-8: device names are text, so that it would name
/// another file.
pub(crate) fn device(path: &Path) -> Result<String, Failure> {
    match path.to_str() {
        Some(path) => Ok(format!("wav:{path}")),
        None => {
            Err(Failure::input(format!("the path {} is not UTF-8, so that it cannot name a device", path.display())))
        }
    }
}

/// Opens the microphone if it is a file or a generator, to report an invalid one now. Hardware is
/// not opened before a call is accepted.
///
/// # Errors
/// An input failure that names the file.
pub(crate) async fn check_microphone(configuration: &Configuration) -> Result<(), Failure> {
    let name = configuration.settings().microphone.as_str();
    let has_devices = device_host(configuration)?.is_some();
    let host = file_host(configuration).await?;
    let Some((host, name)) = host.map(|(host_name, host)| (host, own_name(name, host_name))) else { return Ok(()) };
    if name == "none" || (has_devices && !name.contains(':')) {
        return Ok(());
    }
    match host.open_audio_source(name, OpenRequest::new(AudioFormat::CALL, PERIOD)).await {
        // It may be a device.
        Err(error) if has_devices && error.kind() == ErrorKind::NotFound && !name.starts_with("wav:") => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

/// Opens the video source, if any, to report an invalid one now.
///
/// # Errors
/// An input failure that names the file.
pub(crate) async fn check_video(configuration: &Configuration, source: Option<&str>) -> Result<(), Failure> {
    if let (Some(source), Some((_, host))) = (source, file_host(configuration).await?) {
        host.open_video_source(source).await?;
    }
    Ok(())
}

/// Hint for a user without a microphone or speaker, and without files in their place.
pub(crate) async fn silence(blink: &Blink, configuration: &Configuration) -> Option<String> {
    let settings = configuration.settings();
    let Ok(Some(host)) = device_host(configuration) else {
        let is_unset = matches!(settings.microphone.as_str(), "default" | "none");
        return is_unset.then(|| "no audio will be sent: use --in FILE or --microphone speech".to_owned());
    };
    let devices = blink.devices().await.ok()?;
    let is_missing = |direction, chosen: &str| {
        let is_of = |device: &Device| device.host == host && device.direction == direction;
        own_name(chosen, host) == "default" && !devices.iter().any(is_of)
    };
    missing(
        is_missing(DeviceDirection::Source, &settings.microphone),
        is_missing(DeviceDirection::Sink, &settings.speaker),
    )
}

/// Text about devices that are missing, with what to do.
fn missing(microphone: bool, speaker: bool) -> Option<String> {
    let what = match (microphone, speaker) {
        (true, true) => "no microphone and no speaker",
        (true, false) => "no microphone",
        (false, true) => "no speaker",
        (false, false) => return None,
    };
    let instead = [
        (microphone, "`--microphone speech` or `--in FILE` sends audio all the same"),
        (speaker, "`--speaker wav:FILE` saves what is received"),
    ];
    let instead: Vec<_> = instead.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
    Some(format!("this machine has {what}: connect one (`blink doctor` helps); {}", instead.join(", ")))
}

/// Name of a device without that of its host.
fn own_name<'a>(name: &'a str, host: &str) -> &'a str {
    name.strip_prefix(host).and_then(|name| name.strip_prefix('/')).unwrap_or(name)
}

/// The first media host without hardware, with its name.
async fn file_host(configuration: &Configuration) -> Result<Option<(&'static str, Arc<dyn MediaHost>)>, Error> {
    let hosts = configuration.chosen_all::<dyn MediaHost>()?;
    let Some(entry) = hosts.into_iter().find(|host| !host.capabilities.hardware_clock) else { return Ok(None) };
    Ok(Some((entry.name, entry.create(configuration, &context(configuration)).await?)))
}

/// Environment of a media host without an engine.
pub(crate) fn context(configuration: &Configuration) -> Context {
    Context { clock: Arc::new(SystemClock), shared: configuration.registry().shared() }
}

/// Reads the first `duration` of the microphone: 48 kHz, mono.
///
/// # Errors
/// An input failure if it cannot be read, or if it is hardware.
pub(crate) async fn said(configuration: &Configuration, duration: Duration) -> Result<Vec<f32>, Failure> {
    let host = configuration.chosen::<dyn MediaHost>()?;
    if host.capabilities.hardware_clock {
        let reason = format!(
            "the media host `{}` captures live audio; received speech can only be compared with a file",
            host.name
        );
        return Err(Failure::input(reason));
    }
    let mut source = open(configuration).await?;
    let mut samples = vec![0.0; AudioFormat::CALL.samples_in(duration)];
    for chunk in samples.chunks_mut(AudioFormat::CALL.samples_in(PERIOD)) {
        source.read(chunk)?;
    }
    Ok(samples)
}

/// Creates a directory where there is none.
///
/// # Errors
/// An input failure that names the directory.
pub(crate) fn create_directory(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|source| unusable("cannot create the directory", directory, source))
}

fn unusable(what: &'static str, path: &Path, source: std::io::Error) -> Failure {
    Failure::from(Error::new(ErrorKind::Invalid, what).with("path", path.display()).source(source))
}

/// Verifies that a file can be written, and creates its directory. An existing file stays
/// unchanged.
///
/// # Errors
/// An input failure that names the directory or file.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_directory(directory)?;
    }
    let is_new = !path.exists();
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    // Recordings are readable by their owner only, from their creation on.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|_| if is_new { std::fs::remove_file(path) } else { Ok(()) })
        .map_err(|source| unusable("cannot write the file", path, source))
}

async fn open(configuration: &Configuration) -> Result<Box<dyn AudioSource>, Error> {
    let request = OpenRequest::new(AudioFormat::CALL, PERIOD);
    host(configuration).await?.open_audio_source(&configuration.settings().microphone, request).await
}

async fn host(configuration: &Configuration) -> Result<Arc<dyn MediaHost>, Error> {
    configuration.create::<dyn MediaHost>(&context(configuration)).await
}

#[cfg(test)]
mod tests {
    use blink_api::Registry;

    use super::*;
    use crate::backends;

    fn with_microphone(name: &str) -> Configuration {
        let registry = Registry::discovered().unwrap();
        backends::configuration(&registry).set("test", "microphone", name).build().unwrap()
    }

    #[tokio::test]
    async fn microphone_files_are_read_and_invalid_ones_are_reported() {
        let configuration = with_microphone("speech:2");
        check_microphone(&configuration).await.unwrap();
        let said = said(&configuration, Duration::from_millis(1_010)).await.unwrap();
        assert_eq!(said, blink_media_synthetic::speech_clip(2, Duration::from_millis(1_010)));
        let failure = check_microphone(&with_microphone("wav:/no/such.wav")).await.unwrap_err();
        assert!(failure.status() == 2 && failure.reason().contains("/no/such.wav"), "{}", failure.reason());
        check_microphone(&with_microphone("none")).await.unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn paths_that_are_not_utf_8_are_refused_as_devices() {
        use std::os::unix::ffi::OsStrExt;
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"/tmp/\xe9"));
        let refused = device(odd).unwrap_err();
        assert!(refused.status() == 2 && refused.reason().contains("UTF-8"), "{}", refused.reason());
        assert_eq!(device(Path::new("/tmp/é")).unwrap(), "wav:/tmp/é");
        let parse = |text| path().parse_ref(&clap::Command::new("blink"), None, text);
        assert_eq!(parse(odd.as_os_str()).unwrap(), odd);
        let home = std::env::home_dir().expect("tests run with a home directory");
        assert_eq!(parse("~/a.wav".as_ref()).unwrap(), home.join("a.wav"));
        parse("".as_ref()).unwrap_err();
    }

    #[test]
    fn directories_are_created_and_existing_files_stay_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let heard = directory.path().join("new/folder/heard.wav");
        check(&heard).unwrap();
        assert!(!heard.exists());
        std::fs::write(&heard, "old").unwrap();
        check(&heard).unwrap();
        assert_eq!(std::fs::read(&heard).unwrap(), b"old");
        for path in [heard.join("below.wav"), directory.path().join("new/folder")] {
            let failure = check(&path).unwrap_err();
            assert!(failure.status() == 2 && failure.reason().contains("new/folder"), "{}", failure.reason());
        }
    }
}
