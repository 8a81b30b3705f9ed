//! The random number generator.

/// Generator of all random numbers: ChaCha20, seeded by the caller. Nothing in this crate reads
/// entropy from the operating system.
pub type Random = rand_chacha::ChaCha20Rng;
