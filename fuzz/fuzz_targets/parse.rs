//! Feeds what libfuzzer makes to [`lustre_inputs::parse`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lustre_inputs::parse(bytes));
