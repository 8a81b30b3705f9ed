//! Reports of how far a session has come, each only once.

use blink_api::{DtlsState, FailureReason, IceState, SessionEvent, TransportState};

use crate::events::EventSender;

/// State of ICE and DTLS, and the failures that were reported.
#[derive(Debug, Clone, Default)]
pub struct StateReporter {
    state: Option<TransportState>,
    failure: Option<FailureReason>,
}

impl StateReporter {
    /// Reports the state of ICE, if it changed.
    pub fn set_ice(&mut self, ice: IceState, events: &EventSender) {
        let dtls = self.state.map_or(DtlsState::New, |state| state.dtls);
        self.set(TransportState::new(ice, dtls), events);
    }

    /// Reports the state of DTLS, if it changed.
    pub fn set_dtls(&mut self, dtls: DtlsState, events: &EventSender) {
        let ice = self.state.map_or(IceState::New, |state| state.ice);
        self.set(TransportState::new(ice, dtls), events);
    }

    /// The state of DTLS, as reported.
    pub fn dtls(&self) -> DtlsState {
        self.state.map_or(DtlsState::New, |state| state.dtls)
    }

    /// Reports why the session cannot connect, unless this reason was the last one.
    pub fn fail(&mut self, reason: FailureReason, events: &EventSender) {
        if self.failure.replace(reason) != Some(reason) {
            events.send(SessionEvent::Failed(reason));
        }
    }

    fn set(&mut self, state: TransportState, events: &EventSender) {
        if self.state.replace(state) != Some(state) {
            events.send(SessionEvent::State(state));
        }
    }
}
