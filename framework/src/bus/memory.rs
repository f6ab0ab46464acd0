//! Sealed memory: bytes that are written once into an anonymous file, sealed, and read by every process that is
//! handed the descriptor, so that one copy serves all. Whoever reads checks the seals first.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use rustix::io::{Errno, pread};

use super::frame::Frame;

/// From so many bytes on, a state goes by sealed memory.
pub(crate) const LARGE: usize = 1 << 20;

/// What a reader takes at a time, and a writer once it writes: as much as stays in the processor's cache.
const PIECE: usize = 64 << 10;

/// Up to so many bytes, a payload is read at once.
const WHOLE: u64 = 4 << 20;

/// Nobody can change the contents any more, nor take the seals off.
const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

/// A descriptor that is not what a frame says of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    #[error("a frame that says its payload is in sealed memory came with {0} descriptors, where 1 belongs")]
    Descriptors(usize),
    #[error("the descriptor is no memory file, so that it cannot be sealed")]
    NoMemory,
    #[error("the memory is not sealed against changes (its seals are {0:?}), so that it cannot be trusted")]
    Unsealed(SealFlags),
    #[error("the memory cannot be looked at: {0}")]
    Io(#[from] io::Error),
}

/// Bytes that cannot change any more. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    memory: Arc<OwnedFd>,
    length: u64,
}

impl Sealed {
    /// Takes what a frame carries, after a look at its seals and its size.
    pub(crate) fn carried_by(frame: &Frame) -> Result<Self, MemoryError> {
        match frame.descriptors() {
            [memory] => Self::check(Arc::clone(memory)),
            others => Err(MemoryError::Descriptors(others.len())),
        }
    }

    fn check(memory: Arc<OwnedFd>) -> Result<Self, MemoryError> {
        let seals = match fcntl_get_seals(&memory) {
            Err(Errno::INVAL) => return Err(MemoryError::NoMemory),
            seals => seals.map_err(io::Error::from)?,
        };
        if !seals.contains(SEALS) {
            return Err(MemoryError::Unsealed(seals));
        }
        let length = u64::try_from(fstat(&memory).map_err(io::Error::from)?.st_size).unwrap_or_default();
        Ok(Self { memory, length })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn memory(&self) -> &Arc<OwnedFd> {
        &self.memory
    }

    /// All of it, unless it is so much that it should be read piece by piece, or cannot be read: a reader says why.
    pub(crate) fn whole(&self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.length).ok().filter(|_| self.length <= WHOLE)?;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = bytes.len() as u64;
            if pread(&self.memory, spare_capacity(&mut bytes), at).ok()? == 0 {
                return None;
            }
        }
        Some(bytes)
    }

    /// Reads from the beginning, a little at a time. Readers do not disturb one another.
    pub(crate) fn reader(&self) -> BufReader<Reader<'_>> {
        BufReader::with_capacity(PIECE, Reader { sealed: self, at: 0 })
    }
}

/// Says how much is in the sealed memory of a frame, for those who bound it and never read it. A frame whose
/// descriptor is not what it should be stays without a length.
pub(crate) fn weigh(frame: Frame) -> Frame {
    if !frame.is_in_memory() {
        return frame;
    }
    match Sealed::carried_by(&frame) {
        Ok(sealed) => frame.with_memory(sealed.memory, sealed.length),
        Err(_) => frame,
    }
}

/// Reads by position: the descriptor's own is shared by all processes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    sealed: &'a Sealed,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = pread(&self.sealed.memory, into, self.at)?;
        self.at += count as u64;
        Ok(count)
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
        Ok(Taken::Sealed(Sealed { memory: Arc::new(file.into()), length: self.length }))
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

    fn sealed(bytes: &[u8]) -> Sealed {
        let mut sink = Sink::new(u64::MAX);
        sink.write_all(bytes).unwrap();
        match sink.finish().unwrap() {
            Taken::Sealed(sealed) => sealed,
            other => panic!("{other:?}"),
        }
    }

    fn carried(descriptor: OwnedFd) -> Frame {
        Frame::about(Kind::State, "s", 1, &[]).with_memory(Arc::new(descriptor), 0)
    }

    #[test]
    fn what_is_large_is_sealed_and_read_by_anybody_from_the_beginning() {
        let bytes: Vec<u8> = (0..LARGE + 10).map(|at| (at % 251) as u8).collect();
        let sealed = sealed(&bytes);
        assert_eq!(sealed.length(), bytes.len() as u64);
        let again = Sealed::carried_by(&carried(sealed.memory().try_clone().unwrap())).unwrap();
        assert_eq!(again.whole().unwrap(), bytes);
        for mut reader in [sealed.reader(), again.reader()] {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
        let mut file = File::from(sealed.memory().try_clone().unwrap());
        assert!(file.write_all(b"x").is_err(), "sealed is sealed");
    }

    #[test]
    fn what_is_small_stays_where_it_is_and_what_is_too_much_is_not_kept() {
        let taken = |bytes: usize, limit| {
            let mut sink = Sink::new(limit);
            vec![7; bytes].chunks(1000).for_each(|chunk| sink.write_all(chunk).unwrap());
            sink.finish().unwrap()
        };
        assert!(matches!(taken(LARGE - 1, u64::MAX), Taken::Bytes(bytes) if bytes.len() == LARGE - 1));
        assert!(matches!(taken(LARGE, u64::MAX), Taken::Sealed(sealed) if sealed.length() == LARGE as u64));
        assert!(matches!(taken(5000, 4999), Taken::TooMuch(5000)));
    }

    #[test]
    fn without_memory_to_go_to_all_stays_here() {
        let mut sink = Sink::held_only(u64::MAX);
        sink.write_all(&vec![7; 2 * LARGE]).unwrap();
        assert!(matches!(sink.finish().unwrap(), Taken::Bytes(bytes) if bytes.len() == 2 * LARGE));
    }

    #[test]
    fn what_is_not_sealed_memory_is_told_by_what_is_wrong_with_it() {
        let pipe = carried(std::io::pipe().unwrap().1.into());
        assert!(matches!(Sealed::carried_by(&pipe), Err(MemoryError::NoMemory)));
        let file = carried(tempfile::tempfile().unwrap().into());
        let refused = Sealed::carried_by(&file);
        assert!(matches!(refused, Err(MemoryError::NoMemory | MemoryError::Unsealed(_))), "{refused:?}");
        let open = memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        fcntl_add_seals(&open, SealFlags::GROW | SealFlags::SHRINK).unwrap();
        let open = carried(open);
        assert!(matches!(Sealed::carried_by(&open), Err(MemoryError::Unsealed(_))));
        assert_eq!(weigh(Frame::about(Kind::State, "s", 1, b"four")).payload_length(), Some(4));
        let none = open.with_descriptors(vec![]);
        assert!(matches!(Sealed::carried_by(&none), Err(MemoryError::Descriptors(0))));
    }
}
