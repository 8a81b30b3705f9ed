//! Gathering of local candidates.

use std::net::IpAddr;

use blink_api::{HostCandidates, SessionEvent};
use blink_transport_kit::mdns::MdnsResponder;
use str0m::net::Protocol;

use super::{Driver, Resolved};

impl Driver {
    /// Gathers candidates, once and again for each ICE restart. Host candidates are in the next
    /// description; others are trickled.
    pub(super) fn gather(&mut self, is_restart: bool) {
        if self.has_gathered && !is_restart {
            return;
        }
        if self.has_gathered {
            self.follow_interfaces();
        }
        self.has_gathered = true;
        // A relay on loopback or a link-local address may relay to that scope.
        let own: Vec<IpAddr> = self.own_addresses().into_iter().chain(self.servers.literal_addresses()).collect();
        self.remote.set_own(&own);
        self.name_hosts();
        for local in self.sockets.locals().filter(|_| !self.ice.relay_only) {
            match str0m::Candidate::host(local, Protocol::Udp) {
                Ok(candidate) => drop(self.peer.rtc.add_local_candidate(candidate)),
                Err(error) => tracing::debug!(%error, "invalid host candidate"),
            }
        }
        if self.servers.is_empty() {
            self.peer.events.send(SessionEvent::CandidatesDone);
        } else {
            self.server_lookups += 1;
            let (lookup, servers) = (self.server_lookups, self.servers.clone());
            self.spawn_lookup(async move { Some(Resolved::Servers(lookup, servers.resolve().await)) });
        }
    }

    fn follow_interfaces(&mut self) {
        let addresses = match self.addresses.usable(&self.ice.interfaces) {
            Ok(addresses) => addresses,
            // All interfaces may be down for a moment. The sockets stay for when they return.
            Err(error) => return tracing::warn!(%error, "the ICE restart keeps the previous addresses"),
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

    /// Assigns mDNS names to host candidates if configured; without names they are not signaled.
    fn name_hosts(&mut self) {
        if self.ice.host_candidates != HostCandidates::Mdns || self.ice.relay_only {
            return;
        }
        match MdnsResponder::announce(&self.own_addresses()) {
            Ok(names) => {
                self.candidate_filter.set_names(names.names().to_vec());
                self.names = Some(names);
            }
            Err(error) => tracing::warn!(%error, "mDNS is not available: host candidates are not signaled"),
        }
    }
}
