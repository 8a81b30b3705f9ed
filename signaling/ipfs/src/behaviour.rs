//! Signaling as one behaviour in the node's swarm.
//!
//! Its inputs: commands and verdicts of the handle, dropped subscriptions, events of gossipsub,
//! pings and mDNS, what the swarm tells every behaviour, resolved names, and a tick for what is
//! due. What it wants of the swarm goes into `actions`. It never waits: a message goes straight
//! from gossipsub into its readers' queues, which count what they cannot take.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use blink_api::{DeliveryId, SignalingEvent, Verdict};
use blink_signaling_kit::deliveries::Deliveries;
use blink_signaling_kit::handle::{Command, Inputs};
use blink_signaling_kit::liveness::Liveness;
use blink_signaling_kit::readers::{Others, Readers};
use blink_signaling_kit::targets::Targets;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::MessageId;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, ListenAddresses, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::gossip::VERDICT_WINDOW;
use crate::parts::Parts;
use crate::relays::Relays;

mod circuits;
mod dials;
mod messages;

use circuits::Circuits;

/// How often is looked for what is due: redials, silent nodes, deliveries nobody judged.
const TICK: Duration = Duration::from_millis(250);
/// A verdict must come before gossipsub forgets the message.
const VERDICT_TTL: Duration = VERDICT_WINDOW.saturating_sub(Duration::from_secs(2));
/// At the end, the time for what was just published to get out.
const DRAIN: Duration = Duration::from_millis(100);
/// At the end, the time for connections to close.
const CLOSE: Duration = Duration::from_millis(550);

/// What is handed to the swarm.
type Action = ToSwarm<Infallible, THandlerInEvent<Parts>>;

/// The names of an address that could be resolved, for a dial and who has to answer it.
struct Resolved {
    connection: ConnectionId,
    named: Option<PeerId>,
    result: io::Result<Vec<Multiaddr>>,
}

/// Which end of its life the node is at.
enum Phase {
    Running,
    /// What was published goes out.
    Draining(Instant),
    /// Connections close.
    Closing(Instant),
    Left,
}

/// Signaling in a swarm.
pub(crate) struct Calls {
    /// Never locked: rust-ipfs wants what it is given to be `Sync`, which mDNS is not.
    parts: Mutex<Parts>,
    local: PeerId,
    serves_relay: bool,
    commands: mpsc::Receiver<Command<Multiaddr>>,
    reports: mpsc::Receiver<(DeliveryId, Verdict)>,
    dropped: mpsc::Receiver<()>,
    events: broadcast::Sender<SignalingEvent>,
    /// What is dropped at the very end, and where it goes when the network is left.
    left: Option<(oneshot::Sender<watch::Sender<()>>, watch::Sender<()>)>,
    tick: Interval,
    phase: Phase,
    actions: VecDeque<Action>,
    connected: HashSet<PeerId>,
    listening: ListenAddresses,
    readers: Readers,
    others: Others<PeerId>,
    deliveries: Deliveries<MessageId, PeerId>,
    targets: Targets<Multiaddr, PeerId, ConnectionId>,
    resolving: JoinSet<Resolved>,
    circuits: Circuits,
    liveness: Liveness<ConnectionId, PeerId>,
    relays: Relays,
}

/// What a behaviour is made of, besides its protocols.
pub(crate) struct Setting {
    pub(crate) inputs: Inputs<Multiaddr>,
    /// Given `inputs.ended` when the network is left.
    pub(crate) left: oneshot::Sender<watch::Sender<()>>,
    pub(crate) bootstrap: Vec<Multiaddr>,
    pub(crate) relays: Vec<Multiaddr>,
    pub(crate) serves_relay: bool,
}

impl Calls {
    /// Begins at once, in the tokio runtime it is made in.
    pub(crate) fn new(parts: Parts, local: PeerId, setting: Setting) -> Self {
        let Setting { inputs, left, bootstrap, relays, serves_relay } = setting;
        let now = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut calls = Self {
            parts: Mutex::new(parts),
            local,
            serves_relay,
            commands: inputs.commands,
            reports: inputs.reports,
            dropped: inputs.dropped,
            events: inputs.events,
            left: Some((left, inputs.ended)),
            tick,
            phase: Phase::Running,
            actions: VecDeque::new(),
            connected: HashSet::new(),
            listening: ListenAddresses::default(),
            readers: Readers::default(),
            others: Others::default(),
            deliveries: Deliveries::new(VERDICT_TTL),
            targets: Targets::default(),
            resolving: JoinSet::new(),
            circuits: Circuits::default(),
            liveness: Liveness::default(),
            relays: Relays::new(&relays, now),
        };
        for address in bootstrap.into_iter().chain(relays) {
            calls.stay_connected(address, None);
        }
        calls
    }

    fn parts(&mut self) -> &mut Parts {
        self.parts.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of what came from outside the swarm; says whether there was any.
    fn poll_inputs(&mut self, cx: &mut Context<'_>) -> bool {
        if matches!(self.phase, Phase::Running) {
            if let Poll::Ready(command) = self.commands.poll_recv(cx) {
                match command {
                    Some(Command::Shutdown) | None => self.leave(),
                    Some(command) => self.handle_command(command),
                }
                return true;
            }
            if let Poll::Ready(Some((delivery, verdict))) = self.reports.poll_recv(cx) {
                self.handle_verdict(delivery, verdict);
                return true;
            }
            if let Poll::Ready(Some(())) = self.dropped.poll_recv(cx) {
                self.sweep();
                return true;
            }
            if let Poll::Ready(Some(Ok(resolved))) = self.resolving.poll_join_next(cx) {
                self.handle_resolved(resolved);
                return true;
            }
        }
        if self.tick.poll_tick(cx).is_ready() {
            self.handle_tick();
            return true;
        }
        false
    }

    fn handle_tick(&mut self) {
        let now = Instant::now();
        match self.phase {
            Phase::Running => {
                self.give_up_unjudged(now);
                self.close_silent(now);
                self.close_graylisted();
                self.dial_due();
                self.listen_due(now);
            }
            Phase::Draining(until) if until <= now => {
                let close = |peer| ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::All };
                self.actions.extend(self.connected.iter().copied().map(close));
                self.phase = Phase::Closing(now + CLOSE);
                self.check_left(now);
            }
            Phase::Closing(_) => self.check_left(now),
            Phase::Draining(_) | Phase::Left => {}
        }
    }

    /// Begins to leave: what was published goes out, and what comes in meanwhile has no reader.
    fn leave(&mut self) {
        // Whoever still waits for an answer hears that signaling is closed.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.targets = Targets::default();
        self.relays = Relays::new(&[], Instant::now());
        self.resolving.abort_all();
        self.circuits = Circuits::default();
        self.leave_topics();
        self.phase = Phase::Draining(Instant::now() + DRAIN);
        self.tick = tokio::time::interval(DRAIN / 4);
    }

    /// Whether all connections are closed, or should be by now.
    fn check_left(&mut self, now: Instant) {
        let Phase::Closing(until) = self.phase else { return };
        if self.connected.is_empty() || until <= now {
            self.phase = Phase::Left;
            if let Some((left, ended)) = self.left.take() {
                // Nobody waits where the node ends with its runtime.
                let _ = left.send(ended);
            }
        }
    }

    fn tell(&self, event: SignalingEvent) {
        // Nobody has to listen to events.
        let _ = self.events.send(event);
    }
}

impl NetworkBehaviour for Calls {
    type ConnectionHandler = THandler<Parts>;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.parts().handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.parts().handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.parts().handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.parts().handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.listening.on_swarm_event(&event);
        self.parts().on_swarm_event(event);
        self.handle_swarm(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.parts().on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Poll::Ready(action);
            }
            if self.poll_inputs(cx) {
                continue;
            }
            match self.parts().poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => self.handle_event(event),
                Poll::Ready(action) => return Poll::Ready(action.map_out(|_| unreachable!("handled above"))),
                Poll::Pending if self.actions.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }
}
