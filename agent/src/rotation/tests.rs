//! Plans by table, and what holds for every plan.

use chrono::NaiveDate;
use proptest::prelude::*;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, MapDeserializer};

use super::*;

/// A local time on the `day` of November 2026.
fn at(day: u32, hour: u32, minute: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap().and_hms_opt(hour, minute, 0).unwrap()
}

fn web(bytes: u64, began: NaiveDateTime) -> FileFacts {
    FileFacts { name: "web.log".into(), bytes, began }
}

fn settings(every: Period, max_size: u64, keep: usize) -> RotationSettings {
    RotationSettings { every, max_size: ByteSize(max_size), keep, ..RotationSettings::default() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The plan for one log as text: `> name` for a rename, `- name` for a removal.
fn planned(
    settings: &RotationSettings,
    now: NaiveDateTime,
    file: FileFacts,
    existing: &[&str],
) -> Vec<String> {
    let text = |step| match step {
        Step::Rename { to, .. } => format!("> {to}"),
        Step::Remove { name } => format!("- {name}"),
    };
    plan(settings, now, &[file], &names(existing)).into_iter().map(text).collect()
}

/// The ending that `web.log` is renamed to, empty where it is not, beside files of these endings.
fn rename_of_web(settings: &RotationSettings, now: NaiveDateTime, file: FileFacts, existing: &str) -> String {
    let existing: Vec<_> = existing.split(' ').map(|ending| format!("web.log.{ending}")).collect();
    match plan(settings, now, &[file], &existing).as_slice() {
        [] => String::new(),
        [Step::Rename { to, .. }] => to.strip_prefix("web.log.").unwrap().to_owned(),
        other => panic!("{other:?} is more than a rename"),
    }
}

#[test]
fn a_file_gets_the_name_of_the_period_of_its_first_line() {
    let (daily, hourly) = (settings(Period::Daily, 0, 0), settings(Period::Hourly, 0, 0));
    let never = settings(Period::Never, 0, 0);
    let table = [
        (&daily, at(20, 0, 0), at(20, 23, 59), ""),
        (&daily, at(20, 23, 59), at(21, 0, 0), "2026-11-20"),
        (&daily, at(17, 3, 0), at(21, 9, 0), "2026-11-17"),
        (&hourly, at(20, 18, 0), at(20, 18, 59), ""),
        (&hourly, at(20, 18, 0), at(20, 19, 0), "2026-11-20-18"),
        (&hourly, at(20, 23, 0), at(21, 0, 0), "2026-11-20-23"),
        (&hourly, at(20, 18, 0), at(21, 18, 30), "2026-11-20-18"),
        (&never, at(1, 0, 0), at(30, 0, 0), ""),
    ];
    for (settings, began, now, expected) in table {
        let renamed = rename_of_web(settings, now, web(1, began), "");
        assert_eq!(renamed, expected, "{began} {now}");
    }
}

#[test]
fn an_empty_file_is_not_rotated() {
    let daily = settings(Period::Daily, 1, 0);
    assert!(planned(&daily, at(30, 0, 0), web(0, at(1, 0, 0)), &[]).is_empty());
}

#[test]
fn numbers_rise_within_a_period_and_overwrite_nothing() {
    let (daily, hourly) = (settings(Period::Daily, 100, 0), settings(Period::Hourly, 100, 0));
    let never = settings(Period::Never, 100, 0);
    let (noon, next_day) = (at(20, 12, 0), at(21, 0, 0));
    let table = [
        (&daily, noon, 99, "", ""),
        (&daily, noon, 100, "", "2026-11-20.1"),
        (&never, next_day, 100, "", "2026-11-20.1"),
        (&hourly, noon, 100, "2026-11-20.7", "2026-11-20-12.1"),
        (&daily, noon, 100, "2026-11-20.9 2026-11-20.10", "2026-11-20.11"),
        (&daily, noon, 100, "2026-11-20.1.gz 2026-11-19.5", "2026-11-20.1"),
        (&daily, next_day, 1, "2026-11-20.2", "2026-11-20.3"),
        (&daily, next_day, 500, "2026-11-20", "2026-11-20.1"),
    ];
    for (settings, now, bytes, existing, expected) in table {
        let renamed = rename_of_web(settings, now, web(bytes, noon), existing);
        assert_eq!(renamed, expected, "{now} {existing}");
    }
}

#[test]
fn the_oldest_are_removed_and_strangers_are_not_counted() {
    let daily = settings(Period::Daily, 0, 2);
    let existing = [
        "web.log.2026-11-18.10",
        "web.log.2026-11-18.9",
        "web.log.2026-11-19",
        "web.log.2026-01-01.gz",
        "web.log.bak",
        "api.log.2026-01-01",
    ];
    let removed = ["- web.log.2026-11-18.9", "- web.log.2026-11-18.10"];
    let today = web(1, at(20, 0, 0));
    assert_eq!(planned(&daily, at(20, 1, 0), today.clone(), &existing), removed[..1]);
    let mut expected = vec!["> web.log.2026-11-20"];
    expected.extend(removed);
    assert_eq!(planned(&daily, at(21, 0, 0), today, &existing), expected);
}

#[test]
fn a_log_with_the_name_of_a_rotated_file_is_left_alone() {
    let shadow = FileFacts { name: "web.log.2026-11-20".into(), bytes: 1, began: at(21, 0, 0) };
    let files = [web(1, at(20, 0, 0)), shadow];
    let steps = plan(&settings(Period::Daily, 0, 1), at(21, 0, 0), &files, &names(&["web.log.2026-11-20"]));
    let renamed = Step::Rename { from: "web.log".into(), to: "web.log.2026-11-20.1".into() };
    assert_eq!(steps, [renamed]);
}

#[test]
fn a_clock_that_goes_backwards_rotates_nothing_twice() {
    let hourly = settings(Period::Hourly, 0, 0);
    // 18:00 has come, the file was rotated and begun anew; then the clock is put back and goes on.
    let begun_anew = || web(1, at(20, 18, 0));
    let done = ["web.log", "web.log.2026-11-20-17"];
    for now in [at(20, 17, 59), at(20, 17, 0), at(19, 3, 0), at(20, 18, 0), at(20, 18, 59)] {
        assert!(planned(&hourly, now, begun_anew(), &done).is_empty(), "{now}");
    }
    assert_eq!(planned(&hourly, at(20, 19, 0), begun_anew(), &done), ["> web.log.2026-11-20-18"]);
    // A file begun behind the clock's jump back: its period has a file already.
    assert_eq!(planned(&hourly, at(20, 18, 0), web(1, at(20, 17, 59)), &done), ["> web.log.2026-11-20-17.1"]);
}

#[test]
fn the_hour_that_a_day_lacks_or_has_twice_is_rotated_once() {
    let hourly = settings(Period::Hourly, 0, 0);
    // 01:59 is followed by 03:00.
    assert_eq!(planned(&hourly, at(20, 3, 0), web(1, at(20, 1, 0)), &[]), ["> web.log.2026-11-20-01"]);
    // 02:59 is followed by 02:00.
    assert!(planned(&hourly, at(20, 2, 0), web(1, at(20, 2, 0)), &[]).is_empty());
}

#[test]
fn the_time_of_a_line_is_the_one_that_its_writer_saw() {
    let line = "2026-11-20T23:42:00.000+13:00 INFO web.0 4711 shop: served";
    assert_eq!(line_time(line), Some(at(20, 23, 42)));
    for line in ["", "served", "2026-11-20 INFO", "2026-11-20T23:42:00.000+01"] {
        assert_eq!(line_time(line), None, "{line}");
    }
}

#[test]
fn settings_are_read_as_people_write_them() {
    let read = |key: &str, value: &str| {
        let map = [(key.to_owned(), value.to_owned())].into_iter();
        let map = MapDeserializer::<_, Error>::new(map.map(|(key, value)| (key, value.into_deserializer())));
        RotationSettings::deserialize(map).map_err(|error| error.to_string())
    };
    let default = RotationSettings::default;
    assert_eq!(read("every", "hourly"), Ok(RotationSettings { every: Period::Hourly, ..default() }));
    assert_eq!(read("max_size", "3 MiB"), Ok(RotationSettings { max_size: ByteSize::mib(3), ..default() }));
    let quarter = Duration::from_millis(250);
    assert_eq!(
        read("check_interval", "250ms"),
        Ok(RotationSettings { check_interval: quarter, ..default() })
    );
    assert!(read("every", "weekly").unwrap_err().contains("`weekly`"));
    assert!(read("size", "1").unwrap_err().contains("`size`"));
}

prop_compose! {
    fn any_file()(log in 0..3_usize, bytes in 0..30_u64, day in 1..5_u32, hour in 0..24_u32) -> FileFacts {
        let name = ["web.log", "error.log", "web.log.2026-11-02"][log].to_owned();
        FileFacts { name, bytes, began: at(day, hour, 0) }
    }
}

prop_compose! {
    fn any_name()(
        log in prop::sample::select(vec!["web.log", "error.log", "web", ""]),
        ending in prop::sample::select(vec!["", ".gz", ".1", ".2", ".12", ".x", "-3", "-18", "-18.1"]),
        day in 1..5_u32,
    ) -> String {
        format!("{log}.2026-11-0{day}{ending}")
    }
}

fn any_settings() -> impl Strategy<Value = RotationSettings> {
    let period = prop::sample::select(vec![Period::Daily, Period::Hourly, Period::Never]);
    (period, 0..20_u64, 0..4_usize).prop_map(|(every, size, keep)| settings(every, size, keep))
}

/// What `steps` leave behind: a renamed log is gone until it is opened anew, empty.
fn apply(steps: &[Step], files: &mut [FileFacts], existing: &mut Vec<String>) -> Result<(), TestCaseError> {
    for step in steps {
        match step {
            Step::Rename { from, to } => {
                prop_assert!(!existing.contains(to) && files.iter().all(|file| file.name != *to));
                files.iter_mut().filter(|file| file.name == *from).for_each(|file| file.bytes = 0);
                existing.push(to.clone());
            }
            Step::Remove { name } => {
                prop_assert!(existing.contains(name) && files.iter().all(|file| file.name != *name));
                let ours = |file: &FileFacts| Rotated::parse(name, &file.name).is_some();
                prop_assert!(files.iter().any(ours));
                existing.retain(|existing| existing != name);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_plan_harms_nothing_and_leaves_nothing_to_do(
        settings in any_settings(),
        day in 1..6_u32,
        hour in 0..24_u32,
        mut files in prop::collection::vec(any_file(), 0..4),
        mut existing in prop::collection::vec(any_name(), 0..20),
    ) {
        let steps = plan(&settings, at(day, hour, 0), &files, &existing);
        apply(&steps, &mut files, &mut existing)?;
        prop_assert_eq!(plan(&settings, at(day, hour, 0), &files, &existing), []);
    }
}
