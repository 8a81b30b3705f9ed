//! Signaling nodes that stop, crash and restart during a call, and floods.

use blink_media_cpal_opus as _;
use blink_media_synthetic as _;
use blink_signaling_ipfs as _;
use blink_signaling_libp2p as _;
use blink_transport_str0m as _;
use blink_transport_webrtc_rs as _;

mod flood;
mod hostile;
mod middle;
#[path = "../blink/program.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod program;
mod test_engine;
