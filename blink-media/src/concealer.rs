//! One participant's decoder, and what it makes up for what is missing.

use web_time::Duration;

use blink_api::{AudioDecoder, AudioFormat, DecoderInput, Result};

use super::comfort::ComfortNoise;

/// Made-up sound begins to fade after so long, and only the background is left at the end of
/// [`FADE_TO`].
const FADE_FROM: Duration = Duration::from_millis(60);
const FADE_TO: Duration = Duration::from_millis(120);

/// Decoders make up pieces of this length: networks conceal in whole ones.
const PIECE: Duration = Duration::from_millis(10);

/// Made-up sound goes over into what came after all within this time.
const JOINT: Duration = Duration::from_millis(2);

/// Decodes packets and makes up for missing ones. What comes late mends the decoder: it goes back
/// to before the gap and decodes what came, so that nothing that was made up is built upon.
pub(super) struct PacketLossConcealer {
    decoder: Box<dyn AudioDecoder>,
    format: AudioFormat,
    comfort: ComfortNoise,
    /// Samples made up since the last sound of the sender's.
    made_up: usize,
    /// Samples made up since the decoder's state was kept, for sound that is over.
    kept: Option<usize>,
    /// Others were made up since, while what is missing was waited for.
    held: bool,
    /// How made-up sound would have gone on: it fades out where what came begins. `joint` is how
    /// much of it is left.
    tail: Vec<f32>,
    joint: usize,
    /// A piece that was made up, of which what comes from `spare` on was not played yet.
    piece: Vec<f32>,
    spare: usize,
    scratch: Vec<f32>,
}

impl PacketLossConcealer {
    pub(super) fn new(format: AudioFormat, decoder: Box<dyn AudioDecoder>) -> Self {
        let piece = format.samples_in(PIECE);
        Self {
            decoder,
            format,
            comfort: ComfortNoise::new(format),
            made_up: 0,
            kept: None,
            held: false,
            tail: vec![0.0; piece],
            joint: 0,
            piece: vec![0.0; piece],
            spare: piece,
            scratch: vec![0.0; piece],
        }
    }

    /// How long the sound in a packet lasts; `None` for bytes that are no packet of the codec.
    pub(super) fn duration(&self, packet: &[u8]) -> Option<Duration> {
        self.decoder.duration(packet).ok()
    }

    /// How far back a packet's description of the past reaches.
    pub(super) fn redundancy_span(&mut self, packet: &[u8]) -> Duration {
        self.decoder.redundancy_span(packet)
    }

    /// Whether a packet carries a copy of the frame before it.
    pub(super) fn has_fec(&self, packet: &[u8]) -> bool {
        self.decoder.has_fec(packet)
    }

    /// Decodes a packet into `out`; the first `past` samples' time is over, made up. Returns how
    /// many samples were decoded.
    ///
    /// # Errors
    /// The decoder's: nothing was written then.
    pub(super) fn decode(&mut self, packet: &[u8], past: usize, out: &mut [f32]) -> Result<usize> {
        let held = std::mem::take(&mut self.held);
        let mending = self.kept.take().filter(|_| past > 0 || held);
        if let Some(made_up) = mending {
            self.go_back(made_up.saturating_sub(past));
        }
        let samples = self.decoder.decode(DecoderInput::Packet(packet), out)?.min(out.len());
        (self.made_up, self.spare) = (0, self.piece.len());
        if mending.is_some() && past > samples {
            // What comes after it is missing still.
            self.keep();
            self.pass_over(past - samples);
            self.made_up = past - samples;
        }
        Ok(samples)
    }

    /// Restores the frame before a packet into `out`; the first `past` samples' time is over, made
    /// up.
    pub(super) fn recover(&mut self, next: &[u8], past: usize, out: &mut [f32]) {
        if let Some(made_up) = self.kept.filter(|_| past > 0) {
            self.go_back(made_up.saturating_sub(past));
        }
        self.restore(DecoderInput::Fec(next), out);
    }

    /// Restores what is missing from a later packet; `false` where that says nothing of it, and it
    /// was made up.
    pub(super) fn restore_from(&mut self, later: &[u8], distance: Duration, out: &mut [f32]) -> bool {
        let described = self.redundancy_span(later) >= distance;
        if described {
            self.restore(DecoderInput::Dred { later, distance }, out);
        } else {
            self.make_up(out, false);
        }
        described
    }

    /// Makes up what is missing; `held`: while its time does not go by.
    pub(super) fn make_up(&mut self, out: &mut [f32], held: bool) {
        if self.kept.is_none() && self.made_up == 0 {
            self.keep();
        }
        self.held |= held;
        self.conceal(out);
        self.kept = self.kept.map(|kept| if held { kept } else { kept + out.len() });
        let (from, to) = (self.format.samples_in(FADE_FROM), self.format.samples_in(FADE_TO));
        if self.made_up + out.len() > from {
            let piece = self.scratch.len();
            for (n, sound) in out.chunks_mut(piece).enumerate() {
                let background = &mut self.scratch[..sound.len()];
                self.comfort.fill(background);
                for (m, (sample, background)) in sound.iter_mut().zip(background).enumerate() {
                    let age = self.made_up + n * piece + m;
                    let gain = to.saturating_sub(age.max(from)) as f32 / (to - from).max(1) as f32;
                    *sample = *sample * gain + *background * (1.0 - gain);
                }
            }
        }
        self.made_up += out.len();
    }

    /// Goes on with the background: the sender has nothing to say.
    pub(super) fn rest(&mut self, out: &mut [f32]) {
        self.comfort.fill(out);
    }

    /// Sound of this mean square came from the sender and is about to be played.
    pub(super) fn observe(&mut self, sound: &[f32], power: f32) {
        if self.made_up == 0 {
            self.comfort.observe(sound, power);
        }
    }

    /// Where made-up sound goes over into what came after all, joins them. `sound` is what is
    /// played next.
    pub(super) fn join(&mut self, sound: &mut [f32]) {
        let length = std::mem::take(&mut self.joint).min(sound.len());
        for (n, (sample, tail)) in sound[..length].iter_mut().zip(&self.tail).enumerate() {
            let share = (n + 1) as f32 / (length + 1) as f32;
            *sample = tail + (*sample - tail) * share;
        }
    }

    fn restore(&mut self, input: DecoderInput<'_>, out: &mut [f32]) {
        (self.kept, self.held, self.spare) = (None, false, self.piece.len());
        // As good as received: it does not fade.
        self.made_up = 0;
        if self.decoder.decode(input, out).is_err() {
            out.fill(0.0);
        }
    }

    fn keep(&mut self) {
        self.kept = self.decoder.save_state().then_some(0);
    }

    /// Has the decoder go on with the sound, piece by piece.
    fn conceal(&mut self, mut out: &mut [f32]) {
        while !out.is_empty() {
            if self.spare == self.piece.len() {
                self.spare = 0;
                if self.decoder.decode(DecoderInput::Conceal, &mut self.piece).is_err() {
                    self.piece.fill(0.0);
                }
            }
            let count = out.len().min(self.piece.len() - self.spare);
            let (now, rest) = out.split_at_mut(count);
            now.copy_from_slice(&self.piece[self.spare..self.spare + count]);
            self.spare += count;
            out = rest;
        }
    }

    /// Back to where the gap began, and on by so many samples that stay missing.
    fn go_back(&mut self, missing: usize) {
        self.joint = self.format.samples_in(JOINT);
        let mut tail = std::mem::take(&mut self.tail);
        self.conceal(&mut tail[..self.joint]);
        self.tail = tail;
        self.decoder.restore_state();
        self.spare = self.piece.len();
        self.pass_over(missing);
    }

    fn pass_over(&mut self, mut missing: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        while missing > 0 {
            let count = missing.min(scratch.len());
            self.conceal(&mut scratch[..count]);
            missing -= count;
            self.kept = self.kept.map(|kept| kept + count);
        }
        self.scratch = scratch;
    }
}
