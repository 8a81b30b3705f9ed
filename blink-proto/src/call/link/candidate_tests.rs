//! Limits of what one side takes from the other.

use super::*;
use crate::wire::{self, LinkRole};

fn message(sdp: Option<String>, first_candidate: u32, count: u32) -> wire::Link {
    let candidate = |n| format!("candidate:{n} 1 udp 1 192.0.2.1 {n} typ host");
    wire::Link {
        link: [1; 16].into(),
        renegotiation_requests: 0,
        generation: 1,
        role: LinkRole::Offer,
        sdp,
        first_candidate,
        candidates: (first_candidate..first_candidate + count).map(candidate).collect(),
        ack_generation: 0,
        ack_candidates: 0,
        failed: false,
        cause: None,
    }
}

/// Candidates in the description are the first of the 200 of a generation, and are no part of what
/// is acknowledged by number.
#[test]
fn candidates_of_a_description_count() {
    for described in [0, 1, 150, 200, 240] {
        let (now, timers) = (Instant::now(), CallTimers::default());
        let mut link = Link::new([1; 16], false, SessionId(1), now, &timers);
        let candidates = "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(described);
        let sdp = format!("v=0\r\na=fingerprint:sha-256 00\r\n{candidates}");
        let mut actions = Vec::new();
        link.handle_message(&message(Some(sdp), 0, 10), SessionId(2), now, &timers, &mut actions);
        for turn in 1..40 {
            link.handle_message(&message(None, turn * 10, 10), SessionId(2), now, &timers, &mut actions);
        }
        let is_candidate =
            |action: &&LinkAction| matches!(action, LinkAction::Negotiate(Negotiation::Candidate { .. }));
        assert_eq!(actions.iter().filter(is_candidate).count(), 200_usize.saturating_sub(described), "{described}");
        let mut random = rand::SeedableRng::seed_from_u64(1);
        let answer = link.poll_message(now + Duration::from_secs(1), &mut random).unwrap();
        assert_eq!((answer.ack_generation, answer.ack_candidates), (1, 400), "{described}");
    }
}
