//! Plan of the demo, validated before an engine starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use blink_api::{
    AudioCodec, AudioFormat, Configuration, ConfigurationBuilder, Registry, Signaling, Transport,
    TransportCapabilities, expand_path,
};
use blink_media_synthetic::read_wav;
use figment::value::{Empty, Value};

use crate::args::{DemoArguments, Global};
use crate::backends::{self, DEMO_TRANSPORTS};
use crate::failure::Failure;
use crate::{configuration, files};

/// Duration of the recorded speech.
const SPEECH: Duration = Duration::from_secs(8);
/// Minimum duration of speech that is rated reliably. P.862.3 recommends 3.2 s of active speech; in
/// shorter speech a single syllable decides.
const SHORTEST_SPEECH: Duration = Duration::from_secs(3);
/// Maximum duration of speech from a file.
const LONGEST_SPEECH: Duration = Duration::from_secs(290);
/// Additional duration of the call, so that the end of the speech is received too.
const REST: Duration = Duration::from_millis(500);

/// Both sides, and the duration of the call.
pub(super) struct Plan {
    /// Alice, who calls, and Bob.
    pub(super) sides: [Side; 2],
    /// Time from the first audio of both sides to leaving.
    pub(super) talk: Duration,
}

/// Configuration of one side.
pub(super) struct Side {
    /// Display name.
    pub(super) name: &'static str,
    /// Configuration of its engine.
    pub(super) configuration: Configuration,
    /// Name of its transport.
    pub(super) transport: &'static str,
    /// Name of its signaling backend.
    pub(super) signaling: &'static str,
    /// Name of its codec.
    pub(super) codec: &'static str,
    /// Sent speech: 48 kHz, mono.
    pub(super) said: Vec<f32>,
    /// Path of the recording of the received audio.
    pub(super) heard: PathBuf,
    /// Directory of the engine's recordings; `None` where it records nothing.
    pub(super) recordings: Option<PathBuf>,
}

impl Plan {
    /// Validates everything that needs no engine.
    pub(super) async fn new(arguments: &DemoArguments, global: &Global) -> Result<Self, Failure> {
        if !(1..=1_000).contains(&arguments.repeat) {
            return Err(Failure::input(format!("--repeat {}: expected 1 to 1000", arguments.repeat)));
        }
        let registry = Registry::discovered()?;
        let alice = configure(&registry, arguments, global, &ALICE)?;
        let bob = configure(&registry, arguments, global, &BOB)?;
        let speech = [speech(&alice)?, speech(&bob)?];
        let talk = match arguments.seconds {
            None => speech[0].max(speech[1]) + REST,
            Some(seconds) if (SHORTEST_SPEECH.as_secs_f64()..=300.0).contains(&seconds) => {
                Duration::from_secs_f64(seconds) + REST
            }
            Some(seconds) => {
                return Err(Failure::input(format!(
                    "--seconds {seconds}: expected {} to 300; shorter speech cannot be rated",
                    SHORTEST_SPEECH.as_secs()
                )));
            }
        };
        let audible = talk - REST;
        let sides = [
            Side::new(ALICE.name, alice, speech[0].min(audible), arguments).await?,
            Side::new(BOB.name, bob, speech[1].min(audible), arguments).await?,
        ];
        let plan = Self { sides, talk };
        plan.check_pair()?;
        Ok(plan)
    }

    /// Fails for sides that can never connect, instead of waiting.
    fn check_pair(&self) -> Result<(), Failure> {
        let [alice, bob] = &self.sides;
        if !backends::meet(alice.signaling, bob.signaling) {
            return Err(Failure::input(format!(
                "Alice's signaling is `{}` and Bob's `{}`: they do not interoperate",
                alice.signaling, bob.signaling
            )));
        }
        let network = |side: &Side| -> Result<bool, Failure> {
            let capabilities: TransportCapabilities = side.configuration.chosen::<dyn Transport>()?.capabilities;
            Ok(capabilities.network)
        };
        if network(alice)? != network(bob)? {
            return Err(Failure::input(format!(
                "Alice's transport is `{}` and Bob's `{}`: only one of them uses the network",
                alice.transport, bob.transport
            )));
        }
        if alice.heard == bob.heard {
            return Err(Failure::input(format!(
                "both sides would write the received audio to {}",
                alice.heard.display()
            )));
        }
        Ok(())
    }
}

impl Side {
    async fn new(
        name: &'static str,
        configuration: Configuration,
        speech: Duration,
        arguments: &DemoArguments,
    ) -> Result<Self, Failure> {
        let of = |failure: Failure| failure.during(name);
        let speaker = &configuration.settings().speaker;
        let heard = speaker.strip_prefix("wav:").map(expand_path).ok_or_else(|| {
            of(Failure::input(format!(
                "speaker `{speaker}` is not a file (wav:PATH), so that the received audio cannot be rated"
            )))
        })??;
        files::check(&heard).map_err(of)?;
        let said = files::said(&configuration, speech).await.map_err(of)?;
        Ok(Self {
            name,
            transport: configuration.chosen::<dyn Transport>()?.name,
            signaling: configuration.chosen::<dyn Signaling>()?.name,
            codec: configuration.chosen::<dyn AudioCodec>()?.name,
            said,
            heard,
            recordings: arguments.record.directory(Some(&arguments.out))?.map(|out| out.join(name.to_lowercase())),
            configuration,
        })
    }
}

/// Differences between the two sides.
struct Role {
    name: &'static str,
    transport: &'static str,
    speech: &'static str,
    heard: &'static str,
    speech_flag: &'static str,
    speech_file: fn(&DemoArguments) -> Option<&Path>,
    flag: &'static str,
    values: fn(&DemoArguments) -> &[String],
}

const ALICE: Role = Role {
    name: "Alice",
    transport: DEMO_TRANSPORTS[0],
    speech: "speech:0",
    heard: "alice-heard.wav",
    speech_flag: "--speech-a",
    speech_file: |arguments| arguments.speech_a.as_deref(),
    flag: "--a",
    values: |arguments| &arguments.alice,
};

const BOB: Role = Role {
    name: "Bob",
    transport: DEMO_TRANSPORTS[1],
    speech: "speech:2",
    heard: "bob-heard.wav",
    speech_flag: "--speech-b",
    speech_file: |arguments| arguments.speech_b.as_deref(),
    flag: "--b",
    values: |arguments| &arguments.bob,
};

/// Layers of the configuration, with increasing precedence: defaults, file and environment,
/// settings for two engines in one process, global options, options of the demo, options of one
/// side.
fn configure(
    registry: &Registry,
    arguments: &DemoArguments,
    global: &Global,
    role: &Role,
) -> Result<Configuration, Failure> {
    let defaults = backends::configuration(registry).default_value("transport", role.transport);
    let mut builder =
        alone(configuration::file_and_environment(defaults, global)).set("demo", "microphone", role.speech);
    builder = configuration::options(builder, global);
    builder = builder.set("--out", "speaker", files::device(&arguments.out.join(role.heard))?);
    if let Some(name) = &arguments.signaling {
        builder = builder.set("--signaling", "signaling", name.as_str());
    }
    if let Some(file) = (role.speech_file)(arguments) {
        builder = builder.set(role.speech_flag, "microphone", files::device(file)?);
    }
    builder = arguments.record.choose(builder);
    builder = (role.values)(arguments).iter().fold(builder, |builder, value| builder.set_argument(role.flag, value));
    Ok(builder.build()?)
}

/// A new identity, no discovery, and files instead of devices.
fn alone(builder: ConfigurationBuilder) -> ConfigurationBuilder {
    backends::demonstration(builder).set("demo", "data_dir", Value::from(Empty::None)).set(
        "demo",
        "media_host",
        backends::FILES,
    )
}

/// Duration of a side's speech: a file to its end, otherwise a default.
fn speech(configuration: &Configuration) -> Result<Duration, Failure> {
    let Some(path) = configuration.settings().microphone.strip_prefix("wav:") else { return Ok(SPEECH) };
    let pcm = read_wav(expand_path(path)?)?;
    let format = AudioFormat { sample_rate: pcm.format.sample_rate, channels: pcm.format.channels };
    let frames = pcm.samples.len() / usize::from(format.channels.max(1));
    let length = Duration::from_secs_f64(frames as f64 / f64::from(format.sample_rate.max(1)));
    if (SHORTEST_SPEECH..=LONGEST_SPEECH).contains(&length) {
        return Ok(length);
    }
    Err(Failure::input(format!(
        "{path}: expected speech of {} to {} s, found {:.1} s",
        SHORTEST_SPEECH.as_secs(),
        LONGEST_SPEECH.as_secs(),
        length.as_secs_f64()
    )))
}
