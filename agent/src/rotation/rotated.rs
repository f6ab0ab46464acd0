//! The names of rotated files: the log's name, the period that the lines belong to, and a number where one
//! period fills several files.

use std::fmt::Write as _;

use chrono::NaiveDate;

/// What stands behind the log's name; the order is that of age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rotated {
    date: NaiveDate,
    hour: Option<u32>,
    /// 0 is not written.
    pub(super) number: u64,
}

impl Rotated {
    pub(super) fn new(date: NaiveDate, hour: Option<u32>) -> Self {
        Self { date, hour, number: 0 }
    }

    /// Whether both belong to one period.
    pub(super) fn is_sibling(&self, other: &Self) -> bool {
        (self.date, self.hour) == (other.date, other.hour)
    }

    /// The name as a rotated file of `log`: `web.log.2026-11-20`, `web.log.2026-11-20-18.2`.
    pub(super) fn of(&self, log: &str) -> String {
        let mut name = format!("{log}.{}", self.date.format("%Y-%m-%d"));
        // Writing to a String cannot fail.
        if let Some(hour) = self.hour {
            let _ = write!(name, "-{hour:02}");
        }
        if self.number > 0 {
            let _ = write!(name, ".{}", self.number);
        }
        name
    }

    /// Reads a name that [`Self::of`] the same log would write, and no other.
    pub(super) fn parse(name: &str, log: &str) -> Option<Self> {
        let period = name.strip_prefix(log)?.strip_prefix('.')?;
        let (period, number) = match period.split_once('.') {
            Some((period, number)) => (period, u64::from(number.parse::<u32>().ok()?)),
            None => (period, 0),
        };
        let (date, hour) = period.split_at_checked("2026-11-20".len())?;
        let hour = match hour.strip_prefix('-') {
            Some(hour) => Some(hour.parse().ok().filter(|hour| *hour < 24)?),
            None => None,
        };
        let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
        let rotated = Self { date, hour, number };
        (rotated.of(log) == name).then_some(rotated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_rotation_writes_are_read() {
        let ours = ["2026-11-20", "2026-11-20.1", "2026-11-20.10", "2026-11-20-00", "2024-02-29-23.7"];
        for ending in ours {
            let name = format!("web.log.{ending}");
            assert_eq!(Rotated::parse(&name, "web.log").unwrap().of("web.log"), name);
        }
        let strangers = [
            "web.log",
            "web.log.",
            "web.log.1",
            "web.log.gz",
            "web.log.2026-11-20.gz",
            "web.log.2026-11-20.1.gz",
            "web.log.2026-11-20.0",
            "web.log.2026-11-20.01",
            "web.log.2026-11-20.+1",
            "web.log.2026-11-20.",
            "web.log.2026-11-20-24",
            "web.log.2026-11-20-7",
            "web.log.2026-11-20-",
            "web.log.2026-11-20x",
            "web.log.2026-02-30",
            "web.log.2026-1-020",
            "web.log.2026-11-20.99999999999",
            "xweb.log.2026-11-20",
            "web.log2026-11-20",
            "web.logs.2026-11-20",
            "web.log.größer-gro",
        ];
        for name in strangers {
            assert_eq!(Rotated::parse(name, "web.log"), None, "{name}");
        }
    }

    #[test]
    fn numbers_are_ordered_as_numbers() {
        let names = ["w.2026-11-20.10", "w.2026-11-20", "w.2026-11-20.2", "w.2026-11-19.11"];
        let mut read: Vec<_> = names.iter().map(|name| Rotated::parse(name, "w").unwrap()).collect();
        read.sort();
        let sorted: Vec<_> = read.iter().map(|rotated| rotated.of("w")).collect();
        assert_eq!(sorted, ["w.2026-11-19.11", "w.2026-11-20", "w.2026-11-20.2", "w.2026-11-20.10"]);
    }
}
