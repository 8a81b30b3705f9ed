//! Engine in this process, whose node others of this and other processes connect to.

use std::sync::Arc;
use std::time::Duration;

use blink_api::{Configuration, Did, Endpoint, Registry, Signaling};
use blink_engine::{Blink, Event, EventItem, Events, ParticipantState};
use tokio::time::timeout;

use crate::program::SOON;

/// A running engine, and its events.
pub(crate) struct TestEngine {
    pub(crate) name: &'static str,
    pub(crate) blink: Blink,
    events: Events,
}

/// Common settings: this machine only, recorded speech, no files.
pub(crate) fn configuration(settings: &[&str]) -> Configuration {
    let registry = Registry::discovered().unwrap();
    let common = [
        "media_host=synthetic",
        "codec=opus",
        "microphone=speech",
        "speaker=null",
        r#"ice.interfaces=["127.0.0.1"]"#,
        r#"signalings.libp2p.listen=["/ip4/127.0.0.1/tcp/0"]"#,
        "signalings.libp2p.mdns=false",
        r#"signalings.ipfs.listen=["/ip4/127.0.0.1/tcp/0"]"#,
        "signalings.ipfs.mdns=false",
    ];
    let builder = Configuration::builder(&registry);
    let all = common.iter().chain(settings);
    all.fold(builder, |builder, setting| builder.set_argument("test", setting)).build().unwrap()
}

impl TestEngine {
    /// Starts an engine with a node of the configured signaling backend.
    pub(crate) async fn start(name: &'static str, settings: &[&str]) -> Self {
        let blink = Blink::start(&configuration(settings)).await.unwrap();
        let events = blink.events();
        Self { name, blink, events }
    }

    /// Starts an engine with an existing node.
    pub(crate) async fn with_node(name: &'static str, settings: &[&str], node: Arc<dyn Signaling>) -> Self {
        let blink = Blink::builder(&configuration(settings)).signaling(node).start().await.unwrap();
        let events = blink.events();
        Self { name, blink, events }
    }

    /// `DID@ADDRESS`, as on a command line.
    pub(crate) async fn target(&self) -> String {
        format!("{}@{}", self.blink.did(), self.address().await)
    }

    /// Address of its node.
    pub(crate) async fn address(&self) -> String {
        self.blink.addresses().await.unwrap().swap_remove(0)
    }

    /// Waits for an event, and discards those before it.
    pub(crate) async fn sees<T>(&mut self, what: &str, matches: impl FnMut(&Event) -> Option<T>) -> T {
        let seen = self.sees_within(SOON, matches).await;
        seen.unwrap_or_else(|| panic!("{} does not see {what} within {SOON:?}", self.name))
    }

    /// As [`sees`](Self::sees), but returns `None` after the timeout.
    pub(crate) async fn sees_within<T>(
        &mut self,
        limit: Duration,
        mut matches: impl FnMut(&Event) -> Option<T>,
    ) -> Option<T> {
        let seen = async {
            loop {
                match self.events.next().await {
                    Some(EventItem::Event(event)) => {
                        if let Some(found) = matches(&event) {
                            return found;
                        }
                    }
                    Some(EventItem::Lagged { .. }) => panic!("{} reads its events too slowly", self.name),
                    None => panic!("{}'s engine stopped", self.name),
                }
            }
        };
        timeout(limit, seen).await.ok()
    }

    /// Waits until these participants are connected, in any order.
    pub(crate) async fn is_joined_by(&mut self, mut others: Vec<Did>) {
        while !others.is_empty() {
            let joined = self.sees("a participant", |event| match event {
                Event::ParticipantJoined { participant, .. } => Some(participant.did),
                _ => None,
            });
            let joined = joined.await;
            others.retain(|other| *other != joined);
        }
    }

    /// Waits until this many nodes are connected.
    pub(crate) async fn sees_nodes(&mut self, count: usize) {
        let connected =
            |event: &Event| matches!(event, Event::SignalingChanged { nodes } if *nodes == count).then_some(());
        self.sees(&format!("{count} nodes"), connected).await;
    }

    /// Waits until a participant's state matches, now or by an event.
    pub(crate) async fn sees_state_of(&mut self, did: Did, what: &str, is: fn(&ParticipantState) -> bool) {
        let known = self.blink.current_call().await.unwrap().expect("it is in a call");
        if known.participants.iter().any(|participant| participant.did == did && is(&participant.state)) {
            return;
        }
        self.sees(what, |event| is_state_of(event, did, is).then_some(())).await;
    }

    /// Waits until this many more packets of a participant have arrived.
    pub(crate) async fn hears_on(&self, did: Did, packets: u64) {
        let begin = self.packets_of(did).await;
        let more = async {
            while self.packets_of(did).await < begin + packets {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let name = self.name;
        timeout(SOON, more).await.unwrap_or_else(|_| panic!("{name} does not hear {did} any more"));
    }

    async fn packets_of(&self, did: Did) -> u64 {
        let all = self.blink.statistics().await.unwrap();
        all.iter().filter(|one| one.participant.did == did).map(|one| one.session.packets_received).sum()
    }
}

/// Whether an event reports a matching state of a participant.
pub(crate) fn is_state_of(event: &Event, did: Did, is: fn(&ParticipantState) -> bool) -> bool {
    matches!(event, Event::ParticipantStateChanged { participant: Endpoint { did: of, .. }, state, .. } if *of == did && is(state))
}
