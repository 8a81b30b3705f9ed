//! Configuration of a command, merged from this program's defaults, the file, the environment and
//! the options.

use std::path::Path;
use std::time::SystemTime;

use blink_api::{
    Configuration, ConfigurationBuilder, ConfigurationFile, Error, ErrorKind, LogSettings, MediaHost, Registry, Result,
};

use crate::args::{DeviceOptions, Global};
use crate::failure::Failure;
use crate::known_nodes::KnownNodes;
use crate::record::RecordArguments;
use crate::{backends, files, profile};

/// Default configuration file.
const FILE: &str = "blink.toml";

/// Configuration file of a run, read once because it may be a pipe.
#[derive(Debug, Clone, Default)]
pub(crate) struct File(Option<Result<ConfigurationFile>>);

impl File {
    /// Reads the named file, or the default file in the working directory if it exists.
    ///
    /// The default file is refused if another user can change it: in a directory like `/tmp` such a
    /// file would choose the servers that relay this user's calls, and the directory of the secret
    /// key. A named file is the user's choice.
    pub(crate) fn read(named: Option<&Path>) -> Self {
        Self(match named {
            Some(path) => Some(ConfigurationFile::read(path)),
            None => found(Path::new(FILE)),
        })
    }
}

fn found(path: &Path) -> Option<Result<ConfigurationFile>> {
    let why = "another user owns or can change this configuration file; use `chown` and `chmod go-w`, or name it with --config";
    // Opening another user's pipe would block forever.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let why = "not a regular file; to use it, name it with --config";
        return Some(Err(Error::new(ErrorKind::Invalid, why).with("file", path.display())));
    }
    match ConfigurationFile::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Ok(file) if file.others_can_write() => {
            Some(Err(Error::new(ErrorKind::Invalid, why).with("file", path.display())))
        }
        read => Some(read),
    }
}

/// All sources below the options.
pub(crate) fn base(registry: &Registry, global: &Global) -> ConfigurationBuilder {
    file_and_environment(backends::configuration(registry), global)
}

/// Adds the file and the environment to a program's defaults.
pub(crate) fn file_and_environment(builder: ConfigurationBuilder, global: &Global) -> ConfigurationBuilder {
    let builder = match &global.file.0 {
        Some(file) => builder.file_read(file.clone()),
        None => builder,
    };
    builder.environment()
}

/// Log settings. Errors of the configuration are ignored here, because the command reports them.
pub(crate) fn log(global: &Global) -> LogSettings {
    let settings = || Some(options(base(&Registry::discovered().ok()?, global), global).build().ok()?.settings().log);
    settings().unwrap_or_default()
}

/// Adds the `--set` options and `--ephemeral`.
pub(crate) fn options(builder: ConfigurationBuilder, global: &Global) -> ConfigurationBuilder {
    let builder = global.set.iter().fold(builder, |builder, argument| builder.set_argument("--set", argument));
    profile::ephemeral(builder, global)
}

/// All sources of a command about this user, who has a data directory by default.
pub(crate) fn personal(registry: &Registry, global: &Global) -> ConfigurationBuilder {
    let defaults = profile::defaults(backends::configuration(registry), global);
    options(file_and_environment(defaults, global), global)
}

/// Configuration of an engine on files.
///
/// # Errors
/// An input failure with the invalid value and its source.
pub(crate) fn for_engine(global: &Global) -> Result<Configuration, Failure> {
    Ok(options(base(&Registry::discovered()?, global), global).build()?)
}

/// Configuration of a call on devices, or on the audio files that `--in` and `--out` name.
///
/// # Errors
/// An input failure with the invalid value and its source.
pub(crate) fn for_call(
    global: &Global,
    devices: &DeviceOptions,
    (input, heard): (Option<&Path>, Option<&Path>),
    (record, out): (&RecordArguments, Option<&Path>),
) -> Result<Configuration, Failure> {
    let registry = Registry::discovered()?;
    let (input, heard) = (input.map(files::device).transpose()?, heard.map(files::device).transpose()?);
    let named = |mut builder: ConfigurationBuilder| {
        let choices = [
            ("--in", "microphone", &input),
            ("--out", "speaker", &heard),
            ("--microphone", "microphone", &devices.microphone),
            ("--speaker", "speaker", &devices.speaker),
        ];
        for (option, key, value) in choices {
            if let Some(value) = value {
                builder = builder.set(option, key, value.clone());
            }
        }
        if let Some(names) = devices.processors() {
            builder = builder.set("--processors", "processor", names);
        }
        builder
    };
    let with_defaults = |has_devices: bool, first: Option<&Configuration>| {
        let defaults = if has_devices { backends::with_devices(&registry) } else { backends::configuration(&registry) };
        let defaults = profile::defaults(defaults, global);
        let defaults = match first {
            Some(first) => profile::keep_node(defaults, first)?,
            None => defaults,
        };
        // A file has neither echo nor noise.
        let is_processed = has_devices && input.is_none();
        let defaults = if is_processed { defaults } else { defaults.default_value("processor", Vec::<String>::new()) };
        Ok::<_, Failure>(named(options(file_and_environment(defaults, global), global)))
    };
    let first = with_defaults(true, None)?.build()?;
    let device_host = device_host(&first)?;
    let builder = record.configure(with_defaults(device_host.is_some(), Some(&first))?, out)?;
    let mut builder = with_nodes(builder, &first, global)?;
    if let Some(host) = device_host {
        // The default of a host of files is silence: without a device, the call is to say so.
        let settings = first.settings();
        for (key, name) in [("microphone", &settings.microphone), ("speaker", &settings.speaker)] {
            if name == "default" {
                builder = builder.set("the default", key, format!("{host}/default"));
            }
        }
    }
    // The host of files for the options that name files.
    let mut hosts: Vec<_> = first.chosen_all::<dyn MediaHost>()?.iter().map(|host| host.name).collect();
    if (input.is_some() || heard.is_some()) && !hosts.contains(&backends::FILES) {
        hosts.push(backends::FILES);
        builder = builder.set(if input.is_some() { "--in" } else { "--out" }, "media_host", hosts);
    }
    Ok(builder.build()?)
}

/// Adds the nodes of the data directory to a configuration; `first` is the same without them.
///
/// # Errors
/// Those of [`KnownNodes::load`].
pub(crate) fn with_nodes(
    builder: ConfigurationBuilder,
    first: &Configuration,
    global: &Global,
) -> Result<ConfigurationBuilder, Failure> {
    match first.settings().data_dir.as_deref().or(global.nodes_of.as_deref()) {
        Some(data_dir) => Ok(KnownNodes::load(data_dir)?.apply(builder, first, SystemTime::now())?),
        None => Ok(builder),
    }
}

/// The first media host with hardware.
///
/// # Errors
/// Those of an unknown name.
pub(crate) fn device_host(configuration: &Configuration) -> Result<Option<&'static str>> {
    let hosts = configuration.chosen_all::<dyn MediaHost>()?;
    Ok(hosts.iter().find(|host| host.capabilities.hardware_clock).map(|host| host.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(toml: &str) -> String {
        let builder = backends::configuration(&Registry::discovered().unwrap()).toml("blink.toml", toml);
        builder.build().expect_err(toml).to_string()
    }

    /// Errors in a backend's section name the key as it is written, and its source.
    #[test]
    fn wrong_types_in_sections_of_backends_name_the_whole_key() {
        for (toml, key) in [
            ("[signalings.libp2p]\nmdns = 'yes'", "signalings.libp2p.mdns"),
            ("[transports.webrtc-rs]\nkeepalive = 3", "transports.webrtc-rs.keepalive"),
            ("[media_hosts.synthetic]\nlevel = 'loud'", "media_hosts.synthetic.level"),
        ] {
            let (section, name) = key.split_once('.').map(|(section, rest)| (section, rest.split('.').next())).unwrap();
            let choice = section.strip_suffix('s').unwrap();
            let error = refusal(&format!("{choice} = '{}'\n{toml}", name.unwrap()));
            assert!(error.contains(&format!("key={key}")) && error.contains("set in=blink.toml"), "{error}");
        }
    }

    #[test]
    fn values_out_of_range_in_sections_of_backends_name_where_they_were_set() {
        let error = refusal("media_host = 'synthetic'\n[media_hosts.synthetic]\nlevel = 1.0");
        assert!(error.contains("key=media_hosts.synthetic.level") && error.contains("set in=blink.toml"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_not_named_and_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        assert!(found(&path).is_none());
        std::fs::write(&path, "microphone = 'none'").unwrap();
        for (mode, is_refused) in [(0o600, false), (0o644, false), (0o646, true), (0o602, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = found(&path).unwrap().err().map(|error| error.to_string());
            assert_eq!(refused.is_some(), is_refused, "{mode:o} {refused:?}");
            assert!(refused.is_none_or(|refused| refused.contains("chmod go-w") && refused.contains(FILE)));
            assert!(File::read(Some(&path)).0.unwrap().is_ok(), "it is the user's choice");
        }
    }
}
