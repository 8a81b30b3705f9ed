//! Early seeding of the random number generator, which is slow.

use std::thread;

/// Seeds the stacks' random number generator on a thread of its own.
///
/// AWS-LC collects CPU jitter before the first random number of a process, which takes 20 ms and
/// more. Otherwise the first session would block for that long while its certificate is created.
/// Call it when a transport is created; it returns immediately.
pub fn seed() {
    let seed = || {
        // A failure is reported to the first actual user of random numbers.
        let _ = aws_lc_rs::rand::fill(&mut [0; 32]);
    };
    if let Err(error) = thread::Builder::new().name("blink-entropy".to_owned()).spawn(seed) {
        tracing::debug!(%error, "no thread for early seeding: the first session seeds the RNG");
    }
}
