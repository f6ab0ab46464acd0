//! Sealed memory: what is taken and what refused, and what of a process is left of it.

use std::fs::{self, File};
use std::io::Write as _;

use rustix::fs::{
    FallocateFlags, MemfdFlags, Mode, OFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create, open,
};

use super::super::frame::Kind;
use super::*;

const MIB: usize = 1 << 20;

/// A memory file of this name, which is not sealed.
fn memory(name: &str, bytes: &[u8]) -> File {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let mut file = File::from(memory);
    file.write_all(bytes).unwrap();
    file
}

fn sealed(file: File) -> Sealed {
    fcntl_add_seals(&file, SEALS).unwrap();
    Sealed::check(Arc::new(file.into())).unwrap()
}

fn carried(descriptor: impl Into<OwnedFd>) -> Frame {
    Frame::about(Kind::State, "s", 1, &[]).with_memory(Arc::new(descriptor.into()), 0)
}

/// How many mappings of memory of this name the process has.
fn mappings(name: &str) -> usize {
    let name = format!("/memfd:{name} ");
    fs::read_to_string("/proc/self/maps").unwrap().matches(&name).count()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn it_is_the_same_for_all_until_the_last_who_holds_it_lets_go() {
    let bytes = pattern(MIB + 10);
    let own = sealed(memory("held", &bytes));
    let other = Sealed::carried_by(&carried(own.memory().try_clone().unwrap())).unwrap();
    assert_eq!((own.length(), mappings("held")), (bytes.len() as u64, 0));
    let (mapped, again) = (own.bytes().unwrap(), other.bytes().unwrap());
    assert_eq!(mappings("held"), 2);
    drop((own, other, again));
    let part = mapped.slice(100..200_000);
    drop(mapped);
    // The descriptors are closed, and the pages are there.
    assert_eq!((&part[..], mappings("held")), (&bytes[100..200_000], 1));
    drop(part);
    assert_eq!(mappings("held"), 0);
}

#[test]
fn sealed_memory_refuses_every_change() {
    let own = sealed(memory("fast", &pattern(MIB)));
    let mapped = own.bytes().unwrap();
    let file = File::from(own.memory().try_clone().unwrap());
    assert!((&file).write_all(b"x").is_err());
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    assert!(fallocate(&file, hole, 0, MIB as u64).is_err());
    assert!(ftruncate(&file, 0).is_err() && ftruncate(&file, 2 * MIB as u64).is_err());
    assert!(fcntl_add_seals(&file, SealFlags::FUTURE_WRITE).is_err());
    assert_eq!(mapped, pattern(MIB));
}

#[test]
fn nothing_is_mapped_of_no_bytes_and_of_holes() {
    assert!(sealed(memory("empty", b"")).bytes().unwrap().is_empty());
    let sparse = memory("sparse", b"x");
    ftruncate(&sparse, 4 * MIB as u64).unwrap();
    // It has as many blocks as one without holes, but not where they are read.
    let elsewhere = memory("sparse", b"x");
    ftruncate(&elsewhere, 4 * MIB as u64).unwrap();
    fallocate(&elsewhere, FallocateFlags::KEEP_SIZE, 4 * MIB as u64, 4 * MIB as u64).unwrap();
    for file in [sparse, elsewhere] {
        let bytes = sealed(file).bytes().unwrap();
        assert_eq!((bytes.len(), bytes[0], bytes[MIB]), (4 * MIB, b'x', 0));
        assert_eq!((mappings("empty"), mappings("sparse")), (0, 0));
    }
}

#[test]
fn what_cannot_be_mapped_is_read() {
    let own = sealed(memory("read", &pattern(MIB)));
    let read = own.read(MIB).unwrap();
    assert_eq!((read == pattern(MIB), mappings("read")), (true, 0));
    // More than any address space has.
    assert!(own.map(usize::MAX >> 1).is_err() && own.read(usize::MAX >> 1).is_err());
    assert!(own.read(MIB + 1).is_err(), "it ends before");
}

#[test]
fn a_length_without_end_is_an_error_where_it_is_read() {
    let endless = memory("endless", b"");
    ftruncate(&endless, i64::MAX as u64).unwrap();
    assert!(sealed(endless).bytes().is_err());
}

#[test]
fn what_is_not_sealed_memory_is_told_by_what_is_wrong_with_it() {
    let refused = |descriptor: OwnedFd| Sealed::carried_by(&carried(descriptor)).unwrap_err();
    let no_memory = |descriptor| matches!(refused(descriptor), MemoryError::NoMemory);
    assert!(no_memory(std::io::pipe().unwrap().1.into()));
    assert!(no_memory(File::open("/dev/zero").unwrap().into()));
    assert!(no_memory(File::open("/").unwrap().into()));
    let file = refused(tempfile::tempfile().unwrap().into());
    assert!(matches!(file, MemoryError::NoMemory | MemoryError::Unsealed(_)), "{file}");
    let path = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert!(matches!(refused(path), MemoryError::Io(_)));
    for seals in
        [SealFlags::empty(), SEALS - SealFlags::WRITE, SEALS - SealFlags::SHRINK, SEALS - SealFlags::SEAL]
    {
        let open = memory("open", b"x");
        fcntl_add_seals(&open, seals).unwrap();
        assert!(matches!(refused(open.into()), MemoryError::Unsealed(found) if found == seals));
    }
    let none = carried(memory("none", b"x")).with_descriptors(vec![]);
    assert!(matches!(Sealed::carried_by(&none), Err(MemoryError::Descriptors(0))));
}

#[test]
fn huge_pages_are_refused() {
    // Without any huge page in the system, such a file can still be made and sealed.
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
    if let Ok(huge) = memfd_create("huge", flags) {
        fcntl_add_seals(&huge, SEALS).unwrap();
        assert!(matches!(Sealed::carried_by(&carried(huge)), Err(MemoryError::Huge)));
    }
}
