//! What processes say to one another, and what they can be told to do.

use hatchery::{Request, Topic};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) text: String,
}

impl Topic for Words {
    const NAME: &'static str = "words";
}

/// The same topic, as somebody who is mistaken about it would send it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) numbers: Vec<u8>,
}

impl Topic for Numbers {
    const NAME: &'static str = "words";
}

/// A topic that is the framework's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Forged;

impl Topic for Forged {
    const NAME: &'static str = "hatchery.exited";
}

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Send so many messages, numbered from 0 and filled up to a size.
    Send {
        to: String,
        text: String,
        count: u32,
        size: usize,
    },
    /// The same, but not waiting for room.
    TrySend {
        to: String,
        text: String,
        count: u32,
        size: usize,
    },
    /// Send numbered words to these in turn for as long as you live, and write down in the file `confirmed` what was.
    Pester {
        whom: Vec<String>,
    },
    /// Observe a key from now on.
    Observe {
        key: String,
    },
    /// Tell a value of a key, or why there is none.
    Glance {
        key: String,
    },
    /// Tell what you saw last of it.
    Observed,
    /// Ask another for its name so often, again when it is busy, and tell how many microseconds half of the answers
    /// took at most.
    Time {
        whom: String,
        count: usize,
    },
    /// Broadcast one message to `all`, `others`, or the workers of a group, and tell who gets it.
    Confirm {
        to: String,
        text: String,
        size: usize,
    },
    /// Wait for one message of these, which you send yourself before, for one that is no words, and for one that never comes.
    Once {
        texts: Vec<String>,
    },
    /// Ask a question that is not what the other answers.
    Misask {
        whom: String,
    },
    /// Ask what the other answers in another type than you think.
    Misread {
        whom: String,
    },
    /// Answer with so many bytes.
    Chatter {
        size: usize,
    },
    /// Send what is no words under their name.
    Mislead,
    Forge,
    /// Tell what was heard.
    Heard,
    /// Ask another for its name.
    Ask {
        whom: String,
        within_ms: u64,
    },
    /// Tell who is there, as the master says.
    Members,
    /// Tell who asks you, when, and by which question.
    WhoAsks,
    /// Have another tell that of you.
    AskWhoAsks {
        whom: String,
    },
    /// Ask so often, some at the same time, and tell how often which kind of answer came.
    Inquire {
        whom: String,
        count: usize,
    },
    /// Tell how much was heard, and how much missed.
    Tally,
    /// Ask so many at the same time.
    AskMany {
        whom: String,
        count: usize,
    },
    /// Tell your name.
    Name,
    /// Answer after so long.
    Dawdle {
        ms: u64,
    },
    /// Tell how many were told to dawdle and have not been given up.
    Dawdling,
    Refuse {
        words: String,
    },
    Panic,
    Die,
}

impl Topic for Order {
    const NAME: &'static str = "orders";
}

impl Request for Order {
    type Reply = Value;
}

/// A question that is answered by two at a time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Slow {
    pub(crate) ms: u64,
}

impl Topic for Slow {
    const NAME: &'static str = "slow";
}

impl Request for Slow {
    type Reply = ();
}

/// The same topic, as somebody who is mistaken about the question would ask it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Misnamed {
    pub(crate) name: String,
}

impl Topic for Misnamed {
    const NAME: &'static str = Slow::NAME;
}

impl Request for Misnamed {
    type Reply = ();
}

/// The same topic, as somebody who is mistaken about the answer would ask it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Misread {
    pub(crate) ms: u64,
}

impl Topic for Misread {
    const NAME: &'static str = Slow::NAME;
}

impl Request for Misread {
    type Reply = String;
}

/// A question that nobody answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Riddle;

impl Topic for Riddle {
    const NAME: &'static str = "riddle";
}

impl Request for Riddle {
    type Reply = ();
}

pub(crate) fn words(text: &str, number: u32, size: usize) -> Words {
    let text = format!("{text} {number}");
    let padding = " ".repeat(size.saturating_sub(text.len()));
    Words { text: text + &padding }
}
