//! Fuzzes the exchange of mail. Without a fuzzer it replays the files that it is given.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hatchery::fuzzing::exchange(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        hatchery::fuzzing::exchange(&std::fs::read(path)?);
    }
    Ok(())
}
