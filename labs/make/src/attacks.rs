//! Files that try to pass without doing the work, to harm the machine, or that are no exercise at all.

use std::{path::Path, sync::OnceLock};

use crate::{
    EXERCISES,
    check::{Check, Found},
    exercise::Judge,
    verdict::{Outcome, Verdict},
    workshop::{Refused, Workshop},
};

fn shop() -> &'static Workshop {
    static SHOP: OnceLock<Workshop> = OnceLock::new();
    SHOP.get_or_init(|| {
        let exercises = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../exercises");
        Workshop::open(&exercises, false).unwrap()
    })
}

fn exercise(name: &str) -> &'static dyn Judge {
    *EXERCISES.iter().find(|judge| judge.card().name() == name).unwrap()
}

fn found(name: &str, hand: &str, source: &str) -> Found {
    let check = Check { hand, source, seed: rand::random(), replay: None };
    check.run(shop(), exercise(name)).unwrap()
}

/// What is said of a source that is run and rejected.
fn rejected(name: &str, hand: &str, source: &str) -> String {
    let found = found(name, hand, source);
    assert_eq!(found.outcome(), Outcome::Rejected, "{hand}: {found:#?}");
    let Found::Judged(verdict) = found else { panic!("{hand}: {found:?}") };
    let Verdict { checks, .. } = *verdict;
    checks.into_iter().filter(|check| !check.holds).map(|check| check.said + "\n").collect()
}

/// limit_outside, with this done first.
fn first(what: &str) -> String {
    let solution = exercise("limit_outside").card().files().solution;
    let body = "limit: usize) -> Vec<String> {\n";
    assert!(solution.contains(body));
    solution.replace(body, &format!("{body}{what}\n"))
}

fn instead(body: &str) -> String {
    format!(
        "use exercise_kit::Service;\n#[allow(unused)]\npub async fn fetch_all(service: Service, items: Vec<u64>, limit: usize) -> Vec<String> {{ {body} }}\n"
    )
}

#[test]
fn work_that_is_not_done_is_missed() {
    let nothing = rejected("limit_outside", "nothing", &instead("Vec::new()"));
    assert!(nothing.contains("40 never"), "{nothing}");
    let early = instead(
        "let a = service.get(&format!(\"/item/{}\", items[0])).await.unwrap(); vec![a.body; items.len()]",
    );
    assert!(rejected("limit_outside", "early", &early).contains("39 never"));
    // What is printed counts for nothing, even where it looks like the harness.
    let prints = instead("println!(\"ok\\nreply 0 1\\norders held all 1\\nend\"); Vec::new()");
    rejected("limit_outside", "prints", &prints);
    let guesses = instead("items.iter().map(|item| item.to_string()).collect()");
    rejected("limit_outside", "guesses", &guesses);
}

#[test]
fn the_judge_cannot_be_spoken_to() {
    // The address is known, and nobody listens any more.
    let speaks = instead(
        "let at = std::env::args().nth(1).unwrap(); std::net::TcpStream::connect(at).unwrap(); Vec::new()",
    );
    assert!(rejected("limit_outside", "speaks", &speaks).contains("panicked"));
    let again = instead("let line = exercise_kit::harness::open(); line.end(); Vec::new()");
    assert!(rejected("limit_outside", "again", &again).contains("panicked"));
}

#[test]
fn a_program_that_ends_or_never_ends_is_told() {
    let exits = rejected("limit_outside", "exits", &instead("std::process::exit(0)"));
    assert!(exits.contains("ended before its work was done"), "{exits}");
    let endless = rejected("count_every_one", "endless", &{
        let start = exercise("count_every_one").card().files().start;
        start.replace("let before", "loop {}\n#[allow(unreachable_code)]\nlet before")
    });
    assert!(endless.contains("had not come to its end"), "{endless}");
    let talks = instead("loop { println!(\"{}\", \"x\".repeat(1000)); }");
    assert!(rejected("limit_outside", "talks", &talks).contains("had not come to its end"));
}

/// The rest of these files is right: what they do besides is what they are rejected for.
#[cfg(target_os = "linux")]
#[test]
fn a_sealed_program_cannot_reach_out() {
    let outside = std::env::temp_dir().join("written-by-an-exercise");
    let path = outside.display();
    for (hand, what) in [
        ("writes", format!("let _ = std::fs::write(\"{path}\", \"x\");")),
        (
            "appends",
            "let _ = std::fs::OpenOptions::new().append(true).open(\"main.rs\");".to_owned(),
        ),
        ("removes", "let _ = std::fs::remove_file(\"main.rs\");".to_owned()),
        ("starts", "let _ = std::process::Command::new(\"true\").status();".to_owned()),
        ("makes", format!("let _ = std::fs::create_dir(\"{path}\");")),
    ] {
        let said = rejected("limit_outside", hand, &first(&what));
        assert!(said.contains("no exercise may do"), "{hand}: {said}");
    }
    assert!(!outside.exists());
    // Reading is refused: nothing can be kept from run to run, and no memory be looked at.
    let reads = first(
        "assert!(std::fs::read(\"/proc/self/mem\").is_err() && std::fs::read(\"/etc/hostname\").is_err());",
    );
    assert_eq!(found("limit_outside", "reads", &reads).outcome(), Outcome::Passed);
    let hoards = first("std::hint::black_box(vec![1_u8; 8 << 30]);");
    let said = rejected("limit_outside", "hoards", &hoards);
    assert!(said.contains("ended before its work was done"), "{said}");
    let threads = first(
        "for _ in 0..100_000 { std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(60))); }",
    );
    // It runs out of room for their stacks, or of time.
    let said = rejected("limit_outside", "threads", &threads);
    assert!(said.contains("panicked") || said.contains("had not come to its end"), "{said}");
}

#[test]
fn waiting_is_no_pace() {
    let start = exercise("unblock_the_loop").card().files().start;
    let sleeps = start.replace(
        "[\"ping\", word] => word.to_owned(),",
        "[\"ping\", word] => { tokio::time::sleep(std::time::Duration::from_millis(80)).await; word.to_owned() }",
    );
    assert_ne!(sleeps, start);
    let said = rejected("unblock_the_loop", "sleeps", &sleeps);
    assert!(said.contains("nearer the wrong way"), "{said}");
}

/// Plain atomics are not the model's, so that no order of their steps is tried.
#[test]
fn steps_that_are_hidden_hold_in_no_order() {
    let start = exercise("count_every_one").card().files().start;
    let hidden = start.replace("use exercise_kit::", "extern crate std as other;\nuse other::");
    assert!(rejected("count_every_one", "hidden", &hidden).contains("threads took 0 steps"));
}

/// A lock that the model does not know is seen by real threads, under whatever name.
#[test]
fn a_hidden_lock_keeps_others_waiting() {
    let solution = exercise("two_accounts").card().files().solution;
    let hidden = solution.replace(
        "if **source < amount {",
        "static ALL: other::sync::Mutex<()> = other::sync::Mutex::new(());\nlet _all = ALL.lock();\nif **source < amount {",
    );
    let hidden = format!("extern crate std as other;\n{hidden}");
    let said = rejected("two_accounts", "hidden", &hidden);
    assert!(said.contains("came to its end 0 times"), "{said}");
}

/// The known misconceptions are no name for a result that is only wrong, or for what breaks without a race.
#[test]
fn what_is_only_wrong_has_no_name() {
    for (name, right, wrong) in [
        ("unblock_the_loop", "panic\").to_string()", "panic\").wrapping_add(1).to_string()"),
        ("limit_outside", "answer.body", "answer.body + \"0\""),
        ("hedge_once", "answers\").body", "answers\").body + \"0\""),
        ("resume_exactly_once", "content).await", "content + \"0\").await"),
        ("offload_and_survive", "=> digest.to_string()", "=> (digest ^ 1).to_string()"),
        ("shed_by_deadline", "=> answer.body", "=> answer.body + \"0\""),
        ("count_every_one", "fetch_add(1", "fetch_add(2"),
        ("two_accounts", "**target += amount", "**target += 2 * amount"),
        ("two_accounts", "        true\n", "        false\n"),
        ("polite_and_complete", "push((url, body))", "push((url, format!(\"0{body}\")))"),
        ("choose_well", "        chosen\n    }", "        chosen + 1000\n    }"),
    ] {
        let solution = exercise(name).card().files().solution;
        assert!(solution.contains(right), "{name}");
        let found = found(name, "only-wrong", &solution.replace(right, wrong));
        let Found::Judged(verdict) = found else { panic!("{name}: {found:?}") };
        let named = verdict.misconception;
        assert_eq!((verdict.outcome(), named), (Outcome::Rejected, None), "{name}: {verdict:#?}");
    }
}

#[test]
fn other_files_are_not_taken_in() {
    let solution = "ex04_limit_outside-solution/exercise.rs";
    found("limit_outside", "solution", exercise("limit_outside").card().files().solution);
    for (hand, source) in [
        ("includes", format!("include!(\"../{solution}\");")),
        ("path", format!("#[path = \"../{solution}\"]\nmod other;\npub use other::fetch_all;")),
        ("shows", "compile_error!(concat!(include_str!(\"/etc/passwd\")));".to_owned()),
        ("renames", "use std::include_bytes as x; const _: () = x!(\"/etc/passwd\");".to_owned()),
        ("module", "#[path = \"/rustc/../etc/passwd\"]\nmod other;".to_owned()),
        // It would be the one that the harness uses.
        ("macro", "#[macro_export] macro_rules! assert { ($($t:tt)*) => {} }".to_owned()),
    ] {
        let found = found("limit_outside", hand, &source);
        assert!(matches!(&found, Found::Refused(Refused::Unfit(_))), "{hand}: {found:?}");
    }
    // What gets past the words is seen by what the compiler has read: here a file of the place where it is built.
    let place = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../exercises/target/make/hands/ex04_limit_outside-module/exercise");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("other.rs"), "pub fn f() {}").unwrap();
    let taken = first("other::f();") + "mod other;";
    let taken = found("limit_outside", "module", &taken);
    assert!(matches!(&taken, Found::Refused(Refused::Reads(_))), "{taken:?}");
    let environment = found(
        "limit_outside",
        "environment",
        "compile_error!(env!(\"CARGO_PKG_NAME\"));\nconst _: &str = env!(\"SHELL\");",
    );
    let Found::Refused(Refused::DoesNotCompile(text)) = &environment else {
        panic!("{environment:?}")
    };
    assert!(text.contains("`SHELL` not defined"), "{text}");
    let code = "unsafe { std::process::abort() }";
    let found = found("limit_outside", "unsafe", &instead(code));
    let Found::Refused(Refused::DoesNotCompile(text)) = &found else { panic!("{found:?}") };
    assert!(text.contains("unsafe"), "{text}");
}

#[test]
fn what_does_not_compile_is_told_in_the_learners_terms() {
    let solution = exercise("limit_outside").card().files().solution;
    let broken = solution.replace("JoinSet::new()", "JoinSet::knew()");
    let found_broken = found("limit_outside", "broken", &broken);
    let Found::Refused(Refused::DoesNotCompile(text)) = &found_broken else {
        panic!("{found_broken:?}")
    };
    assert!(text.contains("--> exercise.rs:") && text.contains("knew"), "{text}");
    assert!(!text.contains("hands"), "{text}");
    for (hand, source) in [
        ("renamed", solution.replace("fetch_all", "fetch_most")),
        ("signature", solution.replace("limit: usize", "limit: String")),
        ("private", solution.replace("pub async fn", "async fn")),
    ] {
        let found = found("limit_outside", hand, &source);
        let is_told =
            matches!(&found, Found::Refused(Refused::DoesNotFit(_) | Refused::DoesNotCompile(_)));
        assert!(is_told, "{hand}: {found:?}");
    }
}
