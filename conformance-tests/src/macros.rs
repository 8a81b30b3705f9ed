//! Macros that create the tests of a backend.

/// Creates one test per case of [`transport`](crate::transport) between two transports, in a module
/// with the given name. Each expression creates a [`Transport`](blink_api::Transport), in the
/// runtime of the case.
///
/// ```ignore
/// blink_conformance::transport_tests!(mine, MyTransport::new(), MyTransport::new(), registered as "mine");
/// ```
///
/// Every case runs under the [`watchdog`](crate::watchdog). Cases about a capability that a
/// transport does not declare verify that it is refused with `Unsupported` instead.
#[macro_export]
macro_rules! transport_tests {
    ($name:ident, $offerer:expr, $answerer:expr, registered as $registered:literal) => {
        mod $name {
            use super::*;

            $crate::transport_tests! { @all $offerer, $answerer }

            #[test]
            fn registration() {
                $crate::registration::verify::<dyn ::blink_api::Transport>($registered);
            }
        }
    };
    ($name:ident, $offerer:expr, $answerer:expr) => {
        mod $name {
            use super::*;

            $crate::transport_tests! { @all $offerer, $answerer }
        }
    };
    (@all $offerer:expr, $answerer:expr) => {
        $crate::transport_tests! { @pairs $offerer, $answerer,
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
            sockets_are_released_after_close_and_drop
            other_fingerprints_are_refused
            nothing_is_readable_on_the_wire
            relayed_candidates_connect
            first_messages_arrive_through_relays
            one_side_may_be_relay_only
            host_candidates_may_be_omitted
            host_candidates_may_be_mdns_names
        }
        $crate::transport_tests! { @singles $offerer,
            nothing_happens_before_negotiation
            stun_servers_give_reflexive_candidates
            unusable_configurations_are_refused
            relay_only_sends_nothing_past_the_relay
            failing_servers_are_reported
            unusable_servers_do_not_end_the_session
        }
    };
    (@pairs $offerer:expr, $answerer:expr, $($case:ident)*) => {
        $(#[test]
        fn $case() {
            $crate::transport::run_case(stringify!($case), || ($offerer, $answerer), |offerer, answerer| {
                Box::pin(async move { _ = $crate::transport::$case(offerer, answerer).await })
            });
        })*
    };
    (@singles $transport:expr, $($case:ident)*) => {
        $(#[test]
        fn $case() {
            $crate::transport::run_case(stringify!($case), || ($transport, $transport), |transport, _| {
                Box::pin(async move { _ = $crate::transport::$case(transport).await })
            });
        })*
    };
}

/// Creates the tests of an audio codec: its registration, and
/// [`codec::verify`](crate::codec::verify).
#[macro_export]
macro_rules! codec_tests {
    ($name:ident, $codec:expr, registered as $registered:literal) => {
        mod $name {
            use super::*;

            #[test]
            fn registration() {
                $crate::registration::verify::<dyn ::blink_api::AudioCodec>($registered);
            }

            #[test]
            fn contract() {
                let case = || $crate::codec::verify(&$codec);
                $crate::watchdog::run_test("contract", $crate::KIND_LIMIT, &Default::default(), case);
            }
        }
    };
}

/// Creates the tests of a media host: its registration, and
/// [`media::verify`](crate::media::verify) with the given names.
#[macro_export]
macro_rules! media_host_tests {
    ($name:ident, $host:expr, $names:expr, registered as $registered:literal) => {
        mod $name {
            use super::*;

            #[test]
            fn registration() {
                $crate::registration::verify::<dyn ::blink_api::MediaHost>($registered);
            }

            #[test]
            fn contract() {
                let case = || async { $crate::media::verify(&$host, $names).await };
                $crate::watchdog::run_async_test("contract", $crate::KIND_LIMIT, &Default::default(), case);
            }
        }
    };
}

/// Creates the tests of an audio processor: its registration, and
/// [`processor::verify`](crate::processor::verify).
#[macro_export]
macro_rules! processor_tests {
    ($name:ident, $factory:expr, registered as $registered:literal) => {
        mod $name {
            use super::*;

            #[test]
            fn registration() {
                $crate::registration::verify::<dyn ::blink_api::AudioProcessorFactory>($registered);
            }

            #[test]
            fn contract() {
                let case = || $crate::processor::verify(&$factory);
                $crate::watchdog::run_test("contract", $crate::KIND_LIMIT, &Default::default(), case);
            }
        }
    };
}

/// Creates the tests of a recorder: its registration, and
/// [`recorder::verify`](crate::recorder::verify) in a temporary directory.
#[macro_export]
macro_rules! recorder_tests {
    ($name:ident, $recorder:expr, registered as $registered:literal) => {
        mod $name {
            use super::*;

            #[test]
            fn registration() {
                $crate::registration::verify::<dyn ::blink_api::Recorder>($registered);
            }

            #[test]
            fn contract() {
                let case = || $crate::recorder::verify_in_temporary_directory(&$recorder);
                $crate::watchdog::run_test("contract", $crate::KIND_LIMIT, &Default::default(), case);
            }
        }
    };
}
