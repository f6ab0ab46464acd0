//! Helpers as real processes: shells, and what they leave behind.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::testing::{PATIENCE, eventually, is_running, send_signal};

/// Asks again and again without holding up the runtime.
async fn until<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn gone(pids: &[u32]) {
    until(&format!("{pids:?} are gone"), || (!pids.iter().any(|pid| is_running(*pid))).then_some(())).await;
}

fn pids(text: &str) -> Vec<u32> {
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// A shell and its child that do not end, and the file where they write who they are.
fn two_sleepers(folder: &TempDir) -> (Exec, impl FnMut() -> Option<Vec<u32>> + use<>) {
    let file = folder.path().join("pids");
    let script = "sleep 60 & echo $$ $! > pids.new; mv pids.new pids; wait";
    let exec = Exec::shell(script).current_dir(folder.path());
    (exec, move || fs::read_to_string(&file).ok().map(|text| pids(&text)))
}

#[tokio::test]
async fn a_helper_answers_with_its_streams_and_its_status() {
    let output = Exec::shell("echo out; echo err >&2; exit 3").output().await.unwrap();
    assert_eq!((&*output.stdout_text(), &*output.stderr_text()), ("out\n", "err\n"));
    assert_eq!(output.status.code(), Some(3));
    let error = output.check().unwrap_err().to_string();
    assert_eq!(error, "`echo out; echo err >&2; exit 3` failed with exit status: 3: err");
}

#[tokio::test]
async fn arguments_are_seen_by_no_shell() {
    let output = Exec::new("echo").arg("$HOME").args(["a  b", ";"]).output().await.unwrap();
    assert_eq!(output.check().unwrap().stdout_text(), "$HOME a  b ;\n");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let error = Exec::new("no-such-helper").output().await.unwrap_err();
    assert!(matches!(&error, ExecError::NotStarted { program, .. } if program == "no-such-helper"));
    assert!(error.to_string().starts_with("cannot start `no-such-helper`: No such file"), "{error}");
}

#[tokio::test]
async fn the_environment_is_inherited_without_the_role() {
    let exec = Exec::shell("echo \"${HATCHERY_ROLE-none} ${PATH:+path} $GIVEN\"").env("GIVEN", "given");
    let removed =
        exec.command.as_std().get_envs().any(|(name, value)| name == ROLE_VARIABLE && value.is_none());
    assert!(removed);
    assert_eq!(exec.output().await.unwrap().stdout_text(), "none path given\n");
}

#[tokio::test]
async fn there_is_no_input_unless_it_is_given() {
    assert_eq!(Exec::new("cat").output().await.unwrap().stdout, b"");
    assert_eq!(Exec::new("cat").input("").output().await.unwrap().stdout, b"");
    assert_eq!(Exec::new("cat").input("some").output().await.unwrap().stdout, b"some");
}

#[tokio::test]
async fn more_input_than_a_pipe_holds_goes_through() {
    let input = vec![b'x'; 900_000];
    let output = Exec::new("cat").input(input.clone()).output().await.unwrap();
    assert!(output.stdout == input);
}

#[tokio::test]
async fn input_that_nobody_reads_is_no_error() {
    let output = Exec::new("true").input(vec![0; 1_000_000]).output().await.unwrap();
    assert!(output.status.success());
}

#[tokio::test]
async fn the_time_limit_ends_the_whole_group() {
    // On a slow machine the shell may not even have begun after the shorter ones.
    for limit in [100, 1_000, 10_000].map(Duration::from_millis) {
        let exec = Exec::shell("sleep 60 & echo $$ $!; wait").time_limit(limit);
        let ExecError::TimedOut { stdout, limit: told, .. } = exec.output().await.unwrap_err() else {
            panic!("it is no time-out")
        };
        assert_eq!(told, limit);
        if let [leader, child] = pids(&String::from_utf8(stdout).unwrap())[..] {
            assert!(!Path::new(&format!("/proc/{leader}")).exists(), "the leader is reaped");
            return gone(&[child]).await;
        }
    }
    panic!("the shell never began");
}

#[tokio::test]
async fn with_a_grace_the_helper_may_say_goodbye() {
    let script = "trap 'echo bye; exit 0' TERM; echo ready; while kill -0 $PPID; do sleep 0.01; done";
    for limit in [100, 1_000, 10_000].map(Duration::from_millis) {
        let exec = Exec::shell(script).time_limit(limit).grace(PATIENCE);
        let ExecError::TimedOut { stdout, .. } = exec.output().await.unwrap_err() else {
            panic!("it is no time-out")
        };
        if !stdout.is_empty() {
            return assert_eq!(String::from_utf8_lossy(&stdout), "ready\nbye\n");
        }
    }
    panic!("the shell never began");
}

#[tokio::test]
async fn the_grace_has_an_end() {
    let folder = TempDir::new().unwrap();
    let script = "trap '' TERM; echo $$ > pid.new; mv pid.new pid; while kill -0 $PPID; do sleep 0.01; done";
    let token = CancellationToken::new();
    let exec = Exec::shell(script)
        .current_dir(folder.path())
        .cancelled_by(token.clone().cancelled_owned())
        .grace(Duration::from_millis(50));
    let cancel = async {
        let file = folder.path().join("pid");
        let pid = until("the shell begins", || fs::read_to_string(&file).ok()).await;
        token.cancel();
        pids(&pid)
    };
    let (outcome, pids) = tokio::join!(exec.output(), cancel);
    assert!(matches!(outcome, Err(ExecError::Cancelled { .. })));
    gone(&pids).await;
}

#[tokio::test]
async fn too_much_output_ends_the_helper() {
    let exec = Exec::shell("echo begin >&2; yes").output_limit(ByteSize::kib(100));
    let error = exec.output().await.unwrap_err();
    let ExecError::TooMuchOutput { stream, ref stdout, ref stderr, .. } = error else { panic!("{error}") };
    assert_eq!((stream, stdout.len(), &stderr[..]), (Stream::Stdout, 100 * 1024, &b"begin\n"[..]));
    assert!(error.to_string().contains("wrote more than 100.0 KiB to stdout"), "{error}");
}

#[tokio::test]
async fn a_grace_outlasts_closed_streams_and_too_much_output() {
    let closed = "exec >&- 2>&-; trap 'exit 0' TERM; while kill -0 $PPID; do sleep 0.01; done";
    let exec = Exec::shell(closed).time_limit(Duration::from_millis(200)).grace(PATIENCE);
    assert!(matches!(exec.output().await, Err(ExecError::TimedOut { .. })));
    // The first stream to pass the limit is told, and closed; the second is closed in its turn.
    let chatty = "trap 'exit 0' TERM; yes & yes >&2 & while kill -0 $PPID; do sleep 0.01; done";
    let exec = Exec::shell(chatty).output_limit(ByteSize::kib(1)).grace(PATIENCE);
    assert!(matches!(exec.output().await, Err(ExecError::TooMuchOutput { .. })));
}

#[test]
fn a_helper_ends_with_its_runtime() {
    let folder = TempDir::new().unwrap();
    let (exec, started) = two_sleepers(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pids = runtime.block_on(async {
        tokio::spawn(exec.output());
        until("the sleepers run", started).await
    });
    drop(runtime);
    eventually("the helper and its child are gone", || {
        (!pids.iter().any(|pid| is_running(*pid))).then_some(())
    });
}

#[tokio::test]
async fn output_up_to_the_limit_is_fine() {
    let exec = Exec::shell("printf 12345; printf 12345 >&2").output_limit(ByteSize::b(5));
    assert_eq!(exec.output().await.unwrap().stdout_text(), "12345");
    let exec = Exec::shell("printf 123456 >&2").output_limit(ByteSize::b(5));
    let error = exec.output().await.unwrap_err();
    assert!(matches!(error, ExecError::TooMuchOutput { stream: Stream::Stderr, .. }), "{error}");
}

#[tokio::test]
async fn cancelling_ends_the_whole_group() {
    let folder = TempDir::new().unwrap();
    let (exec, mut started) = two_sleepers(&folder);
    let token = CancellationToken::new();
    let exec = exec.cancelled_by(token.clone().cancelled_owned());
    let cancel = async {
        let pids = until("the sleepers run", &mut started).await;
        token.cancel();
        pids
    };
    let (outcome, pids) = tokio::join!(exec.output(), cancel);
    assert!(matches!(outcome, Err(ExecError::Cancelled { .. })));
    gone(&pids).await;
}

#[tokio::test]
async fn dropping_the_future_ends_the_whole_group() {
    let folder = TempDir::new().unwrap();
    let (exec, mut started) = two_sleepers(&folder);
    let pids = tokio::select! {
        outcome = exec.output() => panic!("it ended by itself: {outcome:?}"),
        pids = until("the sleepers run", &mut started) => pids,
    };
    gone(&pids).await;
    let leader = format!("/proc/{}", pids[0]);
    until("the leader is reaped", || (!Path::new(&leader).exists()).then_some(())).await;
}

#[tokio::test]
async fn those_that_a_helper_leaves_behind_are_ended() {
    let output = Exec::shell("sleep 60 >/dev/null 2>&1 & echo $!").output().await.unwrap();
    gone(&pids(&output.stdout_text())).await;
    // Here the output is held open.
    let output = Exec::shell("sleep 60 & echo $!").output().await.unwrap();
    gone(&pids(&output.stdout_text())).await;
}

#[tokio::test]
async fn those_left_behind_may_finish_writing() {
    // Within a second, which a busy machine may have no time for.
    let mut said = String::new();
    for _ in 0..4 {
        let output = Exec::shell("(sleep 0.1; echo late) & echo early").output().await.unwrap();
        said = output.stdout_text().into_owned();
        if said != "early\n" {
            break;
        }
        eprintln!("an attempt failed: it was too late");
    }
    assert_eq!(said, "early\nlate\n");
}

#[tokio::test]
async fn a_detached_process_that_holds_the_output_does_not_hold_up_the_answer() {
    let began = Instant::now();
    let output = Exec::shell("setsid sh -c 'echo $$; exec sleep 60' & echo done").output().await.unwrap();
    let text = output.stdout_text();
    let detached = text.lines().find_map(|line| line.parse().ok()).unwrap();
    // Nobody else ends it.
    send_signal(detached, Signal::KILL);
    assert!(text.contains("done\n"), "{text}");
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_thousand_in_a_row_leave_nothing_behind() {
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut ran = Vec::new();
    for _ in 0..1000 {
        let output = Exec::shell("echo $$").output().await.unwrap();
        ran.extend(pids(&output.stdout_text()));
    }
    let own = format!("\nPPid:\t{}\n", std::process::id());
    let status = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let zombies =
        ran.iter().map(status).filter(|text| text.contains("(zombie)") && text.contains(&own)).count();
    assert_eq!((ran.len(), zombies), (1000, 0));
    // Other tests of this process open some, too.
    assert!(descriptors() < before + 300, "{before} descriptors became {}", descriptors());
}

#[test]
fn a_run_may_move_between_threads() {
    fn moves<T: Send>(_: T) {}
    moves(Exec::new("true").output());
}
