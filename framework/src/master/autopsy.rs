//! A look at a process that hangs, before it is made to end: what each of its threads is doing, and, if a
//! debugger is at hand, where in the program. All of it goes into the log and is bounded in lines and time.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use procfs::process::{Process, Syscall};
use rustix::process::{Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::family::{Family, pid_of};
use crate::role::Slot;

/// How many threads are told of.
const THREADS: usize = 14;

/// How many lines of a debugger's are told.
const FRAMES: usize = 24;

/// How many of these are the first thread's, with its name, and each other one's.
const FIRST_THREAD: usize = 16;
const OTHER_THREAD: usize = 4;

/// How long such a line may be.
const WIDTH: usize = 200;

/// How long a debugger may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most bytes that are taken from a debugger.
const OUTPUT: u64 = 256 << 10;

/// Debuggers that print the stacks of all threads, the quickest first.
const DEBUGGERS: [(&str, &[&str]); 3] = [
    ("eu-stack", &["-p"]),
    ("pstack", &[]),
    (
        "gdb",
        &[
            "-batch",
            "-nx",
            "-iex",
            "set debuginfod enabled off",
            "-ex",
            "thread apply all -ascending bt 20",
            "-p",
        ],
    ),
];

static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

fn is_one_of_us(pid: u32) -> bool {
    let process = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok());
    let ids = process.and_then(|process| process.status().ok()).map(|status| [status.ruid, status.euid]);
    ids == Some([rustix::process::geteuid().as_raw(); 2])
}

/// Writes down what the process is doing; at most 40 lines.
pub(super) async fn examine(slot: Slot, pid: u32, family: Family) {
    let threads = threads_of(pid);
    tracing::error!("{slot} (pid {pid}) does not answer; it has {} threads:", threads.len());
    for thread in threads.iter().take(THREADS) {
        tracing::error!("{slot}: {thread}");
    }
    match stacks_of(pid, &family).await {
        Ok(lines) => lines.iter().for_each(|line| tracing::error!("{slot}: {line}")),
        Err(problem) => tracing::error!("{slot}: no stacks: {problem}"),
    }
}

/// What is known of a thread.
#[derive(Debug)]
struct Thread {
    id: i32,
    name: String,
    state: char,
    /// The kernel function that it sleeps in, if it does and we may know.
    sleeps_in: Option<String>,
    syscall: Option<Syscall>,
    cpu_ms: u64,
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} ({}), {} ms on a processor: ", self.id, self.name, self.cpu_ms)?;
        match self.state {
            'R' if matches!(self.syscall, Some(Syscall::Blocked { .. })) => {
                f.write_str("busy in the kernel")?
            }
            'R' => f.write_str("busy")?,
            'S' => f.write_str("blocked")?,
            'D' => f.write_str("blocked, and deaf to signals")?,
            'T' => f.write_str("stopped by a signal")?,
            't' => f.write_str("stopped by a debugger")?,
            'Z' | 'X' => f.write_str("ended")?,
            other => write!(f, "in state {other}")?,
        }
        if let Some(place) = &self.sleeps_in {
            write!(f, " in {place}")?;
        }
        match self.syscall {
            Some(Syscall::Blocked { syscall_number: number @ 0.., .. }) => {
                write!(f, " (system call {number})")
            }
            _ => Ok(()),
        }
    }
}

fn threads_of(pid: u32) -> Vec<Thread> {
    let tasks = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()?.tasks().ok());
    let mut threads: Vec<Thread> = tasks
        .into_iter()
        .flatten()
        .filter_map(|task| {
            let task = task.ok()?;
            let stat = task.stat().ok()?;
            let place = fs::read_to_string(format!("/proc/{pid}/task/{}/wchan", task.tid)).ok();
            Some(Thread {
                id: task.tid,
                name: stat.comm,
                state: stat.state,
                sleeps_in: place.filter(|place| !place.is_empty() && place != "0"),
                syscall: task.syscall().ok(),
                cpu_ms: (stat.utime + stat.stime) * 1000 / procfs::ticks_per_second().max(1),
            })
        })
        .collect();
    // Those that are busy, and those that did most, say most.
    threads.sort_by_key(|thread| (thread.state != 'R', std::cmp::Reverse(thread.cpu_ms)));
    threads
}

/// The stacks of all threads in a debugger's words.
async fn stacks_of(pid: u32, family: &Family) -> Result<Vec<String>, String> {
    // A debugger has the master's rights, and reads what the process has made of its memory.
    if !is_one_of_us(pid) {
        return Err("it runs as another user than the master".to_owned());
    }
    // Many may hang for the same reason at the same time.
    let Ok(_alone) = ONE_AT_A_TIME.try_acquire() else {
        return Err("another process is being looked at".to_owned());
    };
    let found = DEBUGGERS.iter().find_map(|(name, options)| Some((*name, find(name)?, *options)));
    let Some((name, path, options)) = found else {
        return Err("neither eu-stack nor pstack nor gdb is on the PATH".to_owned());
    };
    let mut debugger = Command::new(path)
        .args(options)
        .arg(pid.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{name} cannot be started: {error}"))?;
    let group = debugger.id().unwrap_or_default();
    let membership = family.admit(group);
    let mut text = Vec::new();
    let reading = async {
        if let Some(stdout) = debugger.stdout.take() {
            let _ = stdout.take(OUTPUT).read_to_end(&mut text).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, reading).await.is_ok();
    // It has said what it says or has had its time; it may have helpers, and it is not waited for yet.
    let _ = pid_of(group).map(|group| kill_process_group(group, Signal::KILL));
    let _ = debugger.wait().await;
    drop(membership);
    let lines = frames_in(&String::from_utf8_lossy(&text));
    match (lines.is_empty(), in_time) {
        (false, _) => Ok(lines),
        (true, true) => Err(format!("{name} says nothing; perhaps it may not attach to the process")),
        (true, false) => Err(format!("{name} was not done after {} s", PATIENCE.as_secs())),
    }
}

/// The lines that tell of threads and of their frames: most of the first thread, where the author's code
/// runs, and the tops of the others.
fn frames_in(text: &str) -> Vec<String> {
    let mut threads: Vec<Vec<&str>> = Vec::new();
    for line in text.lines().map(str::trim) {
        match threads.last_mut() {
            _ if line.starts_with("Thread ") || line.starts_with("TID ") => threads.push(vec![line]),
            Some(thread) if line.starts_with('#') => thread.push(line),
            _ => {}
        }
    }
    // gdb begins with the last thread.
    threads.sort_by_key(|thread| !thread[0].starts_with("Thread 1 "));
    let mut most = FIRST_THREAD;
    let shown =
        threads.iter().flat_map(|thread| thread.iter().take(std::mem::replace(&mut most, OTHER_THREAD)));
    let cut = |line: &&str| line[..line.floor_char_boundary(WIDTH)].replace(char::is_control, " ");
    shown.take(FRAMES).map(cut).collect()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(state: char, sleeps_in: Option<&str>, number: Option<i64>) -> String {
        let syscall = number.map(|syscall_number| Syscall::Blocked {
            syscall_number,
            argument_registers: [0; 6],
            stack_pointer: 0,
            program_counter: 0,
        });
        let sleeps_in = sleeps_in.map(str::to_owned);
        Thread { id: 7, name: "shop".to_owned(), state, sleeps_in, syscall, cpu_ms: 1200 }.to_string()
    }

    #[test]
    fn what_a_thread_does_is_told_in_words() {
        let table = [
            (thread('R', None, None), "busy"),
            (thread('R', None, Some(1)), "busy in the kernel (system call 1)"),
            (thread('S', Some("futex_do_wait"), Some(202)), "blocked in futex_do_wait (system call 202)"),
            (thread('T', Some("do_signal_stop"), Some(-1)), "stopped by a signal in do_signal_stop"),
            (thread('D', None, None), "blocked, and deaf to signals"),
            (thread('I', None, None), "in state I"),
        ];
        for (told, expected) in table {
            assert_eq!(told, format!("thread 7 (shop), 1200 ms on a processor: {expected}"));
        }
    }

    #[test]
    fn the_first_threads_stack_comes_first_and_others_are_short() {
        let frames =
            |count: usize| (0..count).map(|n| format!("#{n}  0x0f in poll ()\n")).collect::<String>();
        let gdb = format!(
            "[New LWP 8]\nThis GDB\n0x0f in poll ()\n\nThread 2 (LWP 8 \"log\"):\n{}\nThread 1 (LWP 7):\n{}",
            frames(9),
            frames(40)
        );
        let lines = frames_in(&gdb);
        assert_eq!(lines.len(), FIRST_THREAD + OTHER_THREAD);
        assert_eq!((lines[0].as_str(), lines[1].as_str()), ("Thread 1 (LWP 7):", "#0  0x0f in poll ()"));
        assert_eq!(lines[FIRST_THREAD], "Thread 2 (LWP 8 \"log\"):");

        let eu_stack = format!("PID 7 - process\nTID 7:\n{}", frames(2));
        assert_eq!(frames_in(&eu_stack), ["TID 7:", "#0  0x0f in poll ()", "#1  0x0f in poll ()"]);
        assert_eq!(frames_in(&format!("TID 7:\n{}", frames(3)).repeat(100)).len(), FRAMES);
        assert_eq!(frames_in(&format!("TID 7:\n#0  {}", "x".repeat(1000)))[1].len(), WIDTH);
        assert!(frames_in("ptrace: Operation not permitted.\n").is_empty());
    }

    #[tokio::test]
    async fn a_stopped_process_is_examined_in_bounded_time() {
        let mut child = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
        let pid = child.id().unwrap();
        rustix::process::kill_process(pid_of(pid).unwrap(), Signal::STOP).unwrap();
        let stopped = || threads_of(pid).first().is_some_and(|thread| thread.state == 'T');
        crate::testing::eventually("it is stopped", || stopped().then_some(()));
        let limit = PATIENCE + Duration::from_secs(20);
        tokio::time::timeout(limit, examine(Slot::worker("web", 0), pid, Family::default())).await.unwrap();
        // Whom a debugger lets go needs a moment on a processor to stand still again.
        crate::testing::eventually("it is left as it was found", || stopped().then_some(()));
        child.kill().await.unwrap();
    }
}
