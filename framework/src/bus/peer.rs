//! Who sends, and to whom: by name for authors, in eight bytes on the wire. Pure.

use std::fmt;
use std::sync::Arc;

use crate::role::Slot;

/// A receiver of a message or a question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// The agent; while it is being replaced, the next one.
    Agent,
    /// The worker in this slot; while it is being replaced, the next one.
    Worker {
        /// The group's name.
        group: String,
        /// The index in the group, from 0.
        index: u32,
    },
    /// This very process and no other.
    Process(u32),
    /// Some worker of this group, chosen at random among those that are ready.
    AnyOf(String),
    /// One worker of this group after the other, among those that are ready.
    NextOf(String),
}

impl Peer {
    /// The worker `index` of `group`.
    #[must_use]
    pub fn worker(group: &str, index: u32) -> Self {
        Self::Worker { group: group.to_owned(), index }
    }

    /// Some worker of `group`.
    #[must_use]
    pub fn any_of(group: &str) -> Self {
        Self::AnyOf(group.to_owned())
    }

    /// The worker of `group` whose turn it is.
    #[must_use]
    pub fn next_of(group: &str) -> Self {
        Self::NextOf(group.to_owned())
    }
}

/// As `APP send --to` takes it: `agent`, `web.0`, `pid:4711`, `any:web`, `next:web`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("agent"),
            Self::Worker { group, index } => write!(f, "{group}.{index}"),
            Self::Process(pid) => write!(f, "pid:{pid}"),
            Self::AnyOf(group) => write!(f, "any:{group}"),
            Self::NextOf(group) => write!(f, "next:{group}"),
        }
    }
}

/// Who sent a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `None` for the agent.
    group: Option<Arc<str>>,
    index: u16,
    pid: u32,
}

impl Origin {
    /// Its slot: the agent, or a worker. What is sent there reaches its successor, too.
    #[must_use]
    pub fn peer(&self) -> Peer {
        match &self.group {
            None => Peer::Agent,
            Some(group) => Peer::worker(group, self.index.into()),
        }
    }

    /// Its process id. [`Peer::Process`] reaches this very process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// To reply: its slot, as [`Origin::peer`] has it.
impl From<&Origin> for Peer {
    fn from(origin: &Origin) -> Self {
        origin.peer()
    }
}

/// As in logs: `web.0`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => f.write_str("agent"),
            Some(group) => write!(f, "{group}.{}", self.index),
        }
    }
}

/// What an address stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Nobody: the frame is between the two ends of its link.
    #[default]
    Nobody,
    Agent,
    /// A worker by group and index.
    Worker,
    /// A process by its id alone.
    Process,
    /// All processes of the cluster but the master.
    Everyone,
    /// All but the sender.
    Others,
    /// All workers of a group.
    Group,
    /// One of a group, at random.
    Any,
    /// One of a group, by turns.
    Next,
}

impl Form {
    const ALL: [Self; 9] = [
        Self::Nobody,
        Self::Agent,
        Self::Worker,
        Self::Process,
        Self::Everyone,
        Self::Others,
        Self::Group,
        Self::Any,
        Self::Next,
    ];
}

/// Who is meant, or who it was, as the envelope says it. Groups go by their place in the roll.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) form: Form,
    pub(crate) group: u8,
    pub(crate) index: u16,
    /// 0 where a slot is meant, whoever fills it.
    pub(crate) pid: u32,
}

impl Address {
    pub(crate) const AGENT: Self = Self::to(Form::Agent);

    /// An address that needs no more than its form.
    pub(crate) const fn to(form: Form) -> Self {
        Self { form, group: 0, index: 0, pid: 0 }
    }

    pub(crate) const fn process(pid: u32) -> Self {
        Self { form: Form::Process, group: 0, index: 0, pid }
    }

    /// The same slot, without the process that fills it.
    pub(crate) const fn slot(self) -> Self {
        Self { pid: 0, ..self }
    }

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&[self.form as u8, self.group]);
        bytes[2..4].copy_from_slice(&self.index.to_le_bytes());
        bytes[4..].copy_from_slice(&self.pid.to_le_bytes());
        bytes
    }

    /// `None` for a form that is unknown.
    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let [form, group, low, high, pid @ ..] = bytes;
        let form = *Form::ALL.get(usize::from(form))?;
        Some(Self { form, group, index: u16::from_le_bytes([low, high]), pid: u32::from_le_bytes(pid) })
    }
}

/// A group that the cluster does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no group `{group}`: this cluster has {known}")]
pub struct UnknownGroup {
    group: String,
    known: String,
}

/// The groups of a cluster in the order that the master gave them; the same for as long as it lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roll {
    groups: Vec<Arc<str>>,
}

impl Roll {
    pub(crate) fn new(groups: impl IntoIterator<Item = String>) -> Self {
        Self { groups: groups.into_iter().map(Arc::from).take(usize::from(u8::MAX)).collect() }
    }

    pub(crate) fn group(&self, name: &str) -> Result<u8, UnknownGroup> {
        let place = self.groups.iter().position(|known| **known == *name);
        let unknown = || UnknownGroup { group: name.to_owned(), known: self.groups.join(", ") };
        place.and_then(|place| u8::try_from(place).ok()).ok_or_else(unknown)
    }

    pub(crate) fn address(&self, peer: &Peer) -> Result<Address, UnknownGroup> {
        Ok(match peer {
            Peer::Agent => Address::AGENT,
            Peer::Process(pid) => Address::process(*pid),
            Peer::Worker { group, index } => self.worker(group, *index)?,
            Peer::AnyOf(group) => Address { group: self.group(group)?, ..Address::to(Form::Any) },
            Peer::NextOf(group) => Address { group: self.group(group)?, ..Address::to(Form::Next) },
        })
    }

    /// The name of a group.
    pub(super) fn name(&self, group: u8) -> Option<&str> {
        self.groups.get(usize::from(group)).map(|group| &**group)
    }

    /// The slot's address, without a process. An index that no group can have is nobody's.
    pub(crate) fn slot(&self, slot: &Slot) -> Result<Address, UnknownGroup> {
        match slot {
            Slot::Agent => Ok(Address::AGENT),
            Slot::Worker { group, index } => self.worker(group, *index),
        }
    }

    fn worker(&self, group: &str, index: u32) -> Result<Address, UnknownGroup> {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        Ok(Address { group: self.group(group)?, index, ..Address::to(Form::Worker) })
    }

    /// Whose address this is, if it is a process's.
    pub(crate) fn origin(&self, from: Address) -> Option<Origin> {
        let group = match from.form {
            Form::Agent => None,
            Form::Worker => Some(Arc::clone(self.groups.get(usize::from(from.group))?)),
            _ => return None,
        };
        Some(Origin { group, index: from.index, pid: from.pid })
    }

    /// Which slot it is, or that it is any of a group.
    pub(crate) fn peer(&self, address: Address) -> Option<Peer> {
        match address.form {
            Form::Any => self.name(address.group).map(Peer::any_of),
            _ => self.origin(address).map(|origin| origin.peer()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_read_as_it_is_written(form in 0usize..9, group: u8, index: u16, pid: u32) {
            let address = Address { form: Form::ALL[form], group, index, pid };
            prop_assert_eq!(Address::from_bytes(address.to_bytes()), Some(address));
        }
    }

    #[test]
    fn an_unknown_form_is_no_address() {
        assert_eq!(Address::from_bytes([9, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn names_become_addresses_and_names_again() {
        let roll = Roll::new(["web".to_owned(), "jobs".to_owned()]);
        let address = roll.address(&Peer::worker("jobs", 3)).unwrap();
        let origin = roll.origin(Address { pid: 7, ..address }).unwrap();
        assert_eq!((origin.peer(), origin.pid()), (Peer::worker("jobs", 3), 7));
        let error = roll.address(&Peer::any_of("job")).unwrap_err().to_string();
        assert_eq!(error, "there is no group `job`: this cluster has web, jobs");
    }
}
