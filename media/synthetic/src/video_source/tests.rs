//! Tests on virtual time.

use super::*;

fn next_frame(source: &mut ClipSource, now: Instant) -> Option<EncodedVideoFrame> {
    source.read_frame(now).unwrap().map(|frame| frame.into_encoded().expect("clips are encoded"))
}

fn sources() -> [ClipSource; 2] {
    [EncodedClip::vp8(), EncodedClip::h264()].map(|clip| ClipSource::new(clip.unwrap()))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Reads all frames that are due, polling every 10 ms.
fn play(source: &mut ClipSource, start: Instant, times: std::ops::Range<u64>) -> Vec<EncodedVideoFrame> {
    let mut frames = Vec::new();
    for time in times.step_by(10) {
        let now = start + ms(time);
        while let Some(frame) = next_frame(source, now) {
            assert!(frame.at <= now && now - frame.at < ms(10), "{time} ms");
            frames.push(frame);
        }
    }
    frames
}

fn number(source: &ClipSource, frame: &EncodedVideoFrame) -> usize {
    source.clip.frames.iter().position(|other| other.data == frame.data).unwrap()
}

#[test]
fn frames_are_returned_when_due_and_loop() {
    for mut source in sources() {
        let start = Instant::now();
        let frames = play(&mut source, start, 0..10_000);
        assert!((149..=151).contains(&frames.len()), "{}", frames.len());
        assert_eq!(frames[0].at, start);
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(number(&source, frame), index % 60);
            assert_eq!(frame.key, index % 15 == 0);
        }
        for pair in frames.windows(2) {
            let gap = (pair[1].at - pair[0].at).as_micros();
            assert!((66_600..=66_700).contains(&gap), "{gap} us");
        }
    }
}

#[test]
fn a_key_frame_request_is_answered_without_delay() {
    for mut source in sources() {
        let start = Instant::now();
        let before = play(&mut source, start, 0..300);
        source.request_keyframe();
        source.request_keyframe();
        let after = play(&mut source, start, 300..1_500);
        assert_eq!((before.len(), number(&source, &after[0])), (5, 15));
        assert_eq!(after.iter().map(|frame| frame.key).collect::<Vec<_>>(), {
            let mut keys = vec![false; after.len()];
            keys[0] = true;
            keys[15] = true;
            keys
        });
        let frames = [before, after].concat();
        for pair in frames.windows(2) {
            assert!((66..=67).contains(&(pair[1].at - pair[0].at).as_millis()));
        }
    }
}

#[test]
fn a_key_frame_request_near_the_end_skips_to_the_beginning() {
    let [mut source, _] = sources();
    let start = Instant::now();
    play(&mut source, start, 0..3_800);
    source.request_keyframe();
    let frames = play(&mut source, start, 3_800..4_000);
    assert_eq!(number(&source, &frames[0]), 0);
}

#[test]
fn a_late_reader_continues_from_the_newest_key_frame() {
    for late in [1_500, 4_700, 3_600_000, 100 * 365 * 24 * 3_600_000] {
        let [mut source, _] = sources();
        let start = Instant::now();
        assert_eq!(play(&mut source, start, 0..40).len(), 1);
        let now = start + ms(late);
        let missed: Vec<_> = std::iter::from_fn(|| next_frame(&mut source, now)).collect();
        assert!(missed[0].key && missed[1..].iter().all(|frame| !frame.key), "{late} ms");
        assert!(now - missed[0].at < ms(1_000), "{late} ms");
        let numbers: Vec<_> = missed.iter().map(|frame| number(&source, frame)).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{late} ms: {numbers:?}");
        assert!(now - missed.last().unwrap().at < ms(67), "{late} ms");
    }
}

#[test]
fn a_clock_that_goes_back_returns_no_frame() {
    let [mut source, _] = sources();
    let start = Instant::now() + ms(1_000);
    assert!(source.read_frame(start).unwrap().is_some());
    assert!(source.read_frame(start - ms(500)).unwrap().is_none());
}
