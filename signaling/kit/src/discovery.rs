//! Schedules of announcements and searches in a distributed hash table (DHT).
//!
//! A node announces a topic as a provider record under [`record_key`], and searches the records of
//! the topics it wants to reach. Everything waits until a node that serves the DHT is connected.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use blink_api::Topic;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// Name of the Kademlia protocol that all nodes of the DHT speak.
pub const KAD_PROTOCOL: &str = "/blink/kad/1";
/// Name of the identify protocol's application version.
pub const IDENTIFY_PROTOCOL: &str = "/blink/1";
/// Name of the protocol by which a relay tells that it accepts reservations.
pub const RELAY_PROTOCOL: &str = "/libp2p/circuit/relay/0.2.0/hop";

/// Interval of announcements; also their lifetime's lower bound on a serving node.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(600);
/// Delay of an announcement, so that several new addresses are announced at once.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(50);
/// Time for which a search waits for a node that serves the DHT.
const SEARCH_PATIENCE: Duration = Duration::from_secs(15);
/// Time for a found node to subscribe to the topic it announced.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of searches at the same time; further ones are dropped and may be repeated.
const MAX_SEARCHES: usize = 64;
/// Limit of nodes dialled per search. Records are not signed by the topic's owner, so a topic may
/// have more false records than true ones.
const MAX_DIALS: usize = 16;
/// Limit of remembered dials.
const MAX_REMEMBERED: usize = 1024;

/// Key of a topic's records: the SHA-256 of its name, so that a record does not disclose the topic.
pub fn record_key(topic: &Topic) -> [u8; 32] {
    Sha256::digest(topic.to_string()).into()
}

/// Announcements and searches of one node: peer ids `P`, query ids `Q`.
#[derive(Debug)]
pub struct Discovery<P, Q> {
    /// Connected nodes that serve the DHT.
    servers: HashSet<P>,
    announced: BTreeSet<Topic>,
    announce_at: Option<Instant>,
    searches: HashMap<Topic, Search<Q>>,
    dialled: HashMap<P, Dialled>,
}

#[derive(Debug)]
enum Search<Q> {
    /// Not started: no serving node was connected.
    Waiting {
        since: Instant,
    },
    Running {
        query: Q,
        dials: usize,
    },
}

/// Most recent dial of a node that was found.
#[derive(Debug)]
struct Dialled {
    topic: Topic,
    at: Instant,
    /// Whether its subscription was checked after [`SUBSCRIBE_TIMEOUT`].
    checked: bool,
}

impl<P, Q> Default for Discovery<P, Q> {
    fn default() -> Self {
        Self {
            servers: HashSet::new(),
            announced: BTreeSet::new(),
            announce_at: None,
            searches: HashMap::new(),
            dialled: HashMap::new(),
        }
    }
}

impl<P: Copy + Eq + Hash, Q: PartialEq> Discovery<P, Q> {
    /// Records a connected node that serves the DHT; everything is announced to it.
    pub fn server_connected(&mut self, peer: P, now: Instant) {
        if self.servers.insert(peer) {
            self.addresses_changed(now);
        }
    }

    /// Records that a node's last connection closed.
    pub fn disconnected(&mut self, peer: &P) {
        self.servers.remove(peer);
    }

    /// Adds a topic to announce from now on.
    pub fn announce(&mut self, topic: Topic, now: Instant) {
        self.announced.insert(topic);
        self.addresses_changed(now);
    }

    /// Schedules announcements, because the local node's addresses changed.
    pub fn addresses_changed(&mut self, now: Instant) {
        let soon = now + ANNOUNCE_DELAY;
        self.announce_at = Some(self.announce_at.map_or(soon, |at| at.min(soon)));
    }

    /// Returns the topics to announce now: none before the local node has an address that others
    /// can dial (`is_reachable`), nor without a serving node.
    pub fn take_announcements(&mut self, is_reachable: bool, now: Instant) -> Vec<Topic> {
        let is_due = self.announce_at.is_some_and(|at| at <= now);
        if !is_due || !is_reachable || self.servers.is_empty() {
            return Vec::new();
        }
        self.announce_at = Some(now + ANNOUNCE_INTERVAL);
        self.announced.iter().copied().collect()
    }

    /// Adds a topic to search. Does nothing if it is being searched.
    pub fn search(&mut self, topic: Topic, now: Instant) {
        if self.searches.len() < MAX_SEARCHES || self.searches.contains_key(&topic) {
            self.searches.entry(topic).or_insert(Search::Waiting { since: now });
        }
    }

    /// Starts the searches that wait, once a serving node is connected. `begin` starts one and
    /// returns its query id.
    pub fn start_searches(&mut self, now: Instant, mut begin: impl FnMut(&Topic) -> Q) {
        let is_current = |search: &Search<Q>| !matches!(search, Search::Waiting { since } if now.duration_since(*since) > SEARCH_PATIENCE);
        self.searches.retain(|_, search| is_current(search));
        if self.servers.is_empty() {
            return;
        }
        for (topic, search) in &mut self.searches {
            if matches!(search, Search::Waiting { .. }) {
                *search = Search::Running { query: begin(topic), dials: 0 };
            }
        }
    }

    /// Handles providers found by a query; returns the nodes to dial, those first that were not
    /// dialled lately. `is_known` tells connected nodes and the local one.
    pub fn found(
        &mut self,
        query: &Q,
        providers: impl IntoIterator<Item = P>,
        is_known: impl Fn(&P) -> bool,
        now: Instant,
    ) -> Vec<P> {
        let of_query = |(topic, search): (&Topic, _)| match search {
            &mut Search::Running { query: ref running, ref mut dials } if running == query => Some((*topic, dials)),
            _ => None,
        };
        let Some((topic, dials)) = self.searches.iter_mut().find_map(of_query) else { return Vec::new() };
        let mut nodes: Vec<_> = providers.into_iter().filter(|peer| !is_known(peer)).collect();
        nodes.sort_by_key(|peer| self.dialled.get(peer).map(|dialled| dialled.at));
        nodes.truncate(MAX_DIALS.saturating_sub(*dials));
        *dials += nodes.len();
        for peer in &nodes {
            self.dialled.insert(*peer, Dialled { topic, at: now, checked: false });
        }
        self.forget_oldest();
        nodes
    }

    /// Records the end of a query.
    pub fn finished(&mut self, query: &Q) {
        self.searches.retain(|_, search| !matches!(search, Search::Running { query: running, .. } if running == query));
    }

    /// Returns the nodes that were found and dialled, but did not subscribe to the topic they
    /// announced. Each is returned once per dial.
    pub fn take_false_providers(&mut self, now: Instant, is_subscribed: impl Fn(&P, &Topic) -> bool) -> Vec<P> {
        let mut refuted = Vec::new();
        for (peer, dialled) in &mut self.dialled {
            if !dialled.checked && now.duration_since(dialled.at) >= SUBSCRIBE_TIMEOUT {
                dialled.checked = true;
                if !is_subscribed(peer, &dialled.topic) {
                    refuted.push(*peer);
                }
            }
        }
        refuted
    }

    fn forget_oldest(&mut self) {
        while self.dialled.len() > MAX_REMEMBERED
            && let Some(oldest) = self.dialled.iter().min_by_key(|(_, dialled)| dialled.at).map(|(peer, _)| *peer)
        {
            self.dialled.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Topic = Topic::from_bytes([7; 32]);
    const OTHER: Topic = Topic::from_bytes([8; 32]);

    #[test]
    fn announcements_wait_for_a_serving_node_and_an_address_and_are_repeated() {
        let mut discovery = Discovery::<char, u32>::default();
        let start = Instant::now();
        discovery.announce(TOPIC, start);
        let soon = start + ANNOUNCE_DELAY;
        assert!(discovery.take_announcements(true, soon).is_empty(), "no serving node");
        discovery.server_connected('s', start);
        assert!(discovery.take_announcements(false, soon).is_empty(), "no address");
        assert!(discovery.take_announcements(true, start).is_empty(), "not at once");
        assert_eq!(discovery.take_announcements(true, soon), [TOPIC]);
        assert!(discovery.take_announcements(true, soon).is_empty());
        assert_eq!(discovery.take_announcements(true, soon + ANNOUNCE_INTERVAL), [TOPIC]);

        let restarted = soon + ANNOUNCE_INTERVAL + ANNOUNCE_DELAY;
        discovery.disconnected(&'s');
        discovery.server_connected('s', restarted);
        assert_eq!(discovery.take_announcements(true, restarted + ANNOUNCE_DELAY), [TOPIC], "its store may be empty");
    }

    #[test]
    fn a_search_waits_for_a_serving_node_but_not_forever() {
        let mut discovery = Discovery::<char, u32>::default();
        let start = Instant::now();
        discovery.search(TOPIC, start);
        discovery.start_searches(start, |_| panic!("no serving node"));
        discovery.server_connected('s', start);
        let mut begun = Vec::new();
        let mut begin = |topic: &Topic| {
            begun.push(*topic);
            begun.len() as u32
        };
        discovery.start_searches(start, &mut begin);
        discovery.search(TOPIC, start);
        discovery.start_searches(start, &mut begin);
        discovery.finished(&1);
        discovery.search(TOPIC, start);
        discovery.start_searches(start, &mut begin);
        discovery.search(OTHER, start);
        discovery.start_searches(start + SEARCH_PATIENCE * 2, &mut begin);
        assert_eq!(begun, [TOPIC, TOPIC]);
    }

    #[test]
    fn at_most_sixteen_providers_are_dialled_per_search_and_the_next_search_tries_others() {
        let mut discovery = Discovery::<u32, u32>::default();
        let start = Instant::now();
        let mut dialled = HashSet::new();
        for query in 0..2 {
            let now = start + Duration::from_secs(u64::from(query));
            discovery.server_connected(99, now);
            discovery.search(TOPIC, now);
            discovery.start_searches(now, |_| query);
            let found = discovery.found(&query, 0..32, |_| false, now);
            assert_eq!(found.len(), MAX_DIALS);
            assert!(discovery.found(&query, 32..64, |_| false, now).is_empty(), "the search's share is used up");
            assert!(discovery.found(&77, 0..32, |_| false, now).is_empty(), "another query");
            dialled.extend(found);
            discovery.finished(&query);
        }
        assert_eq!(dialled.len(), 32);
    }

    #[test]
    fn providers_without_the_subscription_are_reported_once() {
        let mut discovery = Discovery::<char, u32>::default();
        let start = Instant::now();
        discovery.server_connected('s', start);
        discovery.search(TOPIC, start);
        discovery.start_searches(start, |_| 1);
        let found = discovery.found(&1, ['t', 'f', 'k'], |peer| *peer == 'k', start);
        assert_eq!(HashSet::<char>::from_iter(found), HashSet::from(['t', 'f']));
        let is_subscribed = |peer: &char, topic: &Topic| *topic == TOPIC && *peer == 't';
        assert!(discovery.take_false_providers(start, is_subscribed).is_empty());
        let later = start + SUBSCRIBE_TIMEOUT;
        assert_eq!(discovery.take_false_providers(later, is_subscribed), ['f']);
        assert!(discovery.take_false_providers(later, is_subscribed).is_empty());
    }

    #[test]
    fn a_record_does_not_show_the_topic() {
        assert_ne!(&record_key(&TOPIC), TOPIC.as_bytes());
        assert_ne!(record_key(&TOPIC), record_key(&OTHER));
    }
}
