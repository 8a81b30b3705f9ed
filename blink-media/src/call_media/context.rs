//! Parts of a call's media that every tick works with.

use std::collections::VecDeque;

use super::output::MediaOutput;
use super::taps::Taps;
use crate::call_audio::CallAudio;
use crate::call_clock::CallClock;

/// Borrowed parts of [`CallMedia`](super::CallMedia) for its speaker and senders.
pub(super) struct Context<'a> {
    pub(super) audio: &'a CallAudio,
    pub(super) clock: &'a mut CallClock,
    pub(super) taps: &'a mut Taps,
    pub(super) outputs: &'a mut VecDeque<MediaOutput>,
}
