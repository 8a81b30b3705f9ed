use super::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn message(n: u64, length: usize) -> Arc<[u8]> {
    (0..length).map(|at| (n as usize * 31 + at) as u8).collect::<Vec<_>>().into()
}

fn fragment(message: ChannelMessage) -> AppMessage {
    match message {
        ChannelMessage::Message(fragment) => fragment,
        other => panic!("not a message: {other:?}"),
    }
}

/// Gives fragments to a receiver. Returns the messages and the acknowledgements.
fn deliver(to: &mut Mailbox, fragments: Vec<ChannelMessage>) -> (Vec<Vec<u8>>, Vec<(u64, u64)>) {
    let (mut messages, mut acknowledged) = (Vec::new(), Vec::new());
    let ack = |message| match message {
        ChannelMessage::MessageAck { series, number } => (series, number),
        other => panic!("no acknowledgement: {other:?}"),
    };
    for message in fragments {
        match to.receive(fragment(message)).unwrap() {
            Received::Incomplete => {}
            Received::Again(message) => acknowledged.push(ack(message)),
            Received::Complete(bytes, message) => {
                messages.push(bytes);
                acknowledged.push(ack(message));
            }
        }
    }
    (messages, acknowledged)
}

#[test]
fn messages_of_every_length_arrive_once_and_in_order() {
    let now = Instant::now();
    let (mut sender, mut receiver) = (Mailbox::default(), Mailbox::default());
    let lengths = [0, 1, 8_191, 8_192, 8_193, 16_383, 16_384];
    for (n, length) in lengths.into_iter().enumerate() {
        sender.push(MessageId(n as u64), message(n as u64, length), 7);
    }
    let mut arrived = Vec::new();
    while sender.due(now).is_some() {
        let (messages, acknowledged) = deliver(&mut receiver, sender.poll(SessionId(1), now));
        arrived.extend(messages);
        acknowledged.into_iter().for_each(|(series, number)| sender.acknowledge(series, number, now));
    }
    let sent: Vec<_> = lengths.into_iter().enumerate().map(|(n, length)| message(n as u64, length).to_vec()).collect();
    assert_eq!(arrived, sent);
    assert_eq!(sender.clear(), []);
}

#[test]
fn at_most_a_window_is_unacknowledged_and_it_is_repeated_with_growing_pauses() {
    let start = Instant::now();
    let mut sender = Mailbox::default();
    (1..=10).for_each(|n| sender.push(MessageId(n), message(n, 10), 7));
    assert_eq!(sender.poll(SessionId(1), start).len(), WINDOW);
    let (mut at, mut pauses) = (start, Vec::new());
    for _ in 0..4 {
        let due = sender.due(at).unwrap();
        pauses.push((due - at).as_secs());
        at = due;
        assert_eq!(sender.poll(SessionId(1), at).len(), WINDOW);
    }
    assert_eq!(pauses, [2, 4, 8, 8]);
    sender.acknowledge(7, 2, at);
    assert_eq!(sender.poll(SessionId(1), at).len(), 2, "two more of the window");
    assert_eq!(sender.due(at), Some(at + RESEND_FIRST), "an acknowledgement resets the pause");
    assert_eq!(sender.poll(SessionId(2), at).len(), WINDOW, "another session begins with all unacknowledged ones");
}

#[test]
fn acknowledgements_of_other_series_or_of_unsent_messages_mean_nothing() {
    let now = Instant::now();
    let mut sender = Mailbox::default();
    sender.acknowledge(0, 0, now);
    (1..=6).for_each(|n| sender.push(MessageId(n), message(n, 10), 7));
    sender.acknowledge(7, 1, now);
    sender.poll(SessionId(1), now);
    for (series, number) in [(8, 1), (7, 0), (7, 5), (7, u64::MAX)] {
        sender.acknowledge(series, number, now);
    }
    assert_eq!(sender.clear().len(), 6);
}

#[test]
fn the_queue_of_a_participant_is_bounded_in_messages_and_bytes() {
    let mut sender = Mailbox::default();
    for n in 0..MAX_QUEUED as u64 {
        sender.check_room(10).unwrap();
        sender.push(MessageId(n), message(n, 10), 7);
    }
    assert_eq!(sender.check_room(0).unwrap_err().kind(), ErrorKind::Full);
    sender.clear();
    let mut queued = 0;
    while sender.check_room(MAX_APP_MESSAGE).is_ok() {
        sender.push(MessageId(queued), message(queued, MAX_APP_MESSAGE), 7);
        queued += 1;
    }
    assert_eq!(queued as usize, MAX_QUEUED_BYTES / MAX_APP_MESSAGE);
}

#[test]
fn fragments_that_no_message_has_are_refused_and_change_nothing() {
    let mut receiver = Mailbox::default();
    let good = AppMessage { series: 7, number: 1, length: 16_384, offset: 0, bytes: vec![1; 8_192].into() };
    assert_eq!(receiver.receive(good.clone()), Ok(Received::Incomplete));
    let bytes = |length: usize| minicbor::bytes::ByteVec::from(vec![2; length]);
    for wrong in [
        AppMessage { series: 0, ..good.clone() },
        AppMessage { number: 0, ..good.clone() },
        AppMessage { length: 16_385, ..good.clone() },
        AppMessage { length: u32::MAX, offset: u32::MAX - 8_191, ..good.clone() },
        AppMessage { offset: 1, ..good.clone() },
        AppMessage { offset: 16_384, ..good.clone() },
        AppMessage { bytes: bytes(0), ..good.clone() },
        AppMessage { bytes: bytes(8_193), ..good.clone() },
        AppMessage { bytes: bytes(100), ..good.clone() },
        AppMessage { offset: 8_192, bytes: bytes(8_191), ..good.clone() },
    ] {
        assert_eq!(receiver.receive(wrong.clone()), Err(Refusal::Malformed), "{wrong:?}");
    }
    let rest = AppMessage { offset: 8_192, bytes: bytes(8_192), ..good };
    assert!(matches!(receiver.receive(rest), Ok(Received::Complete(..))));
}

#[test]
fn fragments_out_of_turn_are_ignored_until_they_are_repeated() {
    let mut receiver = Mailbox::default();
    let part = |number, length, offset, bytes: usize| AppMessage {
        series: 7,
        number,
        length,
        offset,
        bytes: vec![number as u8; bytes].into(),
    };
    for early in [part(2, 3, 0, 3), part(1, 10_000, 8_192, 1_808), part(u64::MAX, 3, 0, 3)] {
        assert_eq!(receiver.receive(early), Ok(Received::Incomplete));
    }
    // Another length in the middle of a message.
    receiver.receive(part(1, 10_000, 0, 8_192)).unwrap();
    assert_eq!(receiver.receive(part(1, 10_001, 8_192, 1_809)), Ok(Received::Incomplete));
    assert!(matches!(receiver.receive(part(1, 10_000, 8_192, 1_808)), Ok(Received::Complete(..))));
    assert!(matches!(receiver.receive(part(1, 10_000, 8_192, 1_808)), Ok(Received::Again(..))));
    assert!(matches!(receiver.receive(part(2, 3, 0, 3)), Ok(Received::Complete(..))));
    // Another series begins anew.
    let other = AppMessage { series: 8, ..part(1, 3, 0, 3) };
    assert!(matches!(receiver.receive(other), Ok(Received::Complete(..))));
}

/// Random loss, duplication and sessions: what arrives is a beginning of what was sent, and in the
/// end all of it.
#[test]
fn everything_arrives_in_order_over_lossy_channels_and_changing_sessions() {
    for seed in 0..200 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut sender, mut receiver) = (Mailbox::default(), Mailbox::default());
        let (mut now, mut session) = (Instant::now(), SessionId(1));
        let (mut sent, mut arrived, mut rounds) = (Vec::new(), Vec::new(), 0);
        while arrived.len() < 40 {
            rounds += 1;
            assert!(rounds < 10_000, "seed {seed}: only {} arrived", arrived.len());
            let length = random.random_range(0..=MAX_APP_MESSAGE);
            if sent.len() < 40 && sender.check_room(length).is_ok() {
                let bytes = message(sent.len() as u64, length);
                sender.push(MessageId(sent.len() as u64), bytes.clone(), seed + 1);
                sent.push(bytes.to_vec());
            }
            if random.random_bool(0.02) {
                session = SessionId(session.0 + 1);
            }
            let mut fragments = sender.poll(session, now);
            fragments.retain(|_| random.random_bool(0.8));
            let repeated: Vec<_> = fragments.iter().filter(|_| random.random_bool(0.1)).cloned().collect();
            fragments.extend(repeated);
            let (messages, acknowledged) = deliver(&mut receiver, fragments);
            arrived.extend(messages);
            for (series, number) in acknowledged {
                if random.random_bool(0.8) {
                    sender.acknowledge(series, number, now);
                }
            }
            assert_eq!(arrived[..], sent[..arrived.len()], "seed {seed}");
            now += Duration::from_millis(random.random_range(1..3_000));
        }
    }
}
