//! Calls by DID between two private networks behind routers, with nothing configured but the
//! address of a node with a public address.
//!
//! The networks are network namespaces, which need root and `nft` (`script/setup --tests`). Where
//! they cannot be made, all tests are ignored, and a warning says so.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "answers of the caller, and measured times")]

#[cfg(target_os = "linux")]
mod caller;
#[cfg(target_os = "linux")]
mod invites;
#[cfg(target_os = "linux")]
mod scenarios;
#[cfg(target_os = "linux")]
mod world;

#[cfg(target_os = "linux")]
#[path = "../blink/program.rs"]
#[allow(dead_code, reason = "shared with the other tests of the program")]
mod program;

#[cfg(target_os = "linux")]
fn main() {
    use blink_media_cpal_opus as _;
    use blink_media_synthetic as _;
    use blink_signaling_ipfs as _;
    use blink_signaling_libp2p as _;
    use blink_transport_str0m as _;
    use blink_transport_webrtc_rs as _;

    if let Ok(settings) = std::env::var(caller::ROLE) {
        return caller::run(&settings);
    }
    let mut arguments = libtest_mimic::Arguments::from_args();
    // Each world runs a node and two engines.
    arguments.test_threads = Some(1);
    let refused = world::World::create([world::Nat::PortPreserving; 2]).err();
    if let Some(reason) = &refused {
        eprintln!("NOT TESTED: no network namespaces, calls through routers are not tested: {}", reason.trim());
    }
    let trials = scenarios::all().into_iter().map(|trial| trial.with_ignored_flag(refused.is_some())).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("NOT TESTED: network namespaces exist on Linux only");
}
