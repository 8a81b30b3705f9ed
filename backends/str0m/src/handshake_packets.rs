//! Packets of the DTLS handshake: those that arrive early, and the reason why a handshake fails.

use std::net::SocketAddr;

use blink_api::{DtlsState, FailureReason, IceState};
use blink_transport_kit::handshake::Direction;
use str0m::net::{Protocol, Receive};
use str0m::{IceConnectionState, Input};

use crate::peer::{Path, Peer};

/// Limit of DTLS packets kept from addresses that ICE has not validated yet, in total and per
/// address: a handshake flight. Further ones are dropped and retransmitted by their sender.
pub(crate) const MAX_EARLY: usize = 16;
pub(crate) const MAX_EARLY_PER_SOURCE: usize = 4;

/// DTLS packet that waits for its address to be validated.
pub(crate) struct EarlyPacket {
    pub(crate) source: SocketAddr,
    local: SocketAddr,
    pub(crate) data: Vec<u8>,
}

impl Peer {
    /// Keeps the first DTLS flight of a peer whose check succeeded before the local one.
    pub(crate) fn keep_early(&mut self, source: SocketAddr, local: SocketAddr, data: &[u8]) {
        let of_source = self.early.iter().filter(|packet| packet.source == source).count();
        if is_dtls(data) && self.early.len() < MAX_EARLY && of_source < MAX_EARLY_PER_SOURCE {
            self.early.push_back(EarlyPacket { source, local, data: data.to_vec() });
        }
    }

    /// Handles kept packets from addresses that have been validated by now.
    pub(crate) fn release_early(&mut self) {
        for packet in std::mem::take(&mut self.early) {
            let EarlyPacket { source, local, data } = &packet;
            let Ok(datagram) = Receive::new(Protocol::Udp, *source, *local, data) else { continue };
            let input = Input::Receive(self.stack_now(), datagram);
            if self.rtc.accepts(&input) {
                self.handle_input(input);
                self.observe(Direction::Received, data);
            } else {
                self.early.push_back(packet);
            }
        }
    }

    /// Looks for the reason why a handshake cannot succeed.
    pub(crate) fn observe(&mut self, direction: Direction, datagram: &[u8]) {
        if self.path != Path::New || !is_dtls(datagram) {
            return;
        }
        if self.reporter.dtls() == DtlsState::New {
            self.reporter.set_dtls(DtlsState::Connecting, &self.events);
        }
        if let Some(reason) = self.handshake.observe(direction, datagram) {
            self.fail(reason);
        }
    }

    pub(crate) fn fail(&mut self, reason: FailureReason) {
        self.reporter.set_dtls(DtlsState::Failed, &self.events);
        self.reporter.fail(reason, &self.events);
    }
}

/// State of ICE in the terms of the API.
pub(crate) fn ice_state(state: IceConnectionState) -> IceState {
    match state {
        IceConnectionState::New => IceState::New,
        IceConnectionState::Checking => IceState::Checking,
        IceConnectionState::Connected | IceConnectionState::Completed => IceState::Connected,
        IceConnectionState::Disconnected => IceState::Disconnected,
    }
}

/// Returns whether a packet is DTLS, by its first byte (RFC 7983 §7).
fn is_dtls(data: &[u8]) -> bool {
    data.first().is_some_and(|first| (20..64).contains(first))
}
