#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| blink_fuzz_targets::recorded_wav(data));
