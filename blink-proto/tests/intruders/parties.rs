//! The two parties: a caller whose every message is forged, and a real machine as the callee.

use std::time::Instant;

use blink_api::{CallId, CallSettings, DeviceId, Endpoint};
use blink_proto::call::{
    Event, Input, Machine, MachineConfig, Memory, Negotiation, Now, Output, SessionId, SessionInput, Signal,
};
use blink_proto::secure::Identity;
use blink_proto::secure::symmetric::sha256;
use blink_proto::secure::{AgreementKey, Channel, Refusal, link_id, sign_call_key};
use blink_proto::wire::{
    Body, Bytes16, CallConfiguration, JoinedClaim, Link, LinkRole, Member, Offer, Record, Root, Seen, Signed,
    SignedKey, Status, cbor,
};

pub(crate) const SECRET: [u8; 32] = [4; 32];
pub(crate) const FINGERPRINT: &str = "a=fingerprint:sha-256 0A:0B\r\n";

pub(crate) fn endpoint(identity: &Identity) -> Endpoint {
    Endpoint { did: identity.did(), device: DeviceId::from_random([1; 16]) }
}

/// Two people and a third; the greater of the first two calls, so that it makes the SDP offers.
pub(crate) fn people() -> (Identity, Identity, Identity) {
    let [one, other, third] = [1, 2, 3].map(|seed| Identity::from_seed(&[seed; 32]));
    if one.did() > other.did() { (one, other, third) } else { (other, one, third) }
}

/// A caller whose messages are handwritten.
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    pub(crate) endpoint: Endpoint,
    pub(crate) key: AgreementKey,
    pub(crate) root: Root,
}

impl Caller {
    pub(crate) fn new(identity: &Identity, callee: &Identity) -> Self {
        let mut members = vec![identity.did(), callee.did()];
        members.sort();
        let endpoint = endpoint(identity);
        let root = Root { creator: endpoint, nonce: [5; 16], unix_ms: 1, secret_hash: sha256(&[&SECRET]), members };
        Self { identity: identity.clone(), endpoint, key: AgreementKey::from_scalar(&[6; 32]), root }
    }

    pub(crate) fn call(&self) -> CallId {
        call_of(&cbor::encode(&self.root))
    }

    pub(crate) fn signed_key(&self) -> SignedKey {
        sign_call_key(&self.identity, &self.endpoint.device, &self.call(), self.key.public())
    }

    pub(crate) fn offer(&self, echo: Option<Bytes16>) -> Offer {
        let claim = JoinedClaim { endpoint: self.endpoint, boot: 1, version: 1, call_key: self.signed_key() };
        Offer {
            root: signed(&self.identity, b"blink/1 root\0", cbor::encode(&self.root)),
            entries: Vec::new(),
            secret: SECRET.into(),
            joined: vec![claim],
            remaining_ms: 60_000,
            echo: echo.into_iter().collect(),
            configuration: CallConfiguration::default(),
        }
    }

    /// Its record, which acknowledges that of the callee.
    pub(crate) fn record(&self, callee: &Callee) -> Record {
        // The callee knows its own key, and does not verify the signature.
        let call_key = SignedKey { key: callee.call_key(), signature: [0; 64] };
        let seen = Seen { endpoint: callee.machine.own(), boot: 1, call_key, version: 1 };
        Record {
            seat: 1,
            seen: vec![seen],
            digest: Bytes16::from(*sha256(&[]).first_chunk().unwrap()),
            messages: Some(true),
            ..Record::new(self.signed_key(), 2, Status::Joined)
        }
    }

    /// The id of the link between the two.
    pub(crate) fn link_id(&self, callee: &Callee) -> [u8; 16] {
        link_id((&self.endpoint, self.key.public()), (&callee.machine.own(), &callee.call_key()))
    }

    /// The description that begins a session, under the link's id.
    pub(crate) fn link(&self, callee: &Callee, sdp: &str) -> Link {
        Link {
            link: self.link_id(callee).into(),
            renegotiation_requests: 0,
            generation: 1,
            role: LinkRole::Offer,
            sdp: Some(sdp.to_owned()),
            first_candidate: 0,
            candidates: Vec::new(),
            ack_generation: 0,
            ack_candidates: 0,
            failed: false,
            cause: None,
        }
    }
}

pub(crate) fn call_of(root: &[u8]) -> CallId {
    CallId::from_bytes(*sha256(&[b"blink/1 call\0", root]).first_chunk().unwrap())
}

pub(crate) fn signed(identity: &Identity, context: &[u8], bytes: Vec<u8>) -> Signed {
    let signature = identity.sign(context, &bytes);
    Signed { bytes, signature }
}

pub(crate) fn member(record: Record) -> Body {
    Body::Member(Box::new(Member { record, entries: Vec::new(), secret: None }))
}

/// A callee with a real machine.
pub(crate) struct Callee {
    pub(crate) machine: Machine,
    pub(crate) now: Now,
    pub(crate) key: Option<[u8; 32]>,
}

impl Callee {
    pub(crate) fn new(identity: &Identity) -> Self {
        Self::started(identity, 1, 7)
    }

    pub(crate) fn started(identity: &Identity, boot: u64, seed: u8) -> Self {
        let now = Now { mono: Instant::now(), unix_ms: 1 };
        let (own, settings, memory) = (endpoint(identity), CallSettings::default(), Memory::default());
        let config = MachineConfig { identity: identity.clone(), own, boot, settings, seed: [seed; 32], memory };
        Self { machine: Machine::new(config, now), now, key: None }
    }

    pub(crate) fn call_key(&self) -> [u8; 32] {
        self.key.expect("it answered")
    }

    /// Receives a message on the channel of its kind and returns the outputs.
    pub(crate) fn receive(&mut self, from: Endpoint, call: CallId, body: Body) -> Vec<Output> {
        let channel = match body {
            Body::Member(_) | Body::Link(_) => Channel::Call(call),
            _ => Channel::Inbox(self.machine.own().did),
        };
        // A later time for each, so that no answer is delayed.
        self.now.mono += std::time::Duration::from_secs(1);
        self.machine.handle(self.now, Input::Signal(Signal { channel, from, boot: 1, call, body }));
        self.outputs()
    }

    pub(crate) fn receive_offer(&mut self, caller: &Caller, offer: Offer) -> Vec<Output> {
        self.receive(caller.endpoint, caller.call(), Body::Offer(Box::new(offer)))
    }

    pub(crate) fn session(&mut self, session: SessionId, event: SessionInput) -> Vec<Output> {
        self.machine.handle(self.now, Input::Session { session, event });
        self.outputs()
    }

    /// The user sends an application message.
    pub(crate) fn sends(&mut self, to: Endpoint, message: &[u8]) -> Vec<Output> {
        self.machine.send_message(self.now, Some(to), message).expect("the participant has joined");
        self.outputs()
    }

    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        let outputs: Vec<_> = std::iter::from_fn(|| self.machine.poll()).collect();
        for output in &outputs {
            if let Output::Subscribe(topic) = output {
                self.key = Some(*topic.key.public());
            }
        }
        outputs
    }

    /// Rings, by an offer with a current nonce.
    pub(crate) fn rings(&mut self, caller: &Caller) {
        let nonce = nonce(&self.receive_offer(caller, caller.offer(None))).expect("who offers is given a nonce");
        let outputs = self.receive_offer(caller, caller.offer(Some(nonce)));
        assert!(rang(&outputs), "{outputs:?}");
    }

    /// Rings, is accepted, and receives the caller's record.
    pub(crate) fn is_in_the_call(&mut self, caller: &Caller) {
        self.rings(caller);
        self.machine.answer(self.now, caller.call()).unwrap();
        self.outputs();
        let record = member(caller.record(self));
        let outputs = self.receive(caller.endpoint, caller.call(), record);
        assert!(events(&outputs).any(|event| matches!(event, Event::CallJoined { .. })), "{outputs:?}");
    }

    /// As before, with the caller's description. Returns the session.
    pub(crate) fn has_a_session(&mut self, caller: &Caller) -> SessionId {
        self.is_in_the_call(caller);
        let link = caller.link(self, &format!("v=0\r\n{FINGERPRINT}"));
        let outputs = self.receive(caller.endpoint, caller.call(), Body::Link(Box::new(link)));
        let mut opened = outputs.iter().filter_map(|output| match output {
            Output::OpenSession { session, .. } => Some(*session),
            _ => None,
        });
        let session = opened.next().unwrap_or_else(|| panic!("{outputs:?}"));
        assert!(accepted(&outputs), "{outputs:?}");
        session
    }
}

pub(crate) fn events(outputs: &[Output]) -> impl Iterator<Item = &Event> {
    outputs.iter().filter_map(|output| match output {
        Output::Emit(event) => Some(event),
        _ => None,
    })
}

pub(crate) fn rang(outputs: &[Output]) -> bool {
    events(outputs).any(|event| matches!(event, Event::IncomingCall { .. }))
}

pub(crate) fn refusals(outputs: &[Output]) -> Vec<Refusal> {
    let refused = outputs.iter().filter_map(|output| match output {
        Output::CountRefusal(refusal) => Some(*refusal),
        _ => None,
    });
    refused.collect()
}

pub(crate) fn nonce(outputs: &[Output]) -> Option<Bytes16> {
    outputs.iter().find_map(|output| match output {
        Output::Send { body, .. } => match &**body {
            Body::Ringing(ringing) => Some(ringing.nonce),
            _ => None,
        },
        _ => None,
    })
}

/// Whether a description was handed to the transport.
pub(crate) fn accepted(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Negotiate { step: Negotiation::AcceptOffer { .. }, .. }))
}

pub(crate) fn admitted(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Admit { .. }))
}
