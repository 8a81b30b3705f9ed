//! Strangers who say as much as they can: it is their own share of a device's memory that they
//! fill.
//!
//! The callee's machine is real. Callers are written out, so that thousands of them cost little.

use std::time::{Duration, Instant};

use blink_api::{CallId, CallSettings, DeviceId, Did, Endpoint, ErrorKind};
use blink_proto::call::{CallState, Event, Input, Machine, MachineConfig, Memory, Now, Output, Presence, Signal};
use blink_proto::secure::symmetric::sha256;
use blink_proto::secure::{AgreementKey, Channel, Identity, Refusal, inbox_topic, sign_call_key};
use blink_proto::wire::{
    Body, Bytes16, CallConfiguration, Cancel, CancelReason, Entry, EntryBody, JoinedClaim, Offer, Ringing, Root,
    Signed, cbor,
};

pub(crate) const SECRET: [u8; 32] = [4; 32];

/// A person with a call.
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) endpoint: Endpoint,
    pub(crate) root: Root,
}

pub(crate) fn identity(number: u32) -> Identity {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    Identity::from_seed(&seed)
}

pub(crate) fn endpoint(identity: &Identity) -> Endpoint {
    Endpoint { did: identity.did(), device: DeviceId::from_random([1; 16]) }
}

impl Caller {
    pub(crate) fn new(number: u32, people: &[Did]) -> Self {
        let identity = identity(number);
        let endpoint = endpoint(&identity);
        let mut members: Vec<Did> = people.iter().copied().chain([endpoint.did]).collect();
        members.sort();
        let root = Root { creator: endpoint, nonce: [5; 16], unix_ms: 1, secret_hash: sha256(&[&SECRET]), members };
        Self { identity, endpoint, root }
    }

    pub(crate) fn call(&self) -> CallId {
        call_of(&cbor::encode(&self.root))
    }

    pub(crate) fn claim(&self) -> JoinedClaim {
        let key = AgreementKey::from_scalar(&[6; 32]);
        let call_key = sign_call_key(&self.identity, &self.endpoint.device, &self.call(), key.public());
        JoinedClaim { endpoint: self.endpoint, boot: 1, version: 1, call_key }
    }

    pub(crate) fn offer(&self, echo: Option<Bytes16>) -> Offer {
        let bytes = cbor::encode(&self.root);
        Offer {
            root: Signed { signature: self.identity.sign(b"blink/1 root\0", &bytes), bytes },
            entries: Vec::new(),
            secret: SECRET.into(),
            joined: vec![self.claim()],
            remaining_ms: 60_000,
            echo: echo.into_iter().collect(),
            configuration: CallConfiguration::default(),
        }
    }

    /// Entries that this person signed, each another one, of which the roster keeps few.
    pub(crate) fn entries(&self, count: u32) -> Vec<Signed> {
        let add = |n: u32| {
            let body = EntryBody::Add { by: self.endpoint.did, slot: (n % 4) as u8 };
            let entry = Entry { call: self.call(), did: identity(1_000_000 + n).did(), body };
            let bytes = cbor::encode(&entry);
            Signed { signature: self.identity.sign(b"blink/1 entry\0", &bytes), bytes }
        };
        (0..count).map(add).collect()
    }

    pub(crate) fn cancel(&self, replaced_by: Option<CallId>) -> Body {
        let reason = if replaced_by.is_some() { CancelReason::Replaced } else { CancelReason::Left };
        Body::Cancel(Cancel { reason, version: 9, joined: Vec::new(), acknowledged: false, replaced_by })
    }
}

pub(crate) fn call_of(root: &[u8]) -> CallId {
    CallId::from_bytes(*sha256(&[b"blink/1 call\0", root]).first_chunk().unwrap())
}

/// The device that all strangers send to, with its memory.
pub(crate) struct Callee {
    pub(crate) machine: Machine,
    pub(crate) now: Now,
    pub(crate) boot: u64,
    pub(crate) memory: Memory,
}

pub(crate) const OWN: u32 = 1;
pub(crate) const FRIEND: u32 = 2;

impl Callee {
    /// A device that knows one person.
    pub(crate) fn new() -> Self {
        let now = Now { mono: Instant::now(), unix_ms: 1_000_000_000_000 };
        let mut callee = Self { machine: machine(1, Memory::default(), now), now, boot: 1, memory: Memory::default() };
        callee.machine.set_known([identity(FRIEND).did()].into());
        callee
    }

    /// A new start with what was written down. No person is known yet.
    pub(crate) fn starts_anew(&mut self) {
        self.boot += 1;
        self.machine = machine(self.boot, self.memory.clone(), self.now);
        self.outputs();
    }

    pub(crate) fn own(&self) -> Did {
        self.machine.own().did
    }

    pub(crate) fn wait(&mut self, duration: Duration) -> Vec<Output> {
        self.now.mono += duration;
        self.now.unix_ms += duration.as_millis() as u64;
        self.machine.handle_timeout(self.now);
        self.outputs()
    }

    pub(crate) fn hears(&mut self, from: Endpoint, call: CallId, body: Body) -> Vec<Output> {
        let channel = Channel::Inbox(self.own());
        self.machine.handle(self.now, Input::Signal(Signal { channel, from, boot: 1, call, body }));
        self.outputs()
    }

    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        let outputs: Vec<_> = std::iter::from_fn(|| self.machine.poll()).collect();
        for output in &outputs {
            if let Output::Persist(memo) = output {
                self.memory.apply(memo.clone());
            }
        }
        outputs
    }

    pub(crate) fn hears_offer(&mut self, caller: &Caller, offer: Offer) -> Vec<Output> {
        self.hears(caller.endpoint, caller.call(), Body::Offer(Box::new(offer)))
    }

    /// The nonce for an offer.
    pub(crate) fn nonce(&mut self, caller: &Caller) -> Bytes16 {
        let outputs = self.hears_offer(caller, caller.offer(None));
        nonce(&outputs).unwrap_or_else(|| panic!("no answer: {outputs:?}"))
    }

    /// A call with a fresh echo, ten milliseconds after what was before.
    pub(crate) fn is_called(&mut self, caller: &Caller) -> Vec<Output> {
        self.wait(Duration::from_millis(10));
        let nonce = self.nonce(caller);
        self.hears_offer(caller, caller.offer(Some(nonce)))
    }

    pub(crate) fn knows(&self, call: CallId) -> bool {
        self.machine.check_answer(call).is_ok()
    }
}

pub(crate) fn machine(boot: u64, memory: Memory, now: Now) -> Machine {
    let identity = identity(OWN);
    let (own, settings, seed) = (endpoint(&identity), CallSettings::default(), [boot as u8; 32]);
    Machine::new(MachineConfig { identity, own, boot, settings, seed, memory }, now)
}

pub(crate) fn nonce(outputs: &[Output]) -> Option<Bytes16> {
    outputs.iter().find_map(|output| match output {
        Output::Send { body, .. } => match &**body {
            Body::Ringing(Ringing { nonce, .. }) => Some(*nonce),
            _ => None,
        },
        _ => None,
    })
}

pub(crate) fn rang(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Emit(Event::IncomingCall { .. })))
}

pub(crate) fn refusals(outputs: &[Output], refusal: Refusal) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::CountRefusal(why) if *why == refusal)).count()
}

/// A stranger's call of three.
pub(crate) fn strangers_group(number: u32, callee: Did) -> Caller {
    Caller::new(number, &[callee, identity(number + 5_000_000).did()])
}

#[test]
fn strangers_push_out_neither_a_known_persons_ongoing_call_nor_its_history() {
    let mut callee = Callee::new();
    let own = callee.own();
    let friend = Caller::new(FRIEND, &[own, identity(3).did()]);
    assert!(rang(&callee.is_called(&friend)));
    callee.machine.reject(callee.now, friend.call()).unwrap();
    callee.outputs();
    // The caller of a call that is joined is no stranger's any more.
    let joined = strangers_group(50, own);
    callee.is_called(&joined);
    callee.machine.answer(callee.now, joined.call()).unwrap();
    callee.machine.leave(callee.now).unwrap();
    callee.outputs();

    let flood = |callee: &mut Callee, range: std::ops::Range<u32>| {
        range.map(|n| strangers_group(n, own)).filter(|caller| rang(&callee.is_called(caller))).count()
    };
    assert_eq!(flood(&mut callee, 100..168), 68);
    assert!(callee.knows(friend.call()), "the call of a known person goes on");
    assert!(callee.knows(joined.call()), "and so does one that the user was in");
    assert_eq!(flood(&mut callee, 200..2_200), 2_000);
    assert!(callee.knows(friend.call()));
    let in_history = |callee: &Callee, call| callee.machine.history().iter().any(|entry| entry.call == call);
    assert!(in_history(&callee, friend.call()) && in_history(&callee, joined.call()));
    assert_eq!(callee.machine.history().len(), 1_000);

    callee.starts_anew();
    assert!(callee.knows(friend.call()), "known people are named after a start, and calls come before");
    flood(&mut callee, 3_000..4_100);
    assert!(callee.knows(friend.call()) && callee.knows(joined.call()));
    assert!(in_history(&callee, friend.call()) && in_history(&callee, joined.call()));
    let open = callee.machine.snapshot().calls.iter().filter(|call| call.state == CallState::Open).count();
    assert_eq!(open, 2 + 16, "strangers have room for some");
}

#[test]
fn strangers_missed_calls_have_the_same_share_as_those_that_ring() {
    let mut callee = Callee::new();
    let own = callee.own();
    let friend = Caller::new(FRIEND, &[own, identity(3).did()]);
    callee.is_called(&friend);
    callee.machine.reject(callee.now, friend.call()).unwrap();
    callee.outputs();
    for number in 100..300 {
        let caller = strangers_group(number, own);
        let nonce = callee.nonce(&caller);
        callee.hears_offer(&caller, Offer { remaining_ms: 0, ..caller.offer(Some(nonce)) });
    }
    assert!(callee.knows(friend.call()));
    assert_eq!(callee.machine.snapshot().calls.len(), 1 + 16);
}

#[test]
fn a_call_that_is_over_does_not_ring_again_after_thousands_of_strangers_calls() {
    let mut callee = Callee::new();
    let own = callee.own();
    let friend = Caller::new(FRIEND, &[own]);
    assert!(rang(&callee.is_called(&friend)));
    callee.machine.reject(callee.now, friend.call()).unwrap();
    // What must be said of it is said.
    callee.wait(Duration::from_secs(31));
    for number in 100..4_300 {
        let caller = Caller::new(number, &[own]);
        assert!(rang(&callee.is_called(&caller)));
        callee.hears(caller.endpoint, caller.call(), caller.cancel(None));
    }
    let outputs = callee.hears_offer(&friend, friend.offer(None));
    let ended = |output: &Output| matches!(output, Output::Send { body, .. } if matches!(**body, Body::Cancel(_)));
    assert!(outputs.iter().any(ended), "it is over here: {outputs:?}");
}

/// A call that was cancelled before it could ring is as unknown as one that was never offered: its
/// caller learns nothing.
#[test]
fn messages_about_a_call_that_the_user_was_not_told_of_are_not_answered() {
    let mut callee = Callee::new();
    let stranger = Caller::new(100, &[callee.own()]);
    callee.hears(stranger.endpoint, stranger.call(), stranger.cancel(None));
    let nonce = callee.nonce(&stranger);
    callee.wait(Duration::from_secs(2));
    let mut outputs = callee.hears_offer(&stranger, stranger.offer(Some(nonce)));
    callee.wait(Duration::from_secs(2));
    outputs.extend(callee.hears_offer(&stranger, stranger.offer(Some(nonce))));
    callee.wait(Duration::from_secs(2));
    outputs.extend(callee.hears(stranger.endpoint, stranger.call(), stranger.cancel(None)));
    let shows = |output: &&Output| matches!(output, Output::Send { .. } | Output::Emit(_));
    assert_eq!(outputs.iter().filter(shows).count(), 0, "{outputs:?}");
}

#[test]
fn a_known_persons_cancel_overtakes_its_offer_whatever_strangers_cancel() {
    let mut callee = Callee::new();
    let friend = Caller::new(FRIEND, &[callee.own()]);
    callee.hears(friend.endpoint, friend.call(), friend.cancel(None));
    for number in 0..4_200_u32 {
        let stranger = Endpoint { did: Did::from_public_key(sha256(&[&number.to_be_bytes()])), ..friend.endpoint };
        callee.hears(stranger, CallId::from_bytes([9; 16]), friend.cancel(None));
    }
    assert_eq!(callee.machine.presence(callee.now, &friend.endpoint.did), Presence::Online);
    let nonce = callee.nonce(&friend);
    let outputs = callee.hears_offer(&friend, friend.offer(Some(nonce)));
    assert!(!rang(&outputs), "{outputs:?}");
}

#[test]
fn the_id_of_a_replaced_call_stays_understood_whatever_strangers_replace() {
    let mut callee = Callee::new();
    let own = callee.own();
    let friend = identity(FRIEND).did();
    let offered = callee.machine.offer(callee.now, &[friend], b"").unwrap();
    callee.outputs();
    let mut caller = Caller::new(FRIEND, &[own]);
    while caller.call() > offered {
        caller.root.unix_ms += 1;
    }
    let nonce = callee.nonce(&caller);
    let outputs = callee.hears_offer(&caller, caller.offer(Some(nonce)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Emit(Event::CallReplaced { .. }))), "{outputs:?}");

    for number in 100..200 {
        let mut pair = [0, 1].map(|unix_ms| {
            let caller = Caller::new(number, &[own]);
            Caller { root: Root { unix_ms, ..caller.root }, ..caller }
        });
        pair.sort_by_key(Caller::call);
        let [goes_on, given_up] = &pair;
        callee.is_called(goes_on);
        callee.is_called(given_up);
        callee.hears(given_up.endpoint, given_up.call(), given_up.cancel(Some(goes_on.call())));
    }
    // This device is in the call that the old id names: it is known, and cannot be answered.
    let refused = callee.machine.check_answer(offered).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::State, "{refused}");
}

#[test]
fn notices_of_missed_calls_of_others_make_room_for_own_ones() {
    let mut callee = Callee::new();
    let own = callee.own();
    let friend = identity(FRIEND).did();
    callee.machine.offer(callee.now, &[friend], b"").unwrap();
    callee.outputs();
    callee.wait(Duration::from_secs(61));
    for number in 0..8 {
        let people: Vec<Did> = (0..14).map(|n| identity(10_000 + 100 * number + n).did()).chain([own]).collect();
        let stranger = Caller::new(100 + number, &people);
        assert!(rang(&callee.is_called(&stranger)));
        callee.machine.answer(callee.now, stranger.call()).unwrap();
        callee.outputs();
        callee.wait(Duration::from_secs(16));
    }
    let now = callee.now;
    callee.machine.handle(now, Input::SubscriberJoined(inbox_topic(&friend)));
    let told = |output: &Output| {
        matches!(output, Output::Send { channel: Channel::Inbox(to), body, .. }
            if *to == friend && matches!(&**body, Body::Offer(_)))
    };
    assert!(callee.outputs().iter().any(told), "the notice of the own call is there");
}
