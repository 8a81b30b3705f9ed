//! Macro that creates a test for each call scenario.

/// Creates one test per call scenario, in a module with the given name, over a transport and a
/// signaling backend of the registry. The settings are those of every participant, each `KEY=VALUE`
/// as on a command line.
///
/// ```ignore
/// use my_backends as _;
///
/// blink_conformance::call_tests!(calls, transport "mine", signaling "mine", [r#"ice.interfaces=["127.0.0.1"]"#]);
/// blink_conformance::call_tests!(with_others, transports ["mine", "str0m"], signalings ["mine", "mine"], []);
/// ```
///
/// The tests run in real time, several at a time; those that assert uninterrupted audio run alone,
/// and need `opt-level = 1` in the profile of the tests. See
/// [`run_call_test`](crate::run_call_test).
#[macro_export]
macro_rules! call_tests {
    ($name:ident, transport $transport:literal, signaling $signaling:literal, $settings:expr) => {
        $crate::call_tests!($name, transports [$transport, $transport], signalings [$signaling, $signaling], $settings);
    };
    ($name:ident, transports $transports:expr, signalings $signalings:expr, $settings:expr) => {
        mod $name {
            use super::*;

            $crate::call_tests! { @all $transports, $signalings, $settings }
        }
    };
    (@all $transports:expr, $signalings:expr, $settings:expr) => {
        $crate::call_tests! { @each $transports, $signalings, $settings,
            call_01_accept = "01-accept"
            call_02_reject = "02-reject"
            call_03_cancel_while_ringing = "03-cancel-while-ringing"
            call_04_no_answer = "04-no-answer"
            call_05_starts_late_in_time = "05-starts-late-in-time"
            call_06_starts_after_expiry = "06-starts-after-expiry"
            call_07_duplicate_offers = "07-duplicate-offers"
            call_08_cancel_overtakes_offer = "08-cancel-overtakes-offer"
            call_09_candidates_overtake_description = "09-candidates-overtake-description"
            call_10_replay = "10-replay"
            call_11_busy = "11-busy"
            call_12_two_incoming = "12-two-incoming"
            call_13_answer_a_second_call = "13-answer-a-second-call"
            call_14_glare = "14-glare"
            call_15_glare_and_hang_up = "15-glare-and-hang-up"
            call_16_recall_after_restart = "16-recall-after-restart"
            call_17_two_devices_one_accepts = "17-two-devices-one-accepts"
            call_18_two_devices_one_rejects = "18-two-devices-one-rejects"
            call_19_unknown_call = "19-unknown-call"
            call_20_no_microphone = "20-no-microphone"
            call_21_three_way = "21-three-way"
            call_22_everyone_at_once = "22-everyone-at-once"
            call_23_late_joiner = "23-late-joiner"
            call_24_all_leave_before_the_answer = "24-all-leave-before-the-answer"
            call_25_one_of_many_leaves = "25-one-of-many-leaves"
            call_26_last_remote_leaves = "26-last-remote-leaves"
            call_27_partner_leaves = "27-partner-leaves"
            call_28_leave_and_rejoin = "28-leave-and-rejoin"
            call_29_reject_then_join = "29-reject-then-join"
            call_30_rejecter_is_not_asked_again = "30-rejecter-is-not-asked-again"
            call_31_uninvited_peer = "31-uninvited-peer"
            call_32_crash = "32-crash"
            call_33_one_flapping_link = "33-one-flapping-link"
            call_34_add_someone = "34-add-someone"
            call_35_mute = "35-mute"
            call_36_deafen_before_the_first_track = "36-deafen-before-the-first-track"
            call_37_muted_with_another_microphone = "37-muted-with-another-microphone"
            call_38_stale_state = "38-stale-state"
            call_39_speaking = "39-speaking"
            call_40_volume_for_one = "40-volume-for-one"
            call_41_offer_request_close = "41-offer-request-close"
            call_42_revoke = "42-revoke"
            call_43_video_in_mid_call = "43-video-in-mid-call"
            call_44_device_lost = "44-device-lost"
            call_45_blackout_of_5_s = "45-blackout-of-5-s"
            call_46_blackout_of_20_s = "46-blackout-of-20-s"
            call_47_blackout_for_good = "47-blackout-for-good"
            call_48_address_changes = "48-address-changes"
            call_49_relay_only = "49-relay-only"
            call_50_media_gone = "50-media-gone"
            call_50_signaling_gone = "50-signaling-gone"
            call_51_loss_and_jitter = "51-loss-and-jitter"
            call_52_burst_after_a_stall = "52-burst-after-a-stall"
            call_53_long_round_trip = "53-long-round-trip"
            call_54_no_common_codec = "54-no-common-codec"
            call_55_forged_messages = "55-forged-messages"
            call_56_left_or_removed = "56-left-or-removed"
            call_57_nothing_before_accept = "57-nothing-before-accept"
            call_58_record_stop_record = "58-record-stop-record"
            call_59_aligned_recordings = "59-aligned-recordings"
            call_60_killed_while_recording = "60-killed-while-recording"
            call_61_disk_full_while_recording = "61-disk-full-while-recording"
            call_62_a_hundred_calls = "62-a-hundred-calls"
            call_63_messages = "63-messages"
            call_64_hold = "64-hold"
        }
    };
    (@each $transports:expr, $signalings:expr, $settings:expr, $($test:ident = $title:literal)*) => {
        $(#[test]
        fn $test() {
            $crate::run_call_test($title, $transports, $signalings, &$settings);
        })*
    };
}
