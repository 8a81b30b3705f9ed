//! The file of a data directory.

use std::sync::LazyLock;

use blink_api::ErrorKind;
use blink_engine::fuzzing;

use crate::input::Input;

/// As starts and calls leave it.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(fuzzing::used_file);

/// A file that was damaged: its identity is read or it is refused, and nothing panics, inside of the database neither.
///
/// Checksums make bytes from nowhere pointless: the input is what is changed, as places and bytes. An empty chunk cuts
/// the file off there.
pub fn run(data: &[u8]) {
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
