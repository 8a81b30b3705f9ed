//! Conformance tests between every two network transports, in both roles.

use blink_api::Transport;
use blink_conformance::transport;
use blink_transport_str0m::{Str0mConfig, Str0mTransport};
use blink_transport_webrtc_rs::{WebRtcConfig, WebRtcTransport};

fn str0m() -> impl Transport {
    Str0mTransport::new(Str0mConfig::default()).expect("the defaults are valid")
}

fn webrtc_rs() -> impl Transport {
    WebRtcTransport::new(WebRtcConfig::default()).expect("the defaults are valid")
}

macro_rules! pairs {
    ($($name:ident: $offerer:ident, $answerer:ident;)*) => {
        $(mod $name {
            use super::*;

            pairs! { @tests $offerer, $answerer:
                negotiates_and_carries
                candidates_may_trickle_and_repeat
                candidates_may_precede_the_description
                packets_are_delivered_unchanged
                packets_without_payload_arrive
                messages_are_delivered_both_ways
                messages_for_a_slow_reader_are_bounded
                messages_for_a_peer_that_is_gone_are_bounded
                a_receive_only_side_can_add_a_track_later
                a_removed_track_ends_and_the_other_direction_continues
                ice_restart_keeps_media
                stats_count_what_was_sent
                sections_carry_their_own_tracks
                sides_may_have_different_numbers_of_tracks
                video_is_carried_in_either_codec
                video_without_a_shared_codec_is_refused
                key_frame_requests_reach_the_sender
                an_ice_restart_keeps_all_sections
                audio_continues_during_video_bursts
                lost_video_is_retransmitted
                no_common_codec_is_incompatible
                redundant_audio_is_negotiated_if_both_support_it
                malformed_input_is_invalid_and_harmless
                unusual_lines_are_accepted
                unusual_sections_are_rejected
                rejected_sections_need_no_mid
                checks_to_third_parties_are_bounded
                everything_fails_after_close
                a_closed_peer_is_reported_as_disconnected
                a_dropped_session_is_reported_as_disconnected
                other_fingerprints_are_refused
                nothing_is_readable_on_the_wire
                sockets_are_released_after_close_and_drop
                relayed_candidates_connect
                first_messages_arrive_through_relays
                one_side_may_be_relay_only
                host_candidates_may_be_omitted
                host_candidates_may_be_mdns_names
            }
        })*
    };
    (@tests $offerer:ident, $answerer:ident: $($test:ident)*) => {
        $(#[tokio::test]
        async fn $test() {
            let result = transport::$test(&$offerer(), &$answerer()).await;
            println!("{result:?}");
        })*
    };
}

macro_rules! exclusive_process {
    ($($transport:ident)*) => {
        $(mod $transport {
            #[tokio::test]
            async fn nothing_happens_before_negotiation() {
                blink_conformance::transport::nothing_happens_before_negotiation(&super::$transport()).await;
            }

            #[tokio::test]
            async fn stun_servers_give_reflexive_candidates() {
                blink_conformance::transport::stun_servers_give_reflexive_candidates(&super::$transport()).await;
            }

            #[tokio::test]
            async fn relay_only_sends_nothing_past_the_relay() {
                blink_conformance::transport::relay_only_sends_nothing_past_the_relay(&super::$transport()).await;
            }

            #[tokio::test]
            async fn failing_servers_are_reported() {
                blink_conformance::transport::failing_servers_are_reported(&super::$transport()).await;
            }

            #[tokio::test]
            async fn unusable_servers_do_not_end_the_session() {
                blink_conformance::transport::unusable_servers_do_not_end_the_session(&super::$transport()).await;
            }

            #[tokio::test]
            async fn unusable_configurations_are_refused() {
                blink_conformance::transport::unusable_configurations_are_refused(&super::$transport()).await;
            }
        })*
    };
}

exclusive_process! { str0m webrtc_rs }

pairs! {
    str0m_str0m: str0m, str0m;
    str0m_webrtc_rs: str0m, webrtc_rs;
    webrtc_rs_str0m: webrtc_rs, str0m;
    webrtc_rs_webrtc_rs: webrtc_rs, webrtc_rs;
}
