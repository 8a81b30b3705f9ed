//! Calls between two different stacks on real sockets, over libp2p, in real time: the scenarios that show what everybody relies on.

use blink_api::Registry;
use blink_conformance::lab::{Stage, Timing};
use blink_conformance::scenarios;
use blink_signaling_libp2p as _;
use blink_transport_str0m as _;
use blink_transport_webrtc_rs as _;
use libtest_mimic::{Arguments, Failed, Trial};

/// Everybody hears everybody, and streams.
const IN_ALL_PAIRS: [u8; 2] = [21, 41];
/// Leaving and joining again takes its time.
const IN_MIXED_PAIRS: [u8; 1] = [28];
const PAIRS: [[&str; 2]; 4] =
    [["str0m", "webrtc-rs"], ["webrtc-rs", "str0m"], ["str0m", "str0m"], ["webrtc-rs", "webrtc-rs"]];

fn main() {
    let arguments = Arguments::from_args();
    let trials = PAIRS.into_iter().flat_map(|pair| {
        let mixed = pair[0] != pair[1];
        let is_wanted = move |number| IN_ALL_PAIRS.contains(&number) || (mixed && IN_MIXED_PAIRS.contains(&number));
        let wanted = scenarios::all().into_iter().filter(move |scenario| is_wanted(scenario.number));
        wanted.map(move |scenario| {
            let name = format!("call::{}::{}", stage(pair).name(), scenario.title());
            Trial::test(name, move || in_real_time(scenario, pair))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn stage(transports: [&str; 2]) -> Stage {
    let registry = Registry::discovered().expect("backends have different names");
    let stage = Stage::new(registry, "str0m", "libp2p", Timing::Real);
    let settings = [
        r#"signalings.libp2p.listen=["/ip4/127.0.0.1/tcp/0"]"#,
        "signalings.libp2p.mdns=false",
        r#"ice.interfaces=["127.0.0.1"]"#,
    ];
    Stage { transports: transports.map(str::to_owned), settings: settings.map(str::to_owned).into(), ..stage }
}

fn in_real_time(scenario: scenarios::Scenario, transports: [&'static str; 2]) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(runtime.block_on(scenario.run_on(&stage(transports)))?)
}
