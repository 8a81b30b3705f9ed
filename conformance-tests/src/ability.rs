//! Optional abilities of backends that scenarios need, and the check that a missing one is refused.

use blink_api::{
    CodecName, Configuration, Context, ErrorKind, Registry, RtpCodec, SessionConfig, SystemClock, TrackKind, Transport,
    TransportCapabilities, rtp_queue,
};
use std::sync::Arc;

use crate::lab::LabConfig;

/// An optional ability of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Carrying video.
    Video,
}

impl Ability {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
        }
    }

    /// Whether a transport declares the ability.
    pub fn is_declared(self, capabilities: TransportCapabilities) -> bool {
        match self {
            Self::Video => capabilities.video,
        }
    }

    /// First of the two transports that does not declare the ability; `None` if both do.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a transport that is not registered.
    pub(crate) fn missing_at(self, config: &LabConfig) -> blink_api::Result<Option<&str>> {
        for name in &config.transports {
            if !self.is_declared(config.registry.entry::<dyn Transport>(name)?.capabilities) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Verifies that a transport without the ability refuses it with `Unsupported`.
    pub(crate) async fn is_refused_by(self, registry: &Registry, transport: &str) -> Result<(), String> {
        match self.try_with(registry, transport).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            Err(error) => Err(format!(
                "{transport} declares no {} and refuses it with {:?} instead of Unsupported: {error}",
                self.name(),
                error.kind()
            )),
            Ok(()) => Err(format!("{transport} declares no {} and does not refuse it", self.name())),
        }
    }

    async fn try_with(self, registry: &Registry, transport: &str) -> blink_api::Result<()> {
        let configuration = Configuration::builder(registry).set("matrix", "transport", transport).build()?;
        let clock = Arc::new(SystemClock);
        let context = Context { clock: clock.clone(), shared: registry.shared() };
        let transport = registry.entry::<dyn Transport>(transport)?.create(&configuration, &context).await?;
        let codec = |name: &str, clock_rate, channels| {
            vec![RtpCodec { name: CodecName::new(name), clock_rate, channels, fmtp: String::new() }]
        };
        let config = SessionConfig::new(clock, rtp_queue(1).0)
            .with_audio(codec("opus", 48_000, 2))
            .with_video(codec("VP8", 90_000, 0));
        let (session, _events) = transport.open(config).await?;
        let added = match self {
            Self::Video => session.add_track(TrackKind::Video).await,
        };
        session.close().await;
        added.map(drop)
    }
}
