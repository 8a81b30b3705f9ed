//! Media files named by the user.

use blink_media_synthetic::fuzzing;
use bytes::Bytes;

/// The first byte selects the container of the clip.
pub fn clip(data: &[u8]) {
    let Some((kind, file)) = data.split_first() else { return };
    let file = Bytes::copy_from_slice(file);
    let frames = if kind & 1 == 0 { fuzzing::read_ivf(&file) } else { fuzzing::read_annex_b(&file) };
    if let Ok(frames) = frames {
        assert!(frames.iter().all(|frame| !frame.is_empty()), "a frame has bytes");
        let most: usize = frames.iter().map(Bytes::len).sum();
        // Key frames get additional parameter sets, and start codes may become one byte longer.
        assert!(most <= (file.len() + 1) * (frames.len() + 2), "frames come from the file");
    }
}

/// Samples are finite and within full scale.
pub fn wav(data: &[u8]) {
    if let Ok(sound) = fuzzing::read_wav(data) {
        assert!(!sound.samples.is_empty() && sound.samples.len().is_multiple_of(sound.format.channels.into()));
        assert!(sound.samples.iter().all(|sample| (-1.0..=1.0).contains(sample)));
    }
}
