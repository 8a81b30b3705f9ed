//! Streams beside the microphone: what participants show each other, and what they watch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blink_api::{Error, StreamId, TrackKind};
use blink_engine::{RequestedStream, StreamConfig};

use super::failure::Result;
use super::fault::Deed;
use super::participant::Participant;
use super::pictures::owner_of;

/// Pictures that make a film: half a second of them.
const FILM: usize = 10;
/// How often somebody who waits for pictures looks.
const AGAIN: Duration = Duration::from_millis(20);
/// What is on its way is there within this time.
const ON_ITS_WAY: Duration = Duration::from_millis(300);
/// How long darkness is looked at.
const DARKNESS: Duration = Duration::from_secs(1);

/// What somebody watches: the pictures of one stream that came.
pub struct Screen {
    shown: Arc<Mutex<Shown>>,
}

#[derive(Default)]
struct Shown {
    /// Whose each picture was, and when it came.
    pictures: Vec<(Option<usize>, Duration)>,
    over: bool,
}

impl Participant {
    /// Shows its pictures to whoever asks.
    pub async fn shows(&self) -> Result<StreamId> {
        self.note("shows its pictures");
        let config = StreamConfig { kind: TrackKind::Video, source: "camera".to_owned(), name: "camera".to_owned() };
        let offered = self.blink()?.offer_stream(config).await;
        self.done("show pictures", offered)
    }

    /// Shows them no more, to anybody.
    pub async fn revokes(&self, stream: StreamId) -> Result<()> {
        self.note("shows its pictures no more");
        let revoked = self.does(Deed::Revoke, (), self.blink()?.revoke_stream(stream)).await;
        self.done("revoke a stream", revoked)
    }

    /// Asks for somebody's pictures.
    pub async fn watches(&self, whose: &Participant, stream: StreamId) -> Result<Screen> {
        let requested = self.tries_to_watch(whose, stream).await?;
        let requested = self.done("request a stream", requested)?;
        let RequestedStream::Video(mut frames) = requested else {
            return Err(self.fails("asked for pictures and got sound"));
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

    /// As [`watches`](Self::watches), with what the engine says.
    pub async fn tries_to_watch(
        &self,
        whose: &Participant,
        stream: StreamId,
    ) -> Result<Result<RequestedStream, Error>> {
        self.note(format!("asks for the pictures of {whose}"));
        let Some(endpoint) = whose.endpoint() else { return Err(self.fails(format!("{whose} never started"))) };
        Ok(self.blink()?.request_stream(endpoint, stream).await)
    }

    /// Asks for somebody's pictures no more.
    pub async fn closes(&self, whose: &Participant, stream: StreamId) -> Result<()> {
        self.note(format!("asks for the pictures of {whose} no more"));
        let Some(endpoint) = whose.endpoint() else { return Err(self.fails(format!("{whose} never started"))) };
        let closed = self.does(Deed::Close, (), self.blink()?.close_stream(endpoint, stream)).await;
        self.done("close a stream", closed)
    }

    /// Tells others that it records, or does no more.
    pub async fn sets_recording(&self, recording: bool) -> Result<()> {
        self.note(if recording { "records" } else { "records no more" });
        let set = self.blink()?.set_recording(recording).await;
        self.done("say that it records", set)
    }

    /// Sees half a second of somebody's pictures within 5 s, and nobody else's.
    pub async fn sees_pictures_of(&self, whose: &Participant, screen: &Screen) -> Result<()> {
        let patience = self.core.stage.patience();
        let end = self.core.clock.elapsed() + patience;
        let before = screen.count();
        loop {
            self.must(screen.is_all_of(whose.number()), format!("sees pictures that are not of {whose}"))?;
            if screen.count() >= before + FILM {
                return Ok(());
            }
            if self.core.clock.elapsed() >= end {
                let count = screen.count() - before;
                return Err(self.fails(format!("saw {count} pictures of {whose} within {patience:?}")));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Sees no more pictures there.
    pub async fn sees_darkness(&self, screen: &Screen) -> Result<()> {
        tokio::time::sleep(ON_ITS_WAY).await;
        let before = screen.count();
        tokio::time::sleep(DARKNESS).await;
        self.must(screen.count() == before, "still sees pictures")
    }

    /// What it watched has come to its end.
    pub async fn has_stopped_watching(&self, screen: &Screen) -> Result<()> {
        self.sees_darkness(screen).await?;
        self.must(screen.is_over(), "waits for pictures that will not come")
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
