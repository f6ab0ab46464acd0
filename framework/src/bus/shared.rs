//! Bytes that an author keeps of a state or a message without a copy: a slice of what was read or mapped, where decoding
//! says what that is. Pure.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::slice;

/// The most elements that a sequence gets room for on its word alone.
const TRUSTED: usize = 4096;

thread_local! {
    /// What this thread decodes a value of.
    static SOURCE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Bytes in a state or a message that are not copied when it arrives. Clones share them.
///
/// ```
/// # use serde::{Serialize, Deserialize};
/// use hatchery::SharedBytes;
///
/// #[derive(Serialize, Deserialize)]
/// struct Image {
///     name: String,
///     pixels: SharedBytes,
/// }
/// let image = Image { name: "logo".to_owned(), pixels: vec![0; 1 << 20].into() };
/// assert_eq!(image.pixels.len(), 1 << 20);
/// ```
///
/// In a state that arrived in sealed memory (of 1 MiB and more) they are the very pages that the publisher wrote and all
/// processes share, and otherwise a part of what was read from the link. Either way they keep all of that alive: the
/// memory of a state is unmapped when nobody holds the state's value or any bytes of it. So fewer than 64 KiB are copied
/// all the same, and who wants to keep a part of many more for long takes a copy: `SharedBytes::from(part.to_vec())`.
///
/// In formats other than the bus's they are bytes as in any other type: a sequence of numbers, in JSON and TOML, or read
/// from a text, the text's own. Into [`Bytes`], for a response's body, say, they go without a copy.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedBytes(Bytes);

/// Runs `decode` with a value of `length` bytes in `source`, of which the value may keep slices.
pub(super) fn within<T>(source: &Bytes, length: usize, decode: impl FnOnce() -> T) -> T {
    if !slice::may_be_kept(length) {
        return decode();
    }
    let _outer = Outer(SOURCE.replace(Some(source.clone())));
    decode()
}

/// The source of whoever decodes around this; it is back when this is dropped, also by a panic.
struct Outer(Option<Bytes>);

impl Drop for Outer {
    fn drop(&mut self) {
        SOURCE.set(self.0.take());
    }
}

/// `bytes` as a slice of the source, if they lie in it and are so many that they may keep it alive.
fn slice_of_source(bytes: &[u8]) -> Option<Bytes> {
    if !slice::may_be_kept(bytes.len()) {
        return None;
    }
    SOURCE.with_borrow(|source| {
        let source = source.as_ref()?;
        let (all, part) = (source.as_ptr_range(), bytes.as_ptr_range());
        (all.start <= part.start && part.end <= all.end).then(|| source.slice_ref(bytes))
    })
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for SharedBytes {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<SharedBytes> for Bytes {
    fn from(bytes: SharedBytes) -> Self {
        bytes.0
    }
}

/// Tells how many they are, never what they are.
impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.len())
    }
}

impl Serialize for SharedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Found).map(Self)
    }
}

/// Takes bytes in every form that a format has for them.
struct Found;

impl<'de> Visitor<'de> for Found {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Bytes, E> {
        Ok(slice_of_source(bytes).unwrap_or_else(|| Bytes::copy_from_slice(bytes)))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Bytes, E> {
        self.visit_borrowed_bytes(text.as_bytes())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        self.visit_bytes(text.as_bytes())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Bytes, E> {
        self.visit_byte_buf(text.into_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::with_capacity(elements.size_hint().unwrap_or_default().min(TRUSTED));
        while let Some(byte) = elements.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::codec;
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Image {
        name: String,
        pixels: SharedBytes,
        icon: SharedBytes,
    }

    fn image() -> Image {
        Image { name: "logo".to_owned(), pixels: vec![7; 100_000].into(), icon: vec![8; 1000].into() }
    }

    fn lies_in(part: &[u8], source: &[u8]) -> bool {
        source.as_ptr_range().contains(&part.as_ptr())
    }

    #[test]
    fn what_is_large_is_a_slice_of_what_was_read_and_what_is_small_a_copy() {
        let source = Bytes::from(codec::encode("an image", &image()).unwrap());
        let decoded: Image = codec::decode_shared("an image", &source).unwrap();
        assert_eq!(decoded, image());
        assert!(lies_in(&decoded.pixels, &source) && !lies_in(&decoded.icon, &source));
        let (address, pixels) = (source.as_ptr_range(), decoded.pixels.clone());
        drop((source, decoded));
        assert!(address.contains(&pixels.as_ptr()), "it is where it was");
        assert_eq!(pixels, image().pixels);
    }

    #[test]
    fn without_a_source_and_from_elsewhere_all_is_copied() {
        let source = Bytes::from(codec::encode("an image", &image()).unwrap());
        let decoded: Image = codec::decode("an image", &source).unwrap();
        assert!(decoded == image() && !lies_in(&decoded.pixels, &source));
        let other = Bytes::from(vec![0; source.len()]);
        let decoded: Image = codec::decode_within("an image", &source, &other).unwrap();
        assert!(decoded == image() && !lies_in(&decoded.pixels, &source));
        assert!(SOURCE.with_borrow(Option::is_none));
    }

    #[test]
    fn the_source_is_forgotten_after_a_panic_and_the_outer_one_is_back() {
        let (outer, inner) = (Bytes::from(vec![1; 100_000]), Bytes::from(vec![2; 100_000]));
        within(&outer, outer.len(), || {
            let panicked = std::panic::catch_unwind(|| within(&inner, inner.len(), || panic!("on purpose")));
            assert!(panicked.is_err());
            assert!(slice_of_source(&outer).is_some() && slice_of_source(&inner).is_none());
        });
        assert!(slice_of_source(&outer).is_none());
    }

    #[test]
    fn bytes_that_only_begin_or_end_in_the_source_are_copied() {
        let whole = Bytes::from(vec![1; 400_000]);
        within(&whole.slice(100_000..300_000), 200_000, || {
            for (range, is_slice) in [
                (100_000..300_000, true),
                (100_000..200_000, true),
                (99_999..200_000, false),
                (200_000..300_001, false),
                (0..100_000, false),
            ] {
                assert_eq!(slice_of_source(&whole[range.clone()]).is_some(), is_slice, "{range:?}");
            }
        });
    }

    #[test]
    fn other_formats_have_them_as_a_sequence_or_a_text() {
        type Map = BTreeMap<String, SharedBytes>;
        let map = Map::from([("x".to_owned(), b"abc".to_vec().into())]);
        let json = serde_json::to_string(&map).unwrap();
        assert_eq!(json, r#"{"x":[97,98,99]}"#);
        assert_eq!(serde_json::from_str::<Map>(&json).unwrap(), map);
        assert_eq!(serde_json::from_str::<Map>(r#"{"x":"abc"}"#).unwrap(), map);
        assert_eq!(toml::from_str::<Map>(&toml::to_string(&map).unwrap()).unwrap(), map);
        assert_eq!(toml::from_str::<Map>("x = 'abc'").unwrap(), map);
        assert!(serde_json::from_str::<Map>(r#"{"x":[256]}"#).is_err());
    }

    #[test]
    fn a_program_that_does_not_share_reads_and_writes_the_same() {
        let shared = codec::encode("bytes", &SharedBytes::from(vec![7; 100])).unwrap();
        let plain = codec::encode("bytes", &Bytes::from(vec![7; 100])).unwrap();
        assert_eq!(shared, plain);
        let numbers = codec::encode("numbers", &vec![7u8; 100]).unwrap();
        assert_eq!(codec::decode::<SharedBytes>("numbers", &numbers).unwrap(), vec![7; 100].into());
        assert_eq!(codec::decode::<Bytes>("bytes", &shared).unwrap(), vec![7; 100]);
    }

    #[test]
    fn only_their_number_is_told() {
        assert_eq!(format!("{:?}", SharedBytes::from(vec![7; 3])), "SharedBytes(3 bytes)");
    }
}
