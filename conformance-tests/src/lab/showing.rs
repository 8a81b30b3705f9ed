//! Video streams: offering, requesting and checking them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blink_api::{Error, StreamId, TrackKind};
use blink_engine::{RequestedStream, StreamConfig};

use super::failure::Result;
use super::fault::Deed;
use super::participant::Participant;
use super::pictures::owner_of;

/// Frames that count as received video: half a second.
const FILM: usize = 10;
/// Polling interval of the checks.
const AGAIN: Duration = Duration::from_millis(20);
/// Time in which frames in flight arrive.
const ON_ITS_WAY: Duration = Duration::from_millis(300);
/// Window of a check for the absence of video.
const DARKNESS: Duration = Duration::from_secs(1);

/// Receiver of one video stream.
pub struct Screen {
    shown: Arc<Mutex<Shown>>,
}

#[derive(Default)]
struct Shown {
    /// Sending participant and arrival time of each frame.
    pictures: Vec<(Option<usize>, Duration)>,
    over: bool,
}

impl Participant {
    /// Offers its camera as a stream.
    pub async fn shows(&self) -> Result<StreamId> {
        self.note("offers its video");
        let config = StreamConfig { kind: TrackKind::Video, source: "camera".to_owned(), name: "camera".to_owned() };
        let offered = self.blink()?.offer_stream(config).await;
        self.done("offer a stream", offered)
    }

    /// Revokes an offered stream.
    pub async fn revokes(&self, stream: StreamId) -> Result<()> {
        self.note("revokes its video");
        let revoked = self.does(Deed::Revoke, (), self.blink()?.revoke_stream(stream)).await;
        self.done("revoke a stream", revoked)
    }

    /// Requests a participant's stream.
    pub async fn watches(&self, whose: &Participant, stream: StreamId) -> Result<Screen> {
        let requested = self.tries_to_watch(whose, stream).await?;
        let requested = self.done("request a stream", requested)?;
        let RequestedStream::Video(mut frames) = requested else {
            return Err(self.fails("requested video and received audio"));
        };
        let screen = Screen { shown: Arc::default() };
        let (shown, clock) = (screen.shown.clone(), self.core.clock);
        tokio::spawn(async move {
            let with =
                |work: &mut dyn FnMut(&mut Shown)| work(&mut shown.lock().unwrap_or_else(PoisonError::into_inner));
            while let Some(received) = frames.next().await {
                let picture = (owner_of(&received.frame), clock.elapsed());
                with(&mut |shown| shown.pictures.push(picture));
            }
            with(&mut |shown| shown.over = true);
        });
        Ok(screen)
    }

    /// As [`watches`](Self::watches), but returns the engine's error.
    pub async fn tries_to_watch(
        &self,
        whose: &Participant,
        stream: StreamId,
    ) -> Result<Result<RequestedStream, Error>> {
        self.note(format!("requests the video of {whose}"));
        let Some(endpoint) = whose.endpoint() else { return Err(self.fails(format!("{whose} was never started"))) };
        Ok(self.blink()?.request_stream(endpoint, stream).await)
    }

    /// Closes a requested stream.
    pub async fn closes(&self, whose: &Participant, stream: StreamId) -> Result<()> {
        self.note(format!("closes the video of {whose}"));
        let Some(endpoint) = whose.endpoint() else { return Err(self.fails(format!("{whose} was never started"))) };
        let closed = self.does(Deed::Close, (), self.blink()?.close_stream(endpoint, stream)).await;
        self.done("close a stream", closed)
    }

    /// Announces that it records, or has stopped.
    pub async fn sets_recording(&self, recording: bool) -> Result<()> {
        self.note(if recording { "records" } else { "stops recording" });
        let set = self.blink()?.set_recording(recording).await;
        self.done("say that it records", set)
    }

    /// Waits up to 5 s, or 30 s on a lossy network, for half a second of a participant's video, and
    /// fails on frames of another participant.
    pub async fn sees_pictures_of(&self, whose: &Participant, screen: &Screen) -> Result<()> {
        let patience = self.core.stage.patience();
        let end = self.core.clock.elapsed() + patience;
        let before = screen.count();
        loop {
            self.must(screen.is_all_of(whose.number()), format!("received frames that are not from {whose}"))?;
            if screen.count() >= before + FILM {
                return Ok(());
            }
            if self.core.clock.elapsed() >= end {
                let count = screen.count() - before;
                return Err(self.fails(format!("received {count} frames from {whose} within {patience:?}")));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Verifies that no frame arrives for a second.
    pub async fn sees_darkness(&self, screen: &Screen) -> Result<()> {
        tokio::time::sleep(ON_ITS_WAY).await;
        let before = screen.count();
        tokio::time::sleep(DARKNESS).await;
        self.must(screen.count() == before, "still receives frames")
    }

    /// Verifies that a stream has ended.
    pub async fn has_stopped_watching(&self, screen: &Screen) -> Result<()> {
        self.sees_darkness(screen).await?;
        self.must(screen.is_over(), "the stream has not ended")
    }
}

impl Screen {
    fn with<T>(&self, look: impl FnOnce(&Shown) -> T) -> T {
        look(&self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self) -> usize {
        self.with(|shown| shown.pictures.len())
    }

    fn is_all_of(&self, number: usize) -> bool {
        self.with(|shown| shown.pictures.iter().all(|(owner, _)| *owner == Some(number)))
    }

    fn is_over(&self) -> bool {
        self.with(|shown| shown.over)
    }
}
