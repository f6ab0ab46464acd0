//! Sealed memory as its readers have it: checked, and mapped, so that all processes read the same pages. To map it is the
//! one unsafe expression of the workspace, and this the one file that may have any. `memory` makes what is read here.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use rustix::buffer::spare_capacity;
use rustix::fs::{FsWord, SealFlags, SeekFrom, fcntl_get_seals, fstat, fstatfs, seek};
use rustix::io::{Errno, pread};

use super::frame::Frame;

/// Nobody can change the contents or the length any more, nor take the seals off.
pub(super) const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

/// What the kernel says of memory files of ordinary pages.
const TMPFS: FsWord = 0x0102_1994;

/// A descriptor that is not what a frame says of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    #[error("a frame that says its payload is in sealed memory came with {0} descriptors, where 1 belongs")]
    Descriptors(usize),
    #[error("the descriptor is no memory file, so that it cannot be sealed")]
    NoMemory,
    #[error("the memory is of huge pages, which may run out when it is read: make it of ordinary pages")]
    Huge,
    #[error("the memory is not sealed against changes (its seals are {0:?}), so that it cannot be trusted")]
    Unsealed(SealFlags),
    #[error("the memory has {length} bytes, and {limit} are the most")]
    TooLarge { length: u64, limit: u64 },
    #[error("the memory cannot be looked at: {0}")]
    Io(#[from] io::Error),
}

/// Bytes that cannot change any more. Clones share them. There is no other way to one than [`check`](Self::check).
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

    /// Looks at the seals, and then at the size, which they hold.
    pub(super) fn check(memory: Arc<OwnedFd>) -> Result<Self, MemoryError> {
        let seals = match fcntl_get_seals(&memory) {
            Err(Errno::INVAL) => return Err(MemoryError::NoMemory),
            seals => seals.map_err(io::Error::from)?,
        };
        if !seals.contains(SEALS) {
            return Err(MemoryError::Unsealed(seals));
        }
        if fstatfs(&memory).map_err(io::Error::from)?.f_type != TMPFS {
            return Err(MemoryError::Huge);
        }
        let facts = fstat(&memory).map_err(io::Error::from)?;
        let length = u64::try_from(facts.st_size).unwrap_or_default();
        Ok(Self { memory, length })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn memory(&self) -> &Arc<OwnedFd> {
        &self.memory
    }

    /// All of it: the pages themselves, for as long as somebody holds what this returns, or a copy where they cannot be
    /// mapped, because of a limit of this process, say.
    ///
    /// # Errors
    /// When they cannot be read either.
    pub(crate) fn bytes(&self) -> io::Result<Bytes> {
        let length = usize::try_from(self.length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // To touch a hole takes memory, and where there is none that ends the process.
        if length == 0 || !self.is_whole() {
            return self.read(length);
        }
        match self.map(length) {
            Ok(mapping) => Ok(Bytes::from_owner(mapping)),
            Err(error) => {
                tracing::debug!(
                    "sealed memory of {length} bytes is copied, for it cannot be mapped: {error}"
                );
                self.read(length)
            }
        }
    }

    /// Whether each of its pages exists. That as many blocks do says nothing of where they are: some may lie beyond the end.
    /// The position that this sets is nobody's, for all read by position of their own.
    fn is_whole(&self) -> bool {
        seek(&self.memory, SeekFrom::Hole(0)).is_ok_and(|hole| hole >= self.length)
    }

    #[expect(unsafe_code, reason = "no safe function maps memory, because none can know of the seals")]
    fn map(&self, length: usize) -> io::Result<Mmap> {
        let mut options = MmapOptions::new();
        options.len(length);
        // SAFETY: what is mapped must not change, or be cut off, for as long as it is mapped. `check` saw a memory file
        // with the seals WRITE, GROW, SHRINK and SEAL. The kernel grants WRITE only when nobody has it mapped for
        // writing or still writes to its pages, and refuses every write, hole and such mapping from then on; SHRINK and
        // GROW keep the length that `check` saw after the seals; SEAL, and that seals are never taken off, make that
        // last. They are the file's and not the descriptor's, and no other descriptor can get into `memory`. A file that
        // is no memory file has no such seals, however it came here. The mapping is private: older kernels map such
        // memory in no other way, and nothing that is done to it in this process reaches another.
        unsafe { options.map_copy_read_only(&*self.memory) }
    }

    /// Reads by position: the descriptor's own is shared by all processes.
    fn read(&self, length: usize) -> io::Result<Bytes> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        while bytes.len() < length {
            let at = bytes.len() as u64;
            if pread(&self.memory, spare_capacity(&mut bytes), at)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests;
