//! A sent audio track: the microphone or an audio stream, encoded once for all its receivers.

use std::collections::VecDeque;
use web_time::{Duration, Instant};

use blink_api::{
    AudioFormat, AudioLevel, AudioSource, CodecName, Error, ErrorKind, Result, RtpOut, RtpTime, TrackKey, TrackKind,
    TrackSource,
};
use rand::Rng;

use super::context::Context;
use super::output::{MediaEvent, MediaOutput};
use super::path_id::PathId;
use super::retired_device::RetiredDevice;
use super::send_track::SendTrack;
use super::taps::{TappedPacket, TappedSamples};
use crate::call_audio::CallAudio;
use crate::call_clock::RtpStamp;
use crate::capture::{Capture, CaptureConfig, CaptureFault, CaptureOutput};
use crate::device_manager::OpenId;
use crate::processors::Processors;
use crate::receiver_reports::{PathQuality, ReceiverReports, WorstCasePath};
use crate::red;

/// Interval at which encoders adapt again: reports grow stale.
const ADAPT_INTERVAL: Duration = Duration::from_secs(1);

/// Captures a source and sends it to all its receivers.
pub(super) struct AudioSender {
    track: TrackKey,
    /// The opening that the source came from; `None` for a stream and without a device.
    device: Option<OpenId>,
    /// `None` while there is no source.
    capture: Option<Capture>,
    /// A hardware clock paces the source.
    hardware_clock: bool,
    /// It was sent before.
    has_begun: bool,
    muted: bool,
    /// Taps take its packets, also while there are no receivers.
    recorded: bool,
    receivers: Vec<Receiver>,
    reports: ReceiverReports<PathId>,
    adapted: Option<WorstCasePath>,
    /// Time at which the encoders adapt next; `None` before the first report.
    adapt_at: Option<Instant>,
}

/// A path that audio is sent on.
struct Receiver {
    path: PathId,
    track: SendTrack,
    codec: CodecName,
    /// Its other end understands copies of earlier packets (RFC 2198).
    copies: bool,
}

impl AudioSender {
    pub(super) fn new(track: TrackKey) -> Self {
        Self {
            track,
            device: None,
            capture: None,
            hardware_clock: false,
            has_begun: false,
            muted: false,
            recorded: false,
            receivers: Vec::new(),
            reports: ReceiverReports::default(),
            adapted: None,
            adapt_at: None,
        }
    }

    /// Reads from this source, in place of the one before.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a source of another format; the old one goes on. Those
    /// of a codec. The source is dropped with an error where there was none before.
    pub(super) fn set_source(
        &mut self,
        audio: &CallAudio,
        (device, source): (Option<OpenId>, Box<dyn AudioSource>),
        random: &mut impl Rng,
    ) -> Result<()> {
        if let Some(capture) = &mut self.capture {
            if !self.has_begun {
                capture.forget();
            }
            capture.set_source(source)?;
            self.device = device;
            return Ok(());
        }
        let mut capture = new_capture(audio, source, random)?;
        capture.set_muted(self.muted);
        self.capture = Some(capture);
        self.device = device;
        self.adapted = None;
        self.use_encoders();
        Ok(())
    }

    /// Its source, to be sent in another call. Those that are no longer read go to `retired`.
    pub(super) fn into_source(self, retired: &mut Vec<RetiredDevice>) -> Option<Box<dyn AudioSource>> {
        let (source, former) = self.capture?.into_sources();
        retired.extend(former.into_iter().map(RetiredDevice::Source));
        Some(source)
    }

    /// Ends a change of the source that is under way. Returns the sources that are no longer read.
    pub(super) fn finish_switch(&mut self) -> Vec<Box<dyn AudioSource>> {
        self.capture.as_mut().map(Capture::finish_switch).unwrap_or_default()
    }

    /// Hands over the sources that are no longer read.
    pub(super) fn retire(&mut self, outputs: &mut VecDeque<MediaOutput>) {
        while let Some(source) = self.capture.as_mut().and_then(Capture::take_retired) {
            outputs.push_back(MediaOutput::Retired(RetiredDevice::Source(source)));
        }
    }

    /// The loudest level of its source since the last call, before muting.
    pub(super) fn take_level(&mut self) -> AudioLevel {
        self.capture.as_mut().map_or(AudioLevel::SILENCE, Capture::take_level)
    }

    pub(super) fn has_source(&self) -> bool {
        self.capture.is_some()
    }

    /// Whether the source is to be read. Without a hardware clock, reading begins with the first
    /// receiver, so that the beginning of a file is received.
    pub(super) fn is_active(&self) -> bool {
        self.capture.is_some() && (self.has_begun || self.hardware_clock || !self.receivers.is_empty())
    }

    /// Whether the source is read before there is a receiver.
    pub(super) fn is_read_ahead(&self) -> bool {
        self.capture.is_some() && self.hardware_clock
    }

    /// Sets whether a hardware clock paces the source.
    pub(super) fn set_hardware_clock(&mut self, hardware_clock: bool) {
        self.hardware_clock = hardware_clock;
    }

    /// Sends the first receiver at once what was captured last.
    pub(super) fn begin(&mut self, now: Instant, context: &mut Context<'_>) {
        let Some(capture) = self.capture.as_mut().filter(|_| !self.has_begun && !self.receivers.is_empty()) else {
            return;
        };
        self.has_begun = true;
        let format = capture.format();
        let mut output = Output { track: self.track, receivers: &self.receivers, format, due: now, context };
        if let Err(fault) = capture.begin(&mut output) {
            report_fault(self.track, self.device, fault, context.outputs);
        }
    }

    pub(super) fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
        if let Some(capture) = &mut self.capture {
            capture.set_muted(muted);
        }
    }

    /// Encodes for taps too, from the first receiver on.
    pub(super) fn set_recorded(&mut self, recorded: bool) {
        if std::mem::replace(&mut self.recorded, recorded) != recorded {
            self.use_encoders();
        }
    }

    pub(super) fn add_receiver(&mut self, path: PathId, track: SendTrack, codec: CodecName, copies: bool) {
        self.receivers.push(Receiver { path, track, codec, copies });
        self.use_encoders();
    }

    pub(super) fn remove_receiver(&mut self, path: PathId, now: Instant) {
        let before = self.receivers.len();
        self.receivers.retain(|receiver| receiver.path != path);
        if self.receivers.len() < before {
            self.reports.remove(path);
            self.adapt_at = Some(now);
            self.use_encoders();
        }
    }

    /// Takes a receiver's report.
    pub(super) fn on_report(&mut self, path: PathId, now: Instant, quality: PathQuality) {
        if self.receivers.iter().any(|receiver| receiver.path == path) {
            self.reports.on_report(path, now, quality);
            self.adapt_at = Some(now);
        }
    }

    /// Adapts the encoders to the receivers' reports, where that is due.
    pub(super) fn adapt(&mut self, now: Instant) {
        let Some(capture) = self.capture.as_mut().filter(|_| self.adapt_at.is_some_and(|at| now >= at)) else { return };
        self.adapt_at = Some(now + ADAPT_INTERVAL);
        // Without recent reports the last ones are the best guess.
        let Some(worst) = self.reports.worst_case(now) else { return };
        if self.adapted.replace(worst) != Some(worst)
            && let Err(error) = capture.adapt(worst)
        {
            tracing::debug!(%error, "an encoder does not adapt");
        }
    }

    /// Captures and sends the 10 ms that were due at `due`.
    pub(super) fn tick(&mut self, due: Instant, processors: &mut Processors, context: &mut Context<'_>) {
        if !self.is_active() {
            return;
        }
        let Some(capture) = &mut self.capture else { return };
        let outcome = if self.has_begun {
            let format = capture.format();
            let mut output = Output { track: self.track, receivers: &self.receivers, format, due, context };
            capture.tick(due, processors, &mut output)
        } else {
            capture.tick(due, processors, &mut |_| {})
        };
        if let Err(fault) = outcome {
            report_fault(self.track, self.device, fault, context.outputs);
        }
        let (speaking, spoke_muted) = (capture.take_speaking(), capture.take_spoke_muted());
        // A stream is no one's voice, and no one hears what is read ahead.
        if self.has_begun && self.track.source == TrackSource::Microphone {
            if let Some(speaking) = speaking {
                context.outputs.push_back(MediaOutput::Event(MediaEvent::Speaking(self.track, speaking)));
            }
            if spoke_muted {
                context.outputs.push_back(MediaOutput::Event(MediaEvent::SpeakingWhileMuted));
            }
        }
        if capture.take_ended() {
            context.outputs.push_back(MediaOutput::Event(MediaEvent::SourceEnded(self.track)));
        }
        self.retire(context.outputs);
    }

    /// Prepares the encoders for what the receivers understand.
    fn use_encoders(&mut self) {
        let Some(capture) = &mut self.capture else { return };
        let receivers = &self.receivers;
        // A recording has this device also while it is alone.
        let recorded = (self.recorded && self.has_begun && receivers.is_empty()).then(|| capture.preferred().clone());
        capture.use_codecs(|codec| {
            recorded.as_ref() == Some(codec) || receivers.iter().any(|receiver| receiver.codec == *codec)
        });
        // All receivers of a codec share one encoder. With copies it has half the bitrate and no
        // error correction of its own, which a receiver that does not understand copies needs.
        let understood = |codec: &CodecName| {
            receivers.iter().filter(|receiver| receiver.codec == *codec).all(|receiver| receiver.copies)
        };
        if let Err(error) = capture.use_copies(understood) {
            tracing::debug!(%error, "an encoder does not adapt");
        }
    }
}

/// Sends what a capture makes.
struct Output<'a, 'b> {
    track: TrackKey,
    receivers: &'a [Receiver],
    format: AudioFormat,
    /// When the tick was due: packets are sent then.
    due: Instant,
    context: &'a mut Context<'b>,
}

impl CaptureOutput for Output<'_, '_> {
    fn on_packet(&mut self, packet: RtpOut, captured: Instant) {
        let Context { audio, clock, taps, outputs } = &mut *self.context;
        if let Some(clock_rate) = audio.clock_rate(&packet.codec) {
            clock.handle_capture(self.track, RtpStamp { timestamp: packet.timestamp, clock_rate }, captured);
        }
        if !taps.is_empty() {
            let packet = TappedPacket::sent(TrackKind::Audio, &packet, clock.call_time_at(self.due));
            taps.on_packet(&self.track, clock.call_time_at(captured), &packet);
        }
        let has_copies = packet.codec.is_red();
        for receiver in self.receivers {
            if receiver.codec == packet.codec || has_copies && red::is_copied(&receiver.codec) {
                let (path, track) = (receiver.path, receiver.track.track);
                outputs.push_back(MediaOutput::Send { path, track, packet: receiver.track.number(&packet) });
            }
        }
    }

    fn on_skipped(&mut self, codec: &CodecName, timestamp: RtpTime, captured: Instant) {
        let Context { audio, clock, .. } = &mut *self.context;
        if let Some(clock_rate) = audio.clock_rate(codec) {
            clock.handle_capture(self.track, RtpStamp { timestamp, clock_rate }, captured);
        }
    }

    fn on_samples(&mut self, samples: &[f32], timestamp: RtpTime, captured: Instant) {
        let Context { clock, taps, .. } = &mut *self.context;
        if !taps.is_empty() {
            let block = TappedSamples { format: self.format, timestamp, samples };
            taps.on_samples(&self.track, clock.call_time_at(captured), &block);
        }
    }
}

fn report_fault(track: TrackKey, device: Option<OpenId>, fault: CaptureFault, outputs: &mut VecDeque<MediaOutput>) {
    let event = match (fault, track.source) {
        (CaptureFault::Source(error), TrackSource::Microphone) => {
            tracing::error!(%error, "the microphone is lost");
            // The silence in place of a microphone does not fail.
            let Some(id) = device else { return };
            MediaEvent::DeviceLost(id, error)
        }
        (CaptureFault::Source(error), TrackSource::Stream(stream)) => {
            tracing::error!(%error, "the source of a stream is lost");
            MediaEvent::SourceLost(stream, error)
        }
        (fault, _) => return tracing::error!(%fault, "audio cannot be sent as configured"),
    };
    outputs.push_back(MediaOutput::Event(event));
}

/// A capture with an encoder of each codec; its numbers are random.
fn new_capture(audio: &CallAudio, source: Box<dyn AudioSource>, random: &mut impl Rng) -> Result<Capture> {
    let mut encoders = audio.encoders()?.into_iter();
    let none = || Error::new(ErrorKind::Invalid, "a call needs a codec");
    let (codec, encoder) = encoders.next().ok_or_else(none)?;
    let config = CaptureConfig {
        format: audio.format(),
        codec,
        frame: audio.frame(),
        first_sequence: random.next_u32() as u16,
        first_timestamp: RtpTime(random.next_u32()),
    };
    let mut capture = Capture::new(config, source, encoder)?;
    encoders.try_for_each(|(codec, encoder)| capture.add_encoder(codec, encoder))?;
    Ok(capture)
}
