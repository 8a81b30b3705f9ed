//! Resource leaks over many calls.

use std::time::Duration;

use blink_engine::{EndReason, LeftReason};

use super::Scenario;
use crate::lab::{Fault, Lab, Participant, Result, call_ended, call_joined, incoming_call, joined, left, ringing};

/// Number of calls.
const CALLS: usize = 100;
/// Time after which a call has released all resources: it lingers for 12 s.
const LINGERING: Duration = Duration::from_millis(12_500);

/// Allowed growth of memory: caches of gossip and logs, and heap fragmentation.
const MORE_MEMORY: u64 = 16 << 20;

pub(super) const ALL: &[Scenario] = &[Scenario {
    number: 62,
    name: "a-hundred-calls",
    verifies: "After a hundred consecutive calls and their linger time the numbers of tasks, sessions, devices and subscriptions are as before; if nothing else runs in the process, the number of sockets too, and memory has grown by less than 16 MiB.",
    limit: Duration::from_secs(300),
    faults: &[Fault::NeverUnsubscribes, Fault::NeverCloses],
    run: |lab| Box::pin(a_hundred_calls(lab)),
    ..Scenario::DEFAULT
}];

async fn a_hundred_calls(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    // The first call creates lasting resources, such as threads and the connection between nodes.
    call_and_leave(&alice, &bob).await?;
    lab.passes(LINGERING).await;
    let topics = [alice.open_subscriptions()?, bob.open_subscriptions()?];
    let tasks = lab.tasks();
    let before = lab.resource_usage();
    for n in 0..CALLS {
        let (caller, callee) = if n % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        call_and_leave(caller, callee).await?;
    }
    lab.passes(LINGERING).await;
    for (participant, topics) in [&alice, &bob].into_iter().zip(topics) {
        participant.must(participant.open_sessions()? == 0, "has an open session outside a call")?;
        participant.must(participant.open_devices() == 0, "has an open device outside a call")?;
        let now = participant.open_subscriptions()?;
        participant.must(now == topics, format!("listens on {now} topics, and on {topics} before"))?;
        participant.has_no_call().await?;
    }
    let now = lab.tasks();
    alice.must(now <= tasks, format!("and bob leave {now} tasks, and had {tasks} before"))?;
    if let Some((before, now)) = before.zip(lab.resource_usage()) {
        let (sockets, more) = (before.sockets, now.memory.saturating_sub(before.memory));
        alice
            .must(now.sockets <= sockets, format!("and bob leave {} sockets, and had {sockets} before", now.sockets))?;
        alice.must(more <= MORE_MEMORY, format!("and bob leave {more} more bytes of memory"))?;
    }
    lab.no_unexpected_events().await
}

async fn call_and_leave(caller: &Participant, callee: &Participant) -> Result {
    let call = caller.offers(&[callee]).await?;
    callee.sees(incoming_call(call, caller)).await?;
    caller.sees(ringing(call, callee)).await?;
    callee.answers(call).await?;
    for (one, other) in [(caller, callee), (callee, caller)] {
        one.sees(call_joined(call)).await?;
        one.sees(joined(call, other)).await?;
        one.may_have_heard(call, other);
    }
    caller.leaves().await?;
    caller.sees(call_ended(call, EndReason::Left)).await?;
    callee.sees(left(call, caller, LeftReason::Left)).await?;
    callee.sees(call_ended(call, EndReason::RemoteLeft)).await?;
    for (one, other) in [(caller, callee), (callee, caller)] {
        one.may_have_heard(call, other);
    }
    Ok(())
}
