//! `labs make`.

use std::{
    fs,
    io::{BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use lab_kit::{
    cli::{Failed, print, say},
    prediction,
    text::number,
};

use crate::{
    EXERCISES,
    check::{self, Check, Found},
    exercise::{Card, Judge},
    export, orders,
    place::{self, Place},
    progress::Progress,
    say,
    verdict::{Outcome, Verdict},
    workshop::Workshop,
};

/// How often `watch` looks at the file.
const LOOK: Duration = Duration::from_millis(150);

/// Exercises: something to make, judged by what it does
///
/// Without a command: what there is, and what comes next. A NAME is an exercise's name, the number of its lab, or the
/// beginning of one; without it, the one in whose folder you are is meant, or else the first that has not passed.
#[derive(Parser, Debug)]
#[command(name = "make")]
struct Flags {
    #[command(subcommand)]
    command: Option<Make>,
}

#[derive(Subcommand, Debug)]
enum Make {
    /// Lists the exercises, and what has passed
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows the task of the next exercise, or of this one, and the file to change
    Next { name: Option<String> },
    /// Builds your file and judges what it does
    ///
    /// Ends with 0 when it passes, with 3 when it does not, and with 1 when it could not be decided or done.
    Check(Checked),
    /// Shows a hint; each time one more
    Hint { name: Option<String> },
    /// Shows a solution: freely once it has passed, before that only with --anyway
    Solution {
        name: Option<String>,
        /// Although it has not passed yet
        #[arg(long)]
        anyway: bool,
    },
    /// Puts the file back as it was at the beginning, and keeps a copy of yours
    Reset { name: Option<String> },
    /// Checks each time you save, until it has passed
    Watch(Checked),
    /// Tries one order of threads again, from its file
    Replay { file: PathBuf },
    /// Builds what all exercises need, so that checks are quick and need no network
    Prepare,
    /// Writes the students' copy: no solutions, no wrong ways
    Export {
        /// A folder that does not exist yet, or is empty
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// For authors: every start fails, every solution passes, every wrong way is rejected and named
    Prove {
        /// Exercises [default: all]
        names: Vec<String>,
        /// How often each
        #[arg(long, default_value_t = 1)]
        times: u32,
    },
}

#[derive(clap::Args, Debug)]
struct Checked {
    /// An exercise
    name: Option<String>,
    /// What you predict of the file as it was at the beginning
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_predict", value_parser = quantity)]
    predict: Option<f64>,
    /// Do not ask for a prediction, or for a reason
    #[arg(long)]
    no_predict: bool,
    /// Why it works, in two sentences, once it has passed
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Your id: what the judge draws is yours, and stays the same. Kept for the next time
    #[arg(long, value_name = "ID", value_parser = id)]
    student: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A number that a prediction can be.
fn quantity(text: &str) -> Result<f64, String> {
    let value = text.trim().parse().ok().filter(|v: &f64| v.is_finite() && *v >= 0.0);
    value.ok_or_else(|| "a number is wanted, nought or more, such as 12 or 0.5".to_owned())
}

/// A student's id.
pub(crate) fn id(text: &str) -> Result<String, String> {
    let id = text.trim();
    let fits = (1..=64).contains(&id.chars().count()) && !id.chars().any(char::is_control);
    if fits { Ok(id.to_owned()) } else { Err("an id has 1 to 64 characters".to_owned()) }
}

/// The command, for [`lab_kit::cli::Extra`].
#[must_use]
pub fn command() -> clap::Command {
    Flags::command()
}

/// Runs it.
///
/// # Errors
/// When it cannot be done; a check that does not pass is [`Failed::Refuted`].
pub fn run(matches: &ArgMatches) -> Result<(), Failed> {
    let flags = Flags::from_arg_matches(matches).map_err(|e| Failed::Usage(e.to_string()))?;
    match flags.command {
        None => list(false),
        Some(Make::List { json }) => list(json),
        Some(Make::Next { name }) => next(name.as_deref()),
        Some(Make::Check(flags)) => checked(&flags),
        Some(Make::Hint { name }) => hint(name.as_deref()),
        Some(Make::Solution { name, anyway }) => solution(name.as_deref(), anyway),
        Some(Make::Reset { name }) => reset(name.as_deref()),
        Some(Make::Watch(flags)) => watch(&flags),
        Some(Make::Replay { file }) => replay(&file),
        Some(Make::Prepare) => prepare(),
        Some(Make::Export { out }) => export::write(&out),
        Some(Make::Prove { names, times }) => crate::check::prove(&names, times),
    }
}

/// The learner's folder, what has been done, and the exercise that is meant.
struct Desk {
    place: Place,
    progress: Progress,
    judge: &'static dyn Judge,
}

impl Desk {
    fn at(name: Option<&str>) -> Result<Desk, Failed> {
        let judge = name.map(place::named).transpose()?;
        let place = Place::find()?;
        let progress = Progress::load(&place.root)?;
        let judge = judge.or_else(|| place.here()).unwrap_or_else(|| {
            let open = EXERCISES.iter().find(|j| !progress.has_passed(j.card().folder));
            *open.unwrap_or(&EXERCISES[0])
        });
        Ok(Desk { place, progress, judge })
    }

    fn name(&self) -> &'static str {
        self.judge.card().name()
    }
}

fn list(json: bool) -> Result<(), Failed> {
    let place = Place::find()?;
    let progress = Progress::load(&place.root)?;
    if json {
        let all: Vec<_> = EXERCISES
            .iter()
            .map(|judge| {
                let card = judge.card();
                let done = progress.exercises.get(card.folder);
                serde_json::json!({
                    "name": card.name(), "folder": card.folder, "lab": card.lab, "title": card.title,
                    "question": card.question.text, "done": done,
                })
            })
            .collect();
        return Ok(print(serde_json::to_string_pretty(&all)? + "\n")?);
    }
    let wide = EXERCISES.iter().map(|judge| judge.card().name().len()).max().unwrap_or(0);
    let mut out = String::new();
    for judge in EXERCISES {
        let card = judge.card();
        let mark = if progress.has_passed(card.folder) { "✓" } else { " " };
        out += &format!("{mark} lab {:>2}  {:<wide$}  {}", card.lab, card.name(), card.title);
        out +=
            if place.is_changed(*judge, &progress) { " (changed since it passed)\n" } else { "\n" };
    }
    let passed = EXERCISES.iter().filter(|j| progress.has_passed(j.card().folder)).count();
    out += &format!("\n{passed} of {} have passed. ", EXERCISES.len());
    out += match passed == EXERCISES.len() {
        true => "There is nothing left to make here.\n",
        false => {
            "`labs make next` shows the next one; any other may be taken: `labs make next NAME`.\n"
        }
    };
    Ok(print(out)?)
}

fn next(name: Option<&str>) -> Result<(), Failed> {
    let desk = Desk::at(name)?;
    let file = desk.place.file(desk.judge)?;
    let task = desk.judge.card().files().task;
    let (task, file, name) = (task.trim(), shown(&file), desk.name());
    Ok(print(format!(
        "{task}\n\nThe file to change:  {file}\nThen:                labs make check {name}\nIf you are stuck:    labs make hint {name}\n"
    ))?)
}

fn hint(name: Option<&str>) -> Result<(), Failed> {
    let mut desk = Desk::at(name)?;
    let card = desk.judge.card();
    let hints = card.files().hints;
    let done = desk.progress.of(card.folder);
    done.hints = (done.hints + 1).min(hints.len());
    let read = done.hints;
    desk.progress.save(&desk.place.root)?;
    let mut out = String::new();
    for (n, hint) in hints.iter().take(read).enumerate() {
        out += &format!("Hint {} of {}: {hint}\n\n", n + 1, hints.len());
    }
    if read == hints.len() {
        out += &format!(
            "There are no more. `labs make solution {} --anyway` shows a solution.\n",
            card.name()
        );
    }
    Ok(print(out)?)
}

fn solution(name: Option<&str>, anyway: bool) -> Result<(), Failed> {
    let mut desk = Desk::at(name)?;
    let card = desk.judge.card();
    let done = desk.progress.of(card.folder);
    if !done.passed && !anyway {
        return Err(Failed::Error(anyhow::anyhow!(
            "{} has not passed yet. What you find out by yourself you keep: `labs make hint {0}` helps. If you want the solution all the same: `labs make solution {0} --anyway`",
            card.name()
        )));
    }
    done.solution_read |= !done.passed;
    desk.progress.save(&desk.place.root)?;
    Ok(print(card.files().solution)?)
}

fn reset(name: Option<&str>) -> Result<(), Failed> {
    let Some(name) = name else {
        return Err(Failed::Usage("which one? `labs make reset NAME`".into()));
    };
    let desk = Desk::at(Some(name))?;
    let kept = desk.place.reset(desk.judge)?;
    say(match kept {
        Some(kept) => {
            format!("{} is as it was at the beginning; yours is in {}", desk.name(), shown(&kept))
        }
        None => format!("{} is as it was at the beginning", desk.name()),
    });
    Ok(())
}

fn replay(file: &Path) -> Result<(), Failed> {
    let (name, steps) = orders::load(file)?;
    let desk = Desk::at(Some(&name))?;
    let path = desk.place.file(desk.judge)?;
    let source = check::source(&path)?;
    let shop = Workshop::open(&desk.place.root, coloured())?;
    let check = Check { hand: "learner", source: &source, seed: 0, replay: Some(&steps) };
    let found = check.run(&shop, desk.judge)?;
    print(say::found(&desk.judge.card(), &shown(&path), &found))?;
    ended(found.outcome())
}

fn prepare() -> Result<(), Failed> {
    let place = Place::find()?;
    let shop = Workshop::open(&place.root, coloured())?;
    for judge in EXERCISES {
        let card = judge.card();
        say(format!("building {}", card.name()));
        let check = Check { hand: "learner", source: card.files().start, seed: 0, replay: None };
        let built = check.build(&shop, *judge)?;
        built.map_err(|why| anyhow::anyhow!("{} was not built: {why:?}", card.name()))?;
    }
    say("everything is built: checks need no network from now on");
    Ok(())
}

fn checked(flags: &Checked) -> Result<(), Failed> {
    let mut desk = Desk::at(flags.name.as_deref())?;
    let outcome = once(&mut desk, flags)?;
    ended(outcome)
}

fn ended(outcome: Outcome) -> Result<(), Failed> {
    match outcome {
        Outcome::Passed => Ok(()),
        Outcome::Rejected => Err(Failed::Refuted),
        Outcome::Undecided => Err(anyhow::anyhow!("not decided: check again").into()),
    }
}

fn watch(flags: &Checked) -> Result<(), Failed> {
    let mut desk = Desk::at(flags.name.as_deref())?;
    let file = desk.place.file(desk.judge)?;
    say(format!("watching {}: save it to have it checked, Ctrl-C to end", shown(&file)));
    let mut seen: Option<(SystemTime, u64)> = None;
    loop {
        let state = fs::metadata(&file).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
        if state.is_some() && state != seen {
            seen = state;
            let began = Instant::now();
            match once(&mut desk, flags) {
                Ok(Outcome::Passed) => return Ok(()),
                Ok(_) => {}
                Err(Failed::Error(error)) => say(format!("error: {error:#}")),
                Err(other) => return Err(other),
            }
            say(format!("— {:.1} s; waiting for you to save", began.elapsed().as_secs_f64()));
        }
        std::thread::sleep(LOOK);
    }
}

/// One check of the learner's file, with what is asked before and after.
fn once(desk: &mut Desk, flags: &Checked) -> Result<Outcome, Failed> {
    let card = desk.judge.card();
    let is_there = desk.place.root.join(card.folder).join(place::FILE).exists();
    let file = desk.place.file(desk.judge)?;
    if !is_there {
        say(format!("{} was not there: it is now, as at the beginning", shown(&file)));
    }
    let source = check::source(&file)?;
    if let Some(student) = &flags.student {
        desk.progress.student = Some(student.clone());
    }
    let asks = !flags.no_predict && !flags.json && std::io::stdin().is_terminal();
    let done = desk.progress.of(card.folder);
    let is_open = done.predicted.is_none();
    if is_open {
        done.predicted = match flags.predict {
            None if asks && done.checks == 0 => predicted(&card)?,
            given => given,
        };
    } else if flags.predict.is_some() {
        say("your first prediction counts: this one is left out");
    }
    let is_scored = is_open && done.predicted.is_some();
    let seed = match &desk.progress.student {
        Some(student) => check::seed_of(student, card.folder),
        None => rand::random(),
    };
    let shop = Workshop::open(&desk.place.root, coloured() && !flags.json)?;
    let check = Check { hand: "learner", source: &source, seed, replay: None };
    if is_scored {
        // The question is about the file as it was, whatever it has become.
        let start = Check { hand: "start", source: card.files().start, ..check };
        if let Found::Judged(verdict) = start.run(&shop, desk.judge)? {
            let measured = verdict.measured.get(card.question.gauge).copied();
            desk.progress.of(card.folder).measured = measured.filter(|v| v.is_finite());
        }
    }
    let found = check.run(&shop, desk.judge)?;
    let outcome = found.outcome();
    let done = desk.progress.of(card.folder);
    done.checks += u32::from(matches!(found, Found::Judged(_)));
    if outcome == Outcome::Passed {
        done.passed = true;
        done.passed_with = Some(check::mark_of(&source));
    }
    if flags.json {
        let verdict = match &found {
            Found::Judged(verdict) => serde_json::to_value(verdict)?,
            Found::Refused(refused) => serde_json::json!({ "refused": format!("{refused:?}") }),
        };
        let all =
            serde_json::json!({ "exercise": card.name(), "outcome": outcome, "verdict": verdict });
        print(serde_json::to_string_pretty(&all)? + "\n")?;
    } else {
        if is_scored {
            scored(desk)?;
        }
        print(say::found(&card, &shown(&file), &found))?;
    }
    if let Found::Judged(verdict) = &found {
        keep_schedule(desk, verdict)?;
    }
    reason(desk, flags, asks && outcome == Outcome::Passed)?;
    desk.progress.save(&desk.place.root)?;
    Ok(outcome)
}

/// Asks for a prediction until it is a number, or skipped.
fn predicted(card: &Card) -> Result<Option<f64>> {
    let question = card.question;
    let mut prompt = format!("Predict first (Enter skips): {} [{}] ", question.text, question.unit);
    while let Some(text) = ask(&prompt)?.filter(|text| !text.is_empty()) {
        match quantity(&text) {
            Ok(value) => return Ok(Some(value)),
            Err(why) => prompt = format!("{why}: "),
        }
    }
    Ok(None)
}

fn scored(desk: &mut Desk) -> Result<()> {
    let question = desk.judge.card().question;
    let done = desk.progress.of(desk.judge.card().folder);
    let (Some(said), Some(measured)) = (done.predicted, done.measured) else { return Ok(()) };
    let off = match prediction::factor(said, measured) {
        Some(factor) if factor < 1.005 => ": exactly".to_owned(),
        Some(factor) => format!(": off by a factor of {}", number(factor)),
        // There is no ratio to nought.
        None => String::new(),
    };
    print(format!(
        "Of the file as it was at the beginning you predicted {} {}; it was {}{off}.\n\n",
        number(said),
        question.unit,
        number(measured)
    ))
}

/// Two sentences of why, once it has passed.
fn reason(desk: &mut Desk, flags: &Checked, asks: bool) -> Result<()> {
    let done = desk.progress.of(desk.judge.card().folder);
    if let Some(why) = &flags.why {
        if done.passed {
            done.why = Some(why.clone());
        } else {
            say("--why is for an exercise that has passed: it is not kept");
        }
    } else if asks && done.why.is_none() {
        let why = ask(
            "\nWhy does it work? Two sentences, for yourself and your instructor (Enter skips): ",
        )?;
        done.why = why.filter(|why| !why.trim().is_empty());
    }
    Ok(())
}

fn keep_schedule(desk: &Desk, verdict: &Verdict) -> Result<()> {
    let Some(steps) = &verdict.schedule else { return Ok(()) };
    let file = desk.place.root.join("schedules").join(format!("{}.txt", desk.name()));
    orders::write(&file, desk.name(), steps)?;
    say(format!("  This order again, as often as you like: labs make replay {}", shown(&file)));
    Ok(())
}

/// One line from the terminal; none at the end of input.
fn ask(prompt: &str) -> Result<Option<String>> {
    let mut err = std::io::stderr();
    write!(err, "{prompt}").and_then(|()| err.flush()).context("the question cannot be shown")?;
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).context("no answer can be read")?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

/// A path as short as it can be written from here.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| path.strip_prefix(here).ok());
    short.unwrap_or(path).display().to_string()
}

fn coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
