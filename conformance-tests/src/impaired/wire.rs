//! A wire between two sessions on which every datagram is looked at.

use std::sync::Arc;

use blink_api::Candidate;
use blink_sim::impairment::Impairments;

use super::network::{Device, ImpairedNetwork};
use super::rewrite;

/// A network that carries all datagrams between addresses whose descriptions and candidates were
/// rewritten, and looks for a text in them.
pub(crate) struct Wire {
    network: Arc<ImpairedNetwork>,
    device: Device,
}

/// Statistics of a wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) datagrams: u64,
    /// Datagrams that contain the text.
    pub(crate) readable: u64,
}

impl Wire {
    /// A wire that looks for a text. It needs a tokio runtime.
    pub(crate) fn new(impairments: Impairments, text: &[u8]) -> Self {
        let network = ImpairedNetwork::new(impairments, 1);
        network.look_for(text);
        let device = network.add_device();
        Self { network, device }
    }

    /// A description whose candidates lead over the wire.
    pub(crate) fn description(&self, sdp: &str) -> String {
        rewrite::description(sdp, &mut |address| self.network.local_alias(self.device, address).ok())
    }

    /// Candidates that lead over the wire; those with names are omitted.
    pub(crate) fn candidates(&self, candidates: &[Candidate]) -> Vec<Candidate> {
        let rewritten = candidates.iter().filter_map(|candidate| {
            let alias = &mut |address| self.network.local_alias(self.device, address).ok();
            let attribute = rewrite::candidate(&candidate.attribute, alias)?;
            Some(Candidate { attribute, mid: candidate.mid.clone() })
        });
        rewritten.collect()
    }

    /// Statistics so far.
    pub(crate) fn seen(&self) -> Seen {
        Seen { datagrams: self.network.statistics().received, readable: self.network.readable() }
    }
}
