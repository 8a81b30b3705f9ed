//! Cache and budgets of signature checks inside messages: each signature is checked once, and every
//! sender has a budget.

use std::collections::{BTreeSet, VecDeque};

use blink_api::Did;
use web_time::Instant;

use super::buckets::{Bucket, Buckets};
use super::counters::Refusal;
use super::identity::verify;
use super::statement::Statement;
use crate::shares::Share;

/// Valid signatures cached. Beyond, the oldest is evicted.
const MAX_REMEMBERED: usize = 4_096;

/// Checks signatures of statements in messages of others.
#[derive(Debug, Clone)]
pub(crate) struct SignatureChecks {
    valid: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
    senders: Buckets<Did>,
    strangers: Bucket,
    checked: u64,
}

impl SignatureChecks {
    /// Full budgets: 32 checks per second with a burst of 256 for each sender, and 64 per second
    /// with the same burst for all strangers together.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            valid: BTreeSet::new(),
            order: VecDeque::new(),
            senders: Buckets::new(32.0, 256.0, now),
            strangers: Bucket::new(64.0, 256.0, now),
            checked: 0,
        }
    }

    /// Verifies a statement from a sender's budget, unless its result is cached.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] if the budget is exhausted, and those of [`verify`].
    pub(crate) fn verify_for(
        &mut self,
        now: Instant,
        (sender, share): (Did, Share),
        statement: &Statement<'_>,
    ) -> Result<(), Refusal> {
        let digest = statement.digest();
        if self.valid.contains(&digest) {
            return Ok(());
        }
        self.senders.take(now, sender)?;
        if share == Share::Strangers {
            self.strangers.take(now)?;
        }
        self.check(digest, statement)
    }

    /// Verifies a statement of which a message contains only one, unless its result is cached.
    ///
    /// # Errors
    /// Those of [`verify`].
    pub(crate) fn verify(&mut self, statement: &Statement<'_>) -> Result<(), Refusal> {
        let digest = statement.digest();
        if self.valid.contains(&digest) { Ok(()) } else { self.check(digest, statement) }
    }

    fn check(&mut self, digest: [u8; 32], statement: &Statement<'_>) -> Result<(), Refusal> {
        self.checked += 1;
        verify(statement.did, statement.context, statement.bytes, statement.signature)?;
        if self.order.len() == MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.valid.remove(&oldest);
        }
        self.valid.insert(digest);
        self.order.push_back(digest);
        Ok(())
    }

    /// Number of signatures checked; cached results do not count.
    pub(crate) fn checked(&self) -> u64 {
        self.checked
    }
}

#[cfg(test)]
mod tests {
    use web_time::Duration;

    use super::*;
    use crate::secure::Identity;

    #[test]
    fn a_signature_is_checked_once_and_a_wrong_one_each_time() {
        let (alice, now) = (Identity::from_seed(&[1; 32]), Instant::now());
        let mut checks = SignatureChecks::new(now);
        let (did, signature) = (alice.did(), alice.sign(b"entry", b"one"));
        let right = Statement { did: &did, context: b"entry", bytes: b"one", signature: &signature };
        for wrong in [
            Statement { bytes: b"two", ..right },
            Statement { context: b"other", ..right },
            Statement { did: &Identity::from_seed(&[2; 32]).did(), ..right },
            Statement { signature: &[0; 64], ..right },
        ] {
            assert_eq!(checks.verify(&right), Ok(()));
            assert_eq!(checks.verify(&wrong), Err(Refusal::BadSignature));
            assert_eq!(checks.verify(&wrong), Err(Refusal::BadSignature));
        }
        assert_eq!(checks.checked(), 1 + 2 * 4);
    }

    #[test]
    fn strangers_share_a_budget_that_is_not_that_of_others() {
        let (alice, start) = (Identity::from_seed(&[1; 32]), Instant::now());
        let mut checks = SignatureChecks::new(start);
        let did = alice.did();
        let mut passes = |sender: u8, share, second: u64, n: u64| {
            let bytes = [&[sender][..], &second.to_be_bytes(), &n.to_be_bytes()].concat();
            let signature = alice.sign(b"", &bytes);
            let statement = Statement { did: &did, context: b"", bytes: &bytes, signature: &signature };
            let sender = (Did::from_public_key([sender; 32]), share);
            checks.verify_for(start + Duration::from_secs(second), sender, &statement).is_ok()
        };
        assert_eq!((0..300).filter(|n| passes(1, Share::Familiar, 0, *n)).count(), 256);
        let strangers = |n: &u64| passes(10 + (*n % 10) as u8, Share::Strangers, 0, *n);
        assert_eq!((0..300).filter(strangers).count(), 256);
        assert!(!passes(30, Share::Strangers, 0, 0) && passes(2, Share::Familiar, 0, 0));
        assert_eq!((0..300).filter(|n| passes(30, Share::Strangers, 1, *n)).count(), 64);
        assert_eq!((0..300).filter(|n| passes(1, Share::Familiar, 1, *n)).count(), 32);
    }
}
