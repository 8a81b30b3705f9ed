//! Two participants whose nodes are connected only through a third one, which is killed, suspended
//! and restarted during their call.

use std::path::Path;
use std::time::Duration;

use blink_api::Did;
use blink_engine::{CallConfig, Event};
use serde_json::Value;

use crate::program::{ALONE, Program};
use crate::test_engine::{TestEngine, is_state_of};

/// Packets of 20 ms that show that audio continues.
const SOME: u64 = 50;
const STOPPED: Duration = Duration::from_secs(5);

/// Bob's and Carol's nodes are connected to Alice's only, which forwards their gossip because she
/// is in the same call. Alice is a separate process.
struct Group {
    alice: Program,
    bob: TestEngine,
    carol: TestEngine,
}

impl Group {
    /// Starts the call: all three hear each other, and Carol knows that Bob was muted.
    async fn meet(directory: &Path, signaling: &str) -> Self {
        let mut bob = TestEngine::start("bob", &["transport=str0m", "signaling=libp2p"]).await;
        let mut carol = TestEngine::start("carol", &["transport=webrtc-rs", "signaling=ipfs"]).await;
        let (to_bob, to_carol) = (bob.target().await, carol.target().await);
        let settings = Self::alices(signaling);
        let alice = [&["call", "--json", &to_bob, &to_carol], &ALONE[..], &Self::set(&settings)].concat();
        let mut alice = Program::start(directory, &alice);
        for engine in [&mut bob, &mut carol] {
            answer(engine).await;
        }
        let caller = alice.event("calling")["call"].clone();
        assert!(caller.is_string(), "{caller}");
        alice.event("participant_joined");
        alice.event("participant_joined");
        bob.hears_on(carol.blink.did(), SOME).await;
        carol.hears_on(bob.blink.did(), SOME).await;
        bob.blink.set_muted(true).await.unwrap();
        carol.sees_state_of(bob.blink.did(), "that Bob is muted", |state| state.muted).await;
        bob.blink.set_muted(false).await.unwrap();
        carol.sees_state_of(bob.blink.did(), "that Bob is not muted any more", |state| !state.muted).await;
        Self { alice, bob, carol }
    }

    fn alices(signaling: &str) -> [String; 4] {
        [
            format!("signaling={signaling}"),
            "transport=str0m".to_owned(),
            "microphone=speech".to_owned(),
            "data_dir=alice".to_owned(),
        ]
    }

    fn set(settings: &[String]) -> Vec<&str> {
        settings.iter().flat_map(|setting| ["--set", setting]).collect()
    }

    /// Verifies that both hear each other, whatever the state of the node between them.
    async fn go_on_talking(&self) {
        self.bob.hears_on(self.carol.blink.did(), SOME).await;
        self.carol.hears_on(self.bob.blink.did(), SOME).await;
    }
}

/// A node suspended for 5 s is reported lost and restored. Carol's state reaches Bob meanwhile over
/// their data channel, and Alice afterwards.
async fn a_node_in_the_middle_may_stop(signaling: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut group = Group::meet(directory.path(), signaling).await;
    let carol = group.carol.blink.did();
    group.alice.signal("STOP");
    group.carol.blink.set_deafened(true).await.unwrap();
    let (mut is_lost, mut is_told) = (false, false);
    let both = group.bob.sees("that Alice's path is lost, and Carol's state", |event| {
        is_lost |= matches!(event, Event::ParticipantReconnecting { .. });
        is_told |= is_state_of(event, carol, |state| state.deafened);
        (is_lost && is_told).then_some(())
    });
    // Keep it suspended for at least this time.
    tokio::join!(both, tokio::time::sleep(STOPPED));
    group.go_on_talking().await;
    group.alice.signal("CONT");
    let is_found = |event: &Event| matches!(event, Event::ParticipantReconnected { .. }).then_some(());
    group.bob.sees("that Alice's path is found", is_found).await;
    told_that(&mut group.alice, carol, "deafened");
    group.go_on_talking().await;
}

/// A killed node interrupts no audio; once restarted it rejoins the call, and the current states
/// reach all participants.
async fn a_node_in_the_middle_may_be_killed_and_started_again(signaling: &str) {
    let directory = tempfile::tempdir().unwrap();
    let Group { alice, mut bob, mut carol } = Group::meet(directory.path(), signaling).await;
    alice.signal("KILL");
    drop(alice);
    bob.blink.set_recording(true).await.unwrap();
    carol.blink.set_deafened(true).await.unwrap();
    bob.hears_on(carol.blink.did(), SOME).await;
    carol.hears_on(bob.blink.did(), SOME).await;

    let settings = Group::alices(signaling);
    let bootstrap =
        format!(r#"signalings.{signaling}.bootstrap=["{}","{}"]"#, bob.address().await, carol.address().await);
    let again = [&["listen", "--json"], &ALONE[..], &Group::set(&settings), &["--set", &bootstrap]].concat();
    let mut alice = Program::start(directory.path(), &again);
    let listening = alice.event("listening");
    let alices: Did = listening["did"].as_str().unwrap().parse().unwrap();
    // Lists the ongoing calls, then joins the first.
    alice.type_line("j");
    alice.type_line("j 1");
    for engine in [&mut bob, &mut carol] {
        engine.is_joined_by(vec![alices]).await;
    }
    carol.sees_state_of(bob.blink.did(), "that Bob records", |state| state.recording).await;
    bob.sees_state_of(carol.blink.did(), "that Carol is deafened", |state| state.deafened).await;
    bob.hears_on(alices, SOME).await;
    bob.hears_on(carol.blink.did(), SOME).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_libp2p_node_in_the_middle_may_be_suspended() {
    a_node_in_the_middle_may_stop("libp2p").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipfs_node_in_the_middle_may_be_suspended() {
    a_node_in_the_middle_may_stop("ipfs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_libp2p_node_in_the_middle_may_be_killed_and_restarted() {
    a_node_in_the_middle_may_be_killed_and_started_again("libp2p").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipfs_node_in_the_middle_may_be_killed_and_restarted() {
    a_node_in_the_middle_may_be_killed_and_started_again("ipfs").await;
}

/// Bob and Carol do not listen: both are reachable only through a relay, an uninvolved process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_may_be_suspended_killed_and_restarted() {
    let directory = tempfile::tempdir().unwrap();
    let (relay, at) = relay(directory.path(), "/ip4/127.0.0.1/tcp/0");
    let relays = format!(r#"signalings.ipfs.relays=["{at}"]"#);
    let hidden = ["transport=str0m", "signaling=ipfs", "signalings.ipfs.listen=[]", &relays];
    let (mut bob, mut carol) = (TestEngine::start("bob", &hidden).await, TestEngine::start("carol", &hidden).await);
    let (bobs, carols) = (bob.blink.did(), carol.blink.did());
    carol.blink.connect(&through_relay(&mut bob).await).await.unwrap();
    call(&carol, bobs).await;
    answer(&mut bob).await;
    carol.is_joined_by(vec![bobs]).await;
    bob.hears_on(carols, SOME).await;
    carol.hears_on(bobs, SOME).await;

    relay.signal("STOP");
    carol.blink.set_deafened(true).await.unwrap();
    let told = bob.sees_state_of(carols, "that Carol is deafened", |state| state.deafened);
    tokio::join!(told, tokio::time::sleep(STOPPED));
    bob.hears_on(carols, SOME).await;
    carol.hears_on(bobs, SOME).await;
    relay.signal("CONT");

    relay.signal("KILL");
    drop(relay);
    // There is no other path between their nodes.
    bob.sees_nodes(0).await;
    carol.sees_nodes(0).await;
    carol.blink.set_deafened(false).await.unwrap();
    bob.sees_state_of(carols, "that Carol hears again", |state| !state.deafened).await;
    bob.hears_on(carols, SOME).await;
    carol.hears_on(bobs, SOME).await;
    let (listen, _) = at.split_once("/p2p/").unwrap();
    let (_relay, again) = self::relay(directory.path(), listen);
    assert_eq!(again, at);
    // The relay's node and the other participant's.
    bob.sees_nodes(2).await;
    carol.sees_nodes(2).await;

    // The next call is set up through it.
    carol.blink.leave_call().await.unwrap();
    bob.sees("the end", |event| matches!(event, Event::CallEnded { .. }).then_some(())).await;
    call(&bob, carols).await;
    answer(&mut carol).await;
    bob.is_joined_by(vec![carols]).await;
}

#[test]
fn listen_prints_the_relayed_address_once_reserved() {
    let directory = tempfile::tempdir().unwrap();
    let (_relay, at) = relay(directory.path(), "/ip4/127.0.0.1/tcp/0");
    let relays = format!(r#"signalings.ipfs.relays=["{at}"]"#);
    let settings = ["--set", "signaling=ipfs", "--set", "signalings.ipfs.listen=[]", "--set", &relays];
    // The last setting on the command line takes precedence.
    let mut hidden = Program::start(directory.path(), &[&["listen", "--json"], &ALONE[..], &settings].concat());
    loop {
        let listening = hidden.event("listening");
        if let Some(address) = listening["addresses"][0].as_str() {
            let did = listening["did"].as_str().unwrap();
            assert!(address.starts_with(&format!("{did}@{at}/p2p-circuit/p2p/")), "{listening}");
            return;
        }
    }
}

/// Starts a node that serves as a relay and answers no calls, and returns its address.
fn relay(directory: &Path, listen: &str) -> (Program, String) {
    let listen = format!(r#"signalings.ipfs.listen=["{listen}"]"#);
    let settings =
        ["signaling=ipfs", &listen, "signalings.ipfs.serve_relay=true", "signalings.ipfs.node_key=relay.key"];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]).collect::<Vec<_>>();
    let mut relay = Program::start(directory, &[&["listen", "--json"], &ALONE[..], &settings].concat());
    let listening = relay.event("listening");
    let address = listening["addresses"][0].as_str().and_then(|target| target.split_once('@')).expect("it listens").1;
    (relay, address.to_owned())
}

/// Waits for the address through the relay.
async fn through_relay(engine: &mut TestEngine) -> String {
    loop {
        if let Some(address) = engine.blink.addresses().await.unwrap().pop() {
            return address;
        }
        engine.sees("the relay's consent", |event| matches!(event, Event::AddressesChanged).then_some(())).await;
    }
}

async fn call(caller: &TestEngine, callee: Did) {
    caller.blink.offer_call(&[callee], CallConfig::default()).await.unwrap();
}

async fn answer(engine: &mut TestEngine) {
    let call = engine.sees("a call", |event| match event {
        Event::IncomingCall { call, .. } => Some(*call),
        _ => None,
    });
    let call = call.await;
    engine.blink.answer_call(call).await.unwrap();
}

/// Reads a program's events until one reports a participant's state.
fn told_that(program: &mut Program, did: Did, state: &str) {
    loop {
        let event = program.event("participant_state_changed");
        if event["participant"]["did"] == did.to_string() && event["state"][state] == Value::Bool(true) {
            return;
        }
    }
}
