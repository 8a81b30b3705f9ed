//! The jitter buffer: packets with and without payload, with any sequence numbers and times, and
//! pauses of days.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use blink_api::{AudioLevel, Preference, RtpTime};
use blink_media::{AudioCopy, AudioPacket, DelayRange, JitterBuffer, JitterConfig, PlayoutDecision};
use bytes::Bytes;

use crate::input::Input;

/// An instant far from the epoch, so that packets may be earlier.
static START: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_secs(100_000));

/// Only pushed packets are played, none lasts longer than a packet can, and the buffered packets
/// are bounded.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (delay, prefer, packets, adapt, begin) = (input.byte(), input.byte(), input.byte(), input.byte(), input.byte());
    let config = JitterConfig {
        delay: Duration::from_millis(u64::from(delay)),
        prefer: if prefer & 1 == 0 { Preference::Latency } else { Preference::Quality },
        max_packets: usize::from(packets),
        adapt: adapt.is_multiple_of(2).then(DelayRange::default),
        clock_rate: [48_000, 8_000, 90_000, 1][usize::from(begin % 4)],
    };
    let most = config.max_packets.max(2) as u64;
    let mut buffer = JitterBuffer::new(config);
    // Start close to the wrap of the sequence number, or half a range away from it.
    let (mut sequence, first) =
        [(0u16, 0), (65_530, u32::MAX - 3_000), (32_760, (1 << 31) - 3_000), (0, u32::MAX)][usize::from(begin / 4 % 4)];
    let (mut now, mut timestamp) = (*START, RtpTime(first));
    let (mut pushed, mut padding, mut copies, mut played) = (0u64, 0u64, 0u64, 0u64);
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
                    has_fec: false,
                    payload: payload.clone(),
                };
                let level = Some(AudioLevel::new(30, marker));
                let packet =
                    AudioPacket { sequence, timestamp, ticks, marker, level, has_fec: !marker, payload, arrival };
                buffer.push_with(packet, (choice & 128 != 0).then_some(copy).into_iter());
                pushed += 1;
                copies += u64::from(choice & 128 != 0);
            }
            3..=5 => {
                let due = buffer.next(now, config.clock_rate / 100);
                let ticks = match due {
                    // A late packet repairs the following output, and takes no time.
                    PlayoutDecision::Packet { ticks, .. } => {
                        played += 1;
                        ticks
                    }
                    PlayoutDecision::Fec { ticks, .. }
                    | PlayoutDecision::Dred { ticks, .. }
                    | PlayoutDecision::Conceal { ticks, .. }
                    | PlayoutDecision::Silence { ticks } => ticks,
                    PlayoutDecision::Wait => 1,
                };
                assert!(ticks > 0, "time goes on: {due:?}");
                now += Duration::from_millis(u64::from(choice >> 4));
            }
            6 => now += Duration::from_millis(input.u16().into()),
            _ if choice & 16 != 0 && choice & 8 == 0 => {
                // Padding: the next sequence number, or any.
                sequence = sequence.wrapping_add(if choice & 32 == 0 { 1 } else { input.u16() });
                buffer.push_padding(sequence);
                padding += 1;
            }
            _ if choice & 16 != 0 => {
                // A pause of up to a week, in which the sender's clock continues.
                let seconds = u32::from(input.u16()) * 10;
                now += Duration::from_secs(seconds.into());
                timestamp = timestamp.wrapping_add(seconds.wrapping_mul(config.clock_rate));
            }
            _ if choice & 8 == 0 => buffer.observe_redundancy_span(Duration::from_millis(input.u16().into())),
            _ => buffer.set_delay(Duration::from_millis(input.u16().into())),
        }
        let statistics = buffer.statistics();
        assert!(played <= pushed + copies && statistics.packets_received == pushed + padding);
        let gone = statistics.packets_late + statistics.packets_duplicated + statistics.packets_corrupt;
        assert!(gone <= pushed, "{statistics:?}");
    }
    // All buffered packets are played eventually, and they are at most as many as allowed.
    let (mut left, end) = (0, now + Duration::from_secs(100_000));
    for _ in 0..100_000 {
        match buffer.next(now, config.clock_rate / 100) {
            PlayoutDecision::Packet { .. } => left += 1,
            PlayoutDecision::Wait if left > 0 || now > end => break,
            PlayoutDecision::Wait => now += Duration::from_secs(1_000),
            _ => {}
        }
        now += Duration::from_millis(10);
    }
    assert!(left <= most, "{left} of at most {most} packets");
}
