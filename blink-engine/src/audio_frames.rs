//! Decoded audio of one track, on its way from the media thread to the user.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker};

use blink_api::{AudioFormat, CallTime, RtpTime, TrackKey};
use blink_media::{Tap, TappedSamples};
use futures_core::Stream;

/// Frames of 10 ms that wait for a slow reader: 1 s.
const MAX_FRAMES: usize = 100;

/// 10 ms of decoded audio of one track.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AudioFrame {
    /// When its first sample was captured, as far as this device knows: time since this device's
    /// media of the call began, on one time line for all tracks.
    pub at: CallTime,
    /// RTP timestamp of its first sample, in the clock rate of the track's codec (RFC 3550 §5.1).
    pub timestamp: RtpTime,
    /// Format of the samples: that of the call.
    pub format: AudioFormat,
    /// Interleaved samples in −1.0..=1.0.
    pub samples: Vec<f32>,
}

impl AudioFrame {
    /// The samples as 16-bit integers, for consumers of linear PCM.
    #[must_use]
    pub fn to_i16(&self) -> Vec<i16> {
        self.samples.iter().map(|sample| (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16).collect()
    }
}

/// The decoded audio of one track, in frames of 10 ms, from [`Blink::audio_frames`].
///
/// 100 frames (1 s) wait for a slow reader; beyond, the oldest are dropped and
/// [counted](Self::dropped). The end (`None`) comes after the last frame once the participant has
/// left, its stream has ended or is not requested any more, or this device is not in the call any
/// more. Dropping this closes it.
///
/// [`Blink::audio_frames`]: crate::Blink::audio_frames
pub struct AudioFrames {
    track: TrackKey,
    shared: Arc<Shared>,
}

#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    dropped: AtomicU64,
    /// One of the ends is gone, or the track has ended.
    is_over: AtomicBool,
}

#[derive(Default)]
struct State {
    frames: VecDeque<AudioFrame>,
    reader: Option<Waker>,
}

impl AudioFrames {
    /// Frames of a track, and the tap that fills them.
    pub(crate) fn new(track: TrackKey) -> (Self, FrameTap) {
        let shared = Arc::new(Shared::default());
        let tap = FrameTap { track, shared: shared.clone(), held: VecDeque::new() };
        (Self { track, shared }, tap)
    }

    pub(crate) fn shared(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    /// The track.
    pub fn track(&self) -> TrackKey {
        self.track
    }

    /// Waits for the next frame; `None` after the last one.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken no frame.
    pub async fn next(&mut self) -> Option<AudioFrame> {
        poll_fn(|context| self.poll_frame(context)).await
    }

    /// The next frame, if there is one already.
    pub fn try_next(&mut self) -> Option<AudioFrame> {
        self.shared.lock().frames.pop_front()
    }

    /// Frames that were dropped so far because they were not read in time.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<AudioFrame>> {
        let mut state = self.shared.lock();
        if let Some(frame) = state.frames.pop_front() {
            return Poll::Ready(Some(frame));
        }
        if self.shared.is_over.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Stream for AudioFrames {
    type Item = AudioFrame;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AudioFrame>> {
        self.poll_frame(context)
    }
}

impl Drop for AudioFrames {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
    }
}

impl fmt::Debug for AudioFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioFrames").field("track", &self.track).finish_non_exhaustive()
    }
}

impl Shared {
    /// The track is over: its reader gets what waits, then the end.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        self.is_over.store(true, Ordering::Release);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame in place of the oldest where there is no room.
    fn queue(&self, frames: &mut VecDeque<AudioFrame>, frame: AudioFrame) {
        if frames.len() == MAX_FRAMES {
            frames.pop_front();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        frames.push_back(frame);
    }
}

/// The end of [`AudioFrames`] that the media fills. It does not wait for a reader that is taking a
/// frame: what comes meanwhile is held until the next one.
pub(crate) struct FrameTap {
    track: TrackKey,
    shared: Arc<Shared>,
    held: VecDeque<AudioFrame>,
}

impl Tap for FrameTap {
    fn is_closed(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }

    fn on_samples(&mut self, track: &TrackKey, at: CallTime, block: &TappedSamples<'_>) {
        if *track != self.track || self.is_closed() {
            return;
        }
        let TappedSamples { format, timestamp, samples } = *block;
        let frame = AudioFrame { at, timestamp, format, samples: samples.to_vec() };
        let mut state = match self.shared.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return self.shared.queue(&mut self.held, frame),
        };
        for frame in self.held.drain(..).chain([frame]) {
            self.shared.queue(&mut state.frames, frame);
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for FrameTap {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            let mut state = self.shared.lock();
            self.held.drain(..).for_each(|frame| self.shared.queue(&mut state.frames, frame));
        }
        self.shared.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blink_api::{DeviceId, Did, Endpoint};

    fn track() -> TrackKey {
        let did: Did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse().unwrap();
        TrackKey::microphone(Endpoint { did, device: DeviceId::from_random([1; 16]) })
    }

    fn push(tap: &mut FrameTap, track: &TrackKey, n: u32) {
        let samples = [n as f32 / 1_000.0; 480];
        let block = TappedSamples { format: AudioFormat::CALL, timestamp: RtpTime(480 * n), samples: &samples };
        tap.on_samples(track, CallTime(std::time::Duration::from_millis(10) * n), &block);
    }

    #[tokio::test]
    async fn the_oldest_frames_are_dropped_and_counted_and_other_tracks_are_ignored() {
        let (mut frames, mut tap) = AudioFrames::new(track());
        let other = TrackKey::stream(track().endpoint, blink_api::StreamId::from_random([2; 16]));
        for n in 0..130 {
            push(&mut tap, &track(), n);
            push(&mut tap, &other, n);
        }
        assert_eq!(frames.dropped(), 30);
        drop(tap);
        for n in 30..130 {
            let frame = frames.next().await.unwrap();
            assert_eq!((frame.timestamp, frame.at.0.as_millis()), (RtpTime(480 * n), u128::from(10 * n)));
            assert_eq!(frame.samples.len(), 480);
        }
        assert_eq!(frames.next().await, None);
        assert_eq!(frames.next().await, None, "also when asked again");
    }

    /// Deterministic contention: the reader holds the lock while a frame comes.
    #[tokio::test]
    async fn frames_that_come_while_the_reader_is_busy_are_not_lost() {
        let (mut frames, mut tap) = AudioFrames::new(track());
        let busy = frames.shared.clone();
        let locked = busy.lock();
        push(&mut tap, &track(), 0);
        push(&mut tap, &track(), 1);
        drop(locked);
        push(&mut tap, &track(), 2);
        for n in 0..3 {
            assert_eq!(frames.next().await.unwrap().timestamp, RtpTime(480 * n));
        }
        let locked = busy.lock();
        push(&mut tap, &track(), 3);
        drop(locked);
        drop(tap);
        assert_eq!(frames.next().await.unwrap().timestamp, RtpTime(480 * 3), "the last one is held when the tap ends");
        assert_eq!(frames.next().await, None);
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_for_a_frame_and_for_the_end() {
        let (mut frames, mut tap) = AudioFrames::new(track());
        let reader = tokio::spawn(async move {
            let first = frames.next().await;
            (first.is_some(), frames.next().await)
        });
        tokio::task::yield_now().await;
        push(&mut tap, &track(), 1);
        tokio::task::yield_now().await;
        tap.shared.end();
        assert_eq!(reader.await.unwrap(), (true, None));
        push(&mut tap, &track(), 2);
        assert!(tap.is_closed());
    }

    #[test]
    fn dropping_the_frames_closes_the_tap() {
        let (frames, tap) = AudioFrames::new(track());
        assert!(!tap.is_closed());
        drop(frames);
        assert!(tap.is_closed());
    }

    #[test]
    fn samples_are_rounded_to_sixteen_bits() {
        let samples = vec![0.0, 1.0, -1.0, 0.5, 2.0];
        let frame = AudioFrame { at: CallTime::default(), timestamp: RtpTime(0), format: AudioFormat::CALL, samples };
        assert_eq!(frame.to_i16(), [0, 32_767, -32_767, 16_384, 32_767]);
    }
}
