//! Conformance of a registration: the entry of a backend, its configuration, and what it declares.

use std::sync::Arc;
use std::time::Duration;

use blink_api::{
    AudioCodec, AudioProcessorFactory, Configuration, Context, Entry, ErrorKind, Kind, MediaHost, Recorder, Registry,
    Signaling, SystemClock, Transport,
};

use crate::watchdog::{self, Progress};

/// Time limit of creating a backend.
const LIMIT: Duration = Duration::from_secs(30);
/// A key that no backend has.
const UNKNOWN: &str = "no-backend-has-this-key";

/// A kind of backend whose objects declare their capabilities.
pub trait Declares: Kind {
    /// The declared capabilities, as text.
    fn declared(&self) -> String;
    /// Those of a registry entry, as text.
    fn of_entry(entry: &Entry<Self>) -> String;
}

macro_rules! declares {
    ($($kind:ty),*) => {
        $(impl Declares for $kind {
            fn declared(&self) -> String {
                format!("{:?}", self.capabilities())
            }

            fn of_entry(entry: &Entry<Self>) -> String {
                format!("{:?}", entry.capabilities)
            }
        })*
    };
}

declares!(dyn Transport, dyn Signaling, dyn AudioCodec, dyn MediaHost, dyn Recorder, dyn AudioProcessorFactory);

/// Verifies a registered backend: its name and summary, that the defaults of its section work and
/// unknown keys are refused, and that the created backend declares the capabilities of its entry.
///
/// The test's crate must name that of the backend (`use my_backend as _;`), or else the linker
/// leaves the entry out.
///
/// # Panics
/// With the clause that does not hold.
pub fn verify<K: Declares + ?Sized>(name: &'static str) {
    let registry = Registry::discovered().unwrap_or_else(|error| panic!("two backends have one name: {error}"));
    let entry = registry.entry::<K>(name).unwrap_or_else(|error| {
        panic!(
            "{error}\n  contract: Plugin: an entry is submitted with `submit!`\n  hint:     the test's crate must name \
             the crate of the backend, as in `use my_backend as _;`"
        )
    });
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    assert!(
        !name.is_empty() && name.bytes().all(is_name),
        "the name {name:?} has other characters than lower case, digits and `-`\n  contract: Plugin::NAME"
    );
    assert!(
        !entry.summary.is_empty() && !entry.summary.contains('\n'),
        "{name}: the summary has to be one line, and is {:?}\n  contract: Plugin::SUMMARY",
        entry.summary
    );
    let key = format!("{}.{name}.{UNKNOWN}", K::SECTION);
    let unknown = Configuration::builder(&registry).set("the suite", &key, 1).build();
    let unknown = unknown.and_then(|configuration| entry.check(&configuration));
    assert!(
        unknown.as_ref().is_err_and(|error| error.kind() == ErrorKind::Invalid),
        "{name}: an unknown key of its section is accepted\n  expected: an error of kind Invalid\n  got:      {unknown:?}\n  \
         contract: Plugin::Config, with #[serde(deny_unknown_fields)]"
    );
    let configuration = Configuration::builder(&registry).build();
    let configuration = configuration.unwrap_or_else(|error| panic!("{name}: the defaults are refused: {error}"));
    entry.check(&configuration).unwrap_or_else(|error| panic!("{name}: Plugin::check refuses the defaults: {error}"));

    let expected = K::of_entry(entry);
    let declared = created::<K>(name);
    assert_eq!(
        declared, expected,
        "{name}: the backend (left) declares other capabilities than its entry (right)\n  contract: capabilities(), \
         \"as in its registry entry\""
    );
}

/// Capabilities of a backend that is created with defaults.
fn created<K: Declares + ?Sized>(name: &'static str) -> String {
    let progress = Progress::default();
    let (watching, (done, result)) = (progress.clone(), std::sync::mpsc::channel());
    watchdog::run_async_test("registration", LIMIT, &progress, move || async move {
        let registry = Registry::discovered().expect("it was discovered before");
        let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
        let configuration = Configuration::builder(&registry).build().expect("it was built before");
        let _running = watching.begin(name, "Plugin::create", LIMIT);
        let entry = registry.entry::<K>(name).expect("it was found before");
        match entry.create(&configuration, &context).await {
            Ok(backend) => done.send(backend.declared()).expect("the result is awaited"),
            Err(error) => panic!("{name}: Plugin::create fails with defaults: {error}"),
        }
    });
    result.recv().expect("the case has sent it")
}
