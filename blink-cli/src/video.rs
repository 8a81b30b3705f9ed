//! Video in calls: the offered stream, and files of received streams.

use std::path::{Path, PathBuf};

use blink_api::{Endpoint, Error, ErrorKind, StreamId, TrackKind, private};
use blink_engine::{Blink, Event, Frames, RequestedStream, StreamConfig, StreamInfo};
use blink_media::TimestampUnwrapper;
use blink_media::video::CLOCK_RATE;
use serde_json::json;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::task::{JoinError, JoinSet};

use crate::failure::one_line;
use crate::output::Output;

mod ivf;

/// Video of a command's calls.
pub(crate) struct Video {
    blink: Blink,
    /// Source to offer.
    source: Option<String>,
    /// Directory for received streams.
    out: Option<PathBuf>,
    seen: usize,
    work: JoinSet<Result<Option<Saved>, Error>>,
}

/// A file with a received stream.
struct Saved {
    path: PathBuf,
    frames: u64,
}

impl Video {
    pub(crate) fn new(blink: &Blink, source: Option<&str>, out: Option<&Path>) -> Self {
        let (source, out) = (source.map(str::to_owned), out.map(Path::to_owned));
        Self { blink: blink.clone(), source, out, seen: 0, work: JoinSet::new() }
    }

    /// Offers and requests streams as events occur, and reports completed files.
    pub(crate) fn handle(&mut self, event: &Event, output: &Output) {
        while let Some(done) = self.work.try_join_next() {
            tell(done, output);
        }
        match event {
            Event::CallJoined { .. } => self.offer(),
            Event::StreamOffered { participant, stream, .. } if stream.kind == TrackKind::Video => {
                self.save(*participant, stream);
            }
            _ => {}
        }
    }

    fn offer(&mut self) {
        let Some(source) = self.source.clone() else { return };
        let blink = self.blink.clone();
        self.work.spawn(async move {
            let config = StreamConfig { kind: TrackKind::Video, source, name: "video".to_owned() };
            match blink.offer_stream(config).await {
                // The call has ended meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::State | ErrorKind::Closed) => Ok(None),
                result => result.map(|_| None),
            }
        });
    }

    fn save(&mut self, participant: Endpoint, stream: &StreamInfo) {
        let Some(directory) = &self.out else { return };
        self.seen += 1;
        let ending = if stream.codec.eq_ignore_ascii_case("VP8") { "ivf" } else { "h264" };
        let path = directory.join(format!("seen-{}.{ending}", self.seen));
        let (blink, stream) = (self.blink.clone(), stream.stream);
        self.work.spawn(async move { save(blink, participant, stream, path).await });
    }

    /// Completes all files. The streams end with the engine.
    pub(crate) async fn finish(mut self, output: &Output) {
        drop(self.blink);
        while let Some(done) = self.work.join_next().await {
            tell(done, output);
        }
    }
}

/// Result of a video task.
type Done = Result<Result<Option<Saved>, Error>, JoinError>;

fn tell(done: Done, output: &Output) {
    match done {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(Saved { path, frames }))) => {
            output.result(&format!("seen: {} ({frames} frames)", path.display()));
            output.json_result(&json!({ "event": "seen", "path": path.to_string_lossy(), "frames": frames }));
        }
        Ok(Err(error)) => {
            let error = one_line(&error.to_string());
            output.event(&format!("            video: {error}"));
            output.json_event(&json!({ "event": "refused", "error": error }));
        }
        Err(error) => tracing::error!(%error, "video stopped"),
    }
}

async fn save(blink: Blink, participant: Endpoint, stream: StreamId, path: PathBuf) -> Result<Option<Saved>, Error> {
    let frames = match blink.request_stream(participant, stream).await {
        Ok(RequestedStream::Video(frames)) => frames,
        Ok(RequestedStream::Audio) => return Ok(None),
        // The stream was revoked meanwhile, or the call has ended.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Closed) => return Ok(None),
        Err(error) => return Err(error),
    };
    // Drop the handle: it would keep the engine running.
    drop(blink);
    let written = write(frames, &path).await;
    let frames = written.map_err(|source| {
        Error::new(ErrorKind::Io, "cannot write the received video").with("file", path.display()).source(source)
    })?;
    Ok((frames > 0).then_some(Saved { path, frames }))
}

/// Writes frames until the stream ends, and returns their number.
async fn write(mut frames: Frames, path: &Path) -> std::io::Result<u64> {
    let mut file = None;
    let (mut count, mut clock) = (0, None);
    while let Some(frame) = frames.next().await {
        let file = match &mut file {
            Some(file) => file,
            None => file.insert(BufWriter::new(tokio::fs::File::from_std(private::create(path)?))),
        };
        if path.extension().is_some_and(|ending| ending == "ivf") {
            if count == 0 {
                file.write_all(&ivf::header(&frame.frame.data)).await?;
            }
            let begun = || TimestampUnwrapper::new(CLOCK_RATE, frame.timestamp, frame.frame.at);
            let (clock, first) = clock.get_or_insert_with(|| (begun(), begun().newest()));
            let time = u64::try_from(clock.advance(frame.timestamp, frame.frame.at) - *first).unwrap_or(0);
            file.write_all(&ivf::frame_header(frame.frame.data.len(), time)).await?;
        }
        file.write_all(&frame.frame.data).await?;
        count += 1;
    }
    if let Some(mut file) = file {
        file.flush().await?;
    }
    Ok(count)
}
