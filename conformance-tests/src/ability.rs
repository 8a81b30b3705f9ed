//! What a scenario asks of backends, and what happens where one has declared that it cannot.

use blink_api::{
    CodecName, Configuration, Context, ErrorKind, Registry, RtpCodec, SessionConfig, SystemClock, TrackKind, Transport,
    TransportCapabilities, rtp_queue,
};
use std::sync::Arc;

use crate::lab::Stage;

/// Something that a transport may be unable to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Carrying video.
    Video,
}

impl Ability {
    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
        }
    }

    /// Whether a transport declares it.
    pub fn is_declared(self, capabilities: TransportCapabilities) -> bool {
        match self {
            Self::Video => capabilities.video,
        }
    }

    /// The first of a stage's transports that declares that it cannot; `None` where both can.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a transport that is not there.
    pub(crate) fn missing_at(self, stage: &Stage) -> blink_api::Result<Option<&str>> {
        for name in &stage.transports {
            if !self.is_declared(stage.registry.entry::<dyn Transport>(name)?.capabilities) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Whoever declares that it cannot must also refuse, with `Unsupported`.
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
