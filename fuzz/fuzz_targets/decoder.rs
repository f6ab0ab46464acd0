//! Fuzzes the decoder of frames. Without a fuzzer it replays the files that it is given.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hatchery::fuzzing::decoder(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        hatchery::fuzzing::decoder(&std::fs::read(path)?);
    }
    Ok(())
}
