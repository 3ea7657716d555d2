#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| startclaw_fuzz::answers(data));
