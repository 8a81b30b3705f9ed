//! The transports' contract between every two transports that can meet, in both roles.

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
                candidates_may_come_before_the_description
                packets_arrive_as_they_were_sent
                packets_without_payload_arrive
                messages_arrive_both_ways
                messages_for_a_slow_reader_are_bounded
                messages_for_a_peer_that_is_gone_are_bounded
                a_listener_hears_and_may_speak_later
                a_removed_track_ends_and_the_other_goes_on
                ice_restart_keeps_media
                stats_count_what_was_sent
                sections_carry_their_own_tracks
                sides_may_have_different_numbers_of_tracks
                video_goes_in_either_codec
                video_without_a_shared_codec_is_refused
                key_frame_requests_reach_the_sender
                an_ice_restart_keeps_all_sections
                audio_goes_on_while_video_flows
                lost_video_is_sent_again
                no_common_codec_is_incompatible
                redundant_audio_goes_where_both_have_it
                unusable_input_is_invalid_and_harmless
                unusual_lines_are_taken
                unusual_sections_are_rejected
                rejected_sections_need_no_mid
                other_hosts_are_sent_few_checks
                everything_fails_after_close
                a_closed_peer_is_a_lost_path_and_no_more
                its_sockets_are_free_after_close_and_drop
                relayed_candidates_connect
                first_messages_arrive_through_relays
                one_side_may_keep_to_relays
                hosts_may_go_untold
                hosts_may_have_names
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
            async fn nothing_leaves_but_through_the_relay() {
                blink_conformance::transport::nothing_leaves_but_through_the_relay(&super::$transport()).await;
            }

            #[tokio::test]
            async fn servers_that_give_nothing_are_told() {
                blink_conformance::transport::servers_that_give_nothing_are_told(&super::$transport()).await;
            }

            #[tokio::test]
            async fn unusable_servers_end_no_session() {
                blink_conformance::transport::unusable_servers_end_no_session(&super::$transport()).await;
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
