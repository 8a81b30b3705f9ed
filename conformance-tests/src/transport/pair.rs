//! Two sessions, and a signaling path between them that the test controls.

use std::time::{Duration, Instant};

use blink_api::{
    Candidate, ChannelId, Mid, RtpCodec, RtpIn, RtpOut, RtpReceiver, Session, SessionConfig, SessionEvent,
    SessionEvents, TrackId, TrackKind, Transport, rtp_queue,
};
use bytes::Bytes;
use tokio::time::timeout;

use super::fixtures::ice_ufrag;
pub(super) use super::fixtures::{candidate, codec, configuration, packet, without_candidates};
use super::opus;
use super::setup_times::SetupTimes;

/// Capacity of the queue of received packets.
const QUEUE: usize = 1_024;

/// Timeout of any step on one machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// One session and its reported events.
pub(super) struct Side {
    pub(super) session: Box<dyn Session>,
    pub(super) track: TrackId,
    pub(super) log: Vec<SessionEvent>,
    /// Packets in the order of their arrival.
    pub(super) packets: Vec<Received>,
    pub(super) transport_is_network: bool,
    events: SessionEvents,
    arriving: RtpReceiver,
}

/// A packet with the number of events that were logged before it.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) packet: RtpIn,
    pub(super) events_before: usize,
}

/// Anything that comes out of a session.
#[derive(Debug)]
pub(super) enum Arrival {
    Event(SessionEvent),
    Packet(RtpIn),
}

/// Two connected sides, and the descriptions between them.
pub(super) struct Pair {
    pub(super) offerer: Side,
    pub(super) answerer: Side,
    /// ICE username fragments of the latest offer and answer.
    pub(super) ufrags: (String, String),
    /// All offers, and all answers.
    descriptions: [Vec<String>; 2],
    next: u16,
}

impl Pair {
    /// Two sessions with a track each.
    pub(super) async fn open(offerer: &dyn Transport, answerer: &dyn Transport) -> Self {
        let mut pair = Self::open_with_listener(offerer, answerer).await;
        pair.answerer.track = pair.answerer.session.add_track(TrackKind::Audio).await.expect("a track");
        pair
    }

    /// Two sessions, of which the answering one sends nothing.
    pub(super) async fn open_with_listener(offerer: &dyn Transport, answerer: &dyn Transport) -> Self {
        let mut offerer = Side::open(offerer, vec![opus()]).await;
        let answerer = Side::open(answerer, vec![opus()]).await;
        offerer.track = offerer.session.add_track(TrackKind::Audio).await.expect("a track");
        Self::of(offerer, answerer)
    }

    /// Creates a pair of opened sides.
    pub(super) fn of(offerer: Side, answerer: Side) -> Self {
        Self { offerer, answerer, ufrags: Default::default(), descriptions: Default::default(), next: 10_000 }
    }

    /// Negotiates and waits until both are connected.
    pub(super) async fn connect(&mut self) {
        self.negotiate(false).await;
        self.until_connected().await;
    }

    /// Connects as [`connect`](Self::connect) does, and measures it. The offerer sends packets
    /// until one arrives.
    pub(super) async fn measure_setup(&mut self) -> SetupTimes {
        let began = Instant::now();
        self.negotiate(false).await;
        let negotiated = began.elapsed();
        let (mut offerer, mut answerer) = (None, None);
        while self.answerer.packets().next().is_none() || answerer.is_none() {
            assert!(began.elapsed() < DEADLINE, "a first packet comes in time");
            self.pass_for(Duration::from_millis(2)).await;
            offerer = offerer.or_else(|| self.offerer.is_connected().then(|| began.elapsed()));
            answerer = answerer.or_else(|| self.answerer.is_connected().then(|| began.elapsed()));
            if offerer.is_some() {
                let next = self.next_packet();
                self.offerer.send(next);
            }
        }
        let (offerer, answerer) = offerer.zip(answerer).expect("a side that sends packets is connected");
        SetupTimes { negotiated, offerer, answerer, first_packet: began.elapsed() }
    }

    pub(super) async fn until_connected(&mut self) {
        self.until("both sides are connected", |a, b| a.is_connected() && b.is_connected()).await;
    }

    pub(super) async fn negotiate(&mut self, ice_restart: bool) {
        let offer = self.offerer.session.create_offer(ice_restart).await.expect("an offer");
        self.negotiate_with(offer).await;
    }

    pub(super) async fn negotiate_with(&mut self, offer: String) {
        let answer = self.answerer.session.accept_offer(&offer).await.expect("an answer");
        self.offerer.session.accept_answer(&answer).await.expect("the answer fits");
        self.ufrags = (ice_ufrag(&offer), ice_ufrag(&answer));
        self.descriptions[0].push(offer);
        self.descriptions[1].push(answer);
    }

    /// All descriptions and candidates that one side has sent to the other.
    pub(super) fn signaled(&self, by_offerer: bool) -> Vec<String> {
        let (side, descriptions) =
            if by_offerer { (&self.offerer, &self.descriptions[0]) } else { (&self.answerer, &self.descriptions[1]) };
        let candidate = |event: &SessionEvent| match event {
            SessionEvent::LocalCandidate(candidate) => Some(candidate.attribute.clone()),
            _ => None,
        };
        descriptions.iter().cloned().chain(side.log.iter().filter_map(candidate)).collect()
    }

    /// Renegotiates with an offer of the side that answered the first one.
    pub(super) async fn negotiate_from_answerer(&mut self) {
        let offer = self.answerer.session.create_offer(false).await.expect("an offer");
        let answer = self.offerer.session.accept_offer(&offer).await.expect("an answer");
        self.answerer.session.accept_answer(&answer).await.expect("the answer fits");
    }

    /// Sends packets with the next sequence numbers from both sides, and waits until all have
    /// arrived.
    pub(super) async fn exchange_packets(&mut self, count: u16) {
        let first = self.next;
        self.next += count;
        for n in 0..count {
            self.offerer.send(packet(first + n));
            self.answerer.send(packet(first + n));
        }
        let received =
            |side: &Side| side.packets().filter(|packet| (first..first + count).contains(&packet.sequence)).count();
        self.until("both sides receive all packets", |a, b| {
            received(a) == usize::from(count) && received(b) == usize::from(count)
        })
        .await;
    }

    /// Sends packets from both sides every few milliseconds until each has received one, and
    /// returns how long that took.
    pub(super) async fn exchange_until_received(&mut self) -> Duration {
        let (began, first) = (Instant::now(), self.next);
        let received = |side: &Side| side.packets().any(|packet| packet.sequence >= first);
        while !(received(&self.offerer) && received(&self.answerer)) {
            assert!(began.elapsed() < DEADLINE, "both sides receive packets again");
            let next = self.next_packet();
            self.offerer.send(next.clone());
            self.answerer.send(next);
            self.pass_for(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }

    /// The packet after all packets sent so far.
    pub(super) fn next_packet(&mut self) -> RtpOut {
        self.next += 1;
        packet(self.next - 1)
    }

    /// Processes events of both sides and exchanges candidates until `done`.
    pub(super) async fn until(&mut self, what: &str, mut done: impl FnMut(&Side, &Side) -> bool) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !done(&self.offerer, &self.answerer) {
            let Ok(event) = tokio::time::timeout_at(deadline, self.next_event()).await else {
                let (offerer, answerer) = (self.offerer.summary(), self.answerer.summary());
                panic!("not within {DEADLINE:?}: {what}\nofferer: {offerer:#?}\nanswerer: {answerer:#?}");
            };
            self.take(event).await;
        }
    }

    /// Processes the next event, if one arrives soon.
    pub(super) async fn pass_for(&mut self, soon: Duration) {
        if let Ok(event) = timeout(soon, self.next_event()).await {
            self.take(event).await;
        }
    }

    /// Logs the next event or packet, and passes no candidate on.
    pub(super) async fn log_next(&mut self) {
        match self.next_event().await {
            (true, arrival) => self.offerer.take(arrival),
            (false, arrival) => self.answerer.take(arrival),
        }
    }

    /// The next event or packet of either side, and whether it is the offerer's.
    async fn next_event(&mut self) -> (bool, Arrival) {
        let (is_offerers, event) = tokio::select! {
            event = self.offerer.next() => (true, event),
            event = self.answerer.next() => (false, event),
        };
        (is_offerers, event.expect("the session is open"))
    }

    /// Logs an event or packet, and adds a candidate to the other side.
    async fn take(&mut self, (is_offerers, event): (bool, Arrival)) {
        let (from, to) = match is_offerers {
            true => (&mut self.offerer, &self.answerer),
            false => (&mut self.answerer, &self.offerer),
        };
        if let Arrival::Event(SessionEvent::LocalCandidate(candidate)) = &event {
            to.session.add_candidate(candidate).await.expect("the remote candidate is accepted");
        }
        from.take(event);
    }

    /// Collects the candidates of both sides until gathering is complete.
    pub(super) async fn hold_candidates(&mut self, ours: &mut Vec<Candidate>, theirs: &mut Vec<Candidate>) {
        self.offerer.gather(ours).await;
        self.answerer.gather(theirs).await;
    }

    pub(super) async fn close(self) {
        self.offerer.session.close().await;
        self.answerer.session.close().await;
    }
}

impl Side {
    pub(super) async fn open(transport: &dyn Transport, audio: Vec<RtpCodec>) -> Self {
        Self::open_with(transport, configuration(audio)).await
    }

    pub(super) async fn open_with(transport: &dyn Transport, mut config: SessionConfig) -> Self {
        let (rtp, arriving) = rtp_queue(QUEUE);
        config.rtp = rtp;
        let (session, events) = transport.open(config).await.expect("a session");
        let transport_is_network = transport.capabilities().network;
        Self {
            session,
            track: TrackId(0),
            log: Vec::new(),
            packets: Vec::new(),
            transport_is_network,
            events,
            arriving,
        }
    }

    /// The next event or packet; `None` once the events have ended. An event that was reported
    /// before a packet precedes it.
    async fn next(&mut self) -> Option<Arrival> {
        tokio::select! {
            biased;
            event = self.events.recv() => event.map(Arrival::Event),
            Some(packet) = self.arriving.recv() => Some(Arrival::Packet(packet)),
        }
    }

    fn take(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Event(event) => self.log.push(event),
            Arrival::Packet(packet) => self.packets.push(Received { packet, events_before: self.log.len() }),
        }
    }

    pub(super) fn send(&self, packet: RtpOut) {
        self.send_on(self.track, packet);
    }

    pub(super) fn send_on(&self, track: TrackId, packet: RtpOut) {
        self.session.send_rtp(track, packet).expect("the packet is accepted");
    }

    pub(super) async fn add_candidates(&self, candidates: &[Candidate]) {
        for candidate in candidates {
            self.session.add_candidate(candidate).await.expect("the remote candidate is accepted");
        }
    }

    /// Collects candidates until gathering is complete.
    pub(super) async fn gather(&mut self, candidates: &mut Vec<Candidate>) {
        while !self.saw(|event| matches!(event, SessionEvent::CandidatesDone)) {
            let event = timeout(DEADLINE, self.next()).await.expect("candidates are done in time");
            let event = event.expect("the session is open");
            if let Arrival::Event(SessionEvent::LocalCandidate(candidate)) = &event {
                candidates.push(candidate.clone());
            }
            self.take(event);
        }
    }

    /// Processes events until `done`, long enough for a stack to detect that its peer is gone.
    pub(super) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let event = timeout(3 * DEADLINE, self.next()).await;
            let event = event.unwrap_or_else(|_| panic!("not in time: {what}: {:#?}", self.summary()));
            self.take(event.expect("the session is open"));
        }
    }

    /// Processes events until they end.
    pub(super) async fn until_ended(&mut self) {
        while let Some(event) = timeout(DEADLINE, self.next()).await.expect("the events end in time") {
            self.take(event);
        }
    }

    /// Processes the next event, if one arrives soon.
    pub(super) async fn pass_for(&mut self, soon: Duration) {
        if let Ok(event) = timeout(soon, self.next()).await {
            self.take(event.expect("the session is open"));
        }
    }

    /// Processes events until none arrives for a moment.
    pub(super) async fn drain(&mut self) {
        while let Ok(event) = timeout(Duration::from_millis(300), self.next()).await {
            self.take(event.expect("the session is open"));
        }
    }

    /// Fails if an event arrives within a moment.
    pub(super) async fn expect_silence(&mut self) {
        if let Ok(event) = timeout(Duration::from_millis(200), self.next()).await {
            panic!("unexpected event before negotiation: {event:?}");
        }
    }

    pub(super) fn saw(&self, matches: impl Fn(&SessionEvent) -> bool) -> bool {
        self.log.iter().any(matches)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.saw(|event| matches!(event, SessionEvent::Connected))
    }

    /// Section of the received audio track.
    pub(super) fn started(&self) -> Option<Mid> {
        self.log.iter().find_map(|event| match event {
            SessionEvent::TrackStarted { mid, kind: TrackKind::Audio } => Some(mid.clone()),
            _ => None,
        })
    }

    pub(super) fn channel(&self, wanted: &str) -> Option<ChannelId> {
        self.log.iter().find_map(|event| match event {
            SessionEvent::ChannelOpen { channel, label } if label == wanted => Some(*channel),
            _ => None,
        })
    }

    pub(super) fn packets(&self) -> impl Iterator<Item = &RtpIn> {
        self.packets.iter().map(|received| &received.packet)
    }

    pub(super) fn packets_on(&self, section: &Mid) -> impl Iterator<Item = &RtpIn> {
        self.packets().filter(move |packet| packet.mid == *section)
    }

    pub(super) fn messages(&self) -> Vec<Bytes> {
        let message = |event: &SessionEvent| match event {
            SessionEvent::Data { message, .. } => Some(message.clone()),
            _ => None,
        };
        self.log.iter().filter_map(message).collect()
    }

    /// Log without addresses and payloads, events before packets.
    fn summary(&self) -> Vec<String> {
        let line = |event: &SessionEvent| match event {
            SessionEvent::Data { message, .. } => format!("message of {}", message.len()),
            SessionEvent::LocalCandidate(_) => "candidate".to_owned(),
            other => format!("{other:?}"),
        };
        let mut lines: Vec<String> = self.log.iter().map(line).collect();
        // Repeated lines are told once, and packets by their numbers.
        lines.dedup();
        let sequences: Vec<u16> = self.packets().map(|packet| packet.sequence).collect();
        lines.push(match (sequences.first(), sequences.last()) {
            (Some(first), Some(last)) => format!("{} packets, numbers {first} to {last}", sequences.len()),
            _ => "no packets".to_owned(),
        });
        lines
    }
}
