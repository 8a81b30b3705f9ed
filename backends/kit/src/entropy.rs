//! The first random number, which takes long.

use std::thread;

/// Lets the stacks' cryptography gather its entropy now, on a thread of its own.
///
/// AWS-LC measures the jitter of the processor before the first random number of a process: 20 ms
/// and more. Without this, the first session would stand still so long while its certificate is
/// made. Call it when a transport is created; it returns at once.
pub fn gather() {
    let gather = || {
        // A failure says nothing yet: whoever needs random numbers is told then.
        let _ = aws_lc_rs::rand::fill(&mut [0; 32]);
    };
    if let Err(error) = thread::Builder::new().name("blink-entropy".to_owned()).spawn(gather) {
        tracing::debug!(%error, "entropy is gathered when it is needed");
    }
}
