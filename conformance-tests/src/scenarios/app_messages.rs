//! Messages of the application, over outages.

use std::time::Duration;

use blink_api::ErrorKind;

use super::Scenario;
use crate::lab::{
    EventMutation, Fault, Lab, Participant, Requirements, Result, any, message_received, reconnected, reconnecting,
};

pub(super) const ALL: &[Scenario] = &[Scenario {
    number: 63,
    name: "messages",
    verifies: "Messages of up to 16 KiB arrive once and in order, also those that were sent during a network outage of 5 s.",
    needs: Requirements { blackout: true, ..Requirements::NONE },
    faults: &[Fault::MutatesEvents(|event| EventMutation::suppress(event, "message_received"))],
    run: |lab| Box::pin(messages(lab)),
    ..Scenario::DEFAULT
}];

/// A message that ends with its number.
fn text(n: usize, length: usize) -> Vec<u8> {
    let number = format!(" {n}").into_bytes();
    let mut text = vec![b'.'; length.saturating_sub(number.len())];
    text.extend(number);
    text
}

async fn messages(lab: &mut Lab) -> Result {
    let [alice, bob] = lab.participants().await?;
    let call = alice.calls(&[&bob]).await?;
    let lengths = [0, 5, 8_192, 8_193, 16_384];
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        for (n, length) in lengths.into_iter().enumerate() {
            sends(from, text(n, length)).await?;
        }
        let refused = from.blink()?.send_message_to_all(vec![0; 16_385]).await;
        let is_refused = refused.is_err_and(|error| error.kind() == ErrorKind::TooLarge);
        from.must(is_refused, "could send a message over 16 KiB")?;
        to.sees_in_order(
            lengths.iter().enumerate().map(|(n, length)| message_received(call, from, text(n, *length))).collect(),
        )
        .await?;
    }
    // An outage in which the path is lost: what is sent meanwhile arrives afterwards.
    bob.loses_network()?;
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        sends(from, text(10, 20)).await?;
        from.sees_within(Duration::from_secs(5), reconnecting(call, to)).await?;
        sends(from, text(11, 16_000)).await?;
    }
    lab.passes(Duration::from_secs(2)).await;
    bob.regains_network()?;
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        to.sees_within(Duration::from_secs(5), reconnected(call, from)).await?;
        let late = vec![message_received(call, from, text(10, 20)), message_received(call, from, text(11, 16_000))];
        to.sees_in_order(late).await?;
    }
    lab.passes(Duration::from_secs(3)).await;
    for participant in [&alice, &bob] {
        participant.saw_exactly(lengths.len() + 2, any("message_received"))?;
        participant.never_saw(any("message_lost"))?;
    }
    lab.no_unexpected_events().await
}

async fn sends(from: &Participant, message: Vec<u8>) -> Result {
    let sent = from.blink()?.send_message_to_all(message).await;
    sent.map(drop).map_err(|error| from.fails(format!("could not send: {error}")))
}
