//! Envelopes: garbage, modified envelopes, and valid ones with any content.

use std::sync::LazyLock;
use std::time::Instant;

use blink_api::{CallId, Delivery, DeliveryId, DeviceId, Did, Endpoint, Origin, Topic};
use blink_proto::secure::{
    AgreementKey, CallKeys, Channel, EnvelopeCodec, Identity, Random, Sealing, inbox_topic, open, seal,
};
use blink_proto::wire::{Body, Bytes16, Content, Ringing};
use rand::SeedableRng;

use crate::input::Input;

const CALL: CallId = CallId::from_bytes([7; 16]);

/// Two identities and the keys of a call, created once.
struct Scene {
    alice: Identity,
    bob: Identity,
    call_key: AgreementKey,
    keys: CallKeys,
    inbox_envelope: Vec<u8>,
    record: Vec<u8>,
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let call_key = AgreementKey::from_scalar(&[3; 32]);
    let keys = CallKeys::new(CALL, [4; 32].into());
    let body = Body::Ringing(Ringing { nonce: Bytes16::from([5; 16]), rings: true });
    let content = Content { from: endpoint(&alice), boot: 1, seq: 1, unix_ms: 1, call: CALL, body }.encode();
    let inbox_envelope = sealed(&alice, inbox_topic(&bob.did()), *bob.agreement().public(), None, &content);
    let record = sealed(&alice, keys.topic, *call_key.public(), Some(keys.tag()), &content);
    let (inbox_envelope, record) = (inbox_envelope.expect("it fits"), record.expect("it fits"));
    Scene { alice, bob, call_key, keys, inbox_envelope, record }
});

/// Opens an envelope built from the input. The first byte selects how: unmodified bytes, on an
/// inbox or a call's topic; modifications of a valid envelope, which must be refused; or the
/// content of one, which must decode to the same content or be refused.
pub fn run(data: &[u8]) {
    let scene = &*SCENE;
    let mut input = Input::new(data);
    let how = input.byte();
    let on_call = how & 1 != 0;
    match (how >> 1) % 3 {
        0 => through_the_codec(on_call, input.rest()),
        1 => {
            let original = if on_call { &scene.record } else { &scene.inbox_envelope };
            let mut changed = original.clone();
            while !input.is_empty() {
                let at = usize::from(input.u16()) % changed.len();
                changed[at] ^= input.byte();
            }
            assert_eq!(open_on(on_call, &changed).is_ok(), changed == *original, "a modified envelope is refused");
        }
        _ => {
            let content = input.rest();
            let (topic, recipient, tag) = channel(on_call);
            if let Some(envelope) = sealed(&scene.alice, topic, recipient, tag, content)
                && let Ok(opened) = open_on(on_call, &envelope)
            {
                assert_eq!(Content::decode(content), Ok(opened), "an envelope opens to what was sealed");
            }
        }
    }
}

fn through_the_codec(on_call: bool, message: &[u8]) {
    let scene = &*SCENE;
    let now = Instant::now();
    let random = Random::from_seed([6; 32]);
    let mut codec = EnvelopeCodec::new(scene.bob.clone(), endpoint(&scene.bob), 1, random, now);
    codec.join(scene.keys.clone(), scene.call_key.clone());
    let channel = if on_call { Channel::Call(CALL) } else { Channel::Inbox(scene.bob.did()) };
    let topic = codec.topic(&channel).expect("the call was joined");
    let message = bytes::Bytes::copy_from_slice(message);
    let delivery = Delivery { id: DeliveryId(1), origin: Some(Origin([1; 16])), message };
    let refused = codec.open(now, &topic, &delivery).0.is_err();
    let counters = codec.counters();
    let counted = counters.total() + counters.not_for_us;
    assert_eq!(counted, u64::from(refused), "each refusal is counted once");
}

fn open_on(on_call: bool, envelope: &[u8]) -> Result<Content, blink_proto::secure::Refusal> {
    let scene = &*SCENE;
    let (topic, _, tag) = channel(on_call);
    let inbox = scene.bob.agreement();
    open(&topic, envelope, &[if on_call { &scene.call_key } else { &inbox }], tag)
}

/// Topic, recipient's key and tag key.
fn channel(on_call: bool) -> (Topic, [u8; 32], Option<&'static [u8; 32]>) {
    let scene = &*SCENE;
    if on_call {
        (scene.keys.topic, *scene.call_key.public(), Some(scene.keys.tag()))
    } else {
        (inbox_topic(&scene.bob.did()), *scene.bob.agreement().public(), None)
    }
}

fn sealed(
    from: &Identity,
    topic: Topic,
    recipient: [u8; 32],
    tag: Option<&[u8; 32]>,
    content: &[u8],
) -> Option<Vec<u8>> {
    let sealing = Sealing { topic, recipients: &[recipient], tag, identity: from };
    seal(&sealing, content, &mut Random::from_seed([9; 32])).ok()
}

fn endpoint(identity: &Identity) -> Endpoint {
    let did: Did = identity.did();
    Endpoint { did, device: DeviceId::from_random([1; 16]) }
}
