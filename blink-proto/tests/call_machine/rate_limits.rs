//! Members who say more than an application can take, and networks that announce subscribers
//! without end.

use std::time::Duration;

use blink_api::{CallId, Endpoint, StreamId, TrackKey, TrackKind};
use blink_proto::call::{Event, Input, ParticipantState, SessionId, SessionInput, StreamEndReason};
use blink_proto::secure::{Channel, Identity, Refusal, inbox_topic};
use blink_proto::wire::{ChannelMessage, Entry, EntryBody, Kind, Member, Record, Signed, Status, StreamOffer, cbor};
use blink_sim::simulation::Simulation;

use crate::{A, B, C, SECOND, connected};

const MILLISECOND: Duration = Duration::from_millis(1);

/// The other end of a path, which writes anything at all on the data channel.
struct Writer {
    to: usize,
    session: SessionId,
    from: Endpoint,
    record: Record,
}

impl Writer {
    /// A writes to B.
    fn new(simulation: &Simulation) -> Self {
        let from = simulation.nodes[A].endpoint;
        let open = simulation.nodes[B].sessions.iter().find(|(_, (_, remote))| *remote == from);
        let (session, _) = open.expect("a path between the two");
        let (call, keys) = simulation.known_call_keys(A).expect("it is in a call");
        let record =
            Record { seat: 1, ..Record::new(simulation.signed_key(&from, &call, &keys[0].1), 1_000, Status::Joined) };
        Self { to: B, session: *session, from, record }
    }

    fn write(&self, simulation: &mut Simulation, message: ChannelMessage) {
        let event = SessionInput::Channel(message);
        simulation.input(self.to, Input::Session { session: self.session, event });
    }

    /// The next version of its record.
    fn says(&mut self, simulation: &mut Simulation, change: impl FnOnce(&mut Record), entries: Vec<Signed>) {
        self.record.version += 1;
        change(&mut self.record);
        let member = Box::new(Member { record: self.record.clone(), entries, secret: None });
        let boot = simulation.nodes[A].boot;
        self.write(simulation, ChannelMessage::Member { boot, member });
    }
}

fn stream(number: u8) -> StreamOffer {
    let (id, kind) = (StreamId::from_bytes([number; 16]), TrackKind::Video);
    StreamOffer { id, kind, codec: "VP8".to_owned(), name: "screen".to_owned() }
}

/// States and streams of a participant in the events of a user.
fn told(events: &[Event], of: Endpoint) -> (usize, ParticipantState, Vec<StreamId>) {
    let (mut count, mut state, mut streams) = (0, ParticipantState::default(), Vec::new());
    for event in events {
        match event {
            Event::ParticipantStateChanged { participant, state: now, .. } if *participant == of => state = *now,
            Event::StreamOffered { participant, stream, .. } if *participant == of => streams.push(stream.stream),
            Event::StreamEnded { track, .. } if track.endpoint == of => {
                streams.retain(|it| TrackKey::stream(of, *it) != *track);
            }
            _ => continue,
        }
        count += 1;
    }
    (count, state, streams)
}

#[test]
fn what_a_participant_says_of_itself_reaches_the_application_ten_times_a_second_at_most() {
    let mut simulation = Simulation::new(3, 1);
    connected(&mut simulation, &[B, C]);
    simulation.trace.disable();
    let mut writer = Writer::new(&simulation);
    let before = simulation.nodes[B].events.len();
    for n in 0..8_000_u32 {
        for half in 0..5 {
            let offered = ((n % 8) as u8 + half, n % 2 == 0);
            writer.says(
                &mut simulation,
                |record| {
                    record.muted = offered.1;
                    record.streams =
                        if offered.1 { (0..8).map(|it| stream(offered.0 + it)).collect() } else { Vec::new() };
                },
                Vec::new(),
            );
        }
        simulation.advance(MILLISECOND);
    }
    let (count, ..) = told(&simulation.nodes[B].events[before..], writer.from);
    assert!(count <= 8 * 10 + 20, "{count} events in 8 s");
    assert!(simulation.nodes[B].refusals.contains(&Refusal::RateLimited));
    // What it says last is told, once it may say something again.
    simulation.advance(SECOND);
    writer.says(
        &mut simulation,
        |record| {
            record.deafened = true;
            record.muted = true;
            record.streams = vec![stream(100), stream(101)];
        },
        Vec::new(),
    );
    simulation.advance(2 * SECOND);
    let (_, state, streams) = told(&simulation.nodes[B].events, writer.from);
    assert_eq!((state.muted, state.deafened, state.recording), (true, true, false));
    assert_eq!(streams, [stream(100).id, stream(101).id]);
    for (node, other) in [(B, C), (C, B)] {
        let lost = Event::ParticipantReconnecting {
            call: current(&simulation, node),
            participant: simulation.nodes[other].endpoint,
        };
        assert!(!simulation.nodes[node].events.contains(&lost), "honest members hear each other");
    }
}

fn current(simulation: &Simulation, node: usize) -> CallId {
    simulation.nodes[node].machine.current().expect("it is in a call")
}

/// Ten changes in a moment, and the user knows the newest a moment later: nothing is dropped for
/// good.
#[test]
fn changes_that_had_to_wait_are_told_as_they_are_by_then() {
    let mut simulation = Simulation::new(2, 2);
    connected(&mut simulation, &[B]);
    let mut writer = Writer::new(&simulation);
    let before = simulation.nodes[B].events.len();
    for n in 0..31 {
        writer.says(&mut simulation, |record| record.muted = n % 2 == 0, Vec::new());
    }
    let (count, state, _) = told(&simulation.nodes[B].events[before..], writer.from);
    assert_eq!((count, state.muted), (10, false), "{}", simulation.transcript());
    simulation.advance(2 * SECOND);
    let (count, state, _) = told(&simulation.nodes[B].events[before..], writer.from);
    assert_eq!((count, state.muted), (11, true), "{}", simulation.transcript());
}

/// A stream that the user asked for and that was taken back is gone, even if it is offered again
/// before that could be told.
#[test]
fn the_end_of_a_stream_that_was_asked_for_is_told_however_soon_it_is_offered_again() {
    let mut simulation = Simulation::new(2, 3);
    let call = connected(&mut simulation, &[B]);
    let mut writer = Writer::new(&simulation);
    writer.says(&mut simulation, |record| record.streams = vec![stream(1)], Vec::new());
    simulation.try_request(B, writer.from, stream(1).id).unwrap();
    for n in 0..20 {
        writer.says(&mut simulation, |record| record.muted = n % 2 == 0, Vec::new());
    }
    let before = simulation.nodes[B].events.len();
    writer.says(&mut simulation, |record| record.streams = Vec::new(), Vec::new());
    writer.says(&mut simulation, |record| record.streams = vec![stream(1)], Vec::new());
    simulation.advance(2 * SECOND);
    let (participant, reason) = (writer.from, StreamEndReason::Revoked);
    let ended = Event::StreamEnded { call, track: TrackKey::stream(participant, stream(1).id), reason };
    let events = &simulation.nodes[B].events[before..];
    assert_eq!(events.iter().filter(|event| **event == ended).count(), 1, "{}", simulation.transcript());
    assert_eq!(told(&simulation.nodes[B].events, writer.from).2, [stream(1).id], "and it is offered again");
}

#[test]
fn records_full_of_entries_let_a_member_check_few_signatures() {
    let mut simulation = Simulation::new(3, 4);
    let call = connected(&mut simulation, &[B, C]);
    simulation.trace.disable();
    let alice = Identity::from_seed(&[1; 32]);
    let mut writer = Writer::new(&simulation);
    let entry = |n: u32| {
        let mut added = [7; 32];
        added[..4].copy_from_slice(&n.to_be_bytes());
        let body = EntryBody::Add { by: alice.did(), slot: (n % 4) as u8 };
        let bytes = cbor::encode(&Entry { call, did: Identity::from_seed(&added).did(), body });
        Signed { signature: alice.sign(b"blink/1 entry\0", &bytes), bytes }
    };
    let entries: Vec<Signed> = (0..1_024).map(entry).collect();
    let before = simulation.nodes[B].machine.signatures_checked();
    for n in 0..2_000 {
        let some = entries.iter().cycle().skip(n * 64 % entries.len()).take(64).cloned().collect();
        writer.says(&mut simulation, |record| record.muted = n % 2 == 0, some);
        simulation.advance(MILLISECOND);
    }
    let checked = simulation.nodes[B].machine.signatures_checked() - before;
    // Only those that would be held: by now and then one with a smaller hash for one of her four
    // slots.
    assert!((4..=64).contains(&checked), "{checked} of 128,000");
    // The records were heard all the same.
    simulation.advance(SECOND);
    writer.says(&mut simulation, |record| (record.muted, record.recording) = (false, true), entries[..64].to_vec());
    simulation.advance(SECOND);
    let (_, state, _) = told(&simulation.nodes[B].events, writer.from);
    assert!(state.recording, "{state:?}");
}

/// Messages of outsiders on a call's topic are not passed on, whatever keys they were made with.
#[test]
fn only_who_takes_part_in_a_call_speaks_on_its_topic() {
    let mut simulation = Simulation::new(3, 8);
    let call = connected(&mut simulation, &[B]);
    let may_speak = |channel, node: usize| simulation.nodes[A].machine.is_permitted(&channel, &simulation.did(node));
    assert!(may_speak(Channel::Call(call), B) && may_speak(Channel::Call(call), A));
    assert!(!may_speak(Channel::Call(call), C));
    assert!(may_speak(Channel::Inbox(simulation.did(A)), C), "everybody may call");
    assert!(may_speak(Channel::Call(CallId::from_bytes([9; 16])), C), "nothing is known of that call");
}

/// How many messages of a kind a device sent.
fn sent(simulation: &Simulation, node: usize, kind: Kind) -> usize {
    simulation.sent.iter().filter(|(from, of)| *from == node && *of == kind).count()
}

/// A network with a new subscriber of a topic every ten milliseconds for eight seconds.
fn toggles(simulation: &mut Simulation, node: usize, topic: blink_api::Topic) {
    for _ in 0..800 {
        simulation.input(node, Input::SubscriberJoined(topic));
        simulation.advance(10 * MILLISECOND);
    }
}

#[test]
fn subscribing_to_an_inbox_again_and_again_makes_a_caller_offer_little_more_often() {
    let mut simulation = Simulation::new(2, 5);
    simulation.nodes[B].online = false;
    simulation.offer(A, &[B]);
    let topic = inbox_topic(&simulation.did(B));
    toggles(&mut simulation, A, topic);
    let offers = sent(&simulation, A, Kind::Offer);
    assert!((8..=20).contains(&offers), "{offers} offers in 8 s");
    // A device that really begins to listen hears of the call within a pause.
    simulation.nodes[B].online = true;
    simulation.input(A, Input::SubscriberJoined(topic));
    simulation.until(B, SECOND + 10 * MILLISECOND, "incoming", crate::incoming);
}

#[test]
fn subscribing_again_and_again_brings_a_missed_call_little_more_often() {
    let mut simulation = Simulation::new(2, 6);
    simulation.nodes[B].online = false;
    simulation.offer(A, &[B]);
    simulation.advance(100 * SECOND);
    let before = sent(&simulation, A, Kind::Offer);
    let topic = inbox_topic(&simulation.did(B));
    toggles(&mut simulation, A, topic);
    let offers = sent(&simulation, A, Kind::Offer) - before;
    assert!((8..=14).contains(&offers), "{offers} notices in 8 s");
    simulation.nodes[B].online = true;
    simulation.input(A, Input::SubscriberJoined(topic));
    let missed = |event: &Event| matches!(event, Event::MissedCall { .. });
    simulation.until(B, SECOND + 10 * MILLISECOND, "missed", missed);
}

#[test]
fn subscribing_to_a_calls_topic_again_and_again_makes_members_say_little_more_often_who_they_are() {
    let mut simulation = Simulation::new(2, 7);
    connected(&mut simulation, &[B]);
    simulation.advance(10 * SECOND);
    let before = sent(&simulation, A, Kind::Member);
    let topic = simulation.call_topic(A);
    toggles(&mut simulation, A, topic);
    let records = sent(&simulation, A, Kind::Member) - before;
    assert!((8..=16).contains(&records), "{records} records in 8 s");
}
