//! Forged messages of malicious members, about themselves, other members and unknown devices.

use blink_api::{CallId, DeviceId, Did, Endpoint, StreamId, TrackKind};
use blink_proto::secure::{Identity, Random, link_id, sign_call_key};
use blink_proto::wire::{
    Body, Busy, Cancel, CancelReason, Cause, Entry, EntryBody, JoinedClaim, Link, LinkRole, Member, Record, Reject,
    Ringing, Seen, Signed, SignedKey, StaleBoot, Status, StreamOffer, StreamRequest, WireEndpoint, cbor,
};
use rand::{Rng, RngExt};

/// Alters and forges message bodies at random.
pub(crate) struct Forger {
    endpoints: Vec<Endpoint>,
    /// Call keys of others, as they signed them.
    keys: Vec<SignedKey>,
    random: Random,
}

impl Forger {
    /// A forger that knows these devices.
    pub(crate) fn new(endpoints: Vec<Endpoint>, random: Random) -> Self {
        Self { endpoints, keys: Vec::new(), random }
    }

    /// Adds call keys of others, to be claimed for further devices.
    pub(crate) fn know(&mut self, keys: Vec<SignedKey>) {
        self.keys = keys;
    }

    /// Alters 30 % of the bodies of an honest machine.
    pub(crate) fn alter(&mut self, body: &mut Body) {
        if self.random.random_bool(0.7) {
            return;
        }
        match body {
            Body::Offer(offer) => match self.random.random_range(0..4) {
                0 => offer.joined.push(self.claim()),
                1 => offer.remaining_ms = self.random.next_u32(),
                2 => offer.joined.clear(),
                _ => offer.echo.clear(),
            },
            Body::Member(member) => {
                self.know(member.record.seen.iter().map(|seen| seen.call_key).collect());
                self.alter_record(&mut member.record);
            }
            Body::Cancel(cancel) => cancel.joined.push(self.claim()),
            Body::Link(link) => match self.random.random_range(0..5) {
                0 => link.generation = self.number() as u32,
                1 => link.ack_candidates = u32::MAX,
                2 => link.first_candidate = self.number() as u32,
                3 => link.renegotiation_requests = self.number() as u32,
                _ => link.ack_generation = self.number() as u32,
            },
            Body::StaleBoot(behind) => behind.boot = self.number(),
            Body::Ringing(_) | Body::Busy(_) | Body::Reject(_) => {}
        }
    }

    fn alter_record(&mut self, record: &mut Record) {
        match self.random.random_range(0..10) {
            0 => record.version = self.number(),
            1 => record.seat = self.number(),
            2 => record.seen.clear(),
            3 => (0..8).for_each(|_| record.seen.push(self.seen())),
            4 => record.digest = self.bytes().into(),
            5 => record.links = self.endpoints.iter().copied().map(WireEndpoint).collect(),
            6 => record.streams = (0..40).map(|_| self.stream()).collect(),
            7 => record.wanted = (0..60).map(|_| self.request()).collect(),
            8 => record.status = [Status::Joining, Status::Joined, Status::Left][self.random.random_range(0..3)],
            _ => record.call_key = self.key(),
        }
    }

    /// A forged body in the name of `own`. `key` is its call key, `theirs` another member with its
    /// key.
    pub(crate) fn forge(
        &mut self,
        identity: &Identity,
        own: Endpoint,
        key: [u8; 32],
        call: CallId,
        theirs: Option<(&Endpoint, &[u8; 32])>,
    ) -> Body {
        match self.random.random_range(0..8) {
            0 => Body::Ringing(Ringing { nonce: self.bytes().into(), rings: self.random.random_bool(0.5) }),
            1 => Body::Busy(Busy {}),
            2 => Body::Reject(Reject {
                entry: self.entry(identity, own.did, call),
                acknowledged: self.random.random_bool(0.3),
                reason: self.random.random_bool(0.5).then(|| self.random.random_range(0..4)),
            }),
            3 | 4 => {
                let mut record = self.record(sign_call_key(identity, &own.device, &call, &key));
                self.alter_record(&mut record);
                self.alter_record(&mut record);
                let entries = match self.random.random_range(0..12) {
                    0 => invitations_of_unknown_identities(identity, call),
                    _ => (0..self.random.random_range(0..3)).map(|_| self.entry(identity, own.did, call)).collect(),
                };
                Body::Member(Box::new(Member { record, entries, secret: None }))
            }
            5 => Body::Cancel(self.cancel()),
            6 => Body::StaleBoot(StaleBoot { endpoint: WireEndpoint(self.any_endpoint()), boot: self.number() }),
            _ => {
                let id = theirs.map_or_else(|| self.bytes(), |theirs| link_id((&own, &key), theirs));
                Body::Link(Box::new(self.link(id)))
            }
        }
    }

    fn record(&mut self, call_key: SignedKey) -> Record {
        Record {
            seat: 1,
            muted: self.random.random_bool(0.5),
            seen: (0..4).map(|_| self.seen()).collect(),
            digest: self.bytes().into(),
            ..Record::new(call_key, self.random.random_range(0..50), Status::Joined)
        }
    }

    fn cancel(&mut self) -> Cancel {
        use CancelReason::{AcceptedElsewhere, Ended, Left, RejectedElsewhere, Replaced, Unanswered};
        let reasons = [Left, Ended, Unanswered, AcceptedElsewhere, RejectedElsewhere, Replaced];
        Cancel {
            reason: reasons[self.random.random_range(0..reasons.len())],
            version: self.number(),
            joined: (0..self.random.random_range(0..4)).map(|_| self.claim()).collect(),
            acknowledged: self.random.random_bool(0.2),
            replaced_by: self.random.random_bool(0.3).then(|| CallId::from_bytes(self.bytes())),
        }
    }

    fn link(&mut self, id: [u8; 16]) -> Link {
        let fingerprint = self.random.random_range(0..4_u8);
        let sdp = [
            None,
            Some(String::new()),
            Some("v=0".to_owned()),
            Some(format!("a=fingerprint:sha-256 {fingerprint}\r\n")),
            Some(format!("a=fingerprint:sha-256 {fingerprint}\r\na=session:1\r\n")),
        ];
        Link {
            link: id.into(),
            renegotiation_requests: self.number() as u32,
            generation: self.number() as u32,
            role: if self.random.random_bool(0.5) { LinkRole::Offer } else { LinkRole::Answer },
            sdp: sdp[self.random.random_range(0..sdp.len())].clone(),
            first_candidate: self.random.random_range(0..3),
            candidates: vec!["candidate:x".to_owned(); self.random.random_range(0..60)],
            ack_generation: self.number() as u32,
            ack_candidates: self.number() as u32,
            failed: self.random.random_bool(0.3),
            cause: self.random.random_bool(0.3).then(|| Cause {
                reason: self.random.random_range(0..14),
                ice: self.random.random_range(0..7),
                dtls: self.random.random_range(0..6),
            }),
        }
    }

    fn entry(&mut self, identity: &Identity, own: Did, call: CallId) -> Signed {
        let other = match self.random.random_range(0..3) {
            0 => Identity::from_seed(&[self.random.random_range(210..230); 32]).did(),
            _ => self.any_endpoint().did,
        };
        let body = match self.random.random_range(0..4) {
            0 => EntryBody::Remove {
                keep: (0..self.random.random_range(0..2)).map(|_| self.any_endpoint().did).collect(),
            },
            1 => EntryBody::Reject { n: self.random.random_range(0..=255) },
            _ => EntryBody::Add { by: own, slot: self.random.random_range(0..6) },
        };
        let did = if matches!(body, EntryBody::Reject { .. }) && self.random.random_bool(0.5) { own } else { other };
        let bytes = cbor::encode(&Entry { call, did, body });
        Signed { signature: identity.sign(b"blink/1 entry\0", &bytes), bytes }
    }

    fn claim(&mut self) -> JoinedClaim {
        let endpoint = self.any_endpoint();
        JoinedClaim { endpoint, boot: self.boot(), version: self.number(), call_key: self.key() }
    }

    fn seen(&mut self) -> Seen {
        let endpoint = self.any_endpoint();
        Seen { endpoint, boot: self.boot(), call_key: self.key(), version: self.number() }
    }

    /// A device of this simulation, or one that does not exist.
    fn any_endpoint(&mut self) -> Endpoint {
        let known = self.endpoints[self.random.random_range(0..self.endpoints.len())];
        match self.random.random_range(0..4) {
            0 => Endpoint { device: DeviceId::from_random([self.random.random_range(100..110); 16]), ..known },
            _ => known,
        }
    }

    fn stream(&mut self) -> StreamOffer {
        let id = StreamId::from_random([self.random.random_range(0..6); 16]);
        let kind = if self.random.random_bool(0.5) { TrackKind::Audio } else { TrackKind::Video };
        StreamOffer { id, kind, codec: "forged".to_owned(), name: "forged".to_owned() }
    }

    fn request(&mut self) -> StreamRequest {
        StreamRequest {
            endpoint: self.any_endpoint(),
            stream: StreamId::from_random([self.random.random_range(0..6); 16]),
        }
    }

    fn boot(&mut self) -> u64 {
        let near = blink_sim::simulation::UNIX_MS + self.random.random_range(0..200_000);
        [0, 1, near, near + (1 << 41), near + (1 << 43), u64::MAX][self.random.random_range(0..6)]
    }

    fn number(&mut self) -> u64 {
        [0, 1, 2, 3, 7, 100, u64::from(u32::MAX), u64::MAX - 1, u64::MAX][self.random.random_range(0..9)]
    }

    fn key(&mut self) -> SignedKey {
        match self.keys.len() {
            known @ 1.. if self.random.random_bool(0.5) => self.keys[self.random.random_range(0..known)],
            _ => SignedKey { key: [self.random.random_range(0..4); 32], signature: [0; 64] },
        }
    }

    fn bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.random.fill_bytes(&mut bytes);
        bytes
    }
}

/// Roster entries of one identity that fill the roster: unknown identities, invited by it and by
/// each other.
fn invitations_of_unknown_identities(identity: &Identity, call: CallId) -> Vec<Signed> {
    let person = |n: u8| Identity::from_seed(&[n; 32]);
    let invite = |n: u8| {
        let by = if n < 4 { identity.clone() } else { person(150 + n / 4) };
        let body = EntryBody::Add { by: by.did(), slot: n % 4 };
        let bytes = cbor::encode(&Entry { call, did: person(151 + n).did(), body });
        Signed { signature: by.sign(b"blink/1 entry\0", &bytes), bytes }
    };
    (0..60).map(invite).collect()
}
