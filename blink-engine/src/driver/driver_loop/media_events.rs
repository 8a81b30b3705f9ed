//! Events of the media, as inputs of the machine and events for the user.

use blink_api::{CallId, TrackKind, TrackSource};

use super::{Driver, now};
use blink_media::{MediaCommand, MediaEvent, SyncRound};
use blink_proto::call::{ClockRound, Event, Input, SessionId};

impl Driver {
    /// A Pong came: the call's clock learns of the newest round of the time sync.
    pub(super) async fn pass_on_clock_round(&mut self, session: SessionId) {
        let handle = self.sessions.get(&session).filter(|handle| self.active == Some(handle.call));
        let Some(endpoint) = handle.map(|handle| handle.remote) else { return };
        let Some(round) = self.machine.clock_rounds(&endpoint).last() else { return };
        let ClockRound { sent_us, received_us, answered_us } = round;
        let round = SyncRound { sent_us, received_us, answered_us };
        self.media.send_command(MediaCommand::ClockSynced(endpoint, round)).await;
    }

    /// An event of a call that is held: its quality is known when it resumes.
    pub(super) fn handle_held_media(&mut self, call: CallId, event: MediaEvent) {
        let (endpoint, degraded) = match event {
            MediaEvent::QualityDegraded(endpoint, reason) => (endpoint, Some(reason)),
            MediaEvent::QualityRecovered(endpoint) => (endpoint, None),
            _ => return,
        };
        self.machine.handle(now(&self.parts), Input::Quality { call, endpoint, degraded });
    }

    /// An event of the current call.
    pub(super) async fn handle_media_event(&mut self, event: MediaEvent) {
        let Some(call) = self.active else { return };
        let now = now(&self.parts);
        match event {
            MediaEvent::Started(track) => self.emit(Event::MediaStarted { call, track, kind: TrackKind::Audio }),
            MediaEvent::Speaking(track, speaking) if track.source == TrackSource::Microphone => {
                self.machine.handle(now, Input::Speaking { endpoint: track.endpoint, speaking });
            }
            MediaEvent::Speaking(..) => {}
            MediaEvent::QualityDegraded(endpoint, reason) => {
                self.machine.handle(now, Input::Quality { call, endpoint, degraded: Some(reason) });
            }
            MediaEvent::QualityRecovered(endpoint) => {
                self.machine.handle(now, Input::Quality { call, endpoint, degraded: None });
            }
            MediaEvent::SpeakingWhileMuted => self.emit(Event::SpeakingWhileMuted { call }),
            MediaEvent::MicrophoneUnusable(error) => self.emit(Event::NoMicrophone { call, error: error.to_string() }),
            MediaEvent::DeviceLost(id, error) => self.handle_device_lost(id, error),
            MediaEvent::SourceEnded(track) => self.handle_source_ended(call, track),
            MediaEvent::SourceLost(stream, _) => self.handle_source_lost(stream).await,
        }
    }
}
