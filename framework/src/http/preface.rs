//! The words by which a client begins HTTP/2 without having asked. Pure.

/// What a client that speaks HTTP/2 sends first. No request of HTTP/1 looks like it.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether more bytes are needed to tell that these begin HTTP/2.
pub(super) fn is_undecided(bytes: &[u8]) -> bool {
    bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_part_of_the_preface_leaves_it_undecided() {
        for length in 0..PREFACE.len() {
            assert!(is_undecided(&PREFACE[..length]), "{length}");
        }
        for decided in [PREFACE, b"GET / HTTP/1.1", b"PROPFIND / HTTP/1.1", b"PRI * HTTP/1.1", b"x"] {
            assert!(!is_undecided(decided));
        }
    }
}
