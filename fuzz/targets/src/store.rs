//! The database file of a data directory.

use std::io::Write;
use std::sync::{LazyLock, Once};

use blink_api::ErrorKind;
use blink_engine::fuzzing;

use crate::input::Input;

/// A file after some starts and calls.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(fuzzing::used_file);

/// A fuzzer ends at every panic, but the store catches those of the database.
static HOOK: Once = Once::new();

/// A damaged file yields its identity or an error, also if the database panics.
///
/// Random bytes would fail at checksums, so that the input is a list of modifications, as offsets
/// and bytes. An empty chunk truncates the file.
pub fn run(data: &[u8]) {
    HOOK.call_once(|| std::panic::set_hook(Box::new(report)));
    let mut file = FILE.clone();
    let mut input = Input::new(data);
    while !input.is_empty() {
        let place = input.u32() as usize % file.len().max(1);
        let bytes = input.chunk();
        if bytes.is_empty() {
            file.truncate(place);
        }
        for (byte, changed) in file.iter_mut().skip(place).zip(bytes) {
            *byte = *changed;
        }
    }
    match fuzzing::start(&file) {
        Ok(is_same) => assert!(is_same || file.is_empty(), "another identity without an error"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
    }
}

/// Reports panics other than the database's. Uncaught panics end the fuzzer regardless.
fn report(panic: &std::panic::PanicHookInfo<'_>) {
    if panic.location().is_none_or(|location| !location.file().contains("/redb-")) {
        // The exit status still reports the failure without stderr.
        writeln!(std::io::stderr(), "{panic}").ok();
    }
}
