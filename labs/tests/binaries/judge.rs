//! `labs judge`: what the service's books say of programs in two languages, right ones and such as have one fault
//! each; what is said of programs that misbehave, and that nothing of them is left.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::*;

/// Programs in two languages that take the same flags.
const CLIENTS: [(&str, &str); 2] = [
    ("python3", concat!(env!("CARGO_MANIFEST_DIR"), "/judge/clients/client.py")),
    ("node", concat!(env!("CARGO_MANIFEST_DIR"), "/judge/clients/client.mjs")),
];

/// The clients whose language is here.
fn clients() -> Vec<[&'static str; 2]> {
    let is_here = |name: &str| {
        let asked = Command::new(name).arg("--version").output();
        asked.is_ok_and(|answer| answer.status.success())
    };
    let here = CLIENTS.iter().filter(|(name, _)| is_here(name));
    here.map(|(name, file)| [*name, *file]).collect()
}

const FLAGS: [&str; 8] =
    ["--url", "{url}", "--n", "{n}", "--limit", "{limit}", "--timeout", "{timeout}"];

/// A judgement at smoke scale.
fn judged(lab: &str, out: &Path, program: &[&str], more: &[&str]) -> Done {
    let own = ["judge", lab, "--scale", "smoke", "--out"];
    // Times that are long beside what a crowded machine adds to them.
    let patient = ["--backoff", "300ms", "--timeout", "1s"];
    let patient = if lab == "5" { &patient[..] } else { &[] };
    let mut command = labs();
    command.args(own).arg(out).args(["--trials", "3"]).args(patient).arg("--");
    run(command.args(program).args(more))
}

/// Runs all of these, few at a time: programs that keep each other off the processors make the machine stand still, and
/// then nothing is said of what a standstill could explain.
fn few_at_a_time<T: Send>(cases: Vec<T>, run: impl Fn(T) + Sync) {
    let cases = Mutex::new(cases);
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        while let Some(case) = next() {
            run(case);
        }
    };
    thread::scope(|scope| {
        let workers = [(); 3].map(|()| scope.spawn(work));
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

/// What the books are said to show.
fn shown(done: &Done) -> String {
    let line = done.stdout.lines().find(|line| line.contains("books show"));
    line.unwrap_or_else(|| panic!("{}\n{}", done.stdout, done.stderr)).to_owned()
}

/// The gauges of the first trial.
fn gauges(out: &Path, name: &str) -> Value {
    let record: Value = serde_json::from_slice(&fs::read(out.join(name)).unwrap()).unwrap();
    record["points"][0]["trials"][0]["gauges"].clone()
}

/// Each fault is named, by what is in the books alone, in each language; a client without one is not accused.
#[test]
fn faults_are_named_from_the_books() {
    let item = |fault: &'static str, named: &'static str| ("5", fault, named);
    let cases = [
        item("", "none of the faults"),
        item("semaphore-inside", "no limit for all requests together"),
        item("unbounded-burst", "no limit for all requests together"),
        item("no-back-off", "no back-off"),
        item("ignore-retry-after", "Retry-After ignored"),
        item("permit-while-sleeping", "a permit held while sleeping"),
        item("no-timeout", "no timeout"),
        item("retry-post", "a POST sent again"),
        item("lost-item", "lost items"),
        item("duplicate", "duplicates"),
        ("6", "", "none of the faults"),
        ("6", "barrier-batches", "batches with a barrier"),
    ];
    let cases = clients().into_iter().flat_map(|client| cases.map(|case| (client, case)));
    few_at_a_time(cases.collect(), |(client, (lab, fault, named))| {
        let out = temporary();
        let mut more = FLAGS.to_vec();
        match lab {
            "5" => more.extend(["--orders", "{orders}", "--backoff", "{backoff}"]),
            _ => more.extend(["--path", "embeddings", "--method", "POST"]),
        }
        if !fault.is_empty() {
            more.extend(["--fault", fault]);
        }
        let done = judged(lab, out.path(), &client, &more);
        // At this scale no time is judged: what rests on one is only what it looks like.
        let shown = shown(&done);
        assert!(shown.contains(named), "{client:?} {fault}: {shown}\n{}", done.stdout);
    });
}

/// Faults that a client of a lab has to switch on, each with what it is named.
const FAULTS: [(&str, &[(&str, &str)]); 4] = [
    (
        "8",
        &[
            ("", "none of the faults"),
            ("phases", "stages do not overlap"),
            ("batches", "stages do not overlap"),
            ("awaits-each", "the slowest stage is not kept busy"),
            ("through-all", "the slowest stage is not kept busy"),
            ("unbounded-queue", "a queue without a bound"),
            ("no-limit", "no limit"),
            ("too-early", "stages out of order"),
        ],
    ),
    (
        "10",
        &[
            ("", "none of the faults"),
            ("one-by-one", "sources one after another"),
            ("two-then-one", "sources one after another"),
            ("barrier", "a barrier between fetches and inferences"),
            ("batches", "a barrier between fetches and inferences"),
            ("no-limit", "no limit"),
            ("first-answer", "an inference before its sources"),
            ("lost-query", "lost items"),
        ],
    ),
    (
        "12",
        &[
            ("", "none of the faults"),
            ("batches", "batches with a barrier"),
            ("no-timeout", "no timeout"),
            ("lost-result", "lost results"),
            ("store-again", "stored twice"),
            ("store-anything", "stores what it does not have"),
            ("both-places", "a fallback without need"),
            ("no-retry", "gives up too early"),
            ("no-back-off", "no back-off"),
            ("retry-forever", "retries without a bound"),
            ("limit-for-requests", "too many items in progress"),
        ],
    ),
    (
        "19",
        &[
            ("", "none of the faults"),
            ("no-robots", "robots.txt not obeyed"),
            ("robots-late", "robots.txt read too late, or not at all"),
            ("ignore-retry-after", "Retry-After ignored"),
            ("drop-busy", "gives up too early"),
            ("with-fragments", "duplicates"),
            ("lost-listings", "lost items"),
            ("retry-404", "retries what cannot succeed"),
            ("levels", "a barrier after each level"),
            ("one-at-a-time", "the limit is not used"),
            ("no-limit", "no limit for all requests together"),
        ],
    ),
];

/// The same for the labs whose clients are in Python alone.
#[test]
fn faults_of_pipelines_and_crawlers_are_named() {
    if clients().iter().all(|[language, _]| *language != "python3") {
        return;
    }
    let judged = |lab: &str, fault: &str| {
        let out = temporary();
        let file = format!("{}/judge/clients/lab{lab:0>2}.py", env!("CARGO_MANIFEST_DIR"));
        let mut more = vec!["--url", "{url}", "--n", "{n}", "--limit", "{limit}"];
        if lab == "12" {
            let told =
                ["--timeout", "{timeout}", "--attempts", "{attempts}", "--backoff", "{backoff}"];
            more.extend(told);
        }
        if !fault.is_empty() {
            more.extend(["--fault", fault]);
        }
        judged(lab, out.path(), &["python3", &file], &more)
    };
    let cases = FAULTS.iter().flat_map(|(lab, cases)| cases.iter().map(move |case| (lab, case)));
    few_at_a_time(cases.collect(), |(lab, (fault, named))| {
        let done = judged(lab, fault);
        let shown = shown(&done);
        assert!(shown.contains(named), "{lab} {fault}: {shown}\n{}", done.stdout);
    });
}

/// A server that is what it claims is not accused, and one without a bound on its queue is, by what is counted.
#[test]
fn a_server_is_compared_with_the_queue_that_it_claims_to_be() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let judged = |queue: Option<usize>| {
        let service = mock_server::Service::Constant(Duration::from_millis(20));
        let spec = mock_server::Spec { queue, ..mock_server::Spec::new(4, service) };
        let server = runtime.block_on(mock_server::Upstream::start(spec)).unwrap();
        let (out, url) = (temporary(), format!("http://{}", server.address()));
        let own = ["judge", "15", "--scale", "smoke", "--trials", "3", "--server", &url, "--out"];
        let done = run(labs().args(own).arg(out.path()));
        runtime.block_on(server.shutdown());
        let line = done.stdout.lines().find(|line| line.contains("The server shows"));
        line.unwrap_or_else(|| panic!("{}\n{}", done.stdout, done.stderr)).to_owned()
    };
    let right = judged(Some(12));
    assert!(right.contains("none of the faults"), "{right}");
    let unbounded = judged(None);
    assert!(unbounded.contains("other waiting places than claimed"), "{unbounded}");
}

/// The books hold every request that a client counts itself.
#[test]
fn the_books_are_those_of_the_client() {
    for [language, file] in clients() {
        let out = temporary();
        let report = out.path().join("report.json");
        let script = format!(
            "exec {language} {file} --url {{url}} --n {{n}} --limit {{limit}} --timeout {{timeout}} --orders {{orders}} --backoff {{backoff}} --report >{}",
            report.display()
        );
        judged("5", out.path(), &["sh", "-c", &script], &[]).expect(0);
        let books = gauges(out.path(), "judge05.json");
        let own: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        assert_eq!(books["requests"].as_f64(), own["requests"].as_f64(), "{language}");
        assert_eq!(books["attempts_given_up"].as_f64(), own["timed_out"].as_f64(), "{language}");
    }
}

/// A shell and curl are a program like any other, and a record of it makes charts and a page of the book.
#[cfg(unix)]
#[test]
fn a_shell_script_is_judged_and_its_record_is_one_like_any_other() {
    if Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let out = temporary();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/judge/clients/client.sh");
    let done = judged("4", out.path(), &["bash", script], &FLAGS).expect(0);
    assert!(shown(&done).contains("none of the faults"), "{}", done.stdout);
    let books = gauges(out.path(), "judge04.json");
    assert_eq!(books["items_missed"].as_f64(), Some(0.0));
    let pages = temporary();
    run(labs().arg("book").arg(out.path()).arg("--out").arg(pages.path())).expect(0);
    let page = fs::read_to_string(pages.path().join("judge04.html")).unwrap();
    assert!(page.contains("client.sh"), "the page names the command");
    run(labs().arg("verdicts").arg(out.path())).expect(0);
    run(labs().arg("charts").arg(out.path())).expect(0);
}

/// The commands of all processes.
#[cfg(unix)]
fn commands() -> Vec<String> {
    let listed = Command::new("ps").args(["-A", "-o", "args="]).output().unwrap().stdout;
    let all: Vec<String> =
        String::from_utf8_lossy(&listed).lines().map(|line| line.trim().to_owned()).collect();
    assert!(all.len() > 1, "ps lists nothing");
    all
}

/// Programs that end badly cost themselves a sentence.
#[cfg(unix)]
#[test]
fn programs_that_misbehave_are_ended_with_a_sentence_and_leave_nothing() {
    let cases: [(&str, &str); 6] = [
        ("true", "asked for nothing"),
        ("echo no luck >&2; kill -SEGV $$", "no luck"),
        ("yes", "wrote more than"),
        ("trap '' TERM; sleep 4711", "did not end within"),
        ("sleep 4712 & sleep 4712 & exit 0", "asked for nothing"),
        ("while :; do sleep 4713 & done", "processes"),
    ];
    for (script, said) in cases {
        let out = temporary();
        let flags = ["judge", "4", "--scale", "smoke", "--n", "10", "--patience", "3s", "--out"];
        let mut command = labs();
        command.args(flags).arg(out.path()).args(["--", "sh", "-c", script]);
        run(&mut command).expect(1).says(&[said]);
        assert!(!out.path().join("judge04.json").exists(), "{script}");
    }
    for number in ["4711", "4712", "4713"] {
        let left = commands().into_iter().find(|command| *command == format!("sleep {number}"));
        assert_eq!(left, None);
    }
}

/// A program that looks at nothing ends with `labs`, also when that is killed.
#[cfg(unix)]
#[test]
fn a_program_ends_with_the_judge_however_that_ends() {
    let out = temporary();
    let told = out.path().join("pid");
    let program = format!("echo $$ > {}; exec sleep 600", told.display());
    let own = ["judge", "5", "--scale", "smoke", "--patience", "100s", "--out"];
    let mut judge = labs();
    let judge = judge.args(own).arg(out.path()).args(["--", "sh", "-c", &program]);
    let mut judge = judge.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let looks = || (0..600).inspect(|_| thread::sleep(Duration::from_millis(50)));
    let read =
        || Some(fs::read_to_string(&told).ok()?.trim().to_owned()).filter(|id| !id.is_empty());
    let program = looks().find_map(|_| read()).expect("the program was not started");
    judge.kill().unwrap();
    judge.wait().unwrap();
    let lives = || {
        let mut asked = Command::new("kill");
        asked.args(["-0", &program]).stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(looks().any(|_| !lives()), "the program lives on");
}

/// The client to start from is a good one.
#[test]
fn the_first_client_is_not_accused() {
    if clients().iter().all(|[language, _]| *language != "python3") {
        return;
    }
    let (out, file) = (temporary(), concat!(env!("CARGO_MANIFEST_DIR"), "/judge/clients/first.py"));
    let done = judged("3", out.path(), &["python3", file], &[]).expect(0);
    assert!(shown(&done).contains("none of the faults"), "{}", done.stdout);
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let labs = |words: &[&str]| run(labs().args(words));
    labs(&["judge", "7", "--", "true"]).expect(2).says(&["the labs that judge are"]);
    labs(&["judge", "4"]).expect(2).says(&["<COMMAND>"]);
    labs(&["judge", "4", "--n", "0", "--", "true"]).expect(2).says(&["1 to 1000"]);
    labs(&["judge", "4", "--timeout", "1ms", "--", "true"]).expect(2).says(&["--timeout"]);
    let limit = ["judge", "3", "--", "true", "--limit={limit}"];
    labs(&limit).expect(2).says(&["{limit} is not told here", "{url}, {n}, {timeout}"]);
    labs(&["judge", "4", "--", "/no/such/program"]).expect(1).says(&["cannot start"]);
    labs(&["judge", "15", "--server", "http://10.0.0.1"]).expect(2).says(&["this machine"]);
    labs(&["judge", "15", "--server", "http://127.0.0.1:9"]).expect(2).says(&["nobody is there"]);
    let help = labs(&["judge", "5", "--help"]).expect(0);
    assert!(help.stdout.contains("What the program has to do"), "{}", help.stdout);
    assert!(help.stdout.contains("{url}, {n}, {limit}"), "{}", help.stdout);
    let help = labs(&["judge", "15", "--help"]).expect(0);
    assert!(help.stdout.contains("What the server has to do"), "{}", help.stdout);
}
