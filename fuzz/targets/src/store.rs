//! The file of a data directory.

use std::io::Write;
use std::sync::{LazyLock, Once};

use blink_api::ErrorKind;
use blink_engine::fuzzing;

use crate::input::Input;

/// As starts and calls leave it.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(fuzzing::used_file);

/// A fuzzer ends at every panic, but the store catches those of the database.
static HOOK: Once = Once::new();

/// A file that was damaged: its identity is read or it is refused. Where the database panics, that
/// is an error.
///
/// Checksums make bytes from nowhere pointless: the input is what is changed, as places and bytes.
/// An empty chunk cuts the file off there.
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
        Ok(is_same) => assert!(is_same || file.is_empty(), "another identity without a word"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
    }
}

/// Reports panics other than the database's. Those that are not caught end the fuzzer all the same.
fn report(panic: &std::panic::PanicHookInfo<'_>) {
    if panic.location().is_none_or(|location| !location.file().contains("/redb-")) {
        // Without stderr the exit status says it.
        writeln!(std::io::stderr(), "{panic}").ok();
    }
}
