//! Budgets: what strangers make a device check and answer is bounded.

use std::time::Duration;

use blink_proto::secure::Refusal;
use blink_proto::wire::Offer;

use super::strangers::*;

#[test]
fn a_known_person_is_answered_however_many_strangers_were_at_that_moment() {
    let mut callee = Callee::new();
    let own = callee.own();
    let ask = |callee: &mut Callee, caller: &Caller| nonce(&callee.hears_offer(caller, caller.offer(None))).is_some();
    let answered = (100..2_100).filter(|number| ask(&mut callee, &Caller::new(*number, &[own]))).count();
    assert_eq!(answered, 512);
    assert!(ask(&mut callee, &Caller::new(FRIEND, &[own])));
}

#[test]
fn an_unasked_offer_costs_one_signature_whatever_it_holds() {
    let mut callee = Callee::new();
    let stranger = Caller::new(100, &[callee.own()]);
    let unasked = Offer { entries: stranger.entries(64), ..stranger.offer(None) };
    let before = callee.machine.signatures_checked();
    let mut answers = 0;
    for _ in 0..20 {
        answers += usize::from(nonce(&callee.hears_offer(&stranger, unasked.clone())).is_some());
        callee.wait(Duration::from_millis(500));
    }
    assert_eq!(answers, 10, "one a second");
    assert_eq!(callee.machine.signatures_checked() - before, 1, "that of the root, once");

    // Once the nonce is echoed the entries are looked at: those that would be held, one for each
    // slot of their maker.
    let nonce = callee.nonce(&stranger);
    let asked = Offer { entries: unasked.entries.clone(), ..stranger.offer(Some(nonce)) };
    assert!(rang(&callee.hears_offer(&stranger, asked.clone())));
    assert_eq!(callee.machine.signatures_checked() - before, 1 + 4 + 1, "and its call key");
    // The same again, of which the roster kept four.
    for _ in 0..20 {
        callee.hears_offer(&stranger, asked.clone());
    }
    assert_eq!(callee.machine.signatures_checked() - before, 1 + 4 + 1, "and its call key");
}

#[test]
fn strangers_have_one_budget_for_signatures_and_a_known_person_has_its_own() {
    let mut callee = Callee::new();
    let own = callee.own();
    let before = callee.machine.signatures_checked();
    let mut limited = 0;
    for number in 100..200 {
        let stranger = Caller::new(number, &[own]);
        let nonce = callee.nonce(&stranger);
        let offer = Offer { entries: stranger.entries(64), ..stranger.offer(Some(nonce)) };
        limited += refusals(&callee.hears_offer(&stranger, offer), Refusal::RateLimited);
    }
    assert_eq!(
        (callee.machine.signatures_checked() - before, limited),
        (100 + 256 + 64, 36),
        "100 roots, 64 offers' entries and call keys"
    );
    let friend = Caller::new(FRIEND, &[own]);
    let nonce = callee.nonce(&friend);
    let offer = Offer { entries: friend.entries(64), ..friend.offer(Some(nonce)) };
    assert!(rang(&callee.hears_offer(&friend, offer)));
}
