//! Local candidates.

use std::net::IpAddr;

use blink_api::{HostCandidates, SessionEvent};
use blink_transport_kit::names::Names;
use str0m::net::Protocol;

use super::{Driver, Found};

impl Driver {
    /// Gathers once, and again for each ICE restart. Host candidates are in the description that is
    /// made next; others follow as events.
    pub(super) fn gather(&mut self, is_restart: bool) {
        if self.has_gathered && !is_restart {
            return;
        }
        if self.has_gathered {
            self.follow_interfaces();
        }
        self.has_gathered = true;
        // A server on the loopback address relays for others there.
        let own: Vec<IpAddr> = self.own_addresses().into_iter().chain(self.servers.literal_addresses()).collect();
        self.remote.set_own(&own);
        self.name_hosts();
        for local in self.sockets.locals().filter(|_| !self.ice.relay_only) {
            match str0m::Candidate::host(local, Protocol::Udp) {
                Ok(candidate) => drop(self.peer.rtc.add_local_candidate(candidate)),
                Err(error) => tracing::debug!(%error, "an address cannot be a candidate"),
            }
        }
        if self.servers.is_empty() {
            self.peer.events.send(SessionEvent::CandidatesDone);
        } else {
            self.lookups += 1;
            let (lookup, servers) = (self.lookups, self.servers.clone());
            self.search(async move { Some(Found::Servers(lookup, servers.resolve().await)) });
        }
    }

    fn follow_interfaces(&mut self) {
        let addresses = match self.addresses.usable(&self.ice.interfaces) {
            Ok(addresses) => addresses,
            // All of them may be gone for a moment. The sockets stay for when they come back.
            Err(error) => return tracing::warn!(%error, "an ICE restart goes on with the addresses before"),
        };
        for gone in self.sockets.follow(&addresses) {
            if let Ok(candidate) = str0m::Candidate::host(gone, Protocol::Udp) {
                self.peer.rtc.direct_api().invalidate_candidate(&candidate);
            }
        }
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        self.sockets.locals().map(|local| local.ip()).collect()
    }

    /// Hosts without names are not told.
    fn name_hosts(&mut self) {
        if self.ice.host_candidates != HostCandidates::Mdns || self.ice.relay_only {
            return;
        }
        match Names::announce(&self.own_addresses()) {
            Ok(names) => {
                self.disclosure.set_names(names.names().to_vec());
                self.names = Some(names);
            }
            Err(error) => tracing::warn!(%error, "host candidates cannot be named by multicast DNS, and are not told"),
        }
    }
}
