//! Registered backends of this program, and its default choices.

use blink_media_cpal_opus as _;
use blink_media_g711 as _;
use blink_media_processing as _;
use blink_media_synthetic as _;
use blink_recorders as _;
#[cfg(feature = "ipfs")]
use blink_signaling_ipfs as _;
use blink_signaling_libp2p as _;
use blink_signaling_memory as _;
use blink_transport_memory as _;
use blink_transport_str0m as _;
use blink_transport_webrtc_rs as _;

use blink_api::{Configuration, ConfigurationBuilder, Registry};

/// The media host that reads and writes files.
pub(crate) const FILES: &str = "synthetic";

/// The media host of devices, where it is built in.
#[cfg(feature = "cpal")]
const DEVICES: Option<&str> = Some("cpal");
#[cfg(not(feature = "cpal"))]
const DEVICES: Option<&str> = None;

/// Processors of a microphone: echo cancellation and gain, then noise suppression.
const PROCESSORS: [&str; 2] = ["sonora", "nnnoiseless"];

/// Offered codecs in order of preference. G.711, which every WebRTC stack supports, comes last.
pub(crate) const CODECS: [&str; 3] = ["opus", "pcmu", "pcma"];

/// Recorders of calls that a user has recorded.
const RECORDERS: [&str; 1] = ["wav"];

/// Chain of processors that `blink bench echo` measures.
pub(crate) struct ProcessorChain {
    pub(crate) name: &'static str,
    pub(crate) processors: &'static [&'static str],
    pub(crate) settings: &'static [&'static str],
}

/// Chains of `blink bench echo`.
pub(crate) const PROCESSOR_CHAINS: [ProcessorChain; 5] = [
    ProcessorChain {
        name: "sonora, echo only",
        processors: &["sonora"],
        settings: &["processors.sonora.gain_control=false"],
    },
    ProcessorChain { name: "sonora", processors: &["sonora"], settings: &[] },
    ProcessorChain {
        name: "sonora, with its noise suppression",
        processors: &["sonora"],
        settings: &["processors.sonora.noise_suppression=true"],
    },
    ProcessorChain { name: "nnnoiseless", processors: &["nnnoiseless"], settings: &[] },
    ProcessorChain { name: "sonora, nnnoiseless", processors: &["sonora", "nnnoiseless"], settings: &[] },
];

/// Transports of the demo, without shared code.
pub(crate) const DEMO_TRANSPORTS: [&str; 2] = ["webrtc-rs", "str0m"];

/// Signaling backends that interoperate: gossipsub on the same topics.
const GOSSIP: &[&str] = if cfg!(feature = "ipfs") { &["ipfs", "libp2p"] } else { &["libp2p"] };

/// Whether two signaling backends interoperate.
pub(crate) fn meet(one: &str, other: &str) -> bool {
    one == other || (GOSSIP.contains(&one) && GOSSIP.contains(&other))
}

/// Starts a configuration with this program's defaults.
pub(crate) fn configuration(registry: &Registry) -> ConfigurationBuilder {
    Configuration::builder(registry)
        .default_value("transport", "str0m")
        .default_value("signaling", "libp2p")
        .default_value("codec", CODECS.to_vec())
        .default_value("media_host", FILES)
        .default_value("recorder", RECORDERS.to_vec())
}

/// Starts a configuration for calls on devices, with files in second place. Echo, noise and gain of
/// the microphone are processed.
pub(crate) fn with_devices(registry: &Registry) -> ConfigurationBuilder {
    let builder = configuration(registry);
    match DEVICES {
        Some(devices) => {
            builder.default_value("media_host", vec![devices, FILES]).default_value("processor", PROCESSORS.to_vec())
        }
        None => builder,
    }
}

/// Configures two nodes in this process that no other node discovers.
pub(crate) fn demonstration(builder: ConfigurationBuilder) -> ConfigurationBuilder {
    GOSSIP.iter().fold(builder, |builder, name| {
        builder.set("demo", &format!("signalings.{name}.listen"), vec!["/ip4/127.0.0.1/tcp/0"]).set(
            "demo",
            &format!("signalings.{name}.mdns"),
            false,
        )
    })
}

/// Settings of all participants of conformance runs on this machine.
pub(crate) fn laboratory() -> impl Iterator<Item = String> {
    let of_node = |name: &&str| {
        [format!(r#"signalings.{name}.listen=["/ip4/127.0.0.1/tcp/0"]"#), format!("signalings.{name}.mdns=false")]
    };
    GOSSIP.iter().flat_map(of_node).chain([r#"ice.interfaces=["127.0.0.1"]"#.to_owned()])
}

/// Configures backends without network and devices.
pub(crate) fn offline(builder: ConfigurationBuilder) -> ConfigurationBuilder {
    builder.set("id", "transport", "memory").set("id", "signaling", "memory").set("id", "media_host", FILES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_these_backends_are_registered() {
        let registry = Registry::discovered().unwrap();
        let names: Vec<_> = registry.summaries().iter().map(|backend| (backend.kind, backend.name)).collect();
        assert_eq!(
            names,
            [
                ("codec", "opus"),
                ("codec", "pcma"),
                ("codec", "pcmu"),
                #[cfg(feature = "cpal")]
                ("media_host", "cpal"),
                ("media_host", "synthetic"),
                ("payload_format", "h264"),
                ("payload_format", "vp8"),
                ("processor", "nnnoiseless"),
                ("processor", "sonora"),
                ("recorder", "mp4"),
                ("recorder", "rtp-log"),
                ("recorder", "wav"),
                ("signaling", "ipfs"),
                ("signaling", "libp2p"),
                ("signaling", "memory"),
                ("transport", "memory"),
                ("transport", "str0m"),
                ("transport", "webrtc-rs"),
            ]
        );
    }

    #[test]
    fn the_choices_of_this_program_can_be_built() {
        let registry = Registry::discovered().unwrap();
        for builder in
            [configuration(&registry), demonstration(configuration(&registry)), offline(configuration(&registry))]
        {
            builder.build().unwrap();
        }
    }
}
