//! Capture with a codec and sources of which everything is known.

use std::sync::{Arc, Mutex};

use blink_api::{AudioCodec, AudioEncoderConfig, AudioProcessor};
use blink_media_cpal_opus::{OpusCodec, OpusConfig};

use super::*;
use crate::fake::{FakeCodec, Script, capture_config, rtp_codec};
use web_time::Instant;

fn capture(source: Script, codec: FakeCodec) -> Capture {
    Capture::new(capture_config(rtp_codec()), Box::new(source), Box::new(codec)).unwrap()
}

/// One tick without processors.
fn tick(capture: &mut Capture, output: &mut dyn CaptureOutput) -> Result<(), CaptureFault> {
    capture.tick(Instant::now(), &mut Processors::default(), output)
}

/// Ticks, and returns what was sent.
fn run(capture: &mut Capture, ticks: usize) -> Vec<RtpOut> {
    let mut sent = Vec::new();
    for _ in 0..ticks {
        tick(capture, &mut |packet| sent.push(packet)).unwrap();
    }
    sent
}

/// The sound in a packet of the fake codec.
fn value(packet: &RtpOut) -> f32 {
    f32::from_le_bytes(packet.payload[4..].try_into().unwrap())
}

#[test]
fn every_20_ms_one_packet_leaves_numbered_around_the_wrap() {
    let script = Script::without_clock();
    script.put(std::iter::repeat_n(0.5, 960 * 5));
    let mut capture = capture(script, FakeCodec::default());
    let sent = run(&mut capture, 12);
    assert_eq!(sent.iter().map(|packet| packet.sequence).collect::<Vec<_>>(), [65_534, 65_535, 0, 1, 2, 3]);
    let timestamps: Vec<u32> = sent.iter().map(|packet| packet.timestamp.0).collect();
    assert_eq!(timestamps[..4], [u32::MAX - 960, u32::MAX, 959, 1_919]);
    assert_eq!(sent.iter().map(|packet| packet.marker).collect::<Vec<_>>(), [true, false, false, false, false, false]);
    assert_eq!(sent[4].level, Some(AudioLevel::new(6, false)));
    assert_eq!(sent[5].level, Some(AudioLevel::SILENCE));
}

#[test]
fn silence_that_the_encoder_does_not_send_is_a_gap_in_timestamps_only() {
    let script = Script::without_clock();
    script.put(std::iter::repeat_n(0.5, 960 * 2));
    script.put(std::iter::repeat_n(0.0, 960 * 10));
    script.put(std::iter::repeat_n(0.5, 960 * 2));
    let mut capture = capture(script, FakeCodec { dtx: true, ..FakeCodec::default() });
    let sent = run(&mut capture, 28);
    let steps: Vec<_> = sent
        .windows(2)
        .map(|two| (two[1].sequence.wrapping_sub(two[0].sequence), two[1].timestamp.since(two[0].timestamp)))
        .collect();
    assert_eq!(steps, [(1, 960), (1, 11 * 960), (1, 960)]);
    assert_eq!(sent.iter().map(|packet| packet.marker).collect::<Vec<_>>(), [true, false, true, false]);
}

#[test]
fn muted_two_frames_of_silence_leave_and_then_nothing_while_the_timestamps_go_on() {
    let script = Script::without_clock();
    script.put(std::iter::repeat_n(0.5, 48_000 * 10));
    let mut capture = capture(script, FakeCodec::default());
    // 10 ms of speech are in the frame when it is muted.
    let before = run(&mut capture, 5);
    capture.set_muted(true);
    let during = run(&mut capture, 101);
    assert!(during.iter().all(|packet| value(packet) == 0.0 && packet.level == Some(AudioLevel::SILENCE)));
    assert_eq!(during.len(), 2);
    capture.set_muted(false);
    let after = run(&mut capture, 4);
    assert_eq!(value(&after[0]), 0.5);
    assert!(after[0].marker);
    let first = before[0].timestamp;
    assert_eq!(after[0].timestamp.since(first), 53 * 960);
    assert_eq!(after[0].sequence.wrapping_sub(before[0].sequence), 4);
    assert_eq!(after[0].payload[..4], 0f32.to_le_bytes(), "the copy of the frame before is of silence too");
}

#[test]
fn what_a_source_with_a_clock_had_queued_before_is_not_sent() {
    let script = Script::with_clock();
    script.put(std::iter::repeat_n(0.9, 48_000));
    let mut capture = capture(script.clone(), FakeCodec::default());
    assert!(run(&mut capture, 1).is_empty());
    for _ in 0..10 {
        script.put(std::iter::repeat_n(0.5, 960));
        let sent = run(&mut capture, 2);
        assert_eq!(sent.iter().map(value).collect::<Vec<_>>(), [0.5]);
    }
}

#[test]
fn a_source_with_a_clock_may_give_more_and_less_than_10_ms() {
    let script = Script::with_clock();
    let mut capture = capture(script.clone(), FakeCodec::default());
    let mut sent = Vec::new();
    let sizes = [0, 100, 24, 2_400, 0, 479, 481, 1, 960, 0, 0, 3_000];
    for size in sizes.repeat(20) {
        script.put(std::iter::repeat_n(0.5, size));
        sent.extend(run(&mut capture, 1));
    }
    let given = sizes.iter().sum::<usize>() * 20;
    // The first 100 samples were there before, as far as it could know.
    assert!((given / 960 - 3..=given / 960).contains(&sent.len()), "{} frames of {given} samples", sent.len());
    assert!(sent.iter().all(|packet| value(packet) == 0.5));
}

#[test]
fn a_source_that_gives_nothing_for_long_counts_as_silent() {
    let script = Script::with_clock();
    let mut capture = capture(script.clone(), FakeCodec::default());
    script.put(std::iter::repeat_n(0.5, 480));
    let sent = run(&mut capture, 110);
    // Nothing for 100 ms, in case there is a burst, and then silence at the tick's pace.
    assert_eq!(sent.len(), 49);
    script.put(std::iter::repeat_n(0.9, 4_000));
    assert!(run(&mut capture, 1).iter().all(|packet| value(packet) == 0.0));
    script.put(std::iter::repeat_n(0.5, 960 * 2));
    let sent = run(&mut capture, 4);
    // A frame may be half silence and half sound, which begins with a ramp.
    assert!(sent.iter().all(|packet| (0.0..=0.5).contains(&value(packet))));
    assert_eq!(sent.last().map(value), Some(0.5));
}

#[test]
fn a_lost_device_is_told_once_and_there_is_silence_until_there_is_another() {
    for kind in [ErrorKind::Closed, ErrorKind::Io] {
        let script = Script::without_clock();
        script.put(std::iter::repeat_n(0.5, 960 * 100));
        let mut capture = capture(script.clone(), FakeCodec::default());
        run(&mut capture, 2);
        script.fail(Some(kind));
        let mut sent = Vec::new();
        let told = (0..20).filter(|_| tick(&mut capture, &mut |packet| sent.push(packet)).is_err()).count();
        assert_eq!((told, sent.len()), (1, 10));
        // The first frame begins with the ramp.
        assert!(sent[1..].iter().all(|packet| value(packet) == 0.0));
        let other = Script::without_clock();
        other.put(std::iter::repeat_n(0.3, 960 * 2));
        capture.set_source(Box::new(other)).unwrap();
        let sent: Vec<_> = run(&mut capture, 4).iter().map(value).collect();
        assert!(sent[0] < 0.01 && sent[1] == 0.3, "{sent:?}");
    }
}

#[test]
fn an_encoder_that_fails_is_told_once_and_sends_nothing() {
    let mut capture = capture(Script::without_clock(), FakeCodec { fails: true, ..FakeCodec::default() });
    let told: Vec<_> = (0..20).filter_map(|_| tick(&mut capture, &mut |_| panic!("nothing to send")).err()).collect();
    assert!(matches!(told[..], [CaptureFault::Encoder(_)]), "{told:?}");
}

/// Blocks of a far end, and when each is played.
type FarEnd = Vec<(Vec<f32>, Instant)>;

/// Doubles the near end, keeps the far end, and fails on command.
struct Double(Arc<Mutex<(FarEnd, bool)>>);

impl AudioProcessor for Double {
    fn render(&mut self, far_end: &[f32], at: Instant) -> Result<()> {
        self.0.lock().unwrap().0.push((far_end.to_vec(), at));
        Ok(())
    }

    fn capture(&mut self, near_end: &mut [f32], _: Instant) -> Result<()> {
        assert_eq!(near_end.len(), 480);
        if self.0.lock().unwrap().1 {
            return Err(Error::new(ErrorKind::Unexpected, "as the test says"));
        }
        near_end.iter_mut().for_each(|sample| *sample *= 2.0);
        Ok(())
    }

    fn reset(&mut self) {}

    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn processors_see_the_far_end_in_blocks_and_one_that_fails_is_removed() {
    let script = Script::without_clock();
    script.put(std::iter::repeat_n(0.2, 48_000));
    let (seen, now) = (Arc::new(Mutex::new((Vec::new(), false))), Instant::now());
    let mut processors = Processors::new(vec![Box::new(Double(seen.clone()))]);
    let mut capture = capture(script, FakeCodec::default());
    let mut sent = Vec::new();
    capture.tick(now, &mut processors, &mut |_| {}).unwrap();
    for block in 0..2 {
        processors.render(&[0.7; 480], now + TICK * block).unwrap();
    }
    capture.tick(now, &mut processors, &mut |packet| sent.push(packet)).unwrap();
    assert_eq!(value(&sent[0]), 0.4);
    assert_eq!(seen.lock().unwrap().0, [(vec![0.7; 480], now), (vec![0.7; 480], now + TICK)]);

    seen.lock().unwrap().1 = true;
    let faults: Vec<_> =
        (0..4).filter_map(|_| capture.tick(now, &mut processors, &mut |packet| sent.push(packet)).err()).collect();
    assert!(matches!(faults[..], [CaptureFault::Processor(_)]), "{faults:?}");
    assert!(processors.is_empty());
    assert_eq!(value(&sent[2]), 0.2);
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let config = CaptureConfig { frame: Duration::from_millis(40), ..capture_config(rtp_codec()) };
    let refused = Capture::new(config, Box::new(Script::without_clock()), Box::new(FakeCodec::default()));
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::Invalid);
    let format = AudioFormat { sample_rate: 48_000, channels: 2 };
    let config = CaptureConfig { format, ..capture_config(rtp_codec()) };
    let refused = Capture::new(config, Box::new(Script::without_clock()), Box::new(FakeCodec::default()));
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::Invalid);
}

#[test]
fn packets_carry_copies_while_packets_are_lost_and_everybody_understands_them() {
    let script = Script::without_clock();
    script.put(std::iter::repeat_n(0.5, 48_000 * 10));
    let codec = OpusCodec::new(OpusConfig::default()).unwrap();
    let (format, frame) = (AudioFormat::CALL, crate::FRAME);
    let encoder = codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).unwrap();
    let mut capture = Capture::new(capture_config(codec.rtp()), Box::new(script), encoder).unwrap();
    let lossy = WorstCasePath { loss: 0.1, burst: 1.0, bitrate: None };
    let mut expect = |path: WorstCasePath, understood: bool, copied: bool| {
        capture.use_copies(|_| understood).unwrap();
        capture.adapt(path).unwrap();
        for packet in run(&mut capture, 10) {
            assert_eq!(packet.codec.is_red(), copied, "{path:?} {understood}");
            let pieces = if copied { super::super::red::unpack(&packet.payload).unwrap().count() } else { 1 };
            assert_eq!(pieces, if copied { 2 } else { 1 });
        }
    };
    // From here on there is something to copy.
    expect(WorstCasePath::default(), true, false);
    expect(lossy, false, false);
    expect(lossy, true, true);
    expect(lossy, false, false);
    expect(WorstCasePath::default(), true, false);
}
