//! Messages of the signaling, opened and judged, as inputs of the machine.

use blink_api::{Delivery, Topic, Verdict};

use super::Driver;
use crate::metric_list::DELIVERIES;
use blink_proto::call::{Input, Now, Signal};
use blink_proto::wire::Content;

impl Driver {
    pub(super) fn handle_delivery(&mut self, now: Now, topic: &Topic, delivery: &Delivery) {
        let expects = |did: &_| self.machine.is_expected(did);
        let (result, verdict) = self.envelopes.open_expecting(now.mono, topic, delivery, &expects);
        match result {
            Ok((channel, Content { from, boot, call, body, .. })) => {
                tracing::trace!(kind = ?body.kind(), "a message came");
                let lasts = !body.is_from_one_time_device();
                self.machine.handle(now, Input::Signal(Signal { channel, from, boot, call, body }));
                // Judged afterwards: a message may bring the entry by which its sender is a
                // member.
                let may_speak = self.machine.is_permitted(&channel, &from.did);
                metrics::counter!(DELIVERIES, "result" => if may_speak { "accepted" } else { "ignored" }).increment(1);
                self.parts.signaling.report(delivery.id, if may_speak { verdict } else { Verdict::Ignore });
                let expected = self.machine.is_expected(&from.did);
                self.envelopes.set_expected(now.mono, delivery, &from, expected, lasts);
            }
            Err(refusal) => {
                metrics::counter!(DELIVERIES, "result" => "refused").increment(1);
                self.parts.signaling.report(delivery.id, verdict);
                tracing::trace!(?refusal, "a message was refused");
                if let Some(boot_rollback) = self.envelopes.take_boot_rollback() {
                    self.machine.handle(now, Input::BootRollback(boot_rollback));
                }
            }
        }
    }
}
