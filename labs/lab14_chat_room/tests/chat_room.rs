//! lab14's worker as a process: asked, killed, left alone. Only what it does is asserted, never how
//! long it takes.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use lab14::{
    frame::{read_frame, write_frame},
    worker::{Worker, WorkerError},
};
use tokio::runtime::{Builder, Runtime};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab14"));
    command.arg("--worker");
    command
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Longer than any test may take.
const FOR_EVER: Duration = Duration::from_secs(600);

fn by_hand() -> Child {
    command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Number and time, eight bytes each.
fn job(number: u64, time: Duration) -> Vec<u8> {
    [number, time.as_nanos() as u64].map(u64::to_be_bytes).concat()
}

#[test]
fn jobs_are_answered_by_one_process() {
    let worker = Worker::start(command()).unwrap();
    runtime().block_on(async {
        for _ in 0..5 {
            worker.compute(Duration::from_millis(1)).await.unwrap();
        }
        // As many as there are places, at once.
        let jobs = (0..10).map(|_| worker.compute(Duration::from_micros(100)));
        for answer in futures_util::future::join_all(jobs).await {
            answer.unwrap();
        }
    });
    assert_eq!(worker.started(), 1);
}

#[test]
fn a_killed_process_answers_its_job_with_an_error_and_the_next_one_by_a_new_process() {
    let worker = Worker::start(command()).unwrap();
    runtime().block_on(async {
        for round in 1..=3 {
            let (answer, ()) = tokio::join!(worker.compute(FOR_EVER), async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                worker.kill().unwrap();
            });
            assert!(matches!(answer, Err(WorkerError::Died(_))), "{answer:?}");
            worker.compute(Duration::from_millis(1)).await.unwrap();
            assert_eq!(worker.started(), round + 1);
        }
    });
}

#[test]
fn killed_while_it_has_nothing_to_do_it_is_missed_at_the_next_job_only() {
    let worker = Worker::start(command()).unwrap();
    worker.kill().unwrap();
    runtime().block_on(async {
        let answer = worker.compute(Duration::from_millis(1)).await;
        assert!(matches!(answer, Err(WorkerError::Died(_))), "{answer:?}");
        worker.compute(Duration::from_millis(1)).await.unwrap();
    });
}

#[test]
fn too_many_jobs_are_refused_and_none_is_lost() {
    let worker = Worker::start(command()).unwrap();
    let answers = runtime().block_on(async {
        let jobs = (0..40).map(|_| worker.compute(Duration::from_millis(1)));
        futures_util::future::join_all(jobs).await
    });
    let done = answers.iter().filter(|a| a.is_ok()).count();
    let refused = answers.iter().filter(|a| **a == Err(WorkerError::Busy));
    assert_eq!(done + refused.count(), 40, "{answers:?}");
    assert!((16..40).contains(&done), "{done}");
}

#[test]
fn dropping_the_worker_ends_its_process_in_the_middle_of_a_job() {
    let worker = Worker::start(command()).unwrap();
    runtime().block_on(async {
        let job = worker.compute(FOR_EVER);
        let given_up = tokio::time::timeout(Duration::from_millis(5), job).await;
        assert!(given_up.is_err());
    });
    // Hangs here otherwise: it waits for the process.
    drop(worker);
}

#[test]
fn the_process_ends_with_its_input_whatever_it_is_doing() {
    for (cost, answered) in [(Duration::ZERO, true), (FOR_EVER, false)] {
        let mut child = by_hand();
        let mut input = child.stdin.take().unwrap();
        write_frame(&mut input, &job(7, cost)).unwrap();
        let mut output = child.stdout.take().unwrap();
        if answered {
            let answer = read_frame(&mut output).unwrap().unwrap();
            assert_eq!(answer[..8], 7u64.to_be_bytes());
        }
        // What a parent's death does, too.
        drop(input);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(read_frame(&mut output).unwrap(), None);
    }
}

#[test]
fn nonsense_ends_the_process_with_an_error() {
    for nonsense in [&b"\0\0\0\x03abc"[..], &[255; 8], b"\0\0"] {
        let mut child = by_hand();
        use std::io::Write;
        let mut input = child.stdin.take().unwrap();
        input.write_all(nonsense).unwrap();
        drop(input);
        let ended = child.wait_with_output().unwrap();
        assert!(ended.stdout.is_empty());
        // A frame that is no job races with the end of the input.
        if nonsense.len() != 7 {
            assert_eq!(ended.status.code(), Some(1));
        }
    }
}
