//! A state of any size, written and read piece by piece, so that nobody needs the memory for all of it.

use std::fmt;

use hatchery::Topic;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// As many bytes as wanted on the way, and a few before and after.
#[derive(Debug)]
pub(crate) struct Bulk {
    pub(crate) round: u64,
    pub(crate) bytes: usize,
}

impl Topic for Bulk {
    const NAME: &'static str = "bulk";
}

const CHUNK: usize = 64 << 10;

struct Chunk(u64);

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = vec![7; CHUNK];
        bytes[..8].copy_from_slice(&self.0.to_le_bytes());
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;
        impl Visitor<'_> for First {
            type Value = Chunk;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Chunk, E> {
                let head = bytes.first_chunk().filter(|_| bytes.len() == CHUNK);
                head.map(|head| Chunk(u64::from_le_bytes(*head))).ok_or_else(|| E::custom("no chunk"))
            }
        }
        deserializer.deserialize_bytes(First)
    }
}

impl Serialize for Bulk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.bytes / CHUNK).map(|_| Chunk(self.round)))
    }
}

impl<'de> Deserialize<'de> for Bulk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sum;
        impl<'de> Visitor<'de> for Sum {
            type Value = Bulk;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("chunks")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut chunks: A) -> Result<Bulk, A::Error> {
                let mut bulk = Bulk { round: 0, bytes: 0 };
                while let Some(Chunk(round)) = chunks.next_element()? {
                    bulk = Bulk { round, bytes: bulk.bytes + CHUNK };
                }
                Ok(bulk)
            }
        }
        deserializer.deserialize_seq(Sum)
    }
}
