//! The few functions of libopus 1.6 that are used, each behind a safe one. The only file of this
//! crate with `unsafe` in it.
//!
//! What makes it sound, everywhere below: pointers come from libopus' own `create` functions, are
//! checked there and freed once, in `drop`; lengths are those of slices; controls take one 32-bit
//! integer, as `opus_defines.h` says of each that is used. libopus has no state outside of what it
//! is given, so an encoder or decoder may move to another thread.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use blink_api::{Error, ErrorKind, Result};
use opusic_sys as ffi;

use crate::NAME;

/// Ticks per second of what is told about packets: every frame length is a whole number of them
/// (RFC 6716 §2).
const RATE: i32 = 48_000;

/// Longer than any packet a network brings; libopus takes lengths as 32-bit integers.
const LONGEST_PACKET: usize = 65_535;

/// An integer to set in an encoder or decoder: a request of `opus_defines.h`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Control(c_int);

impl Control {
    pub(crate) const BITRATE: Self = Self(ffi::OPUS_SET_BITRATE_REQUEST);
    pub(crate) const COMPLEXITY: Self = Self(ffi::OPUS_SET_COMPLEXITY_REQUEST);
    pub(crate) const INBAND_FEC: Self = Self(ffi::OPUS_SET_INBAND_FEC_REQUEST);
    pub(crate) const PACKET_LOSS: Self = Self(ffi::OPUS_SET_PACKET_LOSS_PERC_REQUEST);
    pub(crate) const DTX: Self = Self(ffi::OPUS_SET_DTX_REQUEST);
    pub(crate) const MAX_BANDWIDTH: Self = Self(ffi::OPUS_SET_MAX_BANDWIDTH_REQUEST);
    pub(crate) const SIGNAL: Self = Self(ffi::OPUS_SET_SIGNAL_REQUEST);
    /// How far back deep redundancy reaches, in frames of 10 ms.
    pub(crate) const DRED_DURATION: Self = Self(ffi::OPUS_SET_DRED_DURATION_REQUEST);
}

/// The value of [`Control::SIGNAL`] for speech.
pub(crate) const VOICE: i32 = ffi::OPUS_SIGNAL_VOICE;

/// Values of [`Control::MAX_BANDWIDTH`]: sound up to 8 kHz and up to 20 kHz.
pub(crate) const WIDEBAND: i32 = ffi::OPUS_BANDWIDTH_WIDEBAND;
pub(crate) const FULLBAND: i32 = ffi::OPUS_BANDWIDTH_FULLBAND;

/// An encoder of libopus.
pub(crate) struct RawEncoder {
    state: NonNull<ffi::OpusEncoder>,
    channels: usize,
}

// SAFETY: see above.
unsafe impl Send for RawEncoder {}

impl RawEncoder {
    /// For speech. Rate and channels must be ones that Opus has.
    pub(crate) fn new(sample_rate: u32, channels: u16) -> Result<Self> {
        let mut code = ffi::OPUS_OK;
        // SAFETY: libopus refuses values it does not have.
        let state = unsafe {
            ffi::opus_encoder_create(
                sample_rate.cast_signed(),
                channels.into(),
                ffi::OPUS_APPLICATION_VOIP,
                &raw mut code,
            )
        };
        check("encoder", code)?;
        let state = NonNull::new(state).ok_or_else(|| refused("encoder", ffi::OPUS_ALLOC_FAIL))?;
        Ok(Self { state, channels: channels.into() })
    }

    pub(crate) fn set(&mut self, control: Control, value: i32) -> Result<()> {
        // SAFETY: see above.
        check("encoder", unsafe { ffi::opus_encoder_ctl(self.state.as_ptr(), control.0, value) }).map(drop)
    }

    /// Samples of one channel that come out later than they went in.
    pub(crate) fn lookahead(&mut self) -> Result<u32> {
        let mut samples: i32 = 0;
        // SAFETY: this request writes one 32-bit integer.
        let code =
            unsafe { ffi::opus_encoder_ctl(self.state.as_ptr(), ffi::OPUS_GET_LOOKAHEAD_REQUEST, &raw mut samples) };
        check("encoder", code)?;
        Ok(samples.unsigned_abs())
    }

    /// Encodes one frame; returns the bytes written.
    pub(crate) fn encode(&mut self, samples: &[f32], out: &mut [u8]) -> Result<usize> {
        let (frames, room) = (length(samples.len() / self.channels), length(out.len()));
        // SAFETY: reads `frames` times `channels` samples and writes up to `room` bytes.
        check("encode", unsafe {
            ffi::opus_encode_float(self.state.as_ptr(), samples.as_ptr(), frames, out.as_mut_ptr(), room)
        })
    }
}

impl Drop for RawEncoder {
    fn drop(&mut self) {
        // SAFETY: made by `create`, and not used again.
        unsafe { ffi::opus_encoder_destroy(self.state.as_ptr()) }
    }
}

/// A decoder of libopus, and one for the deep redundancy in packets.
pub(crate) struct RawDecoder {
    state: NonNull<ffi::OpusDecoder>,
    dred_decoder: NonNull<ffi::OpusDREDDecoder>,
    dred: NonNull<ffi::OpusDRED>,
    sample_rate: i32,
    channels: usize,
    /// The state's bytes at some time; empty before.
    kept: Vec<u8>,
    size: usize,
}

// SAFETY: see above.
unsafe impl Send for RawDecoder {}

impl RawDecoder {
    pub(crate) fn new(sample_rate: u32, channels: u16) -> Result<Self> {
        let mut code = ffi::OPUS_OK;
        let sample_rate = sample_rate.cast_signed();
        let missing = || refused("decoder", ffi::OPUS_ALLOC_FAIL);
        // SAFETY: libopus refuses values it does not have.
        let state = unsafe { ffi::opus_decoder_create(sample_rate, channels.into(), &raw mut code) };
        check("decoder", code)?;
        let state = Owned(NonNull::new(state).ok_or_else(missing)?, ffi::opus_decoder_destroy);
        // SAFETY: writes the code.
        let dred_decoder = unsafe { ffi::opus_dred_decoder_create(&raw mut code) };
        check("decoder", code)?;
        let dred_decoder = Owned(NonNull::new(dred_decoder).ok_or_else(missing)?, ffi::opus_dred_decoder_destroy);
        // SAFETY: as above.
        let dred = unsafe { ffi::opus_dred_alloc(&raw mut code) };
        check("decoder", code)?;
        let dred = NonNull::new(dred).ok_or_else(missing)?;
        // SAFETY: only computes.
        let size = usize::try_from(unsafe { ffi::opus_decoder_get_size(channels.into()) }).map_err(|_| missing())?;
        Ok(Self {
            state: state.keep(),
            dred_decoder: dred_decoder.keep(),
            dred,
            sample_rate,
            channels: channels.into(),
            kept: Vec::with_capacity(size),
            size,
        })
    }

    /// Remembers the state.
    pub(crate) fn save_state(&mut self) {
        // SAFETY: a decoder is `size` contiguous bytes, and a shallow copy of them is a copy of it
        // (`opus.h`, "Opus AudioDecoder").
        let state = unsafe { std::slice::from_raw_parts(self.state.as_ptr().cast::<u8>(), self.size) };
        self.kept.clear();
        self.kept.extend_from_slice(state);
    }

    /// Goes back to the state remembered last, if there is one.
    pub(crate) fn restore_state(&mut self) {
        if self.kept.len() == self.size {
            // SAFETY: as above; the bytes are those of this very decoder.
            unsafe { ptr::copy_nonoverlapping(self.kept.as_ptr(), self.state.as_ptr().cast::<u8>(), self.size) }
        }
    }

    /// How much is computed for concealment and for the sound of low rates, 0 to 10: from 5 on
    /// networks conceal, from 6 and 7 on they improve coded speech too.
    pub(crate) fn set_complexity(&mut self, complexity: u8) -> Result<()> {
        let complexity = i32::from(complexity);
        // SAFETY: see above.
        let code = unsafe { ffi::opus_decoder_ctl(self.state.as_ptr(), ffi::OPUS_SET_COMPLEXITY_REQUEST, complexity) };
        check("decoder", code).map(drop)
    }

    /// Decodes a packet, or with `copy` the copy of the frame before it; no packet is a lost one.
    /// Returns samples of all channels.
    pub(crate) fn decode(&mut self, packet: Option<&[u8]>, out: &mut [f32], copy: bool) -> Result<usize> {
        let (data, bytes) = packet.map_or((ptr::null(), 0), |packet| (packet.as_ptr(), length(packet.len())));
        let frames = length(out.len() / self.channels);
        // SAFETY: reads `bytes` bytes and writes up to `frames` times `channels` samples.
        let decoded = check("decode", unsafe {
            ffi::opus_decode_float(self.state.as_ptr(), data, bytes, out.as_mut_ptr(), frames, copy.into())
        })?;
        Ok(decoded * self.channels)
    }

    /// Reads the deep redundancy of a packet: up to `most` samples of one channel back from its
    /// beginning. Returns how far back it reaches, in such samples; 0 where it has none. It is kept
    /// for [`restore`](RawDecoder::restore) where `keep` is set, which costs more.
    pub(crate) fn redundancy(&mut self, packet: &[u8], most: usize, keep: bool) -> Result<usize> {
        let mut end = 0;
        // SAFETY: reads the packet's bytes and writes the state and `end`.
        check("redundancy", unsafe {
            ffi::opus_dred_parse(
                self.dred_decoder.as_ptr(),
                self.dred.as_ptr(),
                packet.as_ptr(),
                length(packet.len()),
                length(most),
                self.sample_rate,
                &raw mut end,
                (!keep).into(),
            )
        })
    }

    /// Decodes what the redundancy read last says of the sound `offset` samples of one channel
    /// before its packet's beginning.
    pub(crate) fn restore(&mut self, offset: usize, out: &mut [f32]) -> Result<usize> {
        let frames = length(out.len() / self.channels);
        // SAFETY: writes up to `frames` times `channels` samples; libopus checks the offset against
        // what the redundancy holds.
        let decoded = check("restore", unsafe {
            ffi::opus_decoder_dred_decode_float(
                self.state.as_ptr(),
                self.dred.as_ptr(),
                length(offset),
                out.as_mut_ptr(),
                frames,
            )
        })?;
        Ok(decoded * self.channels)
    }
}

impl Drop for RawDecoder {
    fn drop(&mut self) {
        // SAFETY: made by `create` and `alloc`, and not used again.
        unsafe {
            ffi::opus_dred_free(self.dred.as_ptr());
            ffi::opus_dred_decoder_destroy(self.dred_decoder.as_ptr());
            ffi::opus_decoder_destroy(self.state.as_ptr());
        }
    }
}

/// Something libopus made, until it has its place.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    fn keep(self) -> NonNull<T> {
        let pointer = self.0;
        std::mem::forget(self);
        pointer
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the function is the one that frees what this points to, and nobody else has the
        // pointer.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}

/// How long the sound in a packet lasts, in ticks of 48 kHz.
pub(crate) fn ticks(packet: &[u8]) -> Result<usize> {
    // SAFETY: reads up to the packet's length.
    check("duration", unsafe { ffi::opus_packet_get_nb_samples(packet.as_ptr(), length(packet.len()), RATE) })
}

/// Whether a packet carries a copy of the frame before it.
pub(crate) fn has_fec(packet: &[u8]) -> bool {
    // SAFETY: as above.
    unsafe { ffi::opus_packet_has_lbrr(packet.as_ptr(), length(packet.len())) > 0 }
}

/// Refuses what no network brings; libopus takes an empty packet for a lost one.
pub(crate) fn check_packet(operation: &'static str, packet: &[u8]) -> Result<()> {
    if (1..=LONGEST_PACKET).contains(&packet.len()) {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Invalid, "no packet has this length").backend(NAME).operation(operation);
    Err(error.with("bytes", packet.len()))
}

/// Lengths beyond 32 bits do not occur: sound and packets are shorter by far.
fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// A result of libopus: negative for errors.
fn check(operation: &'static str, code: c_int) -> Result<usize> {
    usize::try_from(code).map_err(|_| refused(operation, code))
}

fn refused(operation: &'static str, code: c_int) -> Error {
    let (kind, why) = match code {
        ffi::OPUS_BAD_ARG => (ErrorKind::Invalid, "libopus refused an argument"),
        ffi::OPUS_BUFFER_TOO_SMALL => (ErrorKind::Invalid, "the buffer is too small"),
        ffi::OPUS_INVALID_PACKET => (ErrorKind::Invalid, "this is no Opus packet"),
        _ => (ErrorKind::Unexpected, "libopus failed"),
    };
    Error::new(kind, why).backend(NAME).operation(operation).with("code", code)
}
