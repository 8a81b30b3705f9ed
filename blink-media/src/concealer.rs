//! Packet-loss concealment of one participant: the decoder, and what stands for missing packets.

use web_time::Duration;

use blink_api::{AudioDecoder, AudioFormat, DecoderInput, Result};

use super::comfort::ComfortNoise;

/// Concealment begins to fade after this time, and only the background is left at the end of
/// [`FADE_TO`]: what decoders extrapolate is a voice for some 60 ms, and a buzz after that.
const FADE_FROM: Duration = Duration::from_millis(60);
const FADE_TO: Duration = Duration::from_millis(120);

/// Block that decoders conceal at a time. Deep concealment works in whole blocks of 10 ms, whatever
/// length is asked for.
const BLOCK: Duration = Duration::from_millis(10);

/// Cross-fade from concealment to a packet that came after all.
const CROSS_FADE: Duration = Duration::from_millis(2);

/// Decodes packets and conceals missing ones.
///
/// A packet that comes during its own concealment repairs the decoder (late-packet repair): the
/// decoder goes back to its state before the gap, conceals up to the packet and decodes it there.
/// Later audio is then built on the packet and not on extrapolation.
pub(super) struct PacketLossConcealer {
    decoder: Box<dyn AudioDecoder>,
    format: AudioFormat,
    comfort: ComfortNoise,
    /// Samples concealed since the last decoded one.
    concealed: usize,
    /// Samples concealed since the decoder's state was saved whose time is over; `None` without a
    /// saved state.
    since_saved: Option<usize>,
    /// Other samples were concealed since, while time stood still for what is missing.
    held: bool,
    /// Continuation of the concealment, which fades out where a late packet takes over;
    /// `fade_left` samples of it are still to be used.
    tail: Vec<f32>,
    fade_left: usize,
    /// Block that the decoder concealed last, of which `spare..` was not played yet.
    block: Vec<f32>,
    spare: usize,
    scratch: Vec<f32>,
}

impl PacketLossConcealer {
    pub(super) fn new(format: AudioFormat, decoder: Box<dyn AudioDecoder>) -> Self {
        let block = format.samples_in(BLOCK);
        Self {
            decoder,
            format,
            comfort: ComfortNoise::new(format),
            concealed: 0,
            since_saved: None,
            held: false,
            tail: vec![0.0; block],
            fade_left: 0,
            block: vec![0.0; block],
            spare: block,
            scratch: vec![0.0; block],
        }
    }

    /// Duration of the audio in a packet; `None` for bytes that are no packet of the codec.
    pub(super) fn duration(&self, packet: &[u8]) -> Option<Duration> {
        self.decoder.duration(packet).ok()
    }

    /// Span of the past that a packet's deep redundancy describes.
    pub(super) fn redundancy_span(&mut self, packet: &[u8]) -> Duration {
        self.decoder.redundancy_span(packet)
    }

    /// Whether a packet carries the codec's own copy of the frame before it.
    pub(super) fn has_fec(&self, packet: &[u8]) -> bool {
        self.decoder.has_fec(packet)
    }

    /// Decodes a packet into `out`; the time of its first `past` samples is over, concealed.
    /// Returns how many samples were decoded.
    ///
    /// # Errors
    /// The decoder's: nothing was written then.
    pub(super) fn decode(&mut self, packet: &[u8], past: usize, out: &mut [f32]) -> Result<usize> {
        let held = std::mem::take(&mut self.held);
        // A packet in time needs no repair: the concealment before it stood for others.
        let repairing = self.since_saved.take().filter(|_| past > 0 || held);
        if let Some(concealed) = repairing {
            // Of what was concealed, the last `past` samples are this packet's.
            self.rewind(concealed.saturating_sub(past));
        }
        let samples = self.decoder.decode(DecoderInput::Packet(packet), out)?.min(out.len());
        (self.concealed, self.spare) = (0, self.block.len());
        if repairing.is_some() && past > samples {
            // The packet is over altogether, and what comes after it is missing still: conceal that
            // from the repaired state.
            self.save_state();
            self.skip_concealed(past - samples);
            self.concealed = past - samples;
        }
        Ok(samples)
    }

    /// Restores the frame before a packet from the packet's copy into `out` (in-band FEC, RFC 6716
    /// §2.1.7); the time of its first `past` samples is over, concealed.
    pub(super) fn decode_fec(&mut self, next: &[u8], past: usize, out: &mut [f32]) {
        if let Some(concealed) = self.since_saved.filter(|_| past > 0) {
            self.rewind(concealed.saturating_sub(past));
        }
        self.restore(DecoderInput::Fec(next), out);
    }

    /// Restores missing samples from the deep redundancy of a packet `distance` later; `false`
    /// where that does not reach as far back, and they were concealed.
    pub(super) fn decode_dred(&mut self, later: &[u8], distance: Duration, out: &mut [f32]) -> bool {
        let reaches = self.redundancy_span(later) >= distance;
        if reaches {
            self.restore(DecoderInput::Dred { later, distance }, out);
        } else {
            self.conceal(out, false);
        }
        reaches
    }

    /// Conceals missing samples. `held`: time stands still for them meanwhile, so that the packet
    /// is played whole if it comes.
    pub(super) fn conceal(&mut self, out: &mut [f32], held: bool) {
        if self.since_saved.is_none() && self.concealed == 0 {
            // The beginning of a gap: a late packet goes back to here.
            self.save_state();
        }
        self.held |= held;
        self.extrapolate(out);
        self.since_saved = self.since_saved.map(|since| if held { since } else { since + out.len() });
        let (from, to) = (self.format.samples_in(FADE_FROM), self.format.samples_in(FADE_TO));
        if self.concealed + out.len() > from {
            // Towards the background, not towards silence: in a noisy place, silence is heard as a
            // drop-out.
            let block = self.scratch.len();
            for (n, samples) in out.chunks_mut(block).enumerate() {
                let background = &mut self.scratch[..samples.len()];
                self.comfort.fill(background);
                for (m, (sample, background)) in samples.iter_mut().zip(background).enumerate() {
                    let age = self.concealed + n * block + m;
                    let gain = to.saturating_sub(age.max(from)) as f32 / (to - from).max(1) as f32;
                    *sample = *sample * gain + *background * (1.0 - gain);
                }
            }
        }
        self.concealed += out.len();
    }

    /// Goes on with the background: the sender paused (RFC 3550 §5.1, discontinuous transmission).
    pub(super) fn fill_background(&mut self, out: &mut [f32]) {
        self.comfort.fill(out);
    }

    /// Learns the background from decoded audio of this mean square.
    pub(super) fn observe(&mut self, audio: &[f32], power: f32) {
        if self.concealed == 0 {
            self.comfort.observe(audio, power);
        }
    }

    /// Cross-fades from concealment to a late packet, where one took over. `audio` is what is
    /// played next.
    pub(super) fn cross_fade(&mut self, audio: &mut [f32]) {
        let length = std::mem::take(&mut self.fade_left).min(audio.len());
        for (n, (sample, tail)) in audio[..length].iter_mut().zip(&self.tail).enumerate() {
            let share = (n + 1) as f32 / (length + 1) as f32;
            *sample = tail + (*sample - tail) * share;
        }
    }

    fn restore(&mut self, input: DecoderInput<'_>, out: &mut [f32]) {
        (self.since_saved, self.held, self.spare) = (None, false, self.block.len());
        // As good as received: it does not fade.
        self.concealed = 0;
        if self.decoder.decode(input, out).is_err() {
            out.fill(0.0);
        }
    }

    fn save_state(&mut self) {
        self.since_saved = self.decoder.save_state().then_some(0);
    }

    /// Has the decoder extrapolate, block by block; what is left of a block begins the next call.
    fn extrapolate(&mut self, mut out: &mut [f32]) {
        while !out.is_empty() {
            if self.spare == self.block.len() {
                self.spare = 0;
                if self.decoder.decode(DecoderInput::Conceal, &mut self.block).is_err() {
                    self.block.fill(0.0);
                }
            }
            let count = out.len().min(self.block.len() - self.spare);
            let (now, rest) = out.split_at_mut(count);
            now.copy_from_slice(&self.block[self.spare..self.spare + count]);
            self.spare += count;
            out = rest;
        }
    }

    /// Takes the decoder back to the beginning of the gap, and on by so many samples that stay
    /// missing.
    fn rewind(&mut self, missing: usize) {
        // First the concealment goes on a little, for the cross-fade: the listener has heard it,
        // and a jump to the packet would be a click.
        self.fade_left = self.format.samples_in(CROSS_FADE);
        let mut tail = std::mem::take(&mut self.tail);
        self.extrapolate(&mut tail[..self.fade_left]);
        self.tail = tail;
        self.decoder.restore_state();
        self.spare = self.block.len();
        self.skip_concealed(missing);
    }

    /// Has the decoder conceal samples that are not played again.
    fn skip_concealed(&mut self, mut missing: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        while missing > 0 {
            let count = missing.min(scratch.len());
            self.extrapolate(&mut scratch[..count]);
            missing -= count;
            self.since_saved = self.since_saved.map(|since| since + count);
        }
        self.scratch = scratch;
    }
}
