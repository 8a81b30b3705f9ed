//! A whole call between two stacks over a real network with all logs enabled, in which no secret
//! appears.

mod capturing_backends;
mod secrets;
mod untrusted_text;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blink_api::{Clock, Configuration, Context, LogSettings, Registry, Signaling, SystemClock, Transport};
use blink_engine::{Blink, CallConfig, Event, EventItem, Events, Identity};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;

use super::lines;
use crate::backends::{self, DEMO_TRANSPORTS};
use capturing_backends::{CapturedSecrets, CapturingSignaling, CapturingTransport};
use secrets::Secrets;

/// Timeout of every wait, on a machine that runs other tests.
const LIMIT: Duration = Duration::from_secs(60);
/// Minimum number of trace lines of a whole call.
const FEWEST: usize = 30;
/// Steps of a call that must be logged.
const STEPS: [&str; 5] = ["kind=Offer", "kind=Link", "\"connected\"", "\"participant_joined\"", "\"call_ended\""];

/// Captured log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).expect("a log is text");
        text.lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Two logs of one call: with the default settings, and with all that can be enabled.
#[test]
fn a_call_logged_at_trace_shows_no_keys_no_passwords_and_no_addresses() {
    let (plain, open) = (Log::default(), Log::default());
    let everything = || EnvFilter::new("trace");
    let (one, other) = (plain.clone(), open.clone());
    let asked = LogSettings { addresses: true, libraries: true };
    let subscriber = tracing_subscriber::registry()
        .with(lines(everything(), LogSettings::default(), false, move || one.clone()))
        .with(lines(everything(), asked, false, move || other.clone()));
    tracing::subscriber::set_global_default(subscriber).expect("no other test logs");

    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let secrets = runtime.block_on(call(directory.path()));
    let (plain_lines, open_lines) = (plain.lines(), open.lines());

    let of_blink = plain_lines.iter().filter(|line| line.contains(" TRACE ") && line.contains(" blink_engine::"));
    assert!(of_blink.count() >= FEWEST, "a whole call is logged at trace:\n{}", plain_lines.join("\n"));
    for step in STEPS {
        assert!(
            plain_lines.iter().any(|line| line.contains(step)),
            "{step} is not logged:\n{}",
            plain_lines.join("\n")
        );
    }
    for line in &plain_lines {
        assert_eq!(secrets.found_in(line), None, "{line}");
        assert_eq!(secrets.address_in(line), None, "{line}");
    }

    // With the settings enabled, addresses appear at debug and below only; and the secrets of this
    // test appear in the libraries' lines, so that the test can find them.
    let with_address: Vec<_> = open_lines.iter().filter(|line| secrets.address_in(line).is_some()).collect();
    assert!(with_address.iter().any(|line| line.contains(" blink_signaling_libp2p")), "{with_address:#?}");
    assert!(with_address.iter().all(|line| line.contains("DEBUG ") || line.contains("TRACE ")), "{with_address:#?}");
    assert!(open_lines.len() > 2 * plain_lines.len(), "{} and {} lines", open_lines.len(), plain_lines.len());
    let shown = open_lines.iter().find(|line| secrets.found_in(line).is_some());
    assert!(shown.is_some(), "libraries show what this test looks for");

    // Verify that each secret would be detected or redacted if the engine logged it.
    for secret in secrets.written() {
        tracing::trace!(target: "blink_engine::test", "a slip: {secret}");
        let slip = plain.lines().pop().unwrap_or_default();
        assert!(secrets.found_in(&slip).is_some() || slip.contains("a slip: ["), "{secret} in {slip}");
    }
}

/// Runs a call: Alice calls Bob, both receive audio, one mutes, and Alice leaves.
async fn call(directory: &Path) -> Secrets {
    let captured = CapturedSecrets::default();
    let (mut alice, mut bob) =
        (TestEngine::start(directory, 0, &captured).await, TestEngine::start(directory, 1, &captured).await);
    let addresses = [alice.blink.addresses().await.unwrap(), bob.blink.addresses().await.unwrap()].concat();
    alice.blink.connect(&addresses[addresses.len() - 1]).await.unwrap();
    let call = alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.sees(|event| matches!(event, Event::IncomingCall { .. })).await;
    bob.blink.answer_call(call).await.unwrap();
    for engine in [&mut alice, &mut bob] {
        engine.sees(|event| matches!(event, Event::MediaStarted { .. })).await;
    }
    alice.blink.set_muted(true).await.unwrap();
    bob.sees(|event| matches!(event, Event::ParticipantStateChanged { .. })).await;
    alice.blink.leave_call().await.unwrap();
    bob.sees(|event| matches!(event, Event::CallEnded { .. })).await;
    alice.blink.shutdown().await;
    bob.blink.shutdown().await;
    Secrets::of([&alice.identity, &bob.identity], &addresses, &captured)
}

struct TestEngine {
    identity: Identity,
    blink: Blink,
    events: Events,
}

impl TestEngine {
    async fn start(directory: &Path, number: usize, captured: &CapturedSecrets) -> Self {
        let registry = Registry::discovered().unwrap();
        let heard = directory.join(format!("heard-{number}.wav"));
        let configuration: Configuration = backends::demonstration(backends::configuration(&registry))
            .set("test", "transport", DEMO_TRANSPORTS[number])
            .set("test", "microphone", "speech:0")
            .set("test", "speaker", format!("wav:{}", heard.display()))
            .build()
            .unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let context = Context { clock, shared: registry.shared() };
        let transport = configuration.create::<dyn Transport>(&context).await.unwrap();
        let signaling = configuration.create::<dyn Signaling>(&context).await.unwrap();
        let mut seed = [0; 32];
        seed.iter_mut().zip(0..).for_each(|(byte, n): (&mut u8, u8)| *byte = n.wrapping_mul(73) ^ [0x5c, 0xa9][number]);
        let identity = Identity::from_seed(&seed);
        let blink = Blink::builder(&configuration)
            .identity(identity.clone())
            .transport(Arc::new(CapturingTransport { inner: transport, captured: captured.clone() }))
            .signaling(Arc::new(CapturingSignaling { inner: signaling, captured: captured.clone() }))
            .start()
            .await
            .unwrap();
        let events = blink.events();
        Self { identity, blink, events }
    }

    async fn sees(&mut self, is: impl Fn(&Event) -> bool) {
        let seen = async {
            while let Some(item) = self.events.next().await {
                if matches!(&item, EventItem::Event(event) if is(event)) {
                    return;
                }
            }
            panic!("the engine stopped");
        };
        tokio::time::timeout(LIMIT, seen).await.expect("what should happen in a call");
    }
}
