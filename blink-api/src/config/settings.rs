//! Settings of the engine: every key outside the sections of backends.

use std::path::PathBuf;
use web_time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::audio::AudioSettings;
use super::ice::IceConfig;
use super::metrics_settings::MetricsSettings;
use super::path::optional_path;
use super::quality::QualitySettings;
use super::recording::RecordingSettings;
use super::ui_settings::UiSettings;
use crate::{Error, ErrorKind, Result, display_name};

/// Settings of the engine: every key outside the sections of backends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Name of the user, which participants of the same call see; absent: none.
    pub name: Option<String>,
    /// Name of the transport; optional where one is registered.
    pub transport: Option<String>,
    /// Name of the signaling backend; optional where one is registered.
    pub signaling: Option<String>,
    /// Names of audio codecs, the preferred one first; a single name may be written without a
    /// list. Optional where one is registered.
    #[serde(deserialize_with = "one_or_several")]
    pub codec: Vec<String>,
    /// Names of media hosts, the preferred one first; a single name may be written without a list.
    /// Optional where one is registered.
    #[serde(deserialize_with = "one_or_several")]
    pub media_host: Vec<String>,
    /// Audio source to capture: a device name of a media host, `HOST/NAME`, `"default"` or
    /// `"none"`.
    pub microphone: String,
    /// Audio sink to play to, in the form of `microphone`.
    pub speaker: String,
    /// Names of audio processors, in processing order.
    #[serde(rename = "processor")]
    pub processors: Vec<String>,
    /// Names of recorders.
    #[serde(rename = "recorder")]
    pub recorders: Vec<String>,
    /// Directory of the identity, open calls and the history; absent: memory. A leading `~/` is the
    /// home directory.
    #[serde(deserialize_with = "optional_path")]
    pub data_dir: Option<PathBuf>,
    /// `[ice]`
    pub ice: IceConfig,
    /// `[call]`
    pub call: CallSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[metrics]`
    pub metrics: MetricsSettings,
    /// `[quality]`
    pub quality: QualitySettings,
    /// `[recording]`
    pub recording: RecordingSettings,
    /// `[ui]`
    pub ui: UiSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            transport: None,
            signaling: None,
            codec: Vec::new(),
            media_host: Vec::new(),
            microphone: "default".to_owned(),
            speaker: "default".to_owned(),
            processors: Vec::new(),
            recorders: Vec::new(),
            data_dir: None,
            ice: IceConfig::default(),
            call: CallSettings::default(),
            log: LogSettings::default(),
            metrics: MetricsSettings::default(),
            quality: QualitySettings::default(),
            recording: RecordingSettings::default(),
            ui: UiSettings::default(),
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<()> {
        if let Some(name) = &self.name
            && display_name(name).as_ref() != Some(name)
        {
            let error = "a name has 1 to 64 characters that are seen, and single spaces between words";
            return Err(Error::new(ErrorKind::Invalid, error).with("key", "name"));
        }
        self.ice.check()?;
        self.recording.check()?;
        self.call.check()?;
        self.quality.check()
    }
}

/// A name, or a list of names.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a name or a list of names")]
    enum Names {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Several(names) => names,
    })
}

/// `[call]`: behaviour of calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallSettings {
    /// Duration for which an offer rings, 1 s to 10 min, on the inviter's clock.
    #[serde(with = "humantime_serde")]
    pub ring_time: Duration,
    /// Handling of offers that arrive during a call.
    pub busy: BusyPolicy,
    /// Identities whose offers ring.
    pub from: Invitations,
    /// Whether accepting a call fails without a microphone, instead of listening only.
    pub require_microphone: bool,
    /// Maximum number of calls in the history, up to 100,000; beyond it, the oldest is removed. 0
    /// keeps no history.
    pub history: usize,
    /// `[call.audio]`
    pub audio: AudioSettings,
    /// `[call.timers]`
    pub timers: CallTimers,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            ring_time: Duration::from_secs(60),
            busy: BusyPolicy::Ring,
            from: Invitations::Anyone,
            require_microphone: false,
            history: 1_000,
            audio: AudioSettings::default(),
            timers: CallTimers::default(),
        }
    }
}

impl CallSettings {
    fn check(&self) -> Result<()> {
        let longest = Duration::from_secs(600);
        if self.ring_time < Duration::from_secs(1) || self.ring_time > longest {
            return Err(Error::new(ErrorKind::Invalid, "the ring time is 1 s to 10 min").with("key", "call.ring_time"));
        }
        if self.history > 100_000 {
            return Err(
                Error::new(ErrorKind::Invalid, "the history has at most 100,000 entries").with("key", "call.history")
            );
        }
        self.audio.check()?;
        self.timers.check()
    }
}

/// `[log]`: filter of a program that sets up its log by this configuration. Events of the engine
/// and of backends do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Whether addresses are shown at levels debug and trace.
    pub addresses: bool,
    /// Whether lines of libraries below level warn are shown. Libraries may log passwords,
    /// addresses and content.
    pub libraries: bool,
}

/// Handling of offers that arrive during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusyPolicy {
    /// The offer rings.
    #[default]
    Ring,
    /// The offer is rejected as busy and does not ring.
    Reject,
}

/// Identities whose offers ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Invitations {
    /// All identities.
    #[default]
    Anyone,
    /// Identities that the integrator declared known. Offers of others are dropped without an
    /// answer.
    Known,
}

/// `[call.timers]`: timers of the protocol (`docs/protocol.md`, section "Timers"). All devices of a
/// call should use the same values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallTimers {
    /// First retransmission interval of offers, cancels, rejections and joining records; doubles
    /// with each retransmission.
    #[serde(with = "humantime_serde")]
    pub repeat_first: Duration,
    /// Longest retransmission interval of offers, cancels and rejections.
    #[serde(with = "humantime_serde")]
    pub repeat_longest: Duration,
    /// Longest retransmission interval of the record while joining.
    #[serde(with = "humantime_serde")]
    pub join_repeat_longest: Duration,
    /// Time limit for joining.
    #[serde(with = "humantime_serde")]
    pub join_limit: Duration,
    /// Lifetime of a ringing offer since its last retransmission.
    #[serde(with = "humantime_serde")]
    pub offer_lease: Duration,
    /// Time after which unacknowledged cancels and rejections are no longer retransmitted.
    #[serde(with = "humantime_serde")]
    pub give_up: Duration,
    /// Interval between records while nothing changes.
    #[serde(with = "humantime_serde")]
    pub record_interval: Duration,
    /// Delay in which changes of a record are collected before it is sent.
    #[serde(with = "humantime_serde")]
    pub record_coalesce: Duration,
    /// Minimum interval between two records.
    #[serde(with = "humantime_serde")]
    pub record_gap: Duration,
    /// Interval between records while a path is lost or a change is unacknowledged.
    #[serde(with = "humantime_serde")]
    pub record_urgent: Duration,
    /// First retransmission interval of a link's description; doubles with each retransmission.
    #[serde(with = "humantime_serde")]
    pub link_repeat_first: Duration,
    /// Longest retransmission interval of a link's description.
    #[serde(with = "humantime_serde")]
    pub link_repeat_longest: Duration,
    /// Time limit for connecting to one participant.
    #[serde(with = "humantime_serde")]
    pub connect_limit: Duration,
    /// Interval between pings on the data channel.
    #[serde(with = "humantime_serde")]
    pub ping: Duration,
    /// Time without a packet after which a path is reconnecting.
    #[serde(with = "humantime_serde")]
    pub suspect: Duration,
    /// Time without any message or packet after which a participant has left.
    #[serde(with = "humantime_serde")]
    pub left: Duration,
    /// Time after which a lost path ends a call of two while signaling works.
    #[serde(with = "humantime_serde")]
    pub path_failed: Duration,
    /// Time for which the call topic stays subscribed after leaving.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// Time in which another device of an identity may ring before the busy answer of one device is
    /// final.
    #[serde(with = "humantime_serde")]
    pub busy_grace: Duration,
}

impl Default for CallTimers {
    fn default() -> Self {
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        Self {
            repeat_first: ms(300),
            repeat_longest: s(4),
            join_repeat_longest: s(2),
            join_limit: s(15),
            offer_lease: s(30),
            give_up: s(30),
            record_interval: s(5),
            record_coalesce: ms(100),
            record_gap: ms(250),
            record_urgent: s(1),
            link_repeat_first: ms(250),
            link_repeat_longest: s(2),
            connect_limit: s(30),
            ping: ms(500),
            suspect: ms(2_500),
            left: s(30),
            path_failed: s(60),
            linger: s(12),
            busy_grace: s(3),
        }
    }
}

impl CallTimers {
    /// Maximum of every timer.
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    fn check(&self) -> Result<()> {
        let invalid = |key: &'static str, why: &'static str| {
            Err(Error::new(ErrorKind::Invalid, why).with("key", format!("call.timers.{key}")))
        };
        // Checked first: the arithmetic below cannot overflow within this bound.
        if let Some((key, _)) = self.all().into_iter().find(|(_, value)| *value > Self::LONGEST) {
            return invalid(key, "must be at most a day");
        }
        if self.ping.is_zero() || self.suspect < self.ping * 2 {
            return invalid("suspect", "must be at least twice `ping`, which must be more than 0");
        }
        if self.left <= self.suspect {
            return invalid("left", "must be longer than `suspect`");
        }
        for (key, value) in [
            ("repeat_first", self.repeat_first),
            ("link_repeat_first", self.link_repeat_first),
            ("record_interval", self.record_interval),
            ("record_urgent", self.record_urgent),
        ] {
            if value < Duration::from_millis(10) {
                return invalid(key, "must be at least 10 ms");
            }
        }
        Ok(())
    }

    /// Every timer with its key.
    fn all(&self) -> [(&'static str, Duration); 19] {
        // Without `..`, so that the compiler reports a missing one.
        let Self {
            repeat_first,
            repeat_longest,
            join_repeat_longest,
            join_limit,
            offer_lease,
            give_up,
            record_interval,
            record_coalesce,
            record_gap,
            record_urgent,
            link_repeat_first,
            link_repeat_longest,
            connect_limit,
            ping,
            suspect,
            left,
            path_failed,
            linger,
            busy_grace,
        } = *self;
        [
            ("repeat_first", repeat_first),
            ("repeat_longest", repeat_longest),
            ("join_repeat_longest", join_repeat_longest),
            ("join_limit", join_limit),
            ("offer_lease", offer_lease),
            ("give_up", give_up),
            ("record_interval", record_interval),
            ("record_coalesce", record_coalesce),
            ("record_gap", record_gap),
            ("record_urgent", record_urgent),
            ("link_repeat_first", link_repeat_first),
            ("link_repeat_longest", link_repeat_longest),
            ("connect_limit", connect_limit),
            ("ping", ping),
            ("suspect", suspect),
            ("left", left),
            ("path_failed", path_failed),
            ("linger", linger),
            ("busy_grace", busy_grace),
        ]
    }
}
