//! A call of one device with fakes: what goes in by hand, and what comes out.

use std::sync::{Arc, Mutex};
use web_time::{Duration, Instant};

use blink_api::{
    AudioCodec, AudioCodecCapabilities, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig,
    AudioFormat, AudioProcessor, AudioSettings, AudioSink, AudioSource, CodecName, DeviceId, Did, Endpoint, Error,
    ErrorKind, Mid, QualitySettings, ReadResult, Result, RtpCodec, RtpIn, RtpOut, TrackId, TrackKind,
};

use super::super::*;
use crate::fake::{FakeCodec, numbered, received, rtp_codec};
use crate::video::PayloadFormats;

pub(super) const PATH: PathId = PathId(7);

/// The fake codec, as a codec of a call.
struct Codec;

impl AudioCodec for Codec {
    fn capabilities(&self) -> AudioCodecCapabilities {
        AudioCodecCapabilities::NONE
    }

    fn rtp(&self) -> RtpCodec {
        rtp_codec()
    }

    fn encoder(&self, _: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>> {
        Ok(Box::new(FakeCodec::default()))
    }

    fn decoder(&self, _: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(FakeCodec::default()))
    }
}

pub(super) fn endpoint(number: u8) -> Endpoint {
    Endpoint { did: Did::from_public_key([number; 32]), device: DeviceId::from_random([number; 16]) }
}

/// Blocks that a processor saw, with their times.
pub(super) type Blocks = Arc<Mutex<Vec<(Vec<f32>, Instant)>>>;

/// Keeps what it sees, and counts resets.
#[derive(Clone, Default)]
pub(super) struct Observer {
    pub(super) rendered: Blocks,
    pub(super) captured: Blocks,
    pub(super) resets: Arc<Mutex<u32>>,
    pub(super) delay: Duration,
}

impl AudioProcessor for Observer {
    fn render(&mut self, far_end: &[f32], at: Instant) -> Result<()> {
        self.rendered.lock().unwrap().push((far_end.to_vec(), at));
        Ok(())
    }

    fn capture(&mut self, near_end: &mut [f32], at: Instant) -> Result<()> {
        self.captured.lock().unwrap().push((near_end.to_vec(), at));
        Ok(())
    }

    fn reset(&mut self) {
        *self.resets.lock().unwrap() += 1;
    }

    fn delay(&self) -> Duration {
        self.delay
    }
}

/// A loudspeaker with a hardware clock: plays what is queued, sample after sample, and keeps when.
#[derive(Clone)]
pub(super) struct Loudspeaker {
    state: Arc<Mutex<LoudspeakerState>>,
    latency: Duration,
}

struct LoudspeakerState {
    now: Instant,
    /// Time at which all that is queued is played.
    empty_at: Instant,
    /// First sample of each block, and the time at which it left the loudspeaker.
    played: Vec<(f32, Instant)>,
    /// Time that goes by before each write, as decoding takes.
    work: Duration,
    is_unplugged: bool,
}

impl Loudspeaker {
    pub(super) fn new(now: Instant, latency: Duration) -> Self {
        let state =
            LoudspeakerState { now, empty_at: now, played: Vec::new(), work: Duration::ZERO, is_unplugged: false };
        Self { state: Arc::new(Mutex::new(state)), latency }
    }

    pub(super) fn set_now(&self, now: Instant) {
        self.state.lock().unwrap().now = now;
    }

    /// From now on each tick works so long before it writes.
    pub(super) fn set_work(&self, work: Duration) {
        self.state.lock().unwrap().work = work;
    }

    pub(super) fn unplug(&self) {
        self.state.lock().unwrap().is_unplugged = true;
    }

    /// Something else fills its queue.
    pub(super) fn fill(&self, time: Duration) {
        let mut state = self.state.lock().unwrap();
        state.empty_at = state.empty_at.max(state.now) + time;
    }

    /// The newest block was not played.
    pub(super) fn forget_newest(&self) {
        self.state.lock().unwrap().played.pop();
    }

    pub(super) fn played(&self) -> Vec<(f32, Instant)> {
        self.state.lock().unwrap().played.clone()
    }
}

impl AudioSink for Loudspeaker {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        let mut state = self.state.lock().unwrap();
        if state.is_unplugged {
            return Err(Error::new(ErrorKind::Closed, "the loudspeaker was unplugged"));
        }
        let work = state.work;
        state.now += work;
        let start = state.empty_at.max(state.now);
        // An absurd latency is none that a test measures.
        let heard = start.checked_add(self.latency).unwrap_or(start);
        state.played.push((samples[0], heard));
        state.empty_at = start + AudioFormat::CALL.duration_of(samples.len());
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        let state = self.state.lock().unwrap();
        AudioFormat::CALL.samples_in(state.empty_at.saturating_duration_since(state.now))
    }

    fn latency(&self) -> Duration {
        self.latency
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A microphone with a hardware clock: has a block for each 10 ms that passed, and tells when it
/// was captured.
#[derive(Clone)]
pub(super) struct Microphone {
    state: Arc<Mutex<(Instant, Instant)>>,
    value: f32,
    latency: Duration,
}

impl Microphone {
    pub(super) fn new(now: Instant, value: f32, latency: Duration) -> Self {
        Self { state: Arc::new(Mutex::new((now, now))), value, latency }
    }

    pub(super) fn set_now(&self, now: Instant) {
        self.state.lock().unwrap().0 = now;
    }
}

impl AudioSource for Microphone {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        let mut state = self.state.lock().unwrap();
        let (now, from) = *state;
        let samples = AudioFormat::CALL.samples_in(now.saturating_duration_since(from)).min(out.len());
        out[..samples].fill(self.value);
        state.1 = from + AudioFormat::CALL.duration_of(samples);
        let captured = from.checked_sub(self.latency).unwrap_or(from);
        Ok(ReadResult::captured(samples, captured))
    }

    fn latency(&self) -> Duration {
        self.latency
    }
}

/// Openings of the devices.
pub(super) const MICROPHONE: OpenId = OpenId(1);
pub(super) const SPEAKER: OpenId = OpenId(2);

/// The media of a call, with a clock that goes by hand.
pub(super) struct Room {
    pub(super) media: CallMedia,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) observer: Observer,
    pub(super) loudspeakers: Vec<Loudspeaker>,
    pub(super) microphones: Vec<Microphone>,
    pub(super) sent: Vec<(TrackId, RtpOut)>,
    pub(super) outputs: Vec<MediaOutput>,
    next: u32,
}

impl Room {
    pub(super) fn new() -> Self {
        let (start, observer) = (Instant::now(), Observer::default());
        let audio = CallAudio::new(vec![Arc::new(Codec)], AudioSettings::default()).unwrap();
        let config = CallMediaConfig {
            local: endpoint(1),
            audio,
            quality: QualitySettings::default(),
            processors: Processors::new(vec![Box::new(observer.clone())]),
            clock: CallClock::new(start, start),
            tick_grid: None,
            payload_formats: PayloadFormats::default(),
            seed: [3; 32],
        };
        Self {
            media: CallMedia::new(config, start),
            start,
            now: start,
            observer,
            loudspeakers: Vec::new(),
            microphones: Vec::new(),
            sent: Vec::new(),
            outputs: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn command(&mut self, command: MediaCommand) {
        self.media.handle(self.now, command);
        self.drain();
    }

    /// The observer, so many times.
    pub(super) fn set_processors(&mut self, count: usize) {
        let chain = (0..count).map(|_| Box::new(self.observer.clone()) as Box<dyn AudioProcessor>).collect();
        self.command(MediaCommand::SetProcessors(Processors::new(chain)));
    }

    pub(super) fn open_speaker(&mut self, latency: Duration) {
        let sink = Loudspeaker::new(self.now, latency);
        self.loudspeakers.push(sink.clone());
        self.command(MediaCommand::SetSpeaker { sink: Box::new(sink), hardware_clock: true, id: SPEAKER });
    }

    pub(super) fn open_microphone(&mut self, value: f32, latency: Duration) {
        let source = Microphone::new(self.now, value, latency);
        self.microphones.push(source.clone());
        self.command(MediaCommand::SetMicrophone { source: Box::new(source), hardware_clock: true, id: MICROPHONE });
    }

    /// A session with the microphone's section and one of video.
    pub(super) fn connect(&mut self) {
        let tracks =
            vec![(TrackId(1), TrackKind::Audio), (TrackId(2), TrackKind::Audio), (TrackId(3), TrackKind::Video)];
        self.command(MediaCommand::AddPath(PATH, endpoint(2), tracks));
        let section = |track, mid: &str, codec: &str| NegotiatedSection {
            track: TrackId(track),
            mid: Mid::new(mid),
            codecs: vec![CodecName::new(codec)],
        };
        let sections = vec![section(1, "0", "fake"), section(2, "1", "fake"), section(3, "2", "VP8")];
        self.command(MediaCommand::Negotiated(PATH, sections));
    }

    pub(super) fn admit(&mut self) {
        self.command(MediaCommand::Admit(PATH));
    }

    /// 20 ms of constant audio arrive from the other end's microphone.
    pub(super) fn arrive(&mut self, value: f32) {
        let payload = [value.to_le_bytes(), value.to_le_bytes()].concat();
        let packet = received(&numbered(self.next, payload.into()), self.now);
        self.next += 1;
        self.media.push(self.now, PATH, packet);
    }

    /// A packet of 20 ms is lost.
    pub(super) fn skip(&mut self) {
        self.next += 1;
    }

    pub(super) fn push(&mut self, packet: RtpIn) {
        self.media.push(self.now, PATH, packet);
        self.drain();
    }

    /// Moves the clock of all devices.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.loudspeakers.iter().for_each(|sink| sink.set_now(self.now));
        self.microphones.iter().for_each(|source| source.set_now(self.now));
    }

    /// Ticks whenever that is due, for so long.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.media.deadline().filter(|due| *due <= end) {
            self.pass(due.saturating_duration_since(self.now));
            self.media.tick(self.now);
            self.drain();
        }
        self.pass(end.saturating_duration_since(self.now));
    }

    /// Audio arrives and is played for so many frames of 20 ms; each has another value.
    pub(super) fn talk(&mut self, frames: u32) {
        for _ in 0..frames {
            let value = 0.01 + (self.next % 50) as f32 / 100.0;
            self.arrive(value);
            self.run(Duration::from_millis(20));
        }
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.media.poll() {
            match output {
                MediaOutput::Send { path, track, packet } => {
                    assert_eq!(path, PATH);
                    self.sent.push((track, packet));
                }
                output => self.outputs.push(output),
            }
        }
    }
}

/// Asserts that the processor saw each block that a loudspeaker played, with its time.
pub(super) fn assert_rendered(observer: &Observer, loudspeakers: &[Loudspeaker]) {
    let rendered = observer.rendered.lock().unwrap();
    let played: Vec<_> = loudspeakers.iter().flat_map(Loudspeaker::played).collect();
    assert!(!played.is_empty());
    assert_eq!(rendered.len(), played.len(), "every block, from the first one on");
    for (number, ((block, at), (first, played_at))) in rendered.iter().zip(&played).enumerate() {
        assert_eq!(block.len(), 480);
        assert_eq!(block[0], *first, "block {number}");
        let error = at.saturating_duration_since(*played_at).max(played_at.saturating_duration_since(*at));
        assert!(error < Duration::from_millis(1), "block {number} is off by {error:?}");
    }
}
