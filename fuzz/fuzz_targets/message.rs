//! Feeds what libfuzzer makes to [`lustre_inputs::message`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lustre_inputs::message(bytes));
