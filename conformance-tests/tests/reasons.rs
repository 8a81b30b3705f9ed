//! Calls that fail: both sides report the same reason, over each pair of stacks.

use std::sync::Arc;
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Configuration, Context, DtlsState, Error, ErrorKind, FailureReason, FailureSide, IceState, PathFailure, Registry,
    RejectReason, Result, Session, SessionConfig, SessionEvent, SessionEvents, SystemClock, Transport,
    TransportCapabilities,
};
use blink_conformance::forwarding::ForwardingSession;
use blink_conformance::impaired::{Cut, ImpairedNetwork, ImpairedTransport, Impairments};
use blink_engine::{Blink, CallConfig, EndReason, Event, EventItem, Events, Identity};
use tokio::sync::mpsc;
use {
    blink_media_cpal_opus as _, blink_media_g711 as _, blink_media_synthetic as _, blink_signaling_memory as _,
    blink_transport_memory as _, blink_transport_str0m as _, blink_transport_webrtc_rs as _,
};

/// Timeout of every wait.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Both limits are short, so that a test takes seconds.
const TIMERS: [&str; 2] = ["call.timers.connect_limit=4s", "call.timers.path_failed=3s"];
const STACKS: [[&str; 2]; 4] =
    [["str0m", "webrtc-rs"], ["webrtc-rs", "str0m"], ["str0m", "str0m"], ["webrtc-rs", "webrtc-rs"]];
const WITH_MEMORY: [&str; 2] = ["memory", "memory"];

/// One person, before the call.
struct Profile {
    transport: &'static str,
    settings: Vec<&'static str>,
    fault: Fault,
}

/// Fault of a person's transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Its descriptions announce another certificate.
    Fingerprint,
    /// Its candidates are for TCP only.
    Unreachable,
    /// It waits for the handshake as the other side does.
    Passive,
    /// Its descriptions cannot be parsed.
    Garbled,
    /// It opens no session.
    Closed,
}

fn with(transport: &'static str) -> Profile {
    Profile { transport, settings: Vec::new(), fault: Fault::None }
}

impl Profile {
    fn set(mut self, setting: &'static str) -> Self {
        self.settings.push(setting);
        self
    }

    fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    async fn start(&self, registry: &Registry, seed: u8, network: Option<&Arc<ImpairedNetwork>>) -> Person {
        let mut builder = Configuration::builder(registry)
            .set("test", "transport", self.transport)
            .set("test", "signaling", "memory")
            .set("test", "codec", vec!["opus"])
            .set("test", "media_host", "synthetic")
            .set("test", "microphone", "speech")
            .set("test", "speaker", "null")
            .set("test", "ice.interfaces", vec!["127.0.0.1"]);
        for setting in self.settings.iter().chain(&TIMERS) {
            builder = builder.set_argument("test", setting);
        }
        let configuration = builder.build().expect("a configuration");
        let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
        let transport = configuration.create::<dyn Transport>(&context).await.expect("the transport starts");
        let impaired = network.map(|network| Arc::new(ImpairedTransport::new(Arc::clone(&transport), network)));
        let transport = impaired.clone().map_or(transport, |impaired| impaired as Arc<dyn Transport>);
        let transport = Arc::new(FaultyTransport { inner: transport, fault: self.fault });
        let blink = Blink::builder(&configuration).identity(Identity::from_seed(&[seed; 32])).transport(transport);
        let blink = blink.start().await.expect("the engine starts");
        Person { events: blink.events(), blink, impaired }
    }
}

struct Person {
    blink: Blink,
    events: Events,
    impaired: Option<Arc<ImpairedTransport>>,
}

impl Person {
    async fn sees<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let mut seen = Vec::new();
        let waiting = async {
            loop {
                match self.events.next().await {
                    Some(EventItem::Event(event)) => match wanted(&event) {
                        Some(found) => return found,
                        None => seen.push(event),
                    },
                    item => panic!("{what}: {item:?}"),
                }
            }
        };
        let found = tokio::time::timeout(EVENT_TIMEOUT, waiting).await;
        found.unwrap_or_else(|_| panic!("{what}: not within {EVENT_TIMEOUT:?}, but {seen:?}"))
    }

    async fn answers(&mut self) {
        let rings = |event: &Event| match event {
            Event::IncomingCall { call, .. } => Some(*call),
            _ => None,
        };
        let call = self.sees("the call rings", rings).await;
        self.blink.answer_call(call).await.expect("it can be answered");
    }

    /// The failure with which the call ends.
    async fn failure(&mut self) -> PathFailure {
        let ended = |event: &Event| match event {
            Event::CallEnded { reason, failure, .. } => Some((*reason, *failure)),
            _ => None,
        };
        let (reason, failure) = self.sees("the end", ended).await;
        assert_eq!(reason, EndReason::Failed);
        failure.expect("a failed call has a reason")
    }
}

/// A call of two that fails: what both sides report. Each person calls once, so that each stack is
/// the offerer and the DTLS client once.
async fn fails(profiles: [Profile; 2], reason: FailureReason) -> Vec<[PathFailure; 2]> {
    let mut all = Vec::new();
    for seeds in [[1, 2], [2, 1]] {
        let registry = Registry::discovered().expect("backends have different names");
        let mut alice = profiles[0].start(&registry, seeds[0], None).await;
        let mut bob = profiles[1].start(&registry, seeds[1], None).await;
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.expect("Bob can be called");
        bob.answers().await;
        let both = [alice.failure().await, bob.failure().await];
        for failure in both {
            assert_eq!(failure.reason, reason, "{} to {}: {both:?}", profiles[0].transport, profiles[1].transport);
        }
        assert!(both.iter().any(|failure| failure.found_by == FailureSide::Local), "one of the two found it: {both:?}");
        all.push(both);
        alice.blink.shutdown().await;
        bob.blink.shutdown().await;
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_common_codec() {
    for [one, other] in STACKS.into_iter().chain([WITH_MEMORY]) {
        let profiles = [with(one).set("codec=[opus]"), with(other).set("codec=[pcmu,pcma]")];
        fails(profiles, FailureReason::NoCommonCodec).await;
    }
}

/// webrtc-rs speaks DTLS 1.2 only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dtls_versions_without_overlap() {
    let newest = || with("str0m").set("transports.str0m.dtls=1.3");
    fails([newest(), with("webrtc-rs")], FailureReason::DtlsVersion).await;
    fails([newest(), with("str0m").set("transports.str0m.dtls=1.2")], FailureReason::DtlsVersion).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_than_the_announced_one() {
    for [one, other] in STACKS.into_iter().chain([WITH_MEMORY]) {
        let profiles = [with(one).fault(Fault::Fingerprint), with(other)];
        for both in fails(profiles, FailureReason::Fingerprint).await {
            let found = both.iter().find(|failure| failure.found_by == FailureSide::Local);
            assert!(found.is_some_and(|failure| failure.ice == IceState::Connected), "{both:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_candidate_pair() {
    for [one, other] in STACKS {
        let profiles = [with(one).fault(Fault::Unreachable), with(other).fault(Fault::Unreachable)];
        fails(profiles, FailureReason::NoCandidatePair).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_begin_is_a_timeout_with_the_states() {
    for both in fails([with("str0m"), with("str0m").fault(Fault::Passive)], FailureReason::Timeout).await {
        for failure in both {
            assert_eq!((failure.ice, failure.dtls), (IceState::Connected, DtlsState::New), "{both:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_that_cannot_be_parsed() {
    for [one, other] in STACKS.into_iter().chain([WITH_MEMORY]) {
        fails([with(one).fault(Fault::Garbled), with(other)], FailureReason::Description).await;
    }
}

/// The failure may come before the other side has a link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_that_opens_no_session() {
    for closed in [0, 1] {
        let mut profiles = WITH_MEMORY.map(with);
        profiles[closed].fault = Fault::Closed;
        for both in fails(profiles, FailureReason::NoSession).await {
            assert_eq!(both[closed].found_by, FailureSide::Local, "{both:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_lost() {
    for [one, other] in STACKS {
        let registry = Registry::discovered().expect("backends have different names");
        let network = ImpairedNetwork::new(Impairments::NONE, 1);
        let mut alice = with(one).start(&registry, 1, Some(&network)).await;
        let mut bob = with(other).start(&registry, 2, Some(&network)).await;
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.expect("Bob can be called");
        bob.answers().await;
        for person in [&mut alice, &mut bob] {
            person.sees("audio", |event| matches!(event, Event::MediaStarted { .. }).then_some(())).await;
        }
        bob.impaired.as_ref().expect("a network").cut(Cut::Both);
        for person in [&mut alice, &mut bob] {
            assert_eq!(person.failure().await.reason, FailureReason::PathLost, "{one} to {other}");
        }
        alice.blink.shutdown().await;
        bob.blink.shutdown().await;
    }
}

/// A group in which two do not reach each other: both report it. Each of them is the offerer once.
async fn fails_in_a_group(profiles: [Profile; 3], reason: FailureReason) {
    for seeds in [[1, 2], [2, 1]] {
        let registry = Registry::discovered().expect("backends have different names");
        let mut alice = profiles[0].start(&registry, seeds[0], None).await;
        let mut bob = profiles[1].start(&registry, seeds[1], None).await;
        let mut carol = profiles[2].start(&registry, 3, None).await;
        let people = [bob.blink.did(), carol.blink.did()];
        alice.blink.offer_call(&people, CallConfig::default()).await.expect("they can be called");
        bob.answers().await;
        carol.answers().await;
        let ends = [bob.blink.endpoint(), alice.blink.endpoint()];
        for (person, other) in [&mut alice, &mut bob].into_iter().zip(ends) {
            let unreachable = |event: &Event| match event {
                Event::ParticipantUnreachable { participant, failure, .. } if *participant == other => Some(*failure),
                _ => None,
            };
            assert_eq!(person.sees("the unreachable one", unreachable).await.reason, reason);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_group_both_sides_report_the_unreachable_participant_with_the_reason() {
    let codecs = ["codec=[opus]", "codec=[pcmu]", "codec=[opus,pcmu]"];
    fails_in_a_group(codecs.map(|codecs| with("memory").set(codecs)), FailureReason::NoCommonCodec).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_group_both_sides_report_a_transport_that_opens_no_session() {
    let profiles = [with("memory"), with("memory").fault(Fault::Closed), with("memory")];
    fails_in_a_group(profiles, FailureReason::NoSession).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_carries_its_reason() {
    for reason in [RejectReason::Declined, RejectReason::Policy, RejectReason::NoDevice] {
        let registry = Registry::discovered().expect("backends have different names");
        let mut alice = with("memory").start(&registry, 1, None).await;
        let mut bob = with("memory").start(&registry, 2, None).await;
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.expect("Bob can be called");
        let rings = |event: &Event| match event {
            Event::IncomingCall { call, .. } => Some(*call),
            _ => None,
        };
        let call = bob.sees("the call rings", rings).await;
        bob.blink.reject_call_because(call, reason).await.expect("it can be rejected");
        let rejected = |event: &Event| match event {
            Event::ParticipantRejected { reason, .. } => Some(*reason),
            _ => None,
        };
        assert_eq!(alice.sees("the rejection", rejected).await, reason);
    }
}

/// A transport with a fault.
struct FaultyTransport {
    inner: Arc<dyn Transport>,
    fault: Fault,
}

#[async_trait]
impl Transport for FaultyTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let fault = self.fault;
        if fault == Fault::Closed {
            return Err(Error::new(ErrorKind::Io, "there is no network interface"));
        }
        let (inner, mut events) = self.inner.open(config).await?;
        let (sender, receiver) = mpsc::channel(1_024);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let event = match event {
                    SessionEvent::LocalCandidate(mut candidate) => {
                        candidate.attribute = fault.candidate(&candidate.attribute);
                        SessionEvent::LocalCandidate(candidate)
                    }
                    event => event,
                };
                // The session is closed.
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok((Box::new(FaultySession { inner, fault }), receiver))
    }
}

struct FaultySession {
    inner: Box<dyn Session>,
    fault: Fault,
}

impl Fault {
    fn candidate(self, attribute: &str) -> String {
        match self {
            Self::Unreachable => attribute.replace(" udp ", " tcp ").replace(" UDP ", " TCP "),
            _ => attribute.to_owned(),
        }
    }

    /// The description that the other side is told.
    fn told(self, sdp: &str) -> String {
        sdp.lines().map(|line| format!("{}\r\n", self.told_line(line))).collect()
    }

    fn told_line(self, line: &str) -> String {
        match (self, line.split_once(':')) {
            (Self::Fingerprint, Some(("a=fingerprint", value))) => {
                let (rest, last) = value.split_at(value.len() - 1);
                format!("a=fingerprint:{rest}{}", if last == "0" { "1" } else { "0" })
            }
            (Self::Unreachable, Some(("a=candidate", value))) => format!("a=candidate:{}", self.candidate(value)),
            (Self::Passive, Some(("a=setup", "passive" | "actpass"))) => "a=setup:active".to_owned(),
            (Self::Garbled, _) if line.starts_with("m=") => "m=".to_owned(),
            _ => line.to_owned(),
        }
    }

    /// The description as its own session is told.
    fn heard(self, sdp: &str) -> String {
        match self {
            Self::Passive => sdp.replace("a=setup:actpass", "a=setup:active"),
            _ => sdp.to_owned(),
        }
    }
}

#[async_trait]
impl ForwardingSession for FaultySession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        Ok(self.fault.told(&self.inner.create_offer(ice_restart).await?))
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        Ok(self.fault.told(&self.inner.accept_offer(&self.fault.heard(sdp)).await?))
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        // An offerer that is passive hears that the other side is active, though it is not.
        let sdp = if self.fault == Fault::Passive {
            sdp.replace("a=setup:passive", "a=setup:active")
        } else {
            sdp.to_owned()
        };
        self.inner.accept_answer(&sdp).await
    }
}

blink_conformance::forwards!(Session for FaultySession);
