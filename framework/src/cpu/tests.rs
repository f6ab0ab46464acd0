//! The pool with its threads: bounds, cancellation, panics, and its end.

use std::sync::Mutex;
use std::sync::mpsc;

use axum::response::IntoResponse as _;
use tokio::task::yield_now;

use super::*;
use crate::testing::{PATIENCE, eventually};

fn settings(threads: u16, queue_limit: usize) -> CpuSettings {
    CpuSettings { threads: CpuThreads::Exactly(threads), queue_limit, queue_timeout: PATIENCE }
}

fn pool(threads: u16, queue_limit: usize) -> CpuPool {
    CpuPool::new(&settings(threads, queue_limit), 1)
}

/// A job that keeps a thread until `open` is dropped or sent to.
struct Gate {
    open: mpsc::Sender<()>,
    job: tokio::task::JoinHandle<Result<(), CpuError>>,
}

/// Fills one thread.
async fn gate(pool: &CpuPool) -> Gate {
    let (open, opened) = mpsc::channel();
    let running = pool.figures().running;
    let job = start(pool, move || opened.recv().unwrap_or(())).await;
    eventually("the job runs", || (pool.figures().running > running).then_some(()));
    Gate { open, job }
}

/// Hands a job in, without waiting for its end.
async fn start<T: Send + 'static>(
    pool: &CpuPool,
    job: impl FnOnce() -> T + Send + 'static,
) -> tokio::task::JoinHandle<Result<T, CpuError>> {
    let before = arrived(pool);
    let handle = tokio::spawn(pool.run(job));
    while arrived(pool) == before {
        yield_now().await;
    }
    handle
}

/// How many jobs have been let in.
fn arrived(pool: &CpuPool) -> u64 {
    let figures = pool.figures();
    (figures.running + figures.waiting) as u64 + figures.done + figures.cancelled + figures.panicked
}

#[tokio::test]
async fn a_job_gives_its_result() {
    let pool = pool(1, 0);
    assert_eq!(pool.figures().threads, 0);
    assert_eq!(pool.run(|| 6 * 7).await.unwrap(), 42);
    let expected = CpuFigures { threads: 1, done: 1, ..CpuFigures::default() };
    assert_eq!(pool.figures(), expected);
}

#[tokio::test]
async fn the_loop_goes_on_while_a_job_works() {
    let (to_job, in_job) = mpsc::channel();
    let (to_loop, mut in_loop) = tokio::sync::mpsc::channel(1);
    let pool = pool(1, 0);
    // The job comes to its end only if the loop answers meanwhile.
    let job = pool.run(move || {
        to_loop.blocking_send("question").unwrap();
        in_job.recv().unwrap()
    });
    let answering = async {
        assert_eq!(in_loop.recv().await, Some("question"));
        to_job.send("answer").unwrap();
    };
    let (answer, ()) = tokio::join!(job, answering);
    assert_eq!(answer.unwrap(), "answer");
}

#[tokio::test]
async fn jobs_begin_in_the_order_of_their_arrival() {
    let pool = pool(1, 100);
    let held = gate(&pool).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut jobs = Vec::new();
    for number in 0..20 {
        let order = order.clone();
        jobs.push(start(&pool, move || order.lock().unwrap().push(number)).await);
    }
    drop(held.open);
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    assert_eq!(pool.figures().threads, 1);
}

#[tokio::test]
async fn more_than_may_wait_are_refused_at_once() {
    let pool = pool(2, 1);
    let (one, two) = (gate(&pool).await, gate(&pool).await);
    let waiting = start(&pool, || "waited").await;
    let refused = pool.run(|| ()).await.unwrap_err();
    assert!(matches!(refused, CpuError::Full { limit: 1 }), "{refused}");
    let figures = pool.figures();
    assert_eq!((figures.threads, figures.running, figures.waiting, figures.refused), (2, 2, 1, 1));
    drop((one.open, two.open));
    assert_eq!(waiting.await.unwrap().unwrap(), "waited");
}

// The clock jumps to the next deadline whenever nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn a_job_that_waits_too_long_is_refused() {
    let pool = pool(1, 5);
    let held = gate(&pool).await;
    let late = pool.run(|| ()).await.unwrap_err();
    assert!(matches!(late, CpuError::Late { .. }), "{late}");
    assert_eq!((pool.figures().waiting, pool.figures().refused), (0, 1));
    // The one that runs takes longer than anybody may wait, and has its result all the same.
    drop(held.open);
    held.job.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_waiting_job_that_nobody_wants_is_forgotten() {
    let pool = pool(1, 1);
    let held = gate(&pool).await;
    let (token, dropped) = mpsc::channel::<()>();
    let unwanted = start(&pool, move || drop(token)).await;
    unwanted.abort();
    assert!(unwanted.await.unwrap_err().is_cancelled());
    // Its closure is gone, and its place is free.
    assert_eq!(dropped.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    assert_eq!((pool.figures().waiting, pool.figures().cancelled), (0, 1));
    let next = start(&pool, || "next").await;
    drop(held.open);
    assert_eq!(next.await.unwrap().unwrap(), "next");
}

#[tokio::test]
async fn a_running_job_is_told_that_nobody_wants_it() {
    let pool = pool(1, 0);
    let (running, runs) = tokio::sync::oneshot::channel();
    {
        let job = pool.run_with(|cancelled| {
            running.send(()).unwrap();
            while !cancelled.is_cancelled() {
                thread::yield_now();
            }
        });
        tokio::select! {
            outcome = job => panic!("it was not told to end: {outcome:?}"),
            told = runs => told.unwrap(),
        }
    }
    eventually("the job ends", || (pool.figures().running == 0).then_some(()));
    assert_eq!((pool.figures().cancelled, pool.figures().done), (1, 0));
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_thread_goes_on() {
    let pool = pool(1, 0);
    let thread = || thread::current().id();
    let before = pool.run(thread).await.unwrap();
    for (job, words) in [(0, "no 0"), (1, "plain")] {
        let panicked = pool.run(move || if job == 0 { panic!("no {job}") } else { panic!("plain") }).await;
        let Err(CpuError::Panicked { message }) = panicked else { panic!("{panicked:?}") };
        assert_eq!(message, words);
    }
    assert_eq!(pool.run(thread).await.unwrap(), before);
    assert_eq!((pool.figures().panicked, pool.figures().done), (2, 2));
}

#[tokio::test]
async fn threads_without_work_end_and_are_started_again() {
    let pool = CpuPool::with_idle(&settings(2, 0), 1, Duration::from_millis(1));
    for _ in 0..3 {
        pool.run(|| ()).await.unwrap();
        eventually("the thread ends", || (pool.figures().threads == 0).then_some(()));
    }
}

#[tokio::test]
async fn a_closed_pool_refuses_what_waits_and_finishes_what_runs() {
    let pool = pool(1, 1);
    let shared = pool.shared.clone();
    let threads = || shared.figures(Instant::now()).threads;
    let (open, opened) = mpsc::channel::<()>();
    let running = start(&pool, move || opened.recv().unwrap_or(())).await;
    eventually("the job runs", || (pool.figures().running == 1).then_some(()));
    let waiting = start(&pool, || ()).await;
    let unpolled = pool.run(|| ());
    drop(pool);
    assert!(matches!(waiting.await.unwrap(), Err(CpuError::Closed)));
    assert!(matches!(unpolled.await, Err(CpuError::Closed)));
    assert_eq!(threads(), 1);
    drop(open);
    running.await.unwrap().unwrap();
    eventually("the thread ends", || (threads() == 0).then_some(()));
}

#[tokio::test]
async fn many_jobs_from_many_tasks_all_end() {
    let pool = pool(4, 10_000);
    let jobs: Vec<_> = (0..2_000_u64).map(|number| tokio::spawn(pool.run(move || number))).collect();
    let mut sum = 0;
    for job in jobs {
        sum += job.await.unwrap().unwrap();
    }
    assert_eq!(sum, 1_999_000);
    assert_eq!((pool.figures().done, pool.figures().running, pool.figures().waiting), (2_000, 0, 0));
}

#[test]
fn a_client_hears_when_to_come_again_and_nothing_of_a_panic() {
    let full = CpuError::Full { limit: 1 }.into_response();
    assert_eq!((full.status().as_u16(), &full.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    let panicked = CpuError::Panicked { message: "secret".to_owned() }.into_response();
    assert_eq!((panicked.status().as_u16(), panicked.headers().get("retry-after")), (500, None));
}
