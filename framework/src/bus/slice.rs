//! How much of a read a slice of it may keep alive: what may stay a slice, and what is copied. Pure.

use bytes::Bytes;

/// What is kept without an end in sight is copied when it has fewer bytes.
const KEPT: usize = 64 << 10;

/// From so many waiting bytes on, a queue is slow to move, and what is small in it is copied.
const CONGESTED: usize = 256 << 10;

/// What is small in comparison with a read.
const SMALL: usize = 16 << 10;

/// `bytes` for whoever keeps them: they keep no more memory than they count.
pub(crate) fn kept(bytes: &Bytes) -> Bytes {
    if may_be_kept(bytes.len()) { bytes.clone() } else { Bytes::copy_from_slice(bytes) }
}

/// Whether a slice of `length` bytes may be kept as it is, without an end in sight.
pub(super) fn may_be_kept(length: usize) -> bool {
    length >= KEPT
}

/// `bytes` for a queue in which `waiting` bytes wait already.
pub(crate) fn queued(bytes: Bytes, waiting: usize) -> Bytes {
    if may_wait(bytes.len(), waiting) { bytes } else { Bytes::copy_from_slice(&bytes) }
}

/// Whether a slice of `length` bytes may wait as it is in a queue in which `waiting` bytes wait already. In one that
/// moves, copying costs more than the memory that is kept for a moment.
pub(super) fn may_wait(length: usize, waiting: usize) -> bool {
    length >= SMALL || waiting <= CONGESTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_is_copied_where_it_would_keep_its_read_alive_for_long() {
        let read = Bytes::from(vec![7; 128 << 10]);
        let is_slice = |of: &Bytes| of.as_ptr() == read.as_ptr();
        for (length, waiting, stays) in [
            (100, 0, true),
            (100, CONGESTED, true),
            (100, CONGESTED + 1, false),
            (SMALL - 1, CONGESTED + 1, false),
            (SMALL, CONGESTED + 1, true),
        ] {
            let queued = queued(read.slice(..length), waiting);
            assert_eq!((queued.len(), is_slice(&queued)), (length, stays), "with {waiting} waiting");
        }
        for (length, stays) in [(100, false), (KEPT - 1, false), (KEPT, true)] {
            let kept = kept(&read.slice(..length));
            assert_eq!((kept.len(), is_slice(&kept)), (length, stays));
        }
    }
}
