//! The keys that belong to no backend.

use std::path::PathBuf;
use web_time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::audio::AudioSettings;
use super::ice::IceConfig;
use super::path::optional_path;
use super::quality::QualitySettings;
use crate::{Error, ErrorKind, Result};

/// Everything outside the backends' own sections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Name of the transport; may be absent where there is one only.
    pub transport: Option<String>,
    /// Name of the signaling backend; may be absent where there is one only.
    pub signaling: Option<String>,
    /// Names of audio codecs, the preferred one first; a single name may stand for a list of it.
    /// May be empty where there is one only.
    #[serde(deserialize_with = "one_or_several")]
    pub codec: Vec<String>,
    /// Names of media hosts in order of preference; a single name may stand for a list of it. May
    /// be empty where there is one only.
    #[serde(deserialize_with = "one_or_several")]
    pub media_host: Vec<String>,
    /// The source that is captured: a name that a media host knows, `HOST/NAME`, `"default"` or
    /// `"none"`.
    pub microphone: String,
    /// The sink that is played to, as `microphone`.
    pub speaker: String,
    /// Names of audio processors, in the order in which they process.
    #[serde(rename = "processor")]
    pub processors: Vec<String>,
    /// Names of recorders.
    pub recorders: Vec<String>,
    /// Where identity and open calls are kept; absent: in memory. A leading `~/` is the home
    /// directory.
    #[serde(deserialize_with = "optional_path")]
    pub data_dir: Option<PathBuf>,
    /// `[ice]`
    pub ice: IceConfig,
    /// `[call]`
    pub call: CallSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[quality]`
    pub quality: QualitySettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
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
            quality: QualitySettings::default(),
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<()> {
        self.ice.check()?;
        self.call.check()
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

/// `[call]`: how calls behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallSettings {
    /// How long an offer rings, on the inviter's clock.
    #[serde(with = "humantime_serde")]
    pub ring_time: Duration,
    /// What happens to an offer that comes during a call.
    pub busy: BusyPolicy,
    /// Whose offers ring.
    pub from: Invitations,
    /// Refuse to answer without a microphone, instead of listening only.
    pub require_microphone: bool,
    /// Calls that are listed in the history; beyond, the oldest goes. 0: none are.
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

/// `[log]`: what a program that sets up a log by this configuration lets into it. What the engine
/// and the backends say does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Show addresses in lines at debug and below.
    pub addresses: bool,
    /// Show what libraries say below a warning. They know no rule about passwords, addresses and
    /// content.
    pub libraries: bool,
}

/// What happens to an offer that comes during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusyPolicy {
    /// It rings as any other.
    #[default]
    Ring,
    /// The caller is told that this device is busy; nothing rings.
    Reject,
}

/// Whose offers ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Invitations {
    /// Everybody's.
    #[default]
    Anyone,
    /// Those of people the integrator named as known; strangers learn nothing.
    Known,
}

/// `[call.timers]`: the timers of the protocol (`docs/protocol.md`, section "Timers"). All devices
/// of a call should have the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallTimers {
    /// First repetition of offers, cancels, rejections and joining records; doubles from there.
    #[serde(with = "humantime_serde")]
    pub repeat_first: Duration,
    /// Longest pause between repetitions of offers, cancels and rejections.
    #[serde(with = "humantime_serde")]
    pub repeat_longest: Duration,
    /// Longest pause between repetitions of the record while joining.
    #[serde(with = "humantime_serde")]
    pub join_repeat_longest: Duration,
    /// How long joining may take.
    #[serde(with = "humantime_serde")]
    pub join_limit: Duration,
    /// How long a ringing offer lives without being repeated.
    #[serde(with = "humantime_serde")]
    pub offer_lease: Duration,
    /// How long cancels and rejections are repeated without an acknowledgement.
    #[serde(with = "humantime_serde")]
    pub give_up: Duration,
    /// How often a record is sent when nothing changes.
    #[serde(with = "humantime_serde")]
    pub record_interval: Duration,
    /// How long changes of a record are collected before it is sent.
    #[serde(with = "humantime_serde")]
    pub record_coalesce: Duration,
    /// The shortest time between two records.
    #[serde(with = "humantime_serde")]
    pub record_gap: Duration,
    /// How often a record is sent while a path is lost or a change is not acknowledged.
    #[serde(with = "humantime_serde")]
    pub record_urgent: Duration,
    /// First repetition of a link's description; doubles from there.
    #[serde(with = "humantime_serde")]
    pub link_repeat_first: Duration,
    /// Longest pause between repetitions of a link's description.
    #[serde(with = "humantime_serde")]
    pub link_repeat_longest: Duration,
    /// How long connecting to one participant may take.
    #[serde(with = "humantime_serde")]
    pub connect_limit: Duration,
    /// How often the data channel is pinged.
    #[serde(with = "humantime_serde")]
    pub ping: Duration,
    /// A path without a packet for so long is reconnecting.
    #[serde(with = "humantime_serde")]
    pub suspect: Duration,
    /// A participant without any sign for so long has left.
    #[serde(with = "humantime_serde")]
    pub left: Duration,
    /// A path that stays lost for so long while signaling lives ends a call of two.
    #[serde(with = "humantime_serde")]
    pub path_failed: Duration,
    /// How long the call topic stays subscribed after leaving.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// A device that is busy is final unless another device of that person rings within this time.
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
    /// Longest time that any timer may be set to.
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    fn check(&self) -> Result<()> {
        let invalid = |key: &'static str, why: &'static str| {
            Err(Error::new(ErrorKind::Invalid, why).with("key", format!("call.timers.{key}")))
        };
        // First of all: what follows computes with them.
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
        // Without `..`, so that none is left out.
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
