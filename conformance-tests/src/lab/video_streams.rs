//! Video streams: offering, requesting and checking them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blink_api::{Error, StreamId, TrackKind};
use blink_engine::{RequestedStream, StreamConfig};

use super::camera::owner_of;
use super::failure::Result;
use super::fault::Command;
use super::participant::Participant;

/// Frames that count as received video: half a second.
const RECEIVED_FRAMES: usize = 10;
/// Polling interval of the checks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Time in which frames in flight arrive.
const IN_FLIGHT: Duration = Duration::from_millis(300);
/// Window of a check for the absence of video.
const ABSENCE_WINDOW: Duration = Duration::from_secs(1);

/// Receiver of one video stream.
pub struct VideoReceiver {
    shown: Arc<Mutex<ReceivedFrames>>,
}

impl fmt::Debug for VideoReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoReceiver").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct ReceivedFrames {
    /// Sending participant and arrival time of each frame.
    camera: Vec<(Option<usize>, Duration)>,
    over: bool,
}

impl Participant {
    /// Offers its camera as a stream.
    pub async fn offers_video(&self) -> Result<StreamId> {
        self.log_action("offers its video");
        let config = StreamConfig { kind: TrackKind::Video, source: "camera".to_owned(), name: "camera".to_owned() };
        let offered = self.blink()?.offer_stream(config).await;
        self.expect_ok("offer a stream", offered)
    }

    /// Revokes an offered stream.
    pub async fn revokes_stream(&self, stream: StreamId) -> Result<()> {
        self.log_action("revokes its video");
        let revoked = self.run_command(Command::Revoke, (), self.blink()?.revoke_stream(stream)).await;
        self.expect_ok("revoke a stream", revoked)
    }

    /// Requests a participant's stream.
    pub async fn requests_video(&self, whose: &Participant, stream: StreamId) -> Result<VideoReceiver> {
        let requested = self.tries_to_request_video(whose, stream).await?;
        let requested = self.expect_ok("request a stream", requested)?;
        let RequestedStream::Video(mut frames) = requested else {
            return Err(self.fails("requested video and received audio"));
        };
        let screen = VideoReceiver { shown: Arc::default() };
        let (shown, clock) = (screen.shown.clone(), self.core.clock);
        tokio::spawn(async move {
            let with = |work: &mut dyn FnMut(&mut ReceivedFrames)| {
                work(&mut shown.lock().unwrap_or_else(PoisonError::into_inner));
            };
            while let Some(received) = frames.next().await {
                let encode_frame = (owner_of(&received.frame), clock.elapsed());
                with(&mut |shown| shown.camera.push(encode_frame));
            }
            with(&mut |shown| shown.over = true);
        });
        Ok(screen)
    }

    /// As [`requests_video`](Self::requests_video), but returns the engine's error.
    pub async fn tries_to_request_video(
        &self,
        whose: &Participant,
        stream: StreamId,
    ) -> Result<Result<RequestedStream, Error>> {
        self.log_action(format!("requests the video of {whose}"));
        let Some(endpoint) = whose.endpoint() else { return Err(self.fails(format!("{whose} was never started"))) };
        Ok(self.blink()?.request_stream(endpoint, stream).await)
    }

    /// Closes a requested stream.
    pub async fn closes_stream(&self, whose: &Participant, stream: StreamId) -> Result<()> {
        self.log_action(format!("closes the video of {whose}"));
        let Some(endpoint) = whose.endpoint() else { return Err(self.fails(format!("{whose} was never started"))) };
        let closed = self.run_command(Command::Close, (), self.blink()?.close_stream(endpoint, stream)).await;
        self.expect_ok("close a stream", closed)
    }

    /// Announces that it records, or has stopped.
    pub async fn sets_recording(&self, recording: bool) -> Result<()> {
        self.log_action(if recording { "records" } else { "stops recording" });
        let set = self.blink()?.set_recording(recording).await;
        self.expect_ok("say that it records", set)
    }

    /// Waits up to 5 s, or 30 s on a lossy network, for half a second of a participant's video, and
    /// fails on frames of another participant.
    pub async fn receives_video_of(&self, whose: &Participant, screen: &VideoReceiver) -> Result<()> {
        let event_timeout = self.core.config.event_timeout();
        let end = self.core.clock.elapsed() + event_timeout;
        let before = screen.count();
        loop {
            self.must(screen.is_all_of(whose.number()), format!("received frames that are not from {whose}"))?;
            if screen.count() >= before + RECEIVED_FRAMES {
                return Ok(());
            }
            if self.core.clock.elapsed() >= end {
                let count = screen.count() - before;
                return Err(self.fails(format!("received {count} frames from {whose} within {event_timeout:?}")));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Verifies that no frame arrives for a second.
    pub async fn receives_no_video(&self, screen: &VideoReceiver) -> Result<()> {
        tokio::time::sleep(IN_FLIGHT).await;
        let before = screen.count();
        tokio::time::sleep(ABSENCE_WINDOW).await;
        self.must(screen.count() == before, "still receives frames")
    }

    /// Verifies that a stream has ended.
    pub async fn video_has_ended(&self, screen: &VideoReceiver) -> Result<()> {
        self.receives_no_video(screen).await?;
        self.must(screen.is_over(), "the stream has not ended")
    }
}

impl VideoReceiver {
    fn with<T>(&self, look: impl FnOnce(&ReceivedFrames) -> T) -> T {
        look(&self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self) -> usize {
        self.with(|shown| shown.camera.len())
    }

    fn is_all_of(&self, number: usize) -> bool {
        self.with(|shown| shown.camera.iter().all(|(owner, _)| *owner == Some(number)))
    }

    fn is_over(&self) -> bool {
        self.with(|shown| shown.over)
    }
}
