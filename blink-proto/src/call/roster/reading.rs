//! How much of a message is read.

use super::tests::{add, roster};
use super::*;

#[test]
fn entries_beyond_the_limit_are_ignored_whatever_they_are() {
    let roster = roster(&[1, 2]);
    let (entry, other) = (add(&roster, 1, 3, 0), add(&roster, 1, 4, 1));
    let garbage = Signed { bytes: vec![0], signature: [0; 64] };
    let mut message = vec![entry; MAX_ENTRIES];
    message.extend([garbage.clone(), other]);
    let mut reader = roster.clone();
    assert_eq!(reader.merge(&message, None), Ok(true));
    assert_eq!(reader.entries().len(), 1, "what is after the limit is not taken in");
    message[MAX_ENTRIES - 1] = garbage;
    assert_eq!(roster.clone().merge(&message, None), Err(Refusal::BadContent));
}
