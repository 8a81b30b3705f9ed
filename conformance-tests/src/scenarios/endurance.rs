//! What is left after many calls.

use std::time::Duration;

use blink_engine::{EndReason, LeftReason};

use super::Scenario;
use crate::lab::{Fault, Lab, Participant, Result, call_ended, call_joined, incoming_call, joined, left, ringing};

/// How many.
const CALLS: usize = 100;
/// After this nothing of a call is left: it lingers for 12 s.
const LINGERING: Duration = Duration::from_millis(12_500);

/// What the process may have grown by: what gossip and logs remember for a while, and gaps between
/// what was freed.
const MORE_MEMORY: u64 = 16 << 20;

pub(super) const ALL: &[Scenario] = &[Scenario {
    number: 62,
    name: "a-hundred-calls",
    verifies: "After a hundred calls one after the other, and the time that they linger, there are as many tasks, sessions, devices and topics as before; where nothing else runs in the process also as many sockets, and hardly more memory.",
    limit: Duration::from_secs(300),
    faults: &[Fault::NeverUnsubscribes, Fault::NeverCloses],
    run: |lab| Box::pin(a_hundred_calls(lab)),
    ..Scenario::USUAL
}];

async fn a_hundred_calls(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    // The first makes what stays, such as threads and the connection of the nodes.
    call_and_leave(&alice, &bob).await?;
    lab.passes(LINGERING).await;
    let topics = [alice.open_topics()?, bob.open_topics()?];
    let tasks = lab.tasks();
    let before = lab.possessions();
    for n in 0..CALLS {
        let (caller, callee) = if n % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        call_and_leave(caller, callee).await?;
    }
    lab.passes(LINGERING).await;
    for (person, topics) in [&alice, &bob].into_iter().zip(topics) {
        person.must(person.open_sessions()? == 0, "has a session open in no call")?;
        person.must(person.open_devices() == 0, "has a device open in no call")?;
        let now = person.open_topics()?;
        person.must(now == topics, format!("listens on {now} topics, and on {topics} before"))?;
        person.has_no_call().await?;
    }
    let now = lab.tasks();
    alice.must(now <= tasks, format!("and bob leave {now} tasks, and had {tasks} before"))?;
    if let Some((before, now)) = before.zip(lab.possessions()) {
        let (sockets, more) = (before.sockets, now.memory.saturating_sub(before.memory));
        alice
            .must(now.sockets <= sockets, format!("and bob leave {} sockets, and had {sockets} before", now.sockets))?;
        alice.must(more <= MORE_MEMORY, format!("and bob leave {more} more bytes of memory"))?;
    }
    lab.nobody_sees_anything_more().await
}

async fn call_and_leave(caller: &Participant, callee: &Participant) -> Result {
    let call = caller.offers(&[callee]).await?;
    callee.sees(incoming_call(call, caller)).await?;
    caller.sees(ringing(call, callee)).await?;
    callee.answers(call).await?;
    for (one, other) in [(caller, callee), (callee, caller)] {
        one.sees(call_joined(call)).await?;
        one.sees(joined(call, other)).await?;
        one.may_hear(call, other);
    }
    caller.leaves().await?;
    caller.sees(call_ended(call, EndReason::Left)).await?;
    callee.sees(left(call, caller, LeftReason::Left)).await?;
    callee.sees(call_ended(call, EndReason::RemoteLeft)).await?;
    for (one, other) in [(caller, callee), (callee, caller)] {
        one.may_hear(call, other);
    }
    Ok(())
}
