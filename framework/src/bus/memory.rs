//! What becomes large while it is encoded goes into an anonymous memory file, which is sealed at the end, so that one copy
//! serves all processes. How such memory is checked and read is up to `sealed`.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

use super::frame::Frame;
use super::sealed::{SEALS, Sealed};

/// From so many bytes on, a state goes by sealed memory.
pub(crate) const LARGE: usize = 1 << 20;

/// What a writer takes at a time once it writes: as much as stays in the processor's cache.
const PIECE: usize = 64 << 10;

/// Says how much is in the sealed memory of a frame, for those who bound it and never read it. A frame whose
/// descriptor is not what it should be stays without a length.
pub(crate) fn weigh(frame: Frame) -> Frame {
    if !frame.is_in_memory() {
        return frame;
    }
    match Sealed::carried_by(&frame) {
        Ok(sealed) => frame.with_memory(Arc::clone(sealed.memory()), sealed.length()),
        Err(_) => frame,
    }
}

/// Takes bytes until they are all there: what becomes large goes into memory that is sealed at the end. Where there
/// is no such memory, all stays here.
#[derive(Debug)]
pub(crate) struct Sink {
    held: Vec<u8>,
    file: Option<File>,
    /// Whether memory may still be tried.
    may_spill: bool,
    length: u64,
    limit: u64,
}

/// What a sink has taken.
#[derive(Debug)]
pub(crate) enum Taken {
    Bytes(Vec<u8>),
    Sealed(Sealed),
    /// More than the limit; so many bytes it would have been.
    TooMuch(u64),
}

impl Sink {
    /// Keeps no more than `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { held: Vec::new(), file: None, may_spill: true, length: 0, limit }
    }

    /// A sink that has no memory to go to.
    pub(crate) fn held_only(limit: u64) -> Self {
        Self { may_spill: false, ..Self::new(limit) }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Seals what was written, if it is large.
    pub(crate) fn finish(mut self) -> io::Result<Taken> {
        if self.length > self.limit {
            return Ok(Taken::TooMuch(self.length));
        }
        let Some(mut file) = self.file.take() else { return Ok(Taken::Bytes(self.held)) };
        file.write_all(&self.held)?;
        fcntl_add_seals(&file, SEALS)?;
        Ok(Taken::Sealed(Sealed::check(Arc::new(file.into())).map_err(io::Error::other)?))
    }

    /// The memory to write to, made when it is first needed.
    fn open(&mut self) -> Option<&mut File> {
        if self.file.is_none() && self.may_spill {
            match memfd_create("hatchery", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING) {
                Ok(memory) => self.file = Some(memory.into()),
                Err(error) => {
                    tracing::debug!("no sealed memory, so that a large state travels as a stream: {error}");
                    self.may_spill = false;
                }
            }
        }
        self.file.as_mut()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        if self.length > self.limit {
            self.held = Vec::new();
            return Ok(bytes.len());
        }
        let most = if self.file.is_some() { PIECE } else { LARGE };
        if self.held.len() + bytes.len() >= most {
            let mut held = std::mem::take(&mut self.held);
            if let Some(file) = self.open() {
                file.write_all(&held)?;
                file.write_all(bytes)?;
                held.clear();
                held.shrink_to(PIECE);
                self.held = held;
                return Ok(bytes.len());
            }
            self.held = held;
        }
        self.held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Kind;
    use super::*;

    #[test]
    fn what_is_small_stays_where_it_is_and_what_is_too_much_is_not_kept() {
        let taken = |bytes: usize, limit| {
            let mut sink = Sink::new(limit);
            vec![7; bytes].chunks(1000).for_each(|chunk| sink.write_all(chunk).unwrap());
            sink.finish().unwrap()
        };
        assert!(matches!(taken(LARGE - 1, u64::MAX), Taken::Bytes(bytes) if bytes.len() == LARGE - 1));
        let Taken::Sealed(sealed) = taken(LARGE, u64::MAX) else { panic!("it is not sealed") };
        assert_eq!(sealed.bytes().unwrap(), vec![7; LARGE]);
        assert!(matches!(taken(5000, 4999), Taken::TooMuch(5000)));
    }

    #[test]
    fn without_memory_to_go_to_all_stays_here() {
        let mut sink = Sink::held_only(u64::MAX);
        sink.write_all(&vec![7; 2 * LARGE]).unwrap();
        assert!(matches!(sink.finish().unwrap(), Taken::Bytes(bytes) if bytes.len() == 2 * LARGE));
    }

    #[test]
    fn a_frame_is_weighed_if_its_memory_is_sealed() {
        assert_eq!(weigh(Frame::about(Kind::State, "s", 1, b"four")).payload_length(), Some(4));
        let mut sink = Sink::new(u64::MAX);
        sink.write_all(&vec![7; LARGE]).unwrap();
        let Taken::Sealed(sealed) = sink.finish().unwrap() else { panic!("it is not sealed") };
        let frame = Frame::about(Kind::State, "s", 1, &[]).with_memory(Arc::clone(sealed.memory()), 1);
        assert_eq!(weigh(frame.clone()).payload_length(), Some(LARGE as u64));
        assert_eq!(weigh(frame.with_descriptors(vec![])).payload_length(), Some(1));
    }
}
