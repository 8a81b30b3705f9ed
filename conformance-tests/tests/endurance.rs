//! A hundred calls over real sockets, alone in the process, so that its sockets and memory can be
//! measured.

use std::net::{Ipv4Addr, UdpSocket};

use blink_api::Registry;
use blink_conformance::lab::{LabConfig, ResourceUsage, Timing};
use blink_conformance::scenarios;
use blink_signaling_libp2p as _;
use blink_transport_str0m as _;
use blink_transport_webrtc_rs as _;

#[test]
fn a_hundred_calls_leave_no_sockets_and_hardly_more_memory() {
    let sockets = || ResourceUsage::now(0).map(|resource_usage| resource_usage.sockets);
    let before = sockets();
    assert!(before.is_some() || !cfg!(target_os = "linux"), "Linux reports resource usage");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    assert_eq!(sockets(), before.map(|before| before + 1), "a socket is counted");
    drop(socket);
    assert_eq!(sockets(), before, "a closed socket is not counted");
    let registry = Registry::discovered().expect("backends have different names");
    let settings = [
        r#"signalings.libp2p.listen=["/ip4/127.0.0.1/tcp/0"]"#,
        "signalings.libp2p.mdns=false",
        r#"ice.interfaces=["127.0.0.1"]"#,
    ];
    let config = LabConfig {
        transports: ["str0m", "webrtc-rs"].map(str::to_owned),
        settings: settings.map(str::to_owned).into(),
        exclusive_process: true,
        ..LabConfig::new(registry, "str0m", "libp2p", Timing::Real)
    };
    let scenario = scenarios::all().into_iter().find(|scenario| scenario.name == "a-hundred-calls");
    let scenario = scenario.expect("the scenario is there");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.expect("a runtime").block_on(scenario.run_on(&config));
    outcome.expect("nothing is left");
}
