//! Handles of calls, which stay valid where the id of a call changes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use blink_api::CallId;

use blink_proto::call::Event;

/// Ids that a handle keeps; beyond, the oldest is dropped.
const MAX_IDS: usize = 64;

/// A call, under every id that it has had.
///
/// Glare, two identities that call each other at the same time, is resolved to one call, whose id
/// changes for one of them ([`Event::CallReplaced`]). A handle has the new id before that event is
/// delivered, and recognizes events with an older one. Compare by [`is`](Call::is) and
/// [`concerns`](Call::concerns) rather than with a stored id.
///
/// Cheap to clone; all clones are the same handle. It does not keep the engine running.
#[derive(Clone)]
pub struct Call {
    ids: Arc<Ids>,
    /// Number of the first event since the call was joined or offered.
    since: u64,
}

impl Call {
    /// Current id of the call.
    pub fn id(&self) -> CallId {
        self.ids.with(|ids| *ids.last().expect("a handle is made with an id, and loses none but the oldest of many"))
    }

    /// Whether this is an id of the call, the current one or an older one.
    pub fn is(&self, id: CallId) -> bool {
        self.ids.with(|ids| ids.contains(&id))
    }

    /// Whether an event is about the call.
    pub fn concerns(&self, event: &Event) -> bool {
        event.call().is_some_and(|id| self.is(id))
    }

    /// As [`concerns`](Call::concerns), without events from before the call was joined or offered.
    pub(crate) fn concerns_now(&self, number: u64, event: &Event) -> bool {
        number >= self.since && self.concerns(event)
    }
}

impl From<Call> for CallId {
    fn from(call: Call) -> Self {
        call.id()
    }
}

impl From<&Call> for CallId {
    fn from(call: &Call) -> Self {
        call.id()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id().fmt(f)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ids.with(|ids| f.debug_tuple("Call").field(ids).finish())
    }
}

/// All handles that are still held.
#[derive(Default)]
pub(crate) struct Handles(Vec<Weak<Ids>>);

impl Handles {
    /// Adds a handle of a call with these ids, the current one last.
    pub(crate) fn add(&mut self, ids: Vec<CallId>, since: u64) -> Call {
        let ids = Arc::new(Ids(Mutex::new(ids)));
        self.0.retain(|handle| handle.strong_count() > 0);
        self.0.push(Arc::downgrade(&ids));
        Call { ids, since }
    }

    /// Replaces the id of a call in its handles.
    pub(crate) fn replace(&mut self, old: CallId, new: CallId) {
        for handle in self.0.iter().filter_map(Weak::upgrade) {
            handle.with(|ids| {
                if ids.contains(&old) {
                    ids.retain(|id| *id != new);
                    ids.push(new);
                    let surplus = ids.len().saturating_sub(MAX_IDS);
                    ids.drain(..surplus);
                }
            });
        }
    }
}

/// Ids of one call, the current one last; never empty.
struct Ids(Mutex<Vec<CallId>>);

impl Ids {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<CallId>) -> T) -> T {
        // A poisoned lock is usable: no closure under it leaves the list in an inconsistent state.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blink_proto::call::EndReason;

    fn id(n: u8) -> CallId {
        CallId::from_bytes([n; 16])
    }

    #[test]
    fn a_handle_is_the_same_call_under_every_id_and_takes_the_newest() {
        let mut handles = Handles::default();
        let (call, other) = (handles.add(vec![id(9)], 0), handles.add(vec![id(1)], 0));
        let clone = call.clone();
        handles.replace(id(9), id(5));
        handles.replace(id(5), id(3));
        assert_eq!((call.id(), clone.id(), other.id()), (id(3), id(3), id(1)));
        assert!([9, 5, 3].into_iter().all(|n| clone.is(id(n))) && !call.is(id(1)));
        assert!(call.concerns(&Event::CallReplaced { old: id(9), new: id(5) }));
        assert!(!call.concerns(&Event::CallEnded { call: id(1), reason: EndReason::Left, failure: None }));
        assert!(!call.concerns(&Event::AddressesChanged));
        assert_eq!(CallId::from(&call), id(3));
    }

    #[test]
    fn events_from_before_a_call_was_rejoined_do_not_concern_it() {
        let call = Handles::default().add(vec![id(1)], 10);
        let ended = Event::CallEnded { call: id(1), reason: EndReason::Left, failure: None };
        assert!(call.concerns(&ended) && !call.concerns_now(9, &ended) && call.concerns_now(10, &ended));
    }

    #[test]
    fn handles_that_were_dropped_and_ids_beyond_the_limit_are_forgotten() {
        let mut handles = Handles::default();
        for _ in 0..1_000 {
            handles.add(vec![id(1)], 0);
        }
        assert!(handles.0.len() <= 2);
        let call = handles.add(vec![id(0)], 0);
        for n in 0..200 {
            handles.replace(id(n), id(n + 1));
        }
        assert_eq!((call.id(), call.ids.with(|ids| ids.len())), (id(200), MAX_IDS));
    }
}
