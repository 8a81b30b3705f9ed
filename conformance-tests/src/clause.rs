//! Cases of the suites of codecs, media hosts, processors and recorders: a failure names the case
//! and the clause of the contract that it verifies.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Name of a case, and the method and rule that it verifies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clause(pub(crate) &'static str, pub(crate) &'static str);

impl Clause {
    /// Runs a case.
    ///
    /// # Panics
    /// The case fails; the message has that of the case.
    pub(crate) fn verify(self, case: impl FnOnce()) {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(case)) {
            self.fail(&*cause);
        }
    }

    /// As [`verify`](Self::verify), for a case that waits.
    pub(crate) async fn verify_async(self, case: impl Future<Output = ()>) {
        let mut case = pin!(case);
        let result =
            std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| case.as_mut().poll(context))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
                Err(cause) => Poll::Ready(Err(cause)),
            });
        if let Err(cause) = result.await {
            self.fail(&*cause);
        }
    }

    fn fail(self, cause: &(dyn Any + Send)) -> ! {
        let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
        panic!("{}\n  case:     {}\n  contract: {}", text.unwrap_or("a panic without text"), self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAUSE: Clause = Clause("samples_are_finite", "AudioSource::read: samples are between -1 and 1");

    fn message(result: Result<(), Box<dyn Any + Send>>) -> String {
        result.unwrap_err().downcast_ref::<String>().unwrap().clone()
    }

    #[test]
    fn a_failure_names_the_case_and_the_clause() {
        let expected = "2 is too loud\n  case:     samples_are_finite\n  \
                        contract: AudioSource::read: samples are between -1 and 1";
        let level: u8 = "2".parse().unwrap();
        let sync = catch_unwind(|| CLAUSE.verify(|| assert!(level < 2, "{level} is too loud")));
        assert_eq!(message(sync), expected);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let case = async {
            tokio::task::yield_now().await;
            panic!("2 is too loud");
        };
        let waits = catch_unwind(AssertUnwindSafe(|| runtime.block_on(CLAUSE.verify_async(case))));
        assert_eq!(message(waits), expected);
        CLAUSE.verify(|| {});
    }
}
