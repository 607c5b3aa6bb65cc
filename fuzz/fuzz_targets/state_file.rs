//! Feeds what libfuzzer makes to [`lustre_inputs::state_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lustre_inputs::state_file(bytes));
