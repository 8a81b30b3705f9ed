//! Outages and loss under real stacks on real sockets, in real time, between every two network
//! transports. Here the stacks themselves must recover, while the other scenarios cut between
//! engine and backend.

use std::time::Duration;

use blink_api::Registry;
use blink_conformance::impaired::Impairments;
use blink_conformance::lab::{Impaired, LabConfig, Timing};
use blink_conformance::scenarios;
use blink_signaling_libp2p as _;
use blink_transport_str0m as _;
use blink_transport_webrtc_rs as _;
use libtest_mimic::{Arguments, Failed, Trial};

const PAIRS: [[&str; 2]; 4] =
    [["str0m", "webrtc-rs"], ["webrtc-rs", "str0m"], ["str0m", "str0m"], ["webrtc-rs", "webrtc-rs"]];
/// Short and long outages, and an address change.
const CUT: [&str; 3] = ["blackout-of-5-s", "blackout-of-20-s", "address-changes"];
/// A call of three on a network with loss, delay and duplication.
const ROUGH: [&str; 1] = ["three-way"];

fn main() {
    let arguments = Arguments::from_args();
    let rough = Impaired {
        // Bursts of two packets, one in 42 packets.
        packets: Impairments {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(40),
            in_order: true,
            loss: 2.0 / 42.0,
            burst: Some(2.0),
            duplicate: 0.02,
            reorder: Some(50),
            ..Impairments::NONE
        },
        deliveries: Impairments {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(60),
            loss: 0.1,
            duplicate: 0.1,
            ..Impairments::NONE
        },
        seed: 1,
    };
    let networks = [("cut", Impaired::CUTS_ONLY, &CUT[..]), ("rough", rough, &ROUGH[..])];
    let trials = networks.into_iter().flat_map(|(network, impaired, names)| {
        PAIRS.into_iter().flat_map(move |pair| {
            let wanted = scenarios::all().into_iter().filter(move |scenario| names.contains(&scenario.name));
            wanted.map(move |scenario| {
                let name = format!("{network}::{}::{}", config(pair, impaired).name(), scenario.title());
                Trial::test(name, move || in_real_time(scenario, pair, impaired))
            })
        })
    });
    let trials: Vec<Trial> = trials.collect();
    assert_eq!(trials.len(), PAIRS.len() * (CUT.len() + ROUGH.len()), "every scenario named here is there");
    libtest_mimic::run(&arguments, trials).exit();
}

fn config(transports: [&str; 2], impaired: Impaired) -> LabConfig {
    let registry = Registry::discovered().expect("backends have different names");
    let config = LabConfig::new(registry, "str0m", "libp2p", Timing::Real);
    let settings = [
        r#"signalings.libp2p.listen=["/ip4/127.0.0.1/tcp/0"]"#,
        "signalings.libp2p.mdns=false",
        r#"ice.interfaces=["127.0.0.1"]"#,
    ];
    LabConfig {
        transports: transports.map(str::to_owned),
        settings: settings.map(str::to_owned).into(),
        impaired: Some(impaired),
        ..config
    }
}

fn in_real_time(
    scenario: scenarios::Scenario,
    transports: [&'static str; 2],
    impaired: Impaired,
) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(runtime.block_on(scenario.run_on(&config(transports, impaired)))?)
}
