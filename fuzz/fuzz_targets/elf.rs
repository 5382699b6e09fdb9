//! Arbitrary bytes as an ELF file. Invariant: no panic, no hang, no large allocation, and table and look-up agree.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    wireprof_fuzz::hold::image(bytes);
});
