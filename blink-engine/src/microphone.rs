//! A program's own samples as microphone.

mod resampler;
mod sample_source;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSource, DeviceChange, DeviceDirection, DeviceInfo, Error, ErrorKind, MediaCapabilities,
    MediaHost, OpenRequest, Result, TrackKind,
};
use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::{Notify, broadcast};

use resampler::Resampler;
use sample_source::SampleSource;

/// Audio that waits to be sent.
const CAPACITY: Duration = Duration::from_secs(2);
/// Name of its device.
pub(crate) const DEVICE: &str = "samples";
/// Name of its host in an engine.
pub(crate) const HOST: &str = "program";

/// A microphone whose samples the program makes: speech synthesis, a file, another call.
///
/// An engine that is built with [`BlinkBuilder::microphone`] captures from it. Samples wait, up to
/// 2 s, until they are sent: from the first receiver of a call on, in the pace of the call. Where
/// none wait, silence is sent; after that, audio goes on once 20 ms wait, or 20 ms after the first
/// of fewer. While the microphone is muted, samples are read and not sent. What is not read when a
/// call ends waits for the next one.
///
/// Dropping it is [`finish`](Self::finish).
///
/// [`BlinkBuilder::microphone`]: crate::BlinkBuilder::microphone
pub struct Microphone {
    shared: Arc<Shared>,
}

/// Both ends: the program's, and the opened source.
pub(crate) struct Shared {
    format: AudioFormat,
    producer: Mutex<Producer<f32>>,
    /// `None` while a source is open, which has it.
    consumer: Mutex<Option<Consumer<f32>>>,
    /// Samples that were pushed so far.
    written: AtomicU64,
    /// Samples that were read or discarded so far.
    read: AtomicU64,
    /// Samples up to here are discarded.
    discarded: AtomicU64,
    is_finished: AtomicBool,
    /// Samples were read.
    progress: Notify,
}

impl Microphone {
    /// A microphone of samples at this rate, 8 to 192 kHz, in 1 to 8 interleaved channels. They are
    /// converted to the format of the call: its channels are the mean of all given ones where their
    /// numbers differ.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a rate or number of channels out of range.
    pub fn samples(rate: u32, channels: u16) -> Result<Self> {
        if !(8_000..=192_000).contains(&rate) || !(1..=8).contains(&channels) {
            let error = Error::new(ErrorKind::Invalid, "a microphone has 8 to 192 kHz and 1 to 8 channels");
            return Err(error.with("rate", rate).with("channels", channels));
        }
        let format = AudioFormat { sample_rate: rate, channels };
        let (producer, consumer) = RingBuffer::new(format.samples_in(CAPACITY));
        Ok(Self {
            shared: Arc::new(Shared {
                format,
                producer: Mutex::new(producer),
                consumer: Mutex::new(Some(consumer)),
                written: AtomicU64::new(0),
                read: AtomicU64::new(0),
                discarded: AtomicU64::new(0),
                is_finished: AtomicBool::new(false),
                progress: Notify::new(),
            }),
        })
    }

    /// Adds interleaved samples in −1.0..=1.0, and waits while there is no room. Louder ones are
    /// limited.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for an incomplete frame of all channels and for samples that
    /// are not finite, of which none is taken; [`Closed`](ErrorKind::Closed) after
    /// [`finish`](Self::finish).
    ///
    /// # Cancellation
    /// Where the future is dropped, the first part of the samples may have been added.
    pub async fn push(&self, samples: &[f32]) -> Result<()> {
        self.check(samples)?;
        let mut rest = samples;
        loop {
            let read = self.shared.progress.notified();
            rest = self.shared.write(rest)?;
            if rest.is_empty() {
                return Ok(());
            }
            read.await;
        }
    }

    /// Adds interleaved samples, all or none.
    ///
    /// # Errors
    /// [`Full`](ErrorKind::Full) where there is no room for all, and those of [`push`](Self::push).
    pub fn try_push(&self, samples: &[f32]) -> Result<()> {
        self.check(samples)?;
        let mut producer = self.shared.producer.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.check_open()?;
        if producer.slots() < samples.len() {
            let error = Error::new(ErrorKind::Full, "the microphone has no room for these samples");
            return Err(error.with("samples", samples.len()).with("room", producer.slots()));
        }
        self.shared.append(&mut producer, samples);
        Ok(())
    }

    /// Duration of the samples that wait.
    pub fn queued(&self) -> Duration {
        let (written, read) = (self.shared.written.load(Ordering::Acquire), self.shared.read.load(Ordering::Acquire));
        self.shared.format.duration_of(usize::try_from(written.saturating_sub(read)).unwrap_or(usize::MAX))
    }

    /// Waits until all samples that were added before have been read. Without a call that sends
    /// them, that is not before the next one.
    ///
    /// Cancel safe.
    pub async fn drained(&self) {
        let target = self.shared.written.load(Ordering::Acquire);
        loop {
            let read = self.shared.progress.notified();
            if self.shared.read.load(Ordering::Acquire) >= target {
                return;
            }
            read.await;
        }
    }

    /// Discards the samples that wait, such as to interrupt a spoken text.
    pub fn clear(&self) {
        // No sample is added meanwhile.
        let producer = self.shared.producer.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.discarded.store(self.shared.written.load(Ordering::Acquire), Ordering::Release);
        drop(producer);
        // Without an open source, no one else discards them.
        let mut consumer = self.shared.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = consumer.as_mut() {
            self.shared.discard(consumer);
        }
    }

    /// No further samples come. Once the last one was read in a call, the event
    /// [`SourceEnded`](crate::Event::SourceEnded) follows. Idempotent.
    pub fn finish(&self) {
        self.shared.is_finished.store(true, Ordering::Release);
        self.shared.progress.notify_waiters();
    }

    /// A media host with this microphone as its only device, `samples`: for
    /// [`BlinkBuilder::media_host`](crate::BlinkBuilder::media_host), and to offer the samples as a
    /// stream. One source of it can be open at a time.
    pub fn media_host(&self) -> Arc<dyn MediaHost> {
        Arc::new(SampleHost(self.shared.clone()))
    }

    fn check(&self, samples: &[f32]) -> Result<()> {
        if !samples.len().is_multiple_of(usize::from(self.shared.format.channels)) {
            let error = Error::new(ErrorKind::Invalid, "the last frame has not all channels");
            return Err(error.with("samples", samples.len()).with("channels", self.shared.format.channels));
        }
        if samples.iter().any(|sample| !sample.is_finite()) {
            return Err(Error::new(ErrorKind::Invalid, "a sample is not finite"));
        }
        Ok(())
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for Microphone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Microphone").field("format", &self.shared.format).finish_non_exhaustive()
    }
}

impl Shared {
    fn check_open(&self) -> Result<()> {
        match self.is_finished.load(Ordering::Acquire) {
            true => Err(Error::new(ErrorKind::Closed, "the microphone was finished")),
            false => Ok(()),
        }
    }

    /// Adds as many whole frames as there is room for. Returns the others.
    fn write<'a>(&self, samples: &'a [f32]) -> Result<&'a [f32]> {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        let room = producer.slots().min(samples.len());
        let (now, later) = samples.split_at(room - room % usize::from(self.format.channels));
        self.append(&mut producer, now);
        Ok(later)
    }

    /// Adds samples for which there is room.
    fn append(&self, producer: &mut Producer<f32>, samples: &[f32]) {
        let (taken, _) = producer.push_partial_slice(samples);
        self.written.fetch_add(taken.len() as u64, Ordering::AcqRel);
    }

    /// Removes the samples that are to be discarded. Returns whether there were any.
    fn discard(&self, consumer: &mut Consumer<f32>) -> bool {
        let target = self.discarded.load(Ordering::Acquire);
        let count = target.saturating_sub(self.read.load(Ordering::Acquire));
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(consumer.slots());
        if let Ok(chunk) = consumer.read_chunk(count) {
            chunk.commit_all();
        }
        self.count_read(count);
        count > 0
    }

    fn count_read(&self, samples: usize) {
        if samples > 0 {
            self.read.fetch_add(samples as u64, Ordering::AcqRel);
            self.progress.notify_waiters();
        }
    }
}

/// The media host of a [`Microphone`].
struct SampleHost(Arc<Shared>);

#[async_trait]
impl MediaHost for SampleHost {
    fn capabilities(&self) -> MediaCapabilities {
        MediaCapabilities { audio_sources: true, ..MediaCapabilities::NONE }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        Ok(vec![DeviceInfo::new(DEVICE, "samples of the program", DeviceDirection::Source, TrackKind::Audio)])
    }

    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        let error = |kind, message: &'static str| Error::new(kind, message).operation("open_audio_source");
        if name != DEVICE {
            return Err(error(ErrorKind::NotFound, "the program has no such microphone").with("name", name));
        }
        let from = self.0.format;
        let resampler = Resampler::new(from.sample_rate, request.format.sample_rate, request.format.channels)?;
        let consumer = self.0.consumer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let consumer = consumer.ok_or_else(|| error(ErrorKind::Busy, "the samples of the program are read already"))?;
        Ok(Box::new(SampleSource::new(self.0.clone(), consumer, request.format, resampler)))
    }

    async fn open_audio_sink(&self, name: &str, _: OpenRequest) -> Result<Box<dyn blink_api::AudioSink>> {
        Err(Error::unsupported("media host", "open_audio_sink").with("name", name))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        None
    }
}

#[cfg(test)]
mod tests;
