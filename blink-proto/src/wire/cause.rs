//! Reason of a failed path, as the side that found it tells the other.

use blink_api::{DtlsState, FailureReason, IceState, PathFailure, RejectReason, TransportState};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// Array of reason, state of ICE and state of DTLS; further elements are ignored. Numbers of later
/// versions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cause {
    /// Number of the reason: its place in [`FailureReason::ALL`], from 1.
    pub reason: u64,
    /// State of ICE: 0 unknown, 1 new, 2 checking, 3 connected, 4 disconnected, 5 failed.
    pub ice: u64,
    /// State of DTLS: 0 unknown, 1 new, 2 connecting, 3 connected, 4 failed.
    pub dtls: u64,
}

/// States by their numbers.
const ICE: [IceState; 6] = [
    IceState::Unknown,
    IceState::New,
    IceState::Checking,
    IceState::Connected,
    IceState::Disconnected,
    IceState::Failed,
];
const DTLS: [DtlsState; 5] =
    [DtlsState::Unknown, DtlsState::New, DtlsState::Connecting, DtlsState::Connected, DtlsState::Failed];
/// Reasons of a rejection by their numbers.
const REJECT: [RejectReason; 3] = [RejectReason::Declined, RejectReason::Policy, RejectReason::NoDevice];

impl Cause {
    /// The failure as the recipient reports it. A message without a cause is of an earlier version.
    pub fn failure(cause: Option<Self>) -> PathFailure {
        let cause = cause.unwrap_or(Self { reason: 0, ice: 0, dtls: 0 });
        let known = usize::try_from(cause.reason).ok().and_then(|number| number.checked_sub(1));
        let reason = known.and_then(|place| FailureReason::ALL.get(place).copied());
        let state = TransportState::new(at(&ICE, cause.ice), at(&DTLS, cause.dtls));
        PathFailure::remote(reason.unwrap_or(FailureReason::Other(cause.reason)), state)
    }
}

impl From<PathFailure> for Cause {
    fn from(failure: PathFailure) -> Self {
        let reason = match failure.reason {
            FailureReason::Other(number) => number,
            reason => number_of(&FailureReason::ALL, reason) + 1,
        };
        Self { reason, ice: number_of(&ICE, failure.ice), dtls: number_of(&DTLS, failure.dtls) }
    }
}

impl<C> Encode<C> for Cause {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(3)?.u64(self.reason)?.u64(self.ice)?.u64(self.dtls)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Cause {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let further = d.array()?.and_then(|length| length.checked_sub(3));
        let further = further.ok_or_else(|| decode::Error::message("wrong length"))?;
        let cause = Self { reason: d.u64()?, ice: d.u64()?, dtls: d.u64()? };
        for _ in 0..further {
            d.skip()?;
        }
        Ok(cause)
    }
}

/// Number of a rejection's reason; `None` for the one that is not sent.
pub(crate) fn number_of_rejection(reason: RejectReason) -> Option<u64> {
    let number = match reason {
        RejectReason::Other(number) => number,
        reason => number_of(&REJECT, reason),
    };
    (number > 0).then_some(number)
}

/// Reason of a rejection by its number.
pub(crate) fn rejection(number: Option<u64>) -> RejectReason {
    let number = number.unwrap_or(0);
    let known = usize::try_from(number).ok().and_then(|place| REJECT.get(place).copied());
    known.unwrap_or(RejectReason::Other(number))
}

/// Place of a value, as its number in the protocol. Values without one are 0, unknown.
fn number_of<T: PartialEq>(all: &[T], value: T) -> u64 {
    all.iter().position(|other| *other == value).map_or(0, |place| place as u64)
}

fn at<T: Copy + Default>(all: &[T], number: u64) -> T {
    usize::try_from(number).ok().and_then(|place| all.get(place).copied()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cbor;

    #[test]
    fn every_reason_and_state_arrives_at_the_other_side() {
        for reason in FailureReason::ALL.into_iter().chain([FailureReason::Other(99), FailureReason::Other(0)]) {
            for ice in ICE {
                for dtls in DTLS {
                    let state = TransportState::new(ice, dtls);
                    let bytes = cbor::encode(&Cause::from(PathFailure::local(reason, state)));
                    let cause: Cause = cbor::decode(&bytes).unwrap();
                    assert_eq!(Cause::failure(Some(cause)), PathFailure::remote(reason, state));
                }
            }
        }
        for reason in REJECT.into_iter().chain([RejectReason::Other(7)]) {
            assert_eq!(rejection(number_of_rejection(reason)), reason);
        }
    }

    #[test]
    fn causes_of_later_versions_are_kept_and_longer_ones_read() {
        let later: Cause = cbor::decode(&[0x84, 0x18, 40, 9, 9, 0xf6]).unwrap();
        assert_eq!(later, Cause { reason: 40, ice: 9, dtls: 9 });
        let failure = Cause::failure(Some(later));
        assert_eq!(failure, PathFailure::remote(FailureReason::Other(40), TransportState::default()));
        assert!(cbor::decode::<Cause>(&[0x82, 1, 1]).is_err());
        assert_eq!(Cause::failure(None).reason, FailureReason::Other(0));
    }
}
