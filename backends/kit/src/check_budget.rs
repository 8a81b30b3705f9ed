//! Limits of unanswered connectivity checks, against amplification of traffic to third parties.
//!
//! A stack repeats its checks of each candidate pair for seconds. If a peer names addresses of
//! third parties, that is unsolicited traffic. Each Binding request (RFC 8489 §3) costs a token of
//! the session, of the participant and of the destination address. A response refunds it, and a
//! check received from an address pays for one sent to it. Checks without a token are dropped, as
//! if lost on the network.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Limit per session: six checks of each pair with eight addresses on both sides, then a rate that
/// finds a path that appears later.
const LINK: Limit = Limit { burst: 384.0, per_second: 8.0 };
/// Limit per participant across its sessions, which may follow each other quickly.
const PARTICIPANT: Limit = Limit { burst: 768.0, per_second: 8.0 };
/// Limit per destination address, across all participants that named it.
const DESTINATION: Limit = Limit { burst: 768.0, per_second: 16.0 };
/// Limit of tracked participants and addresses; when full, the one with most tokens is evicted.
const MAX_KEYS: usize = 1024;
/// Limit of tracked checks without a response.
const MAX_UNANSWERED: usize = 512;
/// Limit of addresses with credit for received checks, and of the credit of each.
const MAX_CREDITED: usize = 64;
const MAX_CREDIT: u8 = 8;

const TRANSACTION: std::ops::Range<usize> = 8..20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const MESSAGE_INTEGRITY: [u8; 2] = [0x00, 0x08];

/// Budgets shared by all sessions of a transport. Clones share the same budgets.
#[derive(Debug, Clone, Default)]
pub struct CheckBudgets(Arc<Mutex<HashMap<Key, Bucket>>>);

/// Budget of one session.
///
/// The transport calls [`allows`](Self::allows) before it sends a datagram to a peer, and
/// [`received`](Self::received) for each one that arrives. Traffic with configured STUN and TURN
/// servers is not counted.
#[derive(Debug)]
pub struct CheckBudget {
    shared: CheckBudgets,
    participant: Option<String>,
    link: Option<Bucket>,
    /// Checks that cost a token and have no response yet, the oldest first.
    unanswered: VecDeque<(Transaction, SocketAddr)>,
    credits: HashMap<SocketAddr, u8>,
}

type Transaction = [u8; 12];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Participant(String),
    Destination(IpAddr),
}

struct Limit {
    burst: f64,
    per_second: f64,
}

/// Token bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl CheckBudgets {
    /// Creates the budget of a session. Sessions with the same participant share its budget;
    /// without one (`None`), only the session's own and those of the destinations apply.
    pub fn session(&self, participant: Option<&str>) -> CheckBudget {
        CheckBudget {
            shared: self.clone(),
            participant: participant.map(str::to_owned),
            link: None,
            unanswered: VecDeque::new(),
            credits: HashMap::new(),
        }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Key, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CheckBudget {
    /// Returns whether a datagram may be sent, and counts it. Only connectivity checks are ever
    /// refused.
    pub fn allows(&mut self, now: Instant, destination: SocketAddr, datagram: &[u8]) -> bool {
        let Some(transaction) = transaction(datagram, BINDING_REQUEST) else { return true };
        // A check received from this address pays for one in return, so that triggered checks pass.
        if let Some(credit) = self.credits.get_mut(&destination) {
            *credit -= 1;
            if *credit == 0 {
                self.credits.remove(&destination);
            }
            return true;
        }
        if !self.take(now, destination.ip()) {
            tracing::debug!("connectivity check dropped: the budget is exhausted");
            return false;
        }
        if self.unanswered.len() == MAX_UNANSWERED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((transaction, destination));
        true
    }

    /// Records a received datagram.
    pub fn received(&mut self, source: SocketAddr, datagram: &[u8]) {
        if transaction(datagram, BINDING_REQUEST).is_some() {
            if self.credits.len() < MAX_CREDITED || self.credits.contains_key(&source) {
                let credit = self.credits.entry(source).or_default();
                *credit = credit.saturating_add(1).min(MAX_CREDIT);
            }
        } else if let Some(transaction) = transaction(datagram, BINDING_SUCCESS).filter(|_| has_integrity(datagram)) {
            let answered = |(sent, to): &(Transaction, SocketAddr)| (sent, to) == (&transaction, &source);
            if let Some(position) = self.unanswered.iter().position(answered) {
                self.unanswered.remove(position);
                self.refund(source.ip());
            }
        }
    }

    /// Takes a token from each bucket, or from none.
    fn take(&mut self, now: Instant, destination: IpAddr) -> bool {
        let link = self.link.get_or_insert(Bucket::full(now, &LINK));
        link.fill(now, &LINK);
        if link.tokens < 1.0 {
            return false;
        }
        let mut buckets = self.shared.buckets();
        let mut keys = vec![Key::Destination(destination.to_canonical())];
        keys.extend(self.participant.clone().map(Key::Participant));
        if !keys.iter().all(|key| buckets.contains_key(key)) {
            while buckets.len() + keys.len() > MAX_KEYS {
                evict_fullest(&mut buckets, now);
            }
        }
        for key in &keys {
            let limit = key.limit();
            buckets.entry(key.clone()).or_insert(Bucket::full(now, limit)).fill(now, limit);
        }
        let has_token = |key: &Key| buckets.get(key).is_some_and(|bucket| bucket.tokens >= 1.0);
        // All or nothing: a refused check must not drain the other buckets.
        if !keys.iter().all(has_token) {
            return false;
        }
        link.tokens -= 1.0;
        for key in &keys {
            if let Some(bucket) = buckets.get_mut(key) {
                bucket.tokens -= 1.0;
            }
        }
        true
    }

    fn refund(&mut self, destination: IpAddr) {
        if let Some(link) = &mut self.link {
            link.add(1.0, &LINK);
        }
        let mut buckets = self.shared.buckets();
        if let Some(bucket) = buckets.get_mut(&Key::Destination(destination.to_canonical())) {
            bucket.add(1.0, &DESTINATION);
        }
        if let Some(participant) = &self.participant
            && let Some(bucket) = buckets.get_mut(&Key::Participant(participant.clone()))
        {
            bucket.add(1.0, &PARTICIPANT);
        }
    }
}

impl Key {
    fn limit(&self) -> &'static Limit {
        match self {
            Self::Participant(_) => &PARTICIPANT,
            Self::Destination(_) => &DESTINATION,
        }
    }
}

impl Bucket {
    fn full(now: Instant, limit: &Limit) -> Self {
        Self { tokens: limit.burst, filled: now }
    }

    fn fill(&mut self, now: Instant, limit: &Limit) {
        let elapsed = now.saturating_duration_since(self.filled);
        self.filled = self.filled.max(now);
        self.add(elapsed.as_secs_f64() * limit.per_second, limit);
    }

    fn add(&mut self, tokens: f64, limit: &Limit) {
        self.tokens = (self.tokens + tokens).min(limit.burst);
    }
}

/// Evicts the fullest bucket: a full one is equal to a new one.
fn evict_fullest(buckets: &mut HashMap<Key, Bucket>, now: Instant) {
    let missing = |(key, bucket): &(&Key, &Bucket)| {
        let mut bucket = **bucket;
        bucket.fill(now, key.limit());
        key.limit().burst - bucket.tokens
    };
    let fullest = buckets.iter().min_by(|one, other| missing(one).total_cmp(&missing(other)));
    if let Some(key) = fullest.map(|(key, _)| key.clone()) {
        buckets.remove(&key);
    }
}

/// Transaction id of a STUN message (RFC 8489 §5) of the given type.
fn transaction(datagram: &[u8], kind: [u8; 2]) -> Option<Transaction> {
    let is_it = datagram.starts_with(&kind) && datagram.get(4..8) == Some(COOKIE.as_slice());
    datagram.get(TRANSACTION).filter(|_| is_it)?.try_into().ok()
}

/// Returns whether a STUN message has MESSAGE-INTEGRITY. The stack verifies it; here it
/// distinguishes an ICE agent from a STUN server, which responds to everyone.
pub fn has_integrity(datagram: &[u8]) -> bool {
    let mut attributes = datagram.get(20..).unwrap_or_default();
    while let [k0, k1, l0, l1, rest @ ..] = attributes {
        if [*k0, *k1] == MESSAGE_INTEGRITY {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*l0, *l1])).next_multiple_of(4);
        attributes = rest.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn message(kind: [u8; 2], number: u32, attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).expect("a short message").to_be_bytes();
        let number = number.to_be_bytes();
        [&kind[..], &length, &COOKIE, &[0; 8], &number, attributes].concat()
    }

    fn check(number: u32) -> Vec<u8> {
        message(BINDING_REQUEST, number, &[])
    }

    fn answer(number: u32) -> Vec<u8> {
        // XOR-MAPPED-ADDRESS, then MESSAGE-INTEGRITY.
        let mut attributes = vec![0, 0x20, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 20];
        attributes.extend([0; 20]);
        message(BINDING_SUCCESS, number, &attributes)
    }

    fn host(n: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, n], port))
    }

    /// Number of checks that are sent without a response.
    fn sent(budget: &mut CheckBudget, now: Instant, checks: u32, destination: impl Fn(u32) -> SocketAddr) -> usize {
        (0..checks).filter(|number| budget.allows(now, destination(*number), &check(*number))).count()
    }

    #[test]
    fn unanswered_checks_of_a_session_are_limited_and_refill_slowly() {
        let (mut budget, now) = (CheckBudgets::default().session(None), Instant::now());
        let spread = |number| host((number % 16) as u8, 50_000);
        assert_eq!(sent(&mut budget, now, 10_000, spread), 384);
        assert_eq!(sent(&mut budget, now + Duration::from_secs(10), 10_000, spread), 80);
        assert!(budget.allows(now, host(1, 1), b"\x16\xfe\xfd, no check"), "other datagrams pass");
        assert!(budget.allows(now, host(1, 1), &answer(1)));
    }

    #[test]
    fn answered_checks_cost_nothing() {
        let (mut budget, now, peer) = (CheckBudgets::default().session(Some("peer")), Instant::now(), host(1, 50_000));
        for number in 0..10_000 {
            assert!(budget.allows(now, peer, &check(number)), "{number}");
            budget.received(peer, &answer(number));
        }
    }

    #[test]
    fn only_the_response_to_a_check_refunds_its_cost() {
        let (mut budget, now, peer) = (CheckBudgets::default().session(None), Instant::now(), host(1, 50_000));
        let mut allowed = 0;
        for number in 0..1000 {
            allowed += usize::from(budget.allows(now, peer, &check(number)));
            budget.received(host(2, 50_000), &answer(number));
            budget.received(peer, &answer(number + 5000));
            // Any STUN server would respond without integrity.
            budget.received(peer, &message(BINDING_SUCCESS, number, &[]));
            budget.received(peer, &message(BINDING_SUCCESS, number, &[0, 0x20, 0xff, 0xff, 1]));
        }
        assert_eq!(allowed, 384);
    }

    #[test]
    fn a_received_check_pays_for_one_in_return() {
        let (mut budget, now, peer) = (CheckBudgets::default().session(None), Instant::now(), host(1, 50_000));
        assert_eq!(sent(&mut budget, now, 1000, |_| peer), 384);
        budget.received(peer, &check(1));
        assert_eq!(sent(&mut budget, now, 1000, |_| peer), 1);
        (0..100).for_each(|number| budget.received(peer, &check(number)));
        assert_eq!(sent(&mut budget, now, 1000, |_| peer), 8);
        (0..1000).for_each(|port| budget.received(host(2, port), &check(1)));
        assert_eq!(budget.credits.len(), 64);
    }

    #[test]
    fn sessions_of_a_participant_share_one_budget() {
        let (budgets, now) = (CheckBudgets::default(), Instant::now());
        let spread =
            |session: u32| move |number: u32| SocketAddr::from(([198, 51, session as u8, number as u8], 50_000));
        let total: usize =
            (0..10).map(|session| sent(&mut budgets.session(Some("one")), now, 1000, spread(session))).sum();
        assert_eq!(total, 768);
        assert_eq!(sent(&mut budgets.session(Some("other")), now, 1000, spread(20)), 384);
    }

    #[test]
    fn checks_to_one_address_are_limited_across_participants_and_ports() {
        let (budgets, now) = (CheckBudgets::default(), Instant::now());
        let total: usize = (0..50)
            .map(|n| {
                let mut budget = budgets.session(Some(&format!("participant {n}")));
                sent(&mut budget, now, 100, |number| host(7, 50_000 + number as u16))
            })
            .sum();
        assert_eq!(total, 768);
        assert_eq!(
            sent(&mut budgets.session(None), now, 10, |_| host(8, 50_000)),
            10,
            "other addresses are not affected"
        );
    }

    #[test]
    fn tracked_state_is_bounded_and_exhausted_budgets_are_kept() {
        let (budgets, now) = (CheckBudgets::default(), Instant::now());
        for session in 0..10 {
            sent(&mut budgets.session(None), now, 100, |_| host(7, session));
        }
        for n in 0..5000_u32 {
            let address = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 50_000));
            assert!(budgets.session(None).allows(now, address, &check(1)));
        }
        assert!(budgets.buckets().len() <= MAX_KEYS);
        assert_eq!(sent(&mut budgets.session(None), now, 1000, |_| host(7, 1)), 0);
    }
}
