//! `labs grade`: what was handed in, judged again on the grader's machine.
//!
//! Of a hand-in only the texts of `exercise.rs` are taken, and from `progress.json` the student's own words. Each text
//! is built and judged as in the student's folder, with values of its own. What cannot be decided is judged again, and
//! then said to be undecided: it is never nought.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use lab_handin::{Found as File, Wanted};
use lab_kit::{
    clean,
    cli::{Failed, print, say},
    store::write_whole,
};
use serde::Serialize;

use crate::{
    EXERCISES,
    check::{Check, Found, seed_of},
    exercise::Judge,
    place::{self, FILE, Place},
    progress::{self, Progress},
    say,
    verdict::Outcome,
    workshop::Workshop,
};

/// How often what is undecided is judged.
const TRIES: u64 = 3;
/// Longest text of a student that is shown.
const WORDS: usize = 1000;

/// What is handed in.
static FILES: Wanted = Wanted {
    is: |name| name == FILE || name == progress::FILE,
    largest: 128 << 10,
    called: "exercises (exercise.rs)",
    why_not: |_| FILES.neither,
    neither: "it is neither an exercise nor an archive of exercises",
    // Everything else of the students' copy, and whatever they have added.
    is_ours: |_, name| ![".zip", ".tar.gz", ".tgz", ".tar"].iter().any(|end| name.ends_with(end)),
    is_aside: |name| ["target", "kit", "schedules", "node_modules"].contains(&name),
};

/// Judges what students hand in, again, on this machine
///
/// A FILE is a student's folder of exercises, a .zip, .tar.gz or .tar archive of one or of many, or a folder that holds
/// all of these. Only the texts of exercise.rs are taken, and the student's own words from progress.json; nothing
/// that is handed in is believed. What cannot be decided on this machine is judged three times and then said to be
/// undecided, never nought.
#[derive(Parser, Debug)]
#[command(name = "grade")]
struct Flags {
    /// Hand-ins: folders or archives
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write it to a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exercises that count [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// The student's id, where one is handed in: what the judges draw is the same as with `labs make check --student`
    #[arg(long, value_name = "ID", value_parser = crate::command::id)]
    student: Option<String>,
}

/// How grades are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading
    Text,
    /// Everything
    Json,
    /// results.json of one student for Gradescope's autograder
    Gradescope,
    /// A test suite a student, as CI systems read it
    Junit,
}

/// One student's grades.
#[derive(Debug, Serialize)]
struct Graded {
    student: String,
    /// In the order of the exercises.
    exercises: Vec<Grade>,
    /// What of the hand-in could not be read, and why.
    left_out: Vec<String>,
}

/// One grade.
#[derive(Debug, Serialize)]
struct Grade {
    name: &'static str,
    title: &'static str,
    outcome: Option<Outcome>,
    /// What the judge said, for the student.
    said: String,
    misconception: Option<&'static str>,
    /// The student's own words.
    why: Option<String>,
    seconds: f64,
}

impl Graded {
    fn count(&self, outcome: Outcome) -> usize {
        self.exercises.iter().filter(|grade| grade.outcome == Some(outcome)).count()
    }
}

/// The command, for [`lab_kit::cli::Extra`].
#[must_use]
pub fn command() -> clap::Command {
    Flags::command()
}

/// Runs it.
///
/// # Errors
/// When nothing could be read, or grades could not be written.
pub fn run(matches: &ArgMatches) -> Result<(), Failed> {
    let flags = Flags::from_arg_matches(matches).map_err(|e| Failed::Usage(e.to_string()))?;
    let chosen = flags.only.iter().map(|name| place::named(name)).collect::<Result<Vec<_>, _>>()?;
    let chosen = if chosen.is_empty() { EXERCISES.to_vec() } else { chosen };
    let (handed_in, left_out) = read(&flags.files);
    for (path, why) in &left_out {
        say(format!("left out: {}: {why}", clean::line(&path.display().to_string(), 200)));
    }
    if handed_in.is_empty() {
        return Err(anyhow::anyhow!(
            "nothing to grade: a FILE is a folder with exNN_name/{FILE} in it, or an archive of one"
        )
        .into());
    }
    let one = handed_in.len() == 1;
    if !one && (flags.format == Format::Gradescope || flags.student.is_some()) {
        let students = handed_in.len();
        return Err(Failed::Usage(format!(
            "{students} hand-ins were found, and --format gradescope and --student are for one"
        )));
    }
    // Where this machine's own exercises are, what is built already need not be built again.
    let scratch = tempfile::tempdir().context("no folder to build in")?;
    let shop = match Place::find() {
        Ok(place) => Workshop::open(&place.root, false)?,
        Err(_) => {
            say(
                "building what exercises need, this once; in a folder of exercises it would be kept",
            );
            Workshop::open(scratch.path(), false)?
        }
    };
    let mut all = Vec::new();
    for (name, hand_in) in names(&handed_in).into_iter().zip(handed_in.into_values()) {
        let id = flags.student.clone().unwrap_or_else(|| name.clone());
        all.push(grade(&shop, &chosen, name, &id, hand_in));
    }
    let text = written(&all, flags.format)?;
    match &flags.out {
        Some(out) => {
            write_whole(out, text.as_bytes())?;
            say(format!("written to {}", out.display()));
        }
        None => print(text)?,
    }
    Ok(())
}

/// What one student handed in.
#[derive(Default)]
struct HandIn {
    /// By folder of the exercise.
    sources: BTreeMap<String, Result<String>>,
    progress: Option<String>,
    left_out: Vec<String>,
}

/// By the folder that is round the exercises, of whose path an archive's own is the beginning: no name in an archive
/// makes a hand-in of somebody else.
type HandIns = BTreeMap<PathBuf, HandIn>;

/// Reads everything, by student.
fn read(files: &[PathBuf]) -> (HandIns, Vec<(PathBuf, String)>) {
    let sources = lab_handin::expand(&FILES, files);
    let mut left_out = sources.left_out;
    let mut all = HandIns::new();
    for path in sources.sets {
        // Of a file by itself the folder that it is in says whose it is.
        let is_source = path.is_file() && path.file_name().is_some_and(|name| name == FILE);
        let base = if is_source { path.parent().unwrap_or(&path).to_owned() } else { path.clone() };
        let base = base.canonicalize().unwrap_or(base);
        let mut take = |found: File| {
            let folder = if found.set.is_empty() { base.clone() } else { base.join(&found.set) };
            let last = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let round = folder.parent().unwrap_or(&folder).to_owned();
            let is_exercise = EXERCISES.iter().any(|judge| judge.card().folder == last);
            match found.text {
                text if found.file == FILE && is_exercise => {
                    all.entry(round).or_default().sources.insert(last, text);
                }
                Ok(text) if found.file == progress::FILE => {
                    all.entry(folder).or_default().progress = Some(text);
                }
                Err(why) => {
                    let what = format!("{}: {why:#}", folder.join(&found.file).display());
                    all.entry(folder).or_default().left_out.push(what);
                }
                Ok(_) => {
                    let why = format!("{FILE} is in no folder of an exercise (exNN_name)");
                    left_out.push((folder, why));
                }
            }
        };
        if let Err(why) = lab_handin::read(&FILES, &path, &mut take) {
            left_out.push((path, format!("{why:#}")));
        }
    }
    all.retain(|_, hand_in| !hand_in.sources.is_empty() || !hand_in.left_out.is_empty());
    (all, left_out)
}

/// Whose each is: as much of the end of its path as tells it from all others, without folders that are only called
/// `exercises`.
fn names(all: &HandIns) -> Vec<String> {
    let parts: Vec<Vec<String>> = all
        .keys()
        .map(|folder| {
            let parts =
                folder.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
            let parts: Vec<String> = parts.filter(|part| part != "/").collect();
            let own = parts.iter().rposition(|part| part != "exercises").map_or(0, |at| at + 1);
            parts[..own].to_vec()
        })
        .collect();
    let end =
        |parts: &[String], length: usize| parts[parts.len().saturating_sub(length)..].join("/");
    let name = |own: &Vec<String>| {
        let tells = |length: &usize| {
            let same = parts.iter().filter(|other| end(other, *length) == end(own, *length));
            same.count() == 1
        };
        let length = (1..=own.len()).find(tells).unwrap_or(own.len());
        clean::line(&end(own, length), usize::MAX)
    };
    parts.iter().map(name).collect()
}

fn grade(
    shop: &Workshop,
    chosen: &[&'static dyn Judge],
    student: String,
    id: &str,
    mut hand_in: HandIn,
) -> Graded {
    let words: Progress = hand_in
        .progress
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut exercises = Vec::new();
    for judge in chosen {
        let card = judge.card();
        let began = Instant::now();
        let why = words.exercises.get(card.folder).and_then(|done| done.why.as_deref());
        let mut grade = Grade {
            name: card.name(),
            title: card.title,
            outcome: None,
            said: "nothing was handed in\n".to_owned(),
            misconception: None,
            why: why.map(|why| clean::line(why, WORDS)),
            seconds: 0.0,
        };
        let source = hand_in.sources.remove(card.folder);
        if source.is_some() {
            say(format!("grading {student}: {}", card.name()));
        }
        match source {
            None => {}
            Some(Err(why)) => {
                grade.outcome = Some(Outcome::Rejected);
                grade.said = format!("it cannot be read: {why:#}\n");
            }
            Some(Ok(source)) => match judged(shop, *judge, &source, id) {
                Ok(found) => {
                    grade.outcome = Some(found.outcome());
                    grade.said = say::found(&card, FILE, &found);
                    if let Found::Judged(verdict) = &found {
                        grade.misconception = verdict.misconception;
                    }
                }
                // This machine's fault: the others are graded all the same.
                Err(why) => {
                    grade.outcome = Some(Outcome::Undecided);
                    grade.said = format!("it could not be judged on this machine: {why:#}\n");
                }
            },
        }
        grade.seconds = began.elapsed().as_secs_f64();
        exercises.push(grade);
    }
    Graded { student, exercises, left_out: hand_in.left_out }
}

/// Judges until it is decided, three times at most.
fn judged(shop: &Workshop, judge: &dyn Judge, source: &str, id: &str) -> Result<Found> {
    let seed = seed_of(id, judge.card().folder);
    let once = |attempt| {
        let check =
            Check { hand: "handed-in", source, seed: seed.wrapping_add(attempt), replay: None };
        check.run(shop, judge)
    };
    let mut found = once(0)?;
    for attempt in 1..TRIES {
        if found.outcome() != Outcome::Undecided {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
        found = once(attempt)?;
    }
    Ok(found)
}

fn written(all: &[Graded], format: Format) -> Result<String> {
    Ok(match format {
        Format::Text => all.iter().map(text).collect(),
        Format::Json => serde_json::to_string_pretty(all)? + "\n",
        Format::Gradescope => serde_json::to_string_pretty(&gradescope(&all[0]))? + "\n",
        Format::Junit => junit(all),
    })
}

fn text(graded: &Graded) -> String {
    let mut out = format!(
        "{}: {} passed, {} not, {} not decided, of {}\n",
        graded.student,
        graded.count(Outcome::Passed),
        graded.count(Outcome::Rejected),
        graded.count(Outcome::Undecided),
        graded.exercises.len()
    );
    for grade in &graded.exercises {
        let mark = match grade.outcome {
            None => "–",
            Some(Outcome::Passed) => "✓",
            Some(Outcome::Rejected) => "✗",
            Some(Outcome::Undecided) => "?",
        };
        let _ = write!(out, "  {mark} {}", grade.name);
        if let Some(misconception) = grade.misconception {
            let _ = write!(out, ": {misconception}");
        }
        out.push('\n');
        if let Some(why) = &grade.why {
            let _ = writeln!(out, "      “{why}”");
        }
    }
    for left in &graded.left_out {
        let _ = writeln!(out, "  left out: {left}");
    }
    out
}

/// As Gradescope's autograder reads it (results.json): a test an exercise, one point each. What is undecided has no
/// score, so that it is graded by hand.
fn gradescope(graded: &Graded) -> serde_json::Value {
    let tests: Vec<_> = graded
        .exercises
        .iter()
        .map(|grade| {
            let mut test = serde_json::json!({
                "name": grade.title,
                "max_score": 1,
                "output": grade.said,
                "visibility": "visible",
            });
            match grade.outcome {
                Some(Outcome::Passed) => test["score"] = 1.into(),
                Some(Outcome::Rejected) | None => test["score"] = 0.into(),
                Some(Outcome::Undecided) => {
                    test["status"] = "not decided".into();
                    test["output"] = format!(
                        "not decided on this machine: run the grader again\n{}",
                        grade.said
                    )
                    .into();
                }
            }
            test
        })
        .collect();
    let seconds: f64 = graded.exercises.iter().map(|grade| grade.seconds).sum();
    serde_json::json!({ "execution_time": seconds.ceil() as u64, "tests": tests })
}

/// As CI systems read it: a failure is one, and what is undecided or not handed in was skipped.
fn junit(all: &[Graded]) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for graded in all {
        let skipped = graded.exercises.len()
            - graded.count(Outcome::Passed)
            - graded.count(Outcome::Rejected);
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{skipped}\">",
            xml(&graded.student),
            graded.exercises.len(),
            graded.count(Outcome::Rejected),
        );
        for grade in &graded.exercises {
            let _ = write!(
                out,
                "    <testcase name=\"{}\" classname=\"exercises\" time=\"{:.3}\">",
                xml(grade.name),
                grade.seconds
            );
            match grade.outcome {
                Some(Outcome::Passed) => {}
                Some(Outcome::Rejected) => {
                    let kind = grade.misconception.unwrap_or("rejected");
                    let _ = write!(
                        out,
                        "<failure type=\"{}\">{}</failure>",
                        xml(kind),
                        xml(&grade.said)
                    );
                }
                Some(Outcome::Undecided) => out.push_str("<skipped message=\"not decided\"/>"),
                None => out.push_str("<skipped message=\"not handed in\"/>"),
            }
            out.push_str("</testcase>\n");
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text for XML: what may not be in it at all is left out.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | ' '..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' => {
                out.push(c)
            }
            '\u{10000}'.. => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn graded() -> Graded {
        let grade = |name, outcome| Grade {
            name,
            title: "A <title>",
            outcome,
            said: "it said \u{1b}\"&\"".to_owned(),
            misconception: None,
            why: None,
            seconds: 1.5,
        };
        Graded {
            student: "O'Neill & Co".to_owned(),
            exercises: vec![
                grade("a", Some(Outcome::Passed)),
                grade("b", Some(Outcome::Rejected)),
                grade("c", Some(Outcome::Undecided)),
                grade("d", None),
            ],
            left_out: Vec::new(),
        }
    }

    #[test]
    fn what_is_undecided_is_never_nought() {
        let value = gradescope(&graded());
        let scores: Vec<_> =
            value["tests"].as_array().unwrap().iter().map(|t| &t["score"]).collect();
        assert_eq!(scores, [&serde_json::json!(1), &0.into(), &serde_json::Value::Null, &0.into()]);
        let text = junit(&[graded()]);
        assert!(text.contains("tests=\"4\" failures=\"1\" skipped=\"2\""), "{text}");
        assert_eq!(xml("a\u{fffe}\u{0}\u{1b}\u{85}<\n\u{1f600}"), "a&lt;\n\u{1f600}");
        assert!(text.contains("O'Neill &amp; Co") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn hand_ins_are_told_by_the_folder_round_their_exercises() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("class/anna/exercises/ex04_limit_outside/exercise.rs", "a");
        put("class/anna/exercises/ex04_limit_outside/main.rs", "not read");
        put("class/anna/exercises/progress.json", "{}");
        put("class/anna/exercises/target/ex04_limit_outside/exercise.rs", "not read");
        put("class/bert/ex04_limit_outside/exercise.rs", "b");
        put("class/bert/ex99_unknown/exercise.rs", "c");
        let (all, left_out) = read(&[folder.path().join("class")]);
        assert_eq!(names(&all), ["anna", "bert"]);
        let sources: Vec<&str> = all
            .values()
            .map(|hand_in| hand_in.sources["ex04_limit_outside"].as_deref().unwrap())
            .collect();
        assert_eq!(sources, ["a", "b"]);
        assert!(all.values().next().unwrap().progress.is_some());
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        // As some platforms give them: the same name for everybody's folder.
        put("more/Anna_1/submission/ex04_limit_outside/exercise.rs", "a");
        put("more/Bert_2/submission/ex04_limit_outside/exercise.rs", "b");
        let (all, _) = read(&[folder.path().join("more")]);
        assert_eq!(names(&all), ["Anna_1/submission", "Bert_2/submission"]);
    }
}
