//! What an agent can publish as sealed memory that is none, or is not what it seems.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create, open};

use super::Vandal;
use super::envelope::{Head, PUBLISH};

/// The flag of frames whose payload is in memory.
const IN_MEMORY: u8 = 2;

const ALL: SealFlags =
    SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

fn memory(length: u64, seals: SealFlags, pages: MemfdFlags) -> Option<OwnedFd> {
    let memory = memfd_create("vandal", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | pages).ok()?;
    ftruncate(&memory, length).ok()?;
    fcntl_add_seals(&memory, seals).ok()?;
    Some(memory)
}

/// Each with the topic under which it is published.
fn everything() -> Vec<(&'static str, Option<OwnedFd>)> {
    let (ordinary, mib) = (MemfdFlags::empty(), 1 << 20);
    vec![
        ("unsealed", memory(2 * mib, SealFlags::empty(), ordinary)),
        ("may-shrink", memory(2 * mib, SealFlags::WRITE | SealFlags::GROW, ordinary)),
        ("may-be-written", memory(2 * mib, ALL - SealFlags::WRITE, ordinary)),
        ("endless", memory(200_000 * mib, ALL, ordinary)),
        ("all-there-is", memory(i64::MAX as u64, ALL, ordinary)),
        ("huge-pages", memory(2 * mib, ALL, MemfdFlags::HUGETLB)),
        ("device", File::open("/dev/zero").ok().map(OwnedFd::from)),
        ("folder", File::open("/").ok().map(OwnedFd::from)),
        ("path", open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()),
        ("pipe", std::io::pipe().ok().map(|(end, _)| end.into())),
        ("file", File::open("/proc/self/exe").ok().map(OwnedFd::from)),
        // These two are sealed, and no value.
        ("words", memory(0, ALL, ordinary)),
        ("words", memory(4 * mib, ALL, ordinary)),
    ]
}

impl Vandal {
    /// Each kind many times.
    pub(super) fn publish_everything(&self) {
        for _ in 0..10 {
            for (topic, memory) in everything() {
                let Some(memory) = memory else { continue };
                let length = u32::try_from(topic.len()).unwrap_or_default();
                let topic_length = u8::try_from(topic.len()).unwrap_or_default();
                let head =
                    Head { length, kind: PUBLISH, topic: topic_length, descriptors: 1, ..Head::default() };
                let head = Head { flags: IN_MEMORY, number: 1, ..head };
                self.carry(&[&head.bytes()[..], topic.as_bytes()].concat(), &[memory.as_fd()]);
            }
        }
    }
}
