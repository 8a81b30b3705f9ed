//! Signaling as one behaviour in the node's swarm.
//!
//! Inputs: commands and verdicts from the handle, dropped subscriptions, events of gossipsub, ping
//! and mDNS, swarm events, resolved names, and a periodic tick. Outputs: swarm actions, queued in
//! `actions`. It never blocks: messages go directly from gossipsub into the subscribers' queues,
//! which count what they drop.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use blink_api::{DeliveryId, SignalingEvent, Verdict};
use blink_signaling_kit::deliveries::PendingDeliveries;
use blink_signaling_kit::dial_queue::DialQueue;
use blink_signaling_kit::discovery::Discovery;
use blink_signaling_kit::handle::{Command, Inputs};
use blink_signaling_kit::liveness::Liveness;
use blink_signaling_kit::paths::Paths;
use blink_signaling_kit::reservations::Reservations;
use blink_signaling_kit::subscriptions::{RemoteSubscriptions, Subscribers};
use libp2p::core::Endpoint;
use libp2p::core::transport::{ListenerId, PortUse};
use libp2p::gossipsub::MessageId;
use libp2p::kad::QueryId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, ExternalAddresses, FromSwarm, ListenAddresses, NetworkBehaviour,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::addresses;
use crate::gossip::VERDICT_WINDOW;
use crate::protocols::Protocols;

mod circuits;
mod dials;
mod messages;
mod rendezvous;

use circuits::Circuits;

/// Interval of periodic work: redials, ping timeouts, expired deliveries.
const TICK: Duration = Duration::from_millis(250);
/// Time for a verdict, shorter than gossipsub's message cache.
const VERDICT_TTL: Duration = VERDICT_WINDOW.saturating_sub(Duration::from_secs(2));
/// Time at shutdown for published messages to be sent.
const DRAIN_TIME: Duration = Duration::from_millis(100);
/// Time at shutdown for connections to close.
const CLOSE_TIME: Duration = Duration::from_millis(550);

/// Action for the swarm.
type Action = ToSwarm<Infallible, THandlerInEvent<Protocols>>;

/// Result of resolving the name in an address, for a dial and its expected peer id.
struct Resolved {
    address: Multiaddr,
    connection: ConnectionId,
    expected: Option<PeerId>,
    result: io::Result<Vec<Multiaddr>>,
}

/// Lifecycle of the node.
enum Phase {
    Running,
    /// Sending what was published before the shutdown.
    Draining(Instant),
    /// Closing all connections.
    Closing(Instant),
    Left,
}

/// Signaling behaviour in the swarm.
pub(crate) struct SignalingBehaviour {
    /// Never locked: only accessed through `get_mut`. The mutex makes the field `Sync`, which
    /// rust-ipfs requires of a behaviour and mDNS is not.
    protocols: Mutex<Protocols>,
    local: PeerId,
    serves_relay: bool,
    commands: mpsc::Receiver<Command<Multiaddr>>,
    reports: mpsc::Receiver<(DeliveryId, Verdict)>,
    dropped: mpsc::Receiver<()>,
    events: broadcast::Sender<SignalingEvent>,
    /// Shutdown notification, and where to send it once the network was left.
    left: Option<(oneshot::Sender<watch::Sender<()>>, watch::Sender<()>)>,
    tick: Interval,
    phase: Phase,
    actions: VecDeque<Action>,
    connected: HashSet<PeerId>,
    listening: ListenAddresses,
    external: ExternalAddresses,
    subscribers: Subscribers,
    remote_subscriptions: RemoteSubscriptions<PeerId>,
    deliveries: PendingDeliveries<MessageId, PeerId>,
    dial_queue: DialQueue<Multiaddr, PeerId, ConnectionId>,
    resolving: JoinSet<Resolved>,
    circuits: Circuits,
    liveness: Liveness<ConnectionId, PeerId>,
    /// Addresses of the bootstrap nodes and relays of the configuration, without peer ids.
    configured: HashSet<Multiaddr>,
    /// Addresses at which configured nodes answered.
    relay_addresses: HashMap<PeerId, Multiaddr>,
    reservations: Reservations<Multiaddr, PeerId, ListenerId>,
    discovery: Discovery<PeerId, QueryId>,
    paths: Paths<Multiaddr, PeerId, ConnectionId>,
}

/// Configuration of the behaviour besides its protocols.
pub(crate) struct BehaviourOptions {
    pub(crate) inputs: Inputs<Multiaddr>,
    /// Receives `inputs.ended` once the network was left.
    pub(crate) left: oneshot::Sender<watch::Sender<()>>,
    pub(crate) bootstrap: Vec<Multiaddr>,
    pub(crate) relays: Vec<Multiaddr>,
    pub(crate) serves_relay: bool,
}

impl SignalingBehaviour {
    /// Creates the behaviour and starts its timer. Must be called in a tokio runtime.
    pub(crate) fn new(protocols: Protocols, local: PeerId, behaviour_options: BehaviourOptions) -> Self {
        let BehaviourOptions { inputs, left, bootstrap, relays, serves_relay } = behaviour_options;
        let now = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut behaviour = Self {
            protocols: Mutex::new(protocols),
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
            external: ExternalAddresses::default(),
            subscribers: Subscribers::default(),
            remote_subscriptions: RemoteSubscriptions::default(),
            deliveries: PendingDeliveries::new(VERDICT_TTL),
            dial_queue: DialQueue::default(),
            resolving: JoinSet::new(),
            circuits: Circuits::default(),
            liveness: Liveness::default(),
            configured: bootstrap.iter().chain(&relays).map(addresses::without_peer).collect(),
            relay_addresses: HashMap::new(),
            reservations: Reservations::default(),
            discovery: Discovery::default(),
            paths: Paths::default(),
        };
        for address in &relays {
            if let Some(relay) = addresses::peer(address) {
                behaviour.reservations.add(relay, address.clone().with(Protocol::P2pCircuit), now);
            }
        }
        for address in bootstrap.into_iter().chain(relays) {
            behaviour.stay_connected(address, None);
        }
        behaviour
    }

    fn protocols(&mut self) -> &mut Protocols {
        self.protocols.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles one input from outside the swarm; returns whether there was one.
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
                self.remove_dropped();
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
                self.expire_deliveries(now);
                self.disconnect_unresponsive(now);
                self.ban_graylisted();
                self.start_due_dials();
                self.tend_paths(now);
                self.disconnect_false_providers(now);
                self.advance_discovery(now);
            }
            Phase::Draining(until) if until <= now => {
                let close = |peer| ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::All };
                self.actions.extend(self.connected.iter().copied().map(close));
                self.phase = Phase::Closing(now + CLOSE_TIME);
                self.check_left(now);
            }
            Phase::Closing(_) => self.check_left(now),
            Phase::Draining(_) | Phase::Left => {}
        }
    }

    /// Starts the shutdown: drains what was published; received messages have no subscriber.
    fn leave(&mut self) {
        // Closing the commands fails the pending requests with `Closed`.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.dial_queue = DialQueue::default();
        self.reservations = Reservations::default();
        self.discovery = Discovery::default();
        self.paths = Paths::default();
        self.resolving.abort_all();
        self.circuits = Circuits::default();
        self.leave_topics();
        self.phase = Phase::Draining(Instant::now() + DRAIN_TIME);
        self.tick = tokio::time::interval(DRAIN_TIME / 4);
    }

    /// Finishes the shutdown once all connections are closed or the time is up.
    fn check_left(&mut self, now: Instant) {
        let Phase::Closing(until) = self.phase else { return };
        if self.connected.is_empty() || until <= now {
            self.phase = Phase::Left;
            if let Some((left, ended)) = self.left.take() {
                // The receiver is gone if the runtime itself is shutting down.
                let _ = left.send(ended);
            }
        }
    }

    fn emit(&self, event: SignalingEvent) {
        // No receiver is fine: events are optional.
        let _ = self.events.send(event);
    }
}

impl NetworkBehaviour for SignalingBehaviour {
    type ConnectionHandler = THandler<Protocols>;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.protocols().handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.protocols().handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.protocols().handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.protocols().handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.listening.on_swarm_event(&event);
        self.external.on_swarm_event(&event);
        self.protocols().on_swarm_event(event);
        self.handle_swarm(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.protocols().on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Poll::Ready(action);
            }
            if self.poll_inputs(cx) {
                continue;
            }
            match self.protocols().poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => self.handle_event(event),
                Poll::Ready(action) => return Poll::Ready(action.map_out(|_| unreachable!("handled above"))),
                Poll::Pending if self.actions.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }
}
