//! Session tickets: what a worker would have to remember of a client is sealed and given to the client itself.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use tokio_rustls::rustls::server::ProducesTickets;

use super::tickets::{ROTATION, TicketKey, TicketKeys};

const NAME: usize = 16;

/// Seals and opens the tickets of one listener with keys that all workers have.
pub(super) struct Ticketer {
    current: Seal,
    previous: Option<Seal>,
    /// A ticket of one listener is none at another, which may have other certificates.
    listener: String,
    random: SystemRandom,
}

struct Seal {
    name: [u8; NAME],
    key: LessSafeKey,
}

impl Seal {
    fn new(key: &TicketKey) -> Option<Self> {
        Some(Self { name: key.name, key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key.key).ok()?) })
    }
}

impl Ticketer {
    /// `None` for keys that are none.
    pub(super) fn new(keys: &TicketKeys, listener: &str) -> Option<Self> {
        let current = Seal::new(&keys.current)?;
        let previous = keys.previous.as_ref().and_then(Seal::new);
        Some(Self { current, previous, listener: listener.to_owned(), random: SystemRandom::new() })
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketer").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// A ticket is the key's name, the nonce, and the sealed text with its tag.
impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(ROTATION).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        // At random, since the workers share the key and no counter; a key seals far fewer than 2^32 tickets.
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(self.listener.as_bytes());
        self.current
            .key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .ok()?;
        Some([&self.current.name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = cipher.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut seals = std::iter::once(&self.current).chain(&self.previous);
        // The name is no secret: the client shows it to everybody.
        let seal = seals.find(|seal| seal.name == *name)?;
        let mut text = sealed.to_vec();
        let aad = Aad::from(self.listener.as_bytes());
        let length = seal.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(name: u8) -> TicketKeys {
        TicketKeys::new(TicketKey { name: [name; 16], key: [name; 32], made_at: 0 })
    }

    fn ticketer(keys: &TicketKeys) -> Ticketer {
        Ticketer::new(keys, "https").unwrap()
    }

    #[test]
    fn whoever_has_the_key_opens_the_ticket_also_one_round_later() {
        let ticket = ticketer(&keys(1)).encrypt(b"session").unwrap();
        let next = keys(1).rotated(keys(2).current);
        for keys in [&keys(1), &next] {
            assert_eq!(ticketer(keys).decrypt(&ticket).unwrap(), b"session");
        }
        let last = next.rotated(keys(3).current);
        assert_eq!(ticketer(&last).decrypt(&ticket), None);
    }

    #[test]
    fn a_ticket_of_another_listener_or_a_changed_one_is_none() {
        let ticketer = ticketer(&keys(1));
        let ticket = ticketer.encrypt(b"session").unwrap();
        assert_eq!(Ticketer::new(&keys(1), "api").unwrap().decrypt(&ticket), None);
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(ticketer.decrypt(&changed), None, "{place}");
            assert_eq!(ticketer.decrypt(&ticket[..place]), None, "{place}");
        }
    }

    #[test]
    fn no_two_tickets_are_alike() {
        let ticketer = ticketer(&keys(1));
        assert_ne!(ticketer.encrypt(b"session"), ticketer.encrypt(b"session"));
    }
}
