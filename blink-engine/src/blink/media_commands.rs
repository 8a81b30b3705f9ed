//! Media of the current call: microphone, playback and streams.

use blink_api::{Endpoint, Error, ErrorKind, Result, StreamId};
use blink_media::MAX_VOLUME;

use super::Blink;
use crate::call_config::{RequestedStream, StreamConfig};
use crate::driver::command::Command;

impl Blink {
    /// Mutes or unmutes the microphone, which the other participants see. Returns when the last
    /// packet with audio has been sent.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// As all commands. Without the answer, packets with audio may still be on their way.
    pub async fn set_muted(&self, muted: bool) -> Result<()> {
        self.ask(|reply| Command::SetMuted { muted, reply }).await
    }

    /// Stops or resumes the playback of all audio, which the other participants see.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn set_deafened(&self, deafened: bool) -> Result<()> {
        self.ask(|reply| Command::SetDeafened { deafened, reply }).await
    }

    /// Shows the other participants whether this device records the call, for integrators with a
    /// recorder of their own. The flag ends with the call.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn set_recording(&self, recording: bool) -> Result<()> {
        self.ask(|reply| Command::SetRecording { recording, reply }).await?
    }

    /// Offers a further stream of audio or video to all current and later participants. Its source
    /// is opened now, and read from the first request on. The stream ends with
    /// [`revoke_stream`](Blink::revoke_stream) or the call.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call and beyond 8 streams;
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for a name over 64 bytes;
    /// [`Unsupported`](blink_api::ErrorKind::Unsupported) for video where the transport or the
    /// media host does not support it, and in a codec other than VP8 and H.264; those of opening
    /// the source.
    ///
    /// # Cancellation
    /// As all commands. Where the answer is lost, the stream is offered all the same, and its id is
    /// in [`snapshot`](Blink::snapshot).
    pub async fn offer_stream(&self, config: StreamConfig) -> Result<StreamId> {
        self.ask(|reply| Command::OfferStream { config, reply }).await?
    }

    /// Revokes an offered stream: it ends for all receivers, and its source is closed.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a stream that this device does not offer.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn revoke_stream(&self, stream: StreamId) -> Result<()> {
        self.ask(|reply| Command::RevokeStream { stream, reply }).await?
    }

    /// Requests a stream that a participant offers. It is received until it is closed or revoked,
    /// and continues after a lost path is restored.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a stream that is not offered;
    /// [`State`](blink_api::ErrorKind::State) without a call, for a stream that was requested
    /// already, and beyond one audio and two video streams of one participant;
    /// [`Unsupported`](blink_api::ErrorKind::Unsupported) for a codec without a payload format.
    ///
    /// # Cancellation
    /// As all commands. Where the answer is lost, so are the frames of a video stream:
    /// [`close_stream`](Blink::close_stream) ends it.
    pub async fn request_stream(&self, participant: Endpoint, stream: StreamId) -> Result<RequestedStream> {
        self.ask(|reply| Command::RequestStream { participant, stream, reply }).await?
    }

    /// Ends the request of a stream. Other receivers are unaffected.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a stream that was not requested,
    /// [`State`](blink_api::ErrorKind::State) without a call.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn close_stream(&self, participant: Endpoint, stream: StreamId) -> Result<()> {
        self.ask(|reply| Command::CloseStream { participant, stream, reply }).await?
    }

    /// Sets the playback volume of a participant as a linear gain: 0.0 (silent) to 4.0, 1.0 by
    /// default. Kept when the participant leaves and rejoins.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a volume out of range or not a number, and for this
    /// device, which is not played; [`Closed`](ErrorKind::Closed).
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn set_volume(&self, participant: Endpoint, volume: f32) -> Result<()> {
        if !(0.0..=MAX_VOLUME).contains(&volume) {
            return Err(Error::new(ErrorKind::Invalid, "a volume is from 0 to 4").with("volume", volume));
        }
        if participant == self.endpoint() {
            return Err(Error::new(ErrorKind::Invalid, "this device does not play itself, so it has no volume"));
        }
        self.ask(|reply| Command::SetVolume { participant, volume, reply }).await
    }
}
