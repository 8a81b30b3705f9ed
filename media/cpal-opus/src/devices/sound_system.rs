//! Choice of the sound system.

use std::sync::Arc;

use blink_api::{Error, ErrorKind, Result};
use cpal::traits::HostTrait;

use super::{NAME, SoundSystem};

/// Connects to a sound system anew.
pub(super) type Connect = Arc<dyn Fn() -> Result<cpal::Host, cpal::Error> + Send + Sync>;

/// A sound system that was chosen.
#[derive(Clone)]
pub(super) struct ChosenSystem {
    /// Connects to it.
    pub(super) connect: Connect,
    /// A connection lists devices that were added after it was made.
    pub(super) lists_changes: bool,
    /// Text for users: the choice and its reason.
    pub(super) description: String,
}

/// Names of sound systems in `cpal`.
const PIPEWIRE: &str = "PipeWire";
const PULSE: &str = "PulseAudio";
const JACK: &str = "JACK";
const ALSA: &str = "ALSA";

/// Chooses the sound system.
///
/// # Errors
/// [`Io`](ErrorKind::Io) where the configured one does not answer,
/// [`Unsupported`](ErrorKind::Unsupported) where it is not built in.
pub(super) fn choose(system: SoundSystem) -> Result<ChosenSystem> {
    match system {
        SoundSystem::Auto => Ok(choose_first()),
        SoundSystem::Alsa => Ok(platform("by configuration")),
        SoundSystem::Pulse => configured(PULSE, "by configuration", "start the server, or choose another system"),
        SoundSystem::Jack if is_built_in(JACK) => configured(JACK, "by configuration", "start the JACK server"),
        SoundSystem::Jack => Err(Error::new(ErrorKind::Unsupported, "built without the cargo feature `jack`")
            .backend(NAME)
            .with("key", "media_hosts.cpal.system")),
        SoundSystem::Pipewire if is_built_in(PIPEWIRE) => {
            configured(PIPEWIRE, "by configuration", "start PipeWire, or choose another system")
        }
        SoundSystem::Pipewire => {
            let why = "by configuration, for PipeWire: built without the cargo feature `pipewire`";
            configured(PULSE, why, "start pipewire-pulse, or choose another system")
        }
    }
}

/// The first system that answers.
fn choose_first() -> ChosenSystem {
    let mut silent = Vec::new();
    for name in [PIPEWIRE, PULSE] {
        match try_connect(name) {
            Ok(()) => return chosen(name, "its server answers"),
            Err(error) => silent.extend(error.map(|error| format!("{name} does not answer ({error})"))),
        }
    }
    platform(if silent.is_empty() { "the platform's own".into() } else { silent.join(", ") })
}

/// Whether a system answers; `Err(None)` where it is not built in.
fn try_connect(name: &str) -> Result<(), Option<cpal::Error>> {
    let id = id_of(name).ok_or(None)?;
    let host = cpal::host_from_id(id).map_err(Some)?;
    host.devices().map(drop).map_err(Some)
}

fn configured(name: &'static str, why: &str, hint: &'static str) -> Result<ChosenSystem> {
    match try_connect(name) {
        Ok(()) => Ok(chosen(name, why)),
        Err(error) => Err(Error::new(ErrorKind::Io, "the configured sound system does not answer")
            .backend(NAME)
            .with("key", "media_hosts.cpal.system")
            .with("system", name)
            .with("hint", hint)
            .source(error.map_or_else(|| "not built in".to_owned(), |error| error.to_string()))),
    }
}

fn chosen(name: &'static str, why: impl std::fmt::Display) -> ChosenSystem {
    let connect: Connect = Arc::new(move || match id_of(name) {
        Some(id) => cpal::host_from_id(id),
        None => Err(cpal::Error::new(cpal::ErrorKind::HostUnavailable)),
    });
    ChosenSystem { connect, lists_changes: name != PIPEWIRE, description: format!("{name}: {why}") }
}

/// ALSA on Linux, the only system on other platforms.
fn platform(why: impl std::fmt::Display) -> ChosenSystem {
    if is_built_in(ALSA) {
        return chosen(ALSA, why);
    }
    let name = cpal::default_host().id().name();
    let description = format!("{name}: {why}");
    ChosenSystem { connect: Arc::new(|| Ok(cpal::default_host())), lists_changes: true, description }
}

fn is_built_in(name: &str) -> bool {
    id_of(name).is_some()
}

fn id_of(name: &str) -> Option<cpal::HostId> {
    cpal::ALL_HOSTS.iter().copied().find(|id| id.name().eq_ignore_ascii_case(name))
}
