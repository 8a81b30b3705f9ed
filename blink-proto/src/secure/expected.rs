//! Origins from which messages of expected people arrive.

use std::collections::BTreeMap;

use blink_api::{Did, Origin};
use web_time::Instant;

/// Origins kept. Beyond, the one not heard for the longest time is evicted.
const MAX_ORIGINS: usize = 4_096;
/// Origins of one person.
const MAX_ORIGINS_OF_ONE: usize = 4;

/// People by the origin of their messages.
///
/// An envelope does not name its origin, so that a node which republishes it before its author is
/// taken for the author's origin. It gains little: a person has few origins, and an origin from
/// which other messages arrive is removed.
#[derive(Debug, Default)]
pub(super) struct ExpectedOrigins {
    origins: BTreeMap<Origin, (Did, Instant)>,
}

impl ExpectedOrigins {
    /// Person whose messages arrive from an origin.
    pub(super) fn person(&self, origin: &Origin) -> Option<&Did> {
        self.origins.get(origin).map(|(person, _)| person)
    }

    /// Records that a message signed by a person arrived from an origin.
    pub(super) fn bind(&mut self, now: Instant, origin: Origin, person: Did) {
        if self.person(&origin) != Some(&person) {
            self.origins.remove(&origin);
            let of_person = |origins: &BTreeMap<Origin, (Did, Instant)>| {
                origins.values().filter(|(other, _)| *other == person).count()
            };
            if of_person(&self.origins) >= MAX_ORIGINS_OF_ONE {
                self.forget_oldest(|other| *other == person);
            } else if self.origins.len() >= MAX_ORIGINS {
                self.forget_oldest(|_| true);
            }
        }
        self.origins.insert(origin, (person, now));
    }

    fn forget_oldest(&mut self, of: impl Fn(&Did) -> bool) {
        let among = self.origins.iter().filter(|(_, (person, _))| of(person));
        if let Some(oldest) = among.min_by_key(|(_, (_, at))| *at).map(|(origin, _)| *origin) {
            self.origins.remove(&oldest);
        }
    }

    /// Removes an origin.
    pub(super) fn forget(&mut self, origin: &Origin) {
        self.origins.remove(origin);
    }
}

#[cfg(test)]
mod tests {
    use web_time::Duration;

    use super::*;

    #[test]
    fn a_person_has_a_few_origins_and_the_one_not_heard_for_longest_goes() {
        let (start, mut expected) = (Instant::now(), ExpectedOrigins::default());
        let alice = Did::from_public_key([1; 32]);
        expected.bind(start, Origin([99; 16]), Did::from_public_key([2; 32]));
        for n in 0..100 {
            let now = start + Duration::from_secs(u64::from(n));
            expected.bind(now, Origin([n.min(98); 16]), alice);
            expected.bind(now, Origin([0; 16]), alice);
        }
        assert_eq!(expected.origins.len(), 5);
        assert_eq!(expected.person(&Origin([0; 16])), Some(&alice), "it was heard again and again");
        assert!(expected.person(&Origin([99; 16])).is_some());
        expected.forget(&Origin([0; 16]));
        assert_eq!(expected.person(&Origin([0; 16])), None);
    }
}
