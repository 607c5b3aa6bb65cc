//! Feeds what libfuzzer makes to [`lustre_inputs::plan_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lustre_inputs::plan_file(bytes));
