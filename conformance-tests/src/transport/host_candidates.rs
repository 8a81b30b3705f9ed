//! Host candidates that hide the device's addresses (`ice.host_candidates`).

use blink_api::{HostCandidates, IceConfig, Transport};

use super::relays::{on_loopback, open};

/// A side without host candidates is reached as peer reflexive, in either role, and discloses none
/// of its addresses.
pub async fn host_candidates_may_be_omitted(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !hide(offerer, answerer) {
        return;
    }
    for secretive in [true, false] {
        let hosts =
            [secretive, !secretive].map(|hides| if hides { HostCandidates::None } else { HostCandidates::Address });
        let [ours, theirs] = hosts.map(|host_candidates| IceConfig { host_candidates, ..on_loopback() });
        let mut pair = open([(offerer, ours), (answerer, theirs)]).await;
        pair.connect().await;
        pair.speak(10).await;
        let told = pair.told(secretive);
        assert!(!told.iter().any(|text| text.contains("candidate:")), "a candidate is disclosed: {told:?}");
        let shown = told
            .iter()
            .flat_map(|text| text.lines())
            .find(|line| line.starts_with("c=") && !line.ends_with(" 0.0.0.0"));
        assert_eq!(shown, None, "a connection address is disclosed");
        pair.close().await;
    }
}

/// Two sides on one network with mDNS host candidates connect (multicast DNS on loopback must be
/// possible), and disclose no address.
pub async fn host_candidates_may_be_mdns_names(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !hide(offerer, answerer) {
        return;
    }
    let named = || IceConfig { host_candidates: HostCandidates::Mdns, ..on_loopback() };
    let mut pair = open([(offerer, named()), (answerer, named())]).await;
    pair.connect().await;
    pair.speak(10).await;
    for side in [true, false] {
        let told = pair.told(side);
        let candidates: Vec<Vec<&str>> = told
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| Some(line[line.find("candidate:")?..].split_whitespace().collect()))
            .collect();
        assert!(!candidates.is_empty(), "no mDNS candidate is disclosed: {told:?}");
        for candidate in candidates {
            let name = candidate.get(4).and_then(|name| name.strip_suffix(".local"));
            assert!(name.is_some_and(|name| name.len() == 36), "the address is not a random mDNS name: {candidate:?}");
        }
    }
    pair.close().await;
}

fn hide(offerer: &dyn Transport, answerer: &dyn Transport) -> bool {
    offerer.capabilities().hidden_hosts && answerer.capabilities().hidden_hosts
}
