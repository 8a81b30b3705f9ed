//! Custom backend: a recorder that writes a line into `levels.txt` for each second and track: its
//! peak.
//!
//! Two engines of this program call each other over the memory transport and signaling, and one of
//! them records:
//!
//! ```sh
//! cargo run -p blink-examples --bin own_recorder -- DIRECTORY
//! ```

mod exchange;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blink_api::macros::{async_trait, submit};
use blink_api::{
    CallTime, Configuration, Context, Entry, Error, ErrorKind, Plugin, RecordedTrack, Recorder, RecorderCapabilities,
    Recording, RecordingConfig, RecordingSummary, Registry, Result, Sample, TrackKey,
};
use blink_engine::{Blink, RecordingRequest};
use serde::{Deserialize, Serialize};

use {
    blink_media_cpal_opus as _, blink_media_synthetic as _, blink_signaling_memory as _, blink_transport_memory as _,
};

submit! { Entry::<dyn Recorder>::of::<Levels>() }

/// Name in the configuration: `recorder = ["levels"]`.
const NAME: &str = "levels";
const CAPABILITIES: RecorderCapabilities = RecorderCapabilities { samples: true, ..RecorderCapabilities::NONE };

/// `[recorders.levels]` has no keys.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LevelsConfig {}

struct Levels;

#[async_trait]
impl Plugin<dyn Recorder> for Levels {
    type Config = LevelsConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "peak levels as text";
    const CAPABILITIES: RecorderCapabilities = CAPABILITIES;

    async fn create(_: LevelsConfig, _: &Context) -> Result<Arc<dyn Recorder>> {
        Ok(Arc::new(Self))
    }
}

impl Recorder for Levels {
    fn capabilities(&self) -> RecorderCapabilities {
        CAPABILITIES
    }

    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>> {
        let path = config.directory.join("levels.txt");
        let file = File::create_new(&path).map_err(|source| failed(source, "start"))?;
        Ok(Box::new(LevelsRecording { path, file: BufWriter::new(file), tracks: BTreeMap::new() }))
    }
}

fn failed(source: std::io::Error, operation: &'static str) -> Error {
    Error::new(ErrorKind::Io, "the file cannot be written").backend(NAME).operation(operation).source(source)
}

/// Second of a track that is not written yet, and its peak.
struct Second {
    number: u64,
    peak: f32,
}

struct LevelsRecording {
    path: PathBuf,
    file: BufWriter<File>,
    tracks: BTreeMap<TrackKey, Second>,
}

impl LevelsRecording {
    fn write(&mut self, track: &TrackKey, second: &Second) -> Result<()> {
        let line = writeln!(self.file, "{} s  {track}  {:.3}", second.number, second.peak);
        line.map_err(|source| failed(source, "push"))
    }
}

impl Recording for LevelsRecording {
    fn add_track(&mut self, track: RecordedTrack) -> Result<()> {
        self.tracks.entry(track.key).or_insert(Second { number: 0, peak: 0.0 });
        Ok(())
    }

    fn push(&mut self, track: &TrackKey, at: CallTime, sample: Sample<'_>) -> Result<()> {
        let Sample::Audio { samples, .. } = sample else { return Ok(()) };
        let Some(second) = self.tracks.get_mut(track) else {
            return Err(Error::new(ErrorKind::NotFound, "no such track").backend(NAME));
        };
        let number = at.0.as_secs();
        let mut complete = None;
        if number > second.number {
            complete = Some(std::mem::replace(second, Second { number, peak: 0.0 }));
        }
        second.peak = samples.iter().fold(second.peak, |peak, sample| peak.max(sample.abs()));
        complete.map_or(Ok(()), |complete| self.write(track, &complete))
    }

    fn tick(&mut self, _: CallTime) -> Result<()> {
        self.file.flush().map_err(|source| failed(source, "tick"))
    }

    fn finish(mut self: Box<Self>) -> Result<RecordingSummary> {
        for (track, second) in std::mem::take(&mut self.tracks) {
            self.write(&track, &second)?;
        }
        self.file.flush().map_err(|source| failed(source, "finish"))?;
        let bytes = std::fs::metadata(&self.path).map_err(|source| failed(source, "finish"))?.len();
        Ok(RecordingSummary::new(vec![self.path], bytes))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "levels".to_owned());
    let registry = Registry::discovered()?;
    let configuration = ["recorder=[\"levels\"]", "media_host=synthetic", "microphone=speech", "speaker=null"]
        .iter()
        .fold(Configuration::builder(&registry), |it, setting| it.set_argument("example", setting))
        .build()?;
    let people = [Blink::start(&configuration).await?, Blink::start(&configuration).await?];
    exchange::call(&people).await?;
    people[0].start_recording(RecordingRequest::new(directory)).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = people[0].stop_recording().await?;
    for file in report.recorders.iter().flat_map(|recorder| &recorder.summary.files) {
        println!("{}", file.display());
    }
    for person in people {
        person.shutdown().await;
    }
    Ok(())
}
