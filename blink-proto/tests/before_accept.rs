//! Before the local user accepts a call, nothing a caller sends opens a microphone, a session or a
//! topic: every sequence of up to five messages of all kinds, and of up to four in all their forms,
//! from every state that a call can be in before it is accepted.

use std::time::{Duration, Instant};

use blink_api::{BusyPolicy, CallId, CallSettings, DeviceId, Did, Endpoint};
use blink_proto::call::{CallState, Input, Machine, MachineConfig, Memory, Now, Output, Signal};
use blink_proto::secure::{AgreementKey, Channel, Identity, Random, link_id, sign_call_key};
use blink_proto::wire::{
    Body, Busy, Bytes16, Cancel, CancelReason, Entry, EntryBody, JoinedClaim, Kind, Link, LinkRole, Member, Offer,
    Record, Reject, Ringing, Signed, SignedKey, Status, cbor,
};
use rand::SeedableRng;

/// Every kind a caller can send.
const KINDS: &[Word] = &[
    Word::Offer { echo: true, remaining: 60_000 },
    Word::Ringing,
    Word::Busy,
    Word::Reject,
    Word::Cancel(CancelReason::Left),
    Word::Member(Status::Joined),
    Word::Link,
];

/// Every kind in each of the forms that are treated differently, and the passing of time.
const FORMS: &[Word] = &[
    Word::Offer { echo: true, remaining: 60_000 },
    Word::Offer { echo: true, remaining: 0 },
    Word::Offer { echo: false, remaining: 60_000 },
    Word::Ringing,
    Word::Busy,
    Word::Reject,
    Word::Cancel(CancelReason::Left),
    Word::Cancel(CancelReason::Ended),
    Word::Cancel(CancelReason::Replaced),
    Word::Member(Status::Joined),
    Word::Member(Status::Left),
    Word::Link,
    Word::Silence,
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Word {
    Offer {
        echo: bool,
        remaining: u32,
    },
    Ringing,
    Busy,
    Reject,
    Cancel(CancelReason),
    Member(Status),
    Link,
    /// Nothing, for a second.
    Silence,
}

/// Where a call can stand before it is accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    Unknown,
    Ringing,
    Rejected,
    Missed,
    Cancelled,
    /// In another call, and busy callers are turned away.
    Busy,
}

fn endpoint(number: u8) -> Endpoint {
    let did = Identity::from_seed(&[number; 32]).did();
    Endpoint { did, device: DeviceId::from_random([number; 16]) }
}

fn machine(number: u8, settings: CallSettings, now: Now) -> Machine {
    let identity = Identity::from_seed(&[number; 32]);
    let (own, seed, memory) = (endpoint(number), [number; 32], Memory::default());
    Machine::new(MachineConfig { identity, own, boot: 1, settings, seed, memory }, now)
}

/// A caller with a call, who sends whatever it likes.
struct Caller {
    endpoint: Endpoint,
    call: CallId,
    offer: Offer,
    key: AgreementKey,
    reject: Body,
}

impl Caller {
    /// Offers a call to the callee, and to others for a group's.
    fn new(callee: Did, others: &[Did], now: Now) -> Self {
        let mut alice = machine(1, CallSettings::default(), now);
        let people: Vec<_> = [callee].iter().chain(others).copied().collect();
        let call = alice.offer(now, &people, b"").unwrap();
        let outputs = std::iter::from_fn(|| alice.poll());
        let offer = outputs.into_iter().find_map(|output| match output {
            Output::Send { body, .. } => match *body {
                Body::Offer(offer) => Some(*offer),
                _ => None,
            },
            _ => None,
        });
        let endpoint = endpoint(1);
        let bytes = cbor::encode(&Entry { call, did: endpoint.did, body: EntryBody::Reject { n: 0 } });
        let signature = Identity::from_seed(&[1; 32]).sign(b"blink/1 entry\0", &bytes);
        let entry = Signed { bytes, signature };
        Self {
            endpoint,
            call,
            offer: offer.expect("an offer goes out at once"),
            key: AgreementKey::generate(&mut Random::seed_from_u64(1)),
            reject: Body::Reject(Reject { entry, acknowledged: false, reason: None }),
        }
    }

    fn record(&self, status: Status) -> Record {
        Record { seat: 1, ..Record::new(self.signed_key(), 9, status) }
    }

    fn signed_key(&self) -> SignedKey {
        let owner = Identity::from_seed(&[1; 32]);
        sign_call_key(&owner, &self.endpoint.device, &self.call, self.key.public())
    }

    fn claim(&self) -> JoinedClaim {
        JoinedClaim { endpoint: self.endpoint, boot: 1, version: 1, call_key: self.signed_key() }
    }

    /// The message of a word, with the nonce that the callee gave out.
    fn say(&self, word: Word, nonce: Bytes16) -> Option<(Channel, Body)> {
        let callee = endpoint(2).did;
        let inbox = |body| Some((Channel::Inbox(callee), body));
        match word {
            Word::Offer { echo, remaining } => {
                let echo = if echo { vec![nonce] } else { Vec::new() };
                let joined = vec![self.claim()];
                inbox(Body::Offer(Box::new(Offer { echo, remaining_ms: remaining, joined, ..self.offer.clone() })))
            }
            Word::Ringing => inbox(Body::Ringing(Ringing { nonce, rings: true })),
            Word::Busy => inbox(Body::Busy(Busy {})),
            Word::Reject => inbox(self.reject.clone()),
            Word::Cancel(reason) => {
                let replaced_by = (reason == CancelReason::Replaced).then(|| CallId::from_bytes([0; 16]));
                inbox(Body::Cancel(Cancel { reason, version: 9, joined: Vec::new(), acknowledged: false, replaced_by }))
            }
            Word::Member(status) => {
                inbox(Body::Member(Box::new(Member { record: self.record(status), entries: Vec::new(), secret: None })))
            }
            Word::Link => {
                let theirs = AgreementKey::generate(&mut Random::seed_from_u64(2));
                let link = Link {
                    link: link_id((&self.endpoint, self.key.public()), (&endpoint(2), theirs.public())).into(),
                    renegotiation_requests: 1,
                    generation: 1,
                    role: LinkRole::Offer,
                    sdp: Some("v=0\r\na=fingerprint:sha-256 00\r\n".to_owned()),
                    first_candidate: 0,
                    candidates: vec!["candidate:1 1 udp 1 127.0.0.1 9 typ host".to_owned()],
                    ack_generation: 0,
                    ack_candidates: 0,
                    failed: false,
                    cause: None,
                };
                Some((Channel::Call(self.call), Body::Link(Box::new(link))))
            }
            Word::Silence => None,
        }
    }
}

/// A callee's machine in one state, with all that a caller knows.
#[derive(Clone)]
struct Callee {
    machine: Machine,
    now: Now,
    nonce: Bytes16,
    /// First output that is not allowed before the call is accepted.
    wrong: Option<String>,
}

impl Callee {
    fn new(settings: CallSettings, now: Now) -> Self {
        Self { machine: machine(2, settings, now), now, nonce: Bytes16::from([0; 16]), wrong: None }
    }

    fn hear(&mut self, caller: &Caller, word: Word) {
        match caller.say(word, self.nonce) {
            Some((channel, body)) => {
                let (from, call) = (caller.endpoint, caller.call);
                self.machine.handle(self.now, Input::Signal(Signal { channel, from, boot: 1, call, body }));
            }
            None => self.advance(Duration::from_secs(1)),
        }
        self.look(caller.call);
    }

    fn advance(&mut self, duration: Duration) {
        self.now.mono += duration;
        self.machine.handle_timeout(self.now);
    }

    /// Everything that reaches beyond signaling, about that call, is wrong.
    fn look(&mut self, call: CallId) {
        while let Some(output) = self.machine.poll() {
            let wrong = match &output {
                Output::SetActiveCall(gate) => *gate == Some(call),
                Output::Subscribe(topic) => topic.keys.id == call,
                Output::OpenSession { call: of, .. } => *of == call,
                Output::Negotiate { .. }
                | Output::SendChannelMessage { .. }
                | Output::Admit { .. }
                | Output::SetStreamFlow { .. } => true,
                Output::Send { call: of, body, .. } => {
                    if let Body::Ringing(ringing) = &**body {
                        self.nonce = ringing.nonce;
                    }
                    *of == call && matches!(body.kind(), Kind::Link | Kind::Member | Kind::Offer)
                }
                _ => false,
            };
            if wrong {
                self.wrong = Some(format!("{output:?}"));
            }
        }
    }

    /// Brings the call to where it is to start from.
    fn begin(start: Start, caller: &Caller, now: Now) -> Self {
        let busy = if start == Start::Busy { BusyPolicy::Reject } else { BusyPolicy::default() };
        let mut callee = Self::new(CallSettings { busy, ..CallSettings::default() }, now);
        if start == Start::Busy {
            callee.machine.offer(now, &[endpoint(9).did], b"").unwrap();
        }
        if start != Start::Unknown {
            callee.hear(caller, Word::Offer { echo: false, remaining: 60_000 });
            callee.hear(caller, Word::Offer { echo: true, remaining: 60_000 });
        }
        match start {
            Start::Unknown | Start::Busy => {}
            Start::Ringing => assert_eq!(callee.machine.pending(), [caller.call]),
            Start::Rejected => callee.machine.reject(now, caller.call).unwrap(),
            Start::Missed => callee.advance(Duration::from_secs(61)),
            Start::Cancelled => callee.hear(caller, Word::Cancel(CancelReason::Left)),
        }
        callee.look(caller.call);
        callee
    }

    fn is_wrong(&self, call: CallId) -> bool {
        let accepted = |state| matches!(state, CallState::Calling | CallState::Joining | CallState::Active);
        let snapshot = || self.machine.snapshot().calls;
        self.wrong.is_some() || snapshot().iter().any(|of| of.call == call && accepted(of.state))
    }
}

/// Every sequence of words up to a length.
#[derive(Clone, Copy)]
struct Sequences {
    words: &'static [Word],
    longest: usize,
}

impl Sequences {
    fn count(self) -> u64 {
        (1..=self.longest as u32).map(|length| (self.words.len() as u64).pow(length)).sum()
    }

    /// Tries all that begin with what was said; returns how many there are.
    fn try_all(self, callee: &Callee, caller: &Caller, start: Start, said: &mut Vec<Word>) -> u64 {
        if said.len() == self.longest {
            return 0;
        }
        let mut tried = 0;
        for word in self.words {
            let mut next = callee.clone();
            next.hear(caller, *word);
            said.push(*word);
            assert!(!next.is_wrong(caller.call), "{start:?}, then {said:?}: {:?}", next.wrong);
            tried += 1 + self.try_all(&next, caller, start, said);
            said.pop();
        }
        tried
    }
}

fn try_from_every_state(others: &[Did], sequences: Sequences) {
    let now = Now { mono: Instant::now(), unix_ms: 0 };
    let caller = Caller::new(endpoint(2).did, others, now);
    let starts = [Start::Unknown, Start::Ringing, Start::Rejected, Start::Missed, Start::Cancelled, Start::Busy];
    let tried: u64 = std::thread::scope(|scope| {
        let caller = &caller;
        let run = |start| {
            let begin = move || Callee::begin(start, caller, now);
            scope.spawn(move || sequences.try_all(&begin(), caller, start, &mut Vec::new()))
        };
        let running: Vec<_> = starts.into_iter().map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(tried, sequences.count() * starts.len() as u64);
}

#[test]
fn five_messages_of_any_kind_of_the_caller_of_two_open_nothing() {
    try_from_every_state(&[], Sequences { words: KINDS, longest: 5 });
}

#[test]
fn five_messages_of_any_kind_of_the_caller_of_a_group_open_nothing() {
    try_from_every_state(&[endpoint(3).did], Sequences { words: KINDS, longest: 5 });
}

#[test]
fn four_messages_of_any_form_of_the_caller_of_two_open_nothing() {
    try_from_every_state(&[], Sequences { words: FORMS, longest: 4 });
}

#[test]
fn four_messages_of_any_form_of_the_caller_of_a_group_open_nothing() {
    try_from_every_state(&[endpoint(3).did], Sequences { words: FORMS, longest: 4 });
}

/// The check sees what it should: after accepting, the same messages do open things.
#[test]
fn after_accepting_it_opens() {
    let now = Now { mono: Instant::now(), unix_ms: 0 };
    let caller = Caller::new(endpoint(2).did, &[], now);
    let mut callee = Callee::begin(Start::Ringing, &caller, now);
    assert!(!callee.is_wrong(caller.call));
    callee.machine.answer(now, caller.call).unwrap();
    callee.look(caller.call);
    assert!(callee.is_wrong(caller.call));
}
