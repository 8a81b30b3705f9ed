//! Safe wrappers of the libopus 1.6 functions in use. The only file of this crate with `unsafe`.
//!
//! Soundness, for all calls below: pointers come from libopus' own `create` functions, are checked
//! there and freed once, in `drop`; lengths are those of slices; controls take one 32-bit integer,
//! as documented in `opus_defines.h` for each of them. libopus has no global state, so an encoder
//! or decoder may move to another thread.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use blink_api::{Error, ErrorKind, Result};
use opusic_sys as ffi;

use crate::NAME;

/// Time base of packet durations in Hz: every frame is a whole number of its ticks (RFC 6716 §2).
const RATE: i32 = 48_000;

/// Maximum packet size, which fits the 32-bit lengths of libopus.
const MAX_PACKET: usize = 65_535;

/// Integer setting of an encoder or decoder: a request of `opus_defines.h`.
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
    /// Span of deep redundancy, in frames of 10 ms.
    pub(crate) const DRED_DURATION: Self = Self(ffi::OPUS_SET_DRED_DURATION_REQUEST);
}

/// Value of [`Control::SIGNAL`] for speech.
pub(crate) const VOICE: i32 = ffi::OPUS_SIGNAL_VOICE;

/// Values of [`Control::MAX_BANDWIDTH`]: audio up to 8 kHz and up to 20 kHz.
pub(crate) const WIDEBAND: i32 = ffi::OPUS_BANDWIDTH_WIDEBAND;
pub(crate) const FULLBAND: i32 = ffi::OPUS_BANDWIDTH_FULLBAND;

/// libopus encoder.
pub(crate) struct RawEncoder {
    state: NonNull<ffi::OpusEncoder>,
    channels: usize,
}

// SAFETY: see the module documentation.
unsafe impl Send for RawEncoder {}

impl RawEncoder {
    /// Creates an encoder for speech. Opus must support the rate and the channels.
    pub(crate) fn new(sample_rate: u32, channels: u16) -> Result<Self> {
        let mut code = ffi::OPUS_OK;
        // SAFETY: libopus rejects unsupported values.
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
        // SAFETY: see the module documentation.
        check("encoder", unsafe { ffi::opus_encoder_ctl(self.state.as_ptr(), control.0, value) }).map(drop)
    }

    /// Delay of the encoder in samples per channel.
    pub(crate) fn lookahead(&mut self) -> Result<u32> {
        let mut samples: i32 = 0;
        // SAFETY: this request writes one 32-bit integer.
        let code =
            unsafe { ffi::opus_encoder_ctl(self.state.as_ptr(), ffi::OPUS_GET_LOOKAHEAD_REQUEST, &raw mut samples) };
        check("encoder", code)?;
        Ok(samples.unsigned_abs())
    }

    /// Encodes one frame; returns the packet's size.
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

/// libopus decoder, with a decoder of deep redundancy.
pub(crate) struct RawDecoder {
    state: NonNull<ffi::OpusDecoder>,
    dred_decoder: NonNull<ffi::OpusDREDDecoder>,
    dred: NonNull<ffi::OpusDRED>,
    sample_rate: i32,
    channels: usize,
    /// Saved state; empty if none. Made with the first loss: it is as large as the decoder.
    saved: Vec<u8>,
    size: usize,
}

// SAFETY: see the module documentation.
unsafe impl Send for RawDecoder {}

impl RawDecoder {
    pub(crate) fn new(sample_rate: u32, channels: u16) -> Result<Self> {
        let mut code = ffi::OPUS_OK;
        let sample_rate = sample_rate.cast_signed();
        let missing = || refused("decoder", ffi::OPUS_ALLOC_FAIL);
        // SAFETY: libopus rejects unsupported values.
        let state = unsafe { ffi::opus_decoder_create(sample_rate, channels.into(), &raw mut code) };
        check("decoder", code)?;
        let state = Owned(NonNull::new(state).ok_or_else(missing)?, ffi::opus_decoder_destroy);
        // SAFETY: writes the error code only.
        let dred_decoder = unsafe { ffi::opus_dred_decoder_create(&raw mut code) };
        check("decoder", code)?;
        let dred_decoder = Owned(NonNull::new(dred_decoder).ok_or_else(missing)?, ffi::opus_dred_decoder_destroy);
        // SAFETY: as above.
        let dred = unsafe { ffi::opus_dred_alloc(&raw mut code) };
        check("decoder", code)?;
        let dred = NonNull::new(dred).ok_or_else(missing)?;
        // SAFETY: a pure function.
        let size = usize::try_from(unsafe { ffi::opus_decoder_get_size(channels.into()) }).map_err(|_| missing())?;
        Ok(Self {
            state: state.release(),
            dred_decoder: dred_decoder.release(),
            dred,
            sample_rate,
            channels: channels.into(),
            saved: Vec::new(),
            size,
        })
    }

    /// Saves the decoder's state.
    pub(crate) fn save_state(&mut self) {
        // SAFETY: a decoder is `size` contiguous bytes, and a shallow copy of them is a valid copy
        // (`opus.h`, "Opus Decoder").
        let state = unsafe { std::slice::from_raw_parts(self.state.as_ptr().cast::<u8>(), self.size) };
        self.saved.clear();
        self.saved.extend_from_slice(state);
    }

    /// Restores the saved state, if there is one.
    pub(crate) fn restore_state(&mut self) {
        if self.saved.len() == self.size {
            // SAFETY: as above; the bytes are those of this very decoder.
            unsafe { ptr::copy_nonoverlapping(self.saved.as_ptr(), self.state.as_ptr().cast::<u8>(), self.size) }
        }
    }

    /// Sets the effort for concealment and enhancement, 0 to 10: neural concealment from 5 on,
    /// neural enhancement of decoded speech from 6 and 7 on.
    pub(crate) fn set_complexity(&mut self, complexity: u8) -> Result<()> {
        let complexity = i32::from(complexity);
        // SAFETY: see the module documentation.
        let code = unsafe { ffi::opus_decoder_ctl(self.state.as_ptr(), ffi::OPUS_SET_COMPLEXITY_REQUEST, complexity) };
        check("decoder", code).map(drop)
    }

    /// Decodes a packet, or with `fec` the copy of the previous frame in it; without a packet,
    /// conceals a loss. Returns the number of samples of all channels.
    pub(crate) fn decode(&mut self, packet: Option<&[u8]>, out: &mut [f32], fec: bool) -> Result<usize> {
        let (data, bytes) = packet.map_or((ptr::null(), 0), |packet| (packet.as_ptr(), length(packet.len())));
        let frames = length(out.len() / self.channels);
        // SAFETY: reads `bytes` bytes and writes up to `frames` times `channels` samples.
        let decoded = check("decode", unsafe {
            ffi::opus_decode_float(self.state.as_ptr(), data, bytes, out.as_mut_ptr(), frames, fec.into())
        })?;
        Ok(decoded * self.channels)
    }

    /// Parses the deep redundancy of a packet, up to `most` samples per channel before it. Returns
    /// its span in samples per channel; 0 if there is none. With `keep`, which costs more, it is
    /// stored for [`restore`](RawDecoder::restore).
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

    /// Decodes audio from the deep redundancy parsed last, starting `offset` samples per channel
    /// before its packet.
    pub(crate) fn restore(&mut self, offset: usize, out: &mut [f32]) -> Result<usize> {
        let frames = length(out.len() / self.channels);
        // SAFETY: writes up to `frames` times `channels` samples; libopus checks the offset against
        // the parsed redundancy.
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

/// Pointer from libopus that is freed on an early return.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    fn release(self) -> NonNull<T> {
        let pointer = self.0;
        std::mem::forget(self);
        pointer
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the function frees what the pointer refers to, and no other copy of the pointer
        // is used.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}

/// Duration of a packet in ticks of 48 kHz.
pub(crate) fn packet_ticks(packet: &[u8]) -> Result<usize> {
    // SAFETY: reads up to the packet's length.
    check("duration", unsafe { ffi::opus_packet_get_nb_samples(packet.as_ptr(), length(packet.len()), RATE) })
}

/// Returns whether a packet contains an FEC copy of the previous frame.
pub(crate) fn has_fec(packet: &[u8]) -> bool {
    // SAFETY: as above.
    unsafe { ffi::opus_packet_has_lbrr(packet.as_ptr(), length(packet.len())) > 0 }
}

/// Checks a packet's size. An empty one would count as lost in libopus.
pub(crate) fn check_packet(operation: &'static str, packet: &[u8]) -> Result<()> {
    if (1..=MAX_PACKET).contains(&packet.len()) {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Invalid, "the packet's size is invalid").backend(NAME).operation(operation);
    Err(error.with("bytes", packet.len()))
}

/// Converts a length; lengths beyond 32 bits do not occur.
fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// Converts a libopus result, which is negative for errors.
fn check(operation: &'static str, code: c_int) -> Result<usize> {
    usize::try_from(code).map_err(|_| refused(operation, code))
}

fn refused(operation: &'static str, code: c_int) -> Error {
    let (kind, why) = match code {
        ffi::OPUS_BAD_ARG => (ErrorKind::Invalid, "libopus rejected an argument"),
        ffi::OPUS_BUFFER_TOO_SMALL => (ErrorKind::Invalid, "the buffer is too small"),
        ffi::OPUS_INVALID_PACKET => (ErrorKind::Invalid, "this is not an Opus packet"),
        _ => (ErrorKind::Unexpected, "libopus failed"),
    };
    Error::new(kind, why).backend(NAME).operation(operation).with("code", code)
}
