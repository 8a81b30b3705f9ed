//! Signatures inside messages: each is checked once and remembered, and what one sender lets this
//! device check is bounded.

use std::collections::{BTreeSet, VecDeque};
use web_time::Instant;

use blink_api::Did;

use super::buckets::{Bucket, Buckets};
use super::{Refusal, sha256, verify};
use crate::shares::Share;

/// Signatures remembered as right; beyond, the one checked longest ago is forgotten.
const MAX_REMEMBERED: usize = 4_096;

/// One signed statement.
#[derive(Clone, Copy)]
pub(crate) struct Statement<'a> {
    /// The signer.
    pub(crate) did: &'a Did,
    /// The kind of statement, part of what is signed.
    pub(crate) context: &'a [u8],
    /// Bytes that are signed.
    pub(crate) bytes: &'a [u8],
    pub(crate) signature: &'a [u8; 64],
}

/// Checks signatures of statements in messages of others.
#[derive(Clone)]
pub(crate) struct SignatureChecks {
    right: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
    senders: Buckets<Did>,
    strangers: Bucket,
    checked: u64,
}

impl SignatureChecks {
    /// With full budgets: 32 a second with a burst of 256 for each sender, and 64 with the same
    /// burst for all strangers.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            right: BTreeSet::new(),
            order: VecDeque::new(),
            senders: Buckets::new(32.0, 256.0, now),
            strangers: Bucket::new(64.0, 256.0, now),
            checked: 0,
        }
    }

    /// Checks a statement out of a sender's budget, unless it is known to be right.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`] where the budget is used up, and those of [`verify`].
    pub(crate) fn verify_for(
        &mut self,
        now: Instant,
        (sender, share): (Did, Share),
        statement: &Statement<'_>,
    ) -> Result<(), Refusal> {
        let name = statement.name();
        if self.right.contains(&name) {
            return Ok(());
        }
        self.senders.take(now, sender)?;
        if share == Share::Strangers {
            self.strangers.take(now)?;
        }
        self.check(name, statement)
    }

    /// Checks a statement of which each message holds one, unless it is known to be right.
    ///
    /// # Errors
    /// Those of [`verify`].
    pub(crate) fn verify(&mut self, statement: &Statement<'_>) -> Result<(), Refusal> {
        let name = statement.name();
        if self.right.contains(&name) { Ok(()) } else { self.check(name, statement) }
    }

    fn check(&mut self, name: [u8; 32], statement: &Statement<'_>) -> Result<(), Refusal> {
        self.checked += 1;
        verify(statement.did, statement.context, statement.bytes, statement.signature)?;
        if self.order.len() == MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.right.remove(&oldest);
        }
        self.right.insert(name);
        self.order.push_back(name);
        Ok(())
    }

    /// How many signatures were checked, those that were remembered left out.
    pub(crate) fn checked(&self) -> u64 {
        self.checked
    }
}

impl Statement<'_> {
    fn name(&self) -> [u8; 32] {
        // The context has a length of its own, so that no two statements are the same bytes.
        let length = (self.context.len() as u64).to_be_bytes();
        sha256(&[&length, self.context, self.did.public_key(), self.signature, self.bytes])
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
