//! How long it takes to seal an envelope for 1, 8 and 16 recipients, and to open it as the one of
//! them whose wrap comes where chance put it.

use blink_api::{CallId, DeviceId, Endpoint};
use blink_proto::secure::Identity;
use blink_proto::secure::{AgreementKey, CallKeys, Random, Sealing, open, seal};
use blink_proto::wire::{Body, Bytes16, Content, Link, LinkRole};
use criterion::{BenchmarkId, Criterion, Throughput};
use rand::SeedableRng;

/// As long as a description of three sections is.
const DESCRIPTION: usize = 2_500;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    envelopes(&mut criterion);
    criterion.final_summary();
}

fn envelopes(criterion: &mut Criterion) {
    let identity = Identity::from_seed(&[1; 32]);
    let keys = CallKeys::new(CallId::from_bytes([7; 16]), [3; 32].into());
    let mut random = Random::from_seed([5; 32]);
    let content = content(&identity, keys.id);
    for recipients in [1, 8, 16] {
        let pairs: Vec<_> = (0..recipients).map(|_| AgreementKey::generate(&mut random)).collect();
        let public: Vec<_> = pairs.iter().map(|pair| *pair.public()).collect();
        let sealing = Sealing { topic: keys.topic, recipients: &public, tag: Some(keys.tag()), identity: &identity };
        let sealed = seal(&sealing, &content, &mut random).expect("it fits");

        let mut group = criterion.benchmark_group("envelope");
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("seal", recipients), |bencher| {
            bencher.iter(|| seal(&sealing, &content, &mut random).expect("it fits"));
        });
        let own = &pairs[recipients / 2];
        group.bench_function(BenchmarkId::new("open", recipients), |bencher| {
            bencher.iter(|| open(&keys.topic, &sealed, &[own], Some(keys.tag())).expect("it was sealed for this key"));
        });
        group.finish();
    }
}

/// A description for the other side of a pair: the longest message that is usual.
fn content(identity: &Identity, call: CallId) -> Vec<u8> {
    let link = Link {
        link: Bytes16::from([9; 16]),
        renegotiation_requests: 0,
        generation: 1,
        role: LinkRole::Offer,
        sdp: Some("v".repeat(DESCRIPTION)),
        first_candidate: 0,
        candidates: Vec::new(),
        ack_generation: 0,
        ack_candidates: 0,
        failed: false,
        cause: None,
    };
    let from = Endpoint { did: identity.did(), device: DeviceId::from_random([1; 16]) };
    Content { from, boot: 1, seq: 1, unix_ms: 1, call, body: Body::Link(Box::new(link)) }.encode()
}
