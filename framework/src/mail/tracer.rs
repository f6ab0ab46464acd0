//! Tells in the log what goes by on chosen topics. When none is chosen, that costs a look at one flag.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bus::frame::{Frame, Kind};
use crate::bus::parcel::{Run, Unrolled};
use crate::bus::pattern::Patterns;
use crate::bus::peer::{Address, Roll};
use crate::log::TRAFFIC;

/// How many lines a process writes in a second.
const LINES: u32 = 1000;

/// Writes a line about each message, question and answer on the topics that are meant.
#[derive(Debug, Default)]
pub(crate) struct Tracer {
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    patterns: Patterns,
    roll: Roll,
    allowance: Allowance,
}

impl Tracer {
    /// From now on these topics are meant; none, to be silent.
    pub(crate) fn follow(&self, patterns: Patterns, roll: &Roll) {
        let on = !patterns.is_empty();
        let mut state = self.state();
        (state.patterns, state.roll) = (patterns, roll.clone());
        // Nobody would settle it any more.
        let left_out = if on { 0 } else { std::mem::take(&mut state.allowance).left_out };
        drop(state);
        self.on.store(on, Ordering::Relaxed);
        tell_of_gap(left_out);
    }

    /// This process sends a message or a question.
    pub(crate) fn sent(&self, frame: &Frame) {
        if self.is_on() {
            self.tell(frame.topic(), |roll| {
                let (to, size) = (roll.describe(frame.route().to), frame.payload().len());
                format!("sent {} `{}` #{} to {to}: {size} bytes", noun(frame), frame.topic(), frame.number())
            });
        }
    }

    /// A message or a question came.
    pub(crate) fn received(&self, frame: &Frame) {
        if self.is_on() {
            let took = now().saturating_sub(frame.route().time);
            self.tell(frame.topic(), |roll| {
                let (from, size) = (roll.describe(frame.route().from), frame.payload().len());
                let (noun, topic, number) = (noun(frame), frame.topic(), frame.number());
                format!("received {noun} `{topic}` #{number} from {from} after {took} µs: {size} bytes")
            });
        }
    }

    /// Messages on one topic came.
    pub(crate) fn received_run(&self, run: &Run) {
        if self.is_on() {
            let mut unrolled = Unrolled::new(run.clone());
            while let Some(frame) = unrolled.next_frame() {
                self.received(&frame);
            }
        }
    }

    /// Message `number` is not on its way.
    pub(crate) fn untaken(&self, topic: &str, number: u64, to: Address, why: &str) {
        if self.is_on() {
            self.tell(topic, |roll| {
                format!("message `{topic}` #{number} to {} was not taken: {why}", roll.describe(to))
            });
        }
    }

    /// This process answers question `number` of `asker` in so many bytes, or says why it does not.
    pub(crate) fn answered(&self, topic: &str, number: u64, asker: Address, answer: Result<usize, &str>) {
        if self.is_on() {
            self.tell(topic, |roll| {
                let to = roll.describe(asker);
                match answer {
                    Ok(size) => format!("sent answer `{topic}` #{number} to {to}: {size} bytes"),
                    Err(why) => format!("sent no answer `{topic}` #{number} to {to}: {why}"),
                }
            });
        }
    }

    /// Nobody waits for the answer to question `number` of `asker` any more.
    pub(crate) fn given_up(&self, topic: &str, number: u64, asker: Address) {
        if self.is_on() {
            self.tell(topic, |roll| {
                let asker = roll.describe(asker);
                format!("gave up question `{topic}` #{number} from {asker}: it waits no longer")
            });
        }
    }

    /// The answer to question `number`, which was asked at `asked_at`, came.
    pub(crate) fn got_answer(
        &self,
        topic: &str,
        (number, asked_at): (u64, u64),
        from: &impl Display,
        size: usize,
    ) {
        if self.is_on() {
            let took = now().saturating_sub(asked_at);
            self.tell(topic, |_| {
                format!(
                    "received answer `{topic}` #{number} from {from} {took} µs after the question: {size} bytes"
                )
            });
        }
    }

    /// Question `number`, which was asked at `asked_at`, has no answer.
    pub(crate) fn unanswered(
        &self,
        topic: &str,
        (number, asked_at): (u64, u64),
        to: &impl Display,
        why: &str,
    ) {
        if self.is_on() {
            let took = now().saturating_sub(asked_at);
            self.tell(topic, |_| {
                format!("question `{topic}` #{number} to {to} ended without an answer after {took} µs: {why}")
            });
        }
    }

    /// Tells how many lines were left out, once a second is over.
    pub(crate) fn settle(&self) {
        if self.is_on() {
            let left_out = self.state().allowance.settle(Instant::now());
            tell_of_gap(left_out);
        }
    }

    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    #[cold]
    fn tell(&self, topic: &str, line: impl FnOnce(&Roll) -> String) {
        let (line, left_out) = {
            let mut state = self.state();
            if !state.patterns.mean(topic) {
                return;
            }
            let now = Instant::now();
            let left_out = state.allowance.settle(now);
            (state.allowance.admit(now).then(|| line(&state.roll)), left_out)
        };
        tell_of_gap(left_out);
        if let Some(line) = line {
            tracing::info!(target: TRAFFIC, "{line}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell_of_gap(left_out: u64) {
    if left_out > 0 {
        tracing::info!(target: TRAFFIC, "{left_out} lines were left out: more than {LINES} in a second");
    }
}

fn noun(frame: &Frame) -> &'static str {
    if frame.kind() == Kind::Ask { "question" } else { "message" }
}

/// Microseconds of the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// How much may be written in the second that is running.
#[derive(Debug, Default)]
struct Allowance {
    since: Option<Instant>,
    used: u32,
    left_out: u64,
}

impl Allowance {
    /// Whether one more line may be written; one that may not is counted.
    fn admit(&mut self, now: Instant) -> bool {
        let admitted = self.used < LINES;
        self.used += u32::from(admitted);
        self.left_out += u64::from(!admitted);
        self.since.get_or_insert(now);
        admitted
    }

    /// Begins a new second when one is over; returns what was left out in it.
    fn settle(&mut self, now: Instant) -> u64 {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= Duration::from_secs(1);
        if !self.since.is_some_and(is_over) {
            return 0;
        }
        std::mem::take(self).left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_allowance_is_counted_and_told_in_the_next_second() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        let admitted = (0..1500).filter(|_| allowance.admit(start)).count();
        assert_eq!((admitted, allowance.settle(start + Duration::from_millis(999))), (1000, 0));
        assert!(!allowance.admit(start));
        assert_eq!(allowance.settle(start + Duration::from_secs(1)), 501);
        assert_eq!(allowance.settle(start + Duration::from_secs(9)), 0);
        assert!(allowance.admit(start + Duration::from_secs(9)));
    }
}
