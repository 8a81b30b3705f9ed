//! Speech over paths that lose packets, delay them, or stall.

use super::*;

#[test]
fn packets_that_come_during_their_concealment_repair_what_follows() {
    let (mut mended, mut forgotten) = (0.0, 0.0);
    for seed in 1..=3 {
        let late = |number: u32| {
            let mut random = ChaCha8Rng::seed_from_u64(seed * 10_000 + u64::from(number));
            Some(Duration::from_millis(65).mul_f64(random.random()))
        };
        let (said, heard, playout) = late_speech(late, false, false);
        let statistics = playout.statistics(&0).unwrap();
        assert!(statistics.late_repairs > 30, "seed {seed}: {statistics:?}");
        mended += pesq(&said, &heard) / 3.0;
        let (said, heard, _) = late_speech(late, true, false);
        forgotten += pesq(&said, &heard) / 3.0;
    }
    assert!(mended > forgotten + 0.1, "PESQ {mended:.2} mended, {forgotten:.2} otherwise");
}

#[test]
fn after_a_stall_of_2_s_the_delay_is_back_within_2_s_without_silence() {
    stall(false);
}

#[test]
fn after_a_stall_the_delay_is_back_where_ticks_follow_the_media_clock() {
    stall(true);
}

/// For 2 s nothing comes, then all of it at once.
fn stall(follows: bool) {
    let stalled = 150..250u32;
    let end = FRAME * stalled.end;
    let arrival = |number| Some(if stalled.contains(&number) { end - FRAME * number } else { Duration::ZERO });
    let (said, heard, playout) = late_speech(arrival, false, follows);
    let statistics = playout.statistics(&0).unwrap();
    assert!(
        statistics.jitter_buffer_delay <= statistics.jitter_buffer_target_delay + Duration::from_millis(40),
        "{statistics:?}"
    );
    assert!(
        statistics.packets_discarded >= 85 && statistics.removed_samples_for_acceleration >= 40 * 48,
        "{statistics:?}"
    );

    // From the end of the stall on it is what was said 46.5 ms ago, after 2 s at the latest.
    let from = AudioFormat::CALL.samples_in(end + Duration::from_secs(2));
    let (delay, agreement) = {
        let (said, heard) = (&said[from - 24_000..], &heard[from - 24_000..]);
        delay_of(said, &heard[..heard.len().min(said.len() + 9_600)])
    };
    assert!(delay <= 48 * (60 + 40) && agreement > 0.7, "{delay} samples, {agreement:.3}");
    let longest_silence = |sound: &[f32]| {
        let quiet = |tick: &[f32]| tick.iter().all(|sample| sample.abs() < 0.002);
        sound
            .chunks(480)
            .fold((0, 0), |(run, most), tick| {
                let run = if quiet(tick) { run + 1 } else { 0 };
                (run, most.max(run))
            })
            .1
    };
    let burst = AudioFormat::CALL.samples_in(end);
    let (before, after) = (longest_silence(&said), longest_silence(&heard[burst..burst + 96_000]));
    assert!(after <= before.max(10), "{after} ticks of silence, {before} in what was said");
}

/// A share of the packets lost, and copies in those after them instead of error correction of the
/// codec's own.
#[test]
fn copies_make_up_for_a_fifth_of_all_packets() {
    let mut mean = 0.0;
    for seed in 1..=3 {
        let codec = OpusCodec::new(OpusConfig::default()).unwrap();
        let format = AudioFormat::CALL;
        let said = speech_clip(0, Duration::from_secs(SECONDS));
        let mut encoder = codec.encoder(AudioEncoderConfig { format, frame: FRAME, bitrate: None }).unwrap();
        let mut sender = RedSender::new(FRAME);
        encoder.hint(sender.hint(EncoderHint { loss: 0.2, burst: 1.2, bitrate: None }, 32_000)).unwrap();
        let heard = Heard::default();
        let mut playout = Playout::<u8>::new(Box::new(heard.clone()));
        playout.add(0, ReceiveConfig::new(&codec.rtp()), codec.decoder(AudioDecoderConfig { format }).unwrap());
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let start = Instant::now();
        let (mut encoded, mut payload, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (number, frame) in said.chunks_exact(960).enumerate() {
            encoder.encode(frame, &mut encoded).unwrap();
            let timestamp = RtpTime(number as u32 * 960);
            sender.pack(0, timestamp, &Bytes::copy_from_slice(&encoded), &mut payload);
            bytes += payload.len();
            let now = start + FRAME * number as u32;
            if !random.random_bool(0.2) {
                let packet = RtpOut {
                    codec: CodecName::red(),
                    sequence: number as u16,
                    timestamp,
                    marker: false,
                    level: None,
                    payload: Bytes::copy_from_slice(&payload),
                };
                playout.push(&0, received(&packet, now));
            }
            for tick in [now, now + TICK] {
                assert!(playout.tick(tick).sink_error.is_none());
            }
        }
        let statistics = playout.statistics(&0).unwrap();
        assert!(statistics.red_recovered > 40, "seed {seed}: {statistics:?}");
        assert!(bytes as u64 * 8 / SECONDS <= 35_000, "{} bit/s", bytes as u64 * 8 / SECONDS);
        mean += pesq(&said, &heard.take()) / 3.0;
    }
    assert!(mean >= 2.8, "PESQ {mean:.2}");
}
