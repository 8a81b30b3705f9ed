//! The jitter buffer: packets with any numbers and any times.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use blink_api::{Preference, RtpTime};
use blink_engine::media::{AudioCopy, AudioPacket, DelayRange, Due, JitterBuffer, JitterConfig};
use bytes::Bytes;

use crate::input::Input;

/// Far from the beginning of time, so that packets may come from before it.
static START: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_secs(100_000));

/// Nothing comes out that did not go in, nothing lasts longer than a packet can, and what is held has a bound.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let config = JitterConfig {
        delay: Duration::from_millis(u64::from(input.byte())),
        prefer: if input.byte() & 1 == 0 { Preference::Delay } else { Preference::Speech },
        max_packets: usize::from(input.byte()),
        adapt: input.byte().is_multiple_of(2).then(DelayRange::default),
        clock_rate: [48_000, 8_000, 90_000, 1][usize::from(input.byte() % 4)],
    };
    let most = config.max_packets.max(2) as u64;
    let mut buffer = JitterBuffer::new(config);
    let (mut now, mut sequence, mut timestamp) = (*START, 0u16, RtpTime(0));
    let (mut pushed, mut copies, mut played) = (0u64, 0u64, 0u64);
    while !input.is_empty() {
        let choice = input.byte();
        match choice % 8 {
            0..=2 => {
                let ticks = if choice & 8 == 0 { config.clock_rate / 50 } else { input.u32() };
                if choice & 16 == 0 {
                    sequence = sequence.wrapping_add(1);
                    timestamp = timestamp.wrapping_add(ticks);
                } else {
                    sequence = sequence.wrapping_add(input.u16());
                    timestamp = timestamp.wrapping_add(input.u32());
                }
                let late = if choice & 32 == 0 { Duration::ZERO } else { Duration::from_millis(input.u16().into()) };
                let payload = Bytes::from_static(&[1]);
                let (marker, arrival) = (choice & 64 != 0, now - late);
                let copy = AudioCopy {
                    offset: input.u16().into(),
                    ticks: input.u16().into(),
                    has_copy: false,
                    payload: payload.clone(),
                };
                let loud = Some(marker);
                let packet =
                    AudioPacket { sequence, timestamp, ticks, marker, loud, has_copy: !marker, payload, arrival };
                buffer.push_with(packet, (choice & 128 != 0).then_some(copy).into_iter());
                pushed += 1;
                copies += u64::from(choice & 128 != 0);
            }
            3..=5 => {
                let due = buffer.next(now, config.clock_rate / 100);
                let ticks = match due {
                    // One that is over mends what follows, and takes no time.
                    Due::Packet { ticks, .. } => {
                        played += 1;
                        ticks
                    }
                    Due::Recover { ticks, .. }
                    | Due::Restore { ticks, .. }
                    | Due::Lost { ticks, .. }
                    | Due::Silence { ticks } => ticks,
                    Due::Wait => 1,
                };
                assert!(ticks > 0, "time goes on: {due:?}");
                now += Duration::from_millis(u64::from(choice >> 4));
            }
            6 => now += Duration::from_millis(input.u16().into()),
            _ if choice & 8 == 0 => buffer.observe_reach(Duration::from_millis(input.u16().into())),
            _ => buffer.set_delay(Duration::from_millis(input.u16().into())),
        }
        let statistics = buffer.statistics();
        assert!(played <= pushed + copies && statistics.received == pushed);
        let gone = statistics.late + statistics.duplicated + statistics.corrupt;
        assert!(gone <= pushed, "{statistics:?}");
    }
    // All that is held comes out by and by, and no more than may be held.
    let mut left = 0;
    for _ in 0..100_000 {
        match buffer.next(now, config.clock_rate / 100) {
            Due::Packet { .. } => left += 1,
            Due::Wait if left > 0 || now > *START + Duration::from_secs(200_000) => break,
            Due::Wait => now += Duration::from_secs(1_000),
            _ => {}
        }
        now += Duration::from_millis(10);
    }
    assert!(left <= most, "{left} of at most {most} packets");
}
