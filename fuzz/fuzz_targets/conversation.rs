#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| provod_testkit::fuzz::conversation::run(data));
