use blink_api::{CodecName, IceConfig, RtpCodec, SessionEvents, SystemClock};

use super::*;

/// A session's state without a network, and what it tells.
pub(crate) fn peer() -> (Peer, SessionEvents) {
    let opus = RtpCodec { name: CodecName::new("opus"), clock_rate: 48_000, channels: 2, fmtp: String::new() };
    let session = SessionConfig {
        ice: IceConfig::default(),
        audio: vec![opus],
        video: Vec::new(),
        clock: Arc::new(SystemClock),
        participant: None,
    };
    let codecs = Codecs::new(&session).expect("known codecs");
    let (events, reader) = blink_transport_kit::events::channel();
    (Peer::new(&Str0mConfig::default(), &session, codecs, events, Arc::default()), reader)
}

