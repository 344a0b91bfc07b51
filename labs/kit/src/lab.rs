//! What a lab is.

use std::{any::Any, cell::Cell, collections::BTreeMap, marker::PhantomData, rc::Rc, sync::Once};

use anyhow::Context;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    accounts::{self, Fate},
    claim::{Case, Claim, Law},
    disturbance::{self, Disturbed, Unfit},
    findings::{self, Findings},
    needs::{Extent, Needs},
    prediction::{self, Sketch},
    record::{Record, Scale, Trial},
    session::Session,
    stats::Estimate,
    summary::{Condition, Summary},
};

/// A lab: a question, an experiment that answers it and the theory it is held against.
pub trait Lab: 'static {
    /// Every constant of the experiment, as flags. They are stored in the record, and theory
    /// follows them.
    type Params: Args + Serialize + DeserializeOwned;

    /// What the lab is about.
    const CARD: Card;

    /// Whether its load may go to a server that somebody else runs (`--target`).
    const TAKES_TARGET: bool = true;

    /// Curves that the reader may predict, drawn over the measured ones.
    const SKETCHES: &'static [Sketch] = &[];

    /// Refuses combinations of flags that make no sense, with the sentence for the user.
    ///
    /// # Errors
    /// The sentence.
    fn check(_params: &Self::Params) -> Result<(), String> {
        Ok(())
    }

    /// Refuses what cannot be measured on this machine: a file that is not there, more computing threads than
    /// processors. A record, which may be of another machine, is not held to it.
    ///
    /// # Errors
    /// The sentence.
    fn ready(_params: &Self::Params) -> Result<(), String> {
        Ok(())
    }

    /// What [`Lab::measure`] needs with flags that [`Lab::check`] lets pass: its time, as the sum over its
    /// plan, and what it holds in memory and on the disk at the worst. Theory has no part in it.
    ///
    /// The command line refuses what is too much, in one place for all labs. `check` refuses what makes no
    /// sense, and what would make [`Lab::explain`] long or large: it sees records as well.
    fn needs(params: &Self::Params, extent: &Extent) -> Needs;

    /// What the program does in place of a measured run, when its flags ask for it: a child process
    /// that a lab starts to have something to kill, or to have another process to talk to. See
    /// [`crate::cli::again`].
    fn instead(_params: &Self::Params) -> Option<anyhow::Result<()>> {
        None
    }

    /// Runs the experiment: the only impure stage. The runtime is built here, in plain sight: its
    /// flavour is often the lesson.
    ///
    /// # Errors
    /// When the experiment cannot be carried out; nothing of this run is stored then, and earlier
    /// records stay as they are.
    fn measure(params: &Self::Params, session: &mut Session) -> anyhow::Result<()>;

    /// What else than success may become of what a condition offers. Where something else does, nothing that
    /// rests on the condition is confirmed.
    fn may(_params: &Self::Params, _at: &Condition) -> &'static [Fate] {
        &[]
    }

    /// Whether a trial is what its condition says, beyond [`Lab::may`]: the load came, the process was killed, the
    /// parts of a sum make the sum. A trial of which that is not so confirms nothing.
    ///
    /// # Errors
    /// What is missing or contradicts itself, as the rest of "killed at 3: …".
    fn premise(_params: &Self::Params, _at: &Condition, _trial: &Trial) -> Result<(), String> {
        Ok(())
    }

    /// Holds the summary against theory: a pure function of the record.
    fn explain(params: &Self::Params, summary: &Summary) -> Findings;
}

/// What a lab is about.
#[derive(Debug)]
pub struct Card {
    /// 3 for lab03.
    pub number: u8,
    /// "concurrency_trap".
    pub name: &'static str,
    /// "The concurrency trap".
    pub title: &'static str,
    /// The question in one sentence.
    pub question: &'static str,
    /// What the reader is asked to predict before the run.
    pub predict: &'static [Question],
    /// What to try next: a command and what it shows.
    pub next: &'static [(&'static str, &'static str)],
    /// The lab's own source files, by name: first the one that opens with the lesson, then those in which
    /// something is marked as the wrong or the right way. [`sources!`](crate::sources) reads them.
    pub sources: &'static [(&'static str, &'static str)],
    /// Answers to the questions of "Check yourself", as Markdown.
    pub answers: &'static str,
    /// How the experiment is sized.
    pub sizes: Sizes,
}

/// Files beside the one that says so, by name, with what is in them.
#[macro_export]
macro_rules! sources {
    ($($file:literal),+ $(,)?) => { &[$(($file, include_str!($file))),+] };
}

/// Flags that a scale puts before the user's own, and how often conditions are repeated.
#[derive(Debug)]
pub struct Sizes {
    /// Flags at smoke scale.
    pub smoke: &'static [&'static str],
    /// Flags at full scale.
    pub full: &'static [&'static str],
    /// Trials of each condition at quick and at full scale (one at smoke scale).
    pub trials: (usize, usize),
}

/// Something to predict: a number.
#[derive(Debug)]
pub struct Question {
    /// Name in `--predict KEY=VALUE`.
    pub key: &'static str,
    /// The question. `{busy}` stands for the value of the flag `--busy`; see [`Question::asked`].
    pub ask: &'static str,
    /// Unit of the answer.
    pub unit: &'static str,
    /// A hint of the range.
    pub hint: &'static str,
}

impl Question {
    /// The question with the values that the run's flags have, so that it asks for what is measured
    /// at any scale; with the flags' names where there is no run (`Value::Null`).
    pub fn asked(&self, params: &Value) -> String {
        filled(self.ask, params)
    }
}

/// A text with its placeholders filled in: `{busy}` becomes what the flag `--busy` has in `params`,
/// or the flag's name where there is no run (`Value::Null`) or no value.
///
/// A placeholder is the name of a flag that `params` has, in braces; other braces stay. The text is
/// Markdown: a fenced block stays as it is, and in inline code the value stands as it is typed, so
/// that a command can be pasted. A value that could be markup is not filled in: records may come
/// from anywhere.
pub fn filled(text: &str, params: &Value) -> String {
    let mut out = String::with_capacity(text.len());
    // Backticks that opened the inline code that is being read.
    let (mut fenced, mut code) = (false, 0);
    for line in text.split_inclusive('\n') {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || fence {
            out += line;
            continue;
        }
        if line.trim().is_empty() {
            code = 0;
        }
        let mut rest = line;
        while let Some(at) = rest.find(['`', '{']) {
            out += &rest[..at];
            rest = &rest[at..];
            let ticks = rest.len() - rest.trim_start_matches('`').len();
            let read = if ticks > 0 {
                match code {
                    0 => code = ticks,
                    open if open == ticks => code = 0,
                    _ => {}
                }
                out += &rest[..ticks];
                ticks
            } else if let Some((length, value)) = placeholder(rest, params, code > 0) {
                out += &value;
                length
            } else {
                out.push('{');
                1
            };
            rest = &rest[read..];
        }
        out += rest;
    }
    out
}

/// What no value of a flag that a text speaks of has in it.
const MARKUP: [char; 15] = [
    '<', '>', '[', ']', '(', ')', '{', '}', '`', '*', '_', '\\', '#', '|', '\n',
];

/// The placeholder that a text begins with: its length, and what stands for it.
fn placeholder(text: &str, params: &Value, in_code: bool) -> Option<(usize, String)> {
    let (flag, _) = text.strip_prefix('{')?.split_once('}')?;
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if flag.is_empty() || !flag.chars().all(kebab) {
        return None;
    }
    let value = params.get(flag.replace('-', "_"));
    if value.is_none() && !params.is_null() {
        return None;
    }
    let plain = |value: &String| !value.contains(MARKUP);
    let value = if in_code {
        value.and_then(typed).filter(plain)?
    } else {
        let value = value.and_then(written).filter(plain);
        value.unwrap_or_else(|| format!("--{flag}"))
    };
    Some((flag.len() + 2, value))
}

/// A flag's value as it is typed: "150ms", "50000", "1,2,3".
fn typed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(values) => {
            let values: Option<Vec<String>> = values.iter().map(typed).collect();
            Some(values?.join(","))
        }
        _ => None,
    }
}

/// A flag's value as in a sentence: "150 ms", "50,000", "1, 2 and 3".
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(spaced(text)),
        Value::Number(number) => Some(number.as_u64().map_or_else(
            || findings::number(number.as_f64().unwrap_or(f64::NAN)),
            findings::thousands,
        )),
        Value::Array(values) => {
            let values: Option<Vec<String>> = values.iter().map(written).collect();
            let values = values?;
            let (last, others) = values.split_last()?;
            Some(match others {
                [] => last.clone(),
                _ => format!("{} and {last}", others.join(", ")),
            })
        }
        _ => None,
    }
}

/// "150ms" as "150 ms", "1s500ms" as "1 s 500 ms".
fn spaced(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let before = out.chars().next_back();
        if before.is_some_and(|b| {
            b.is_alphanumeric() && c.is_alphanumeric() && b.is_alphabetic() != c.is_alphabetic()
        }) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

impl Card {
    /// "lab03".
    pub fn id(&self) -> String {
        format!("lab{:02}", self.number)
    }

    /// Flags that the scale puts before the user's.
    pub fn preset(&self, scale: Scale) -> &'static [&'static str] {
        match scale {
            Scale::Smoke => self.sizes.smoke,
            Scale::Quick => &[],
            Scale::Full => self.sizes.full,
        }
    }

    /// Trials of each condition unless `--trials` says otherwise.
    pub fn trials(&self, scale: Scale) -> usize {
        match scale {
            Scale::Smoke => 1,
            Scale::Quick => self.sizes.trials.0,
            Scale::Full => self.sizes.trials.1,
        }
    }

    /// The lesson: the module documentation that the lab's source opens with, as Markdown, with the
    /// values that a run's flags have; see [`filled`].
    pub fn lesson(&self, params: &Value) -> String {
        let lesson = self.sources.first().map_or("", |(_, text)| text);
        let lines = lesson.lines().map_while(|l| l.strip_prefix("//!"));
        let lines: Vec<&str> = lines.map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
        filled(&lines.join("\n"), params)
    }
}

/// The parameters that these flags give, and the defaults.
///
/// # Panics
/// When there is no such flag: a slip in a test.
pub fn params<L: Lab>(flags: &[&str]) -> L::Params {
    let command = L::Params::augment_args(Command::new("test").no_binary_name(true));
    let matches = command.try_get_matches_from(flags);
    let matches = matches.unwrap_or_else(|error| panic!("{error}"));
    L::Params::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{error}"))
}

/// A lab with its parameter type erased: what the syllabus lists.
pub trait Experiment: Sync {
    /// What the lab is about.
    fn card(&self) -> &'static Card;
    /// Whether its load may go to a server that somebody else runs.
    fn takes_target(&self) -> bool;
    /// Curves that the reader may predict.
    fn sketches(&self) -> &'static [Sketch];
    /// Adds the lab's flags to a command.
    fn flags(&self, command: Command) -> Command;
    /// Reads the flags.
    ///
    /// # Errors
    /// The sentence for the user.
    fn prepare(&self, matches: &ArgMatches) -> Result<Prepared, String>;
    /// Does what flags ask for in place of a measured run, if they do.
    ///
    /// # Errors
    /// The sentence for the user, when the flags make no sense.
    fn instead(&self, matches: &ArgMatches) -> Result<Option<anyhow::Result<()>>, String>;
    /// Holds a record against theory.
    ///
    /// # Errors
    /// When the record's parameters are not this lab's.
    fn explain(&self, record: &Record) -> anyhow::Result<Findings>;
}

/// A lab with its flags read, ready to run.
pub struct Prepared {
    /// The flags as stored in the record.
    pub params: serde_json::Value,
    /// Whether this machine has what it takes; the sentence for the user.
    pub ready: Box<dyn Fn() -> Result<(), String>>,
    /// What running it needs.
    pub needs: Box<dyn Fn(&Extent) -> Needs>,
    /// Runs the experiment.
    pub measure: Measure,
}

/// The experiment of a lab whose flags have been read.
pub type Measure = Box<dyn Fn(&mut Session) -> anyhow::Result<()>>;

/// The flags that a run has when its user gives none, as a record stores them, where there is no
/// record. What depends on the machine has no value; without a value for anything it is `Value::Null`.
pub fn defaults(lab: &dyn Experiment) -> Value {
    let command = lab.flags(Command::new("lab").no_binary_name(true));
    let of_the_machine: Vec<String> = command
        .get_arguments()
        .filter(|flag| flag.is_hide_default_value_set())
        .map(|flag| flag.get_id().to_string())
        .collect();
    let matches = command.try_get_matches_from([""; 0]).ok();
    let prepared = matches.and_then(|matches| lab.prepare(&matches).ok());
    let mut params = prepared.map_or(Value::Null, |prepared| prepared.params);
    for flag in of_the_machine {
        if let Some(value) = params.get_mut(flag) {
            *value = Value::Null;
        }
    }
    params
}

struct Erased<L>(PhantomData<fn() -> L>);

/// The lab as an entry of the syllabus.
pub const fn entry<L: Lab>() -> &'static dyn Experiment {
    &Erased::<L>(PhantomData)
}

impl<L: Lab> Experiment for Erased<L> {
    fn card(&self) -> &'static Card {
        const { &L::CARD }
    }

    fn takes_target(&self) -> bool {
        L::TAKES_TARGET
    }

    fn sketches(&self) -> &'static [Sketch] {
        L::SKETCHES
    }

    fn flags(&self, command: Command) -> Command {
        L::Params::augment_args(command)
    }

    fn prepare(&self, matches: &ArgMatches) -> Result<Prepared, String> {
        let params = L::Params::from_arg_matches(matches).map_err(|e| e.to_string())?;
        L::check(&params)?;
        let stored = serde_json::to_value(&params).map_err(|e| e.to_string())?;
        let params = Rc::new(params);
        let [for_ready, for_needs] = [params.clone(), params.clone()];
        Ok(Prepared {
            params: stored,
            ready: Box::new(move || L::ready(&for_ready)),
            needs: Box::new(move |extent| L::needs(&for_needs, extent)),
            measure: Box::new(move |session| L::measure(&params, session)),
        })
    }

    fn instead(&self, matches: &ArgMatches) -> Result<Option<anyhow::Result<()>>, String> {
        let params = L::Params::from_arg_matches(matches).map_err(|e| e.to_string())?;
        L::check(&params)?;
        Ok(L::instead(&params))
    }

    fn explain(&self, record: &Record) -> anyhow::Result<Findings> {
        let params: L::Params =
            serde_json::from_value(record.params.clone()).with_context(|| {
                format!(
                    "{}: the record's parameters are not those of this lab",
                    record.lab
                )
            })?;
        L::check(&params).map_err(|e| anyhow::anyhow!("{}: {e}", record.lab))?;
        contained(&record.lab, || explained::<L>(&params, record))
    }
}

/// Explains a record whose parameters make sense.
fn explained<L: Lab>(params: &L::Params, record: &Record) -> Findings {
    let summary = Summary::of(record);
    let mut findings = L::explain(params, &summary);
    let unsound = unsound::<L>(params, &summary);
    // What the server of somebody else does is not this run's.
    let elsewhere = unsound.first().filter(|_| record.target.is_some());
    let books = books(&summary, &unsound).unless(elsewhere.map(|u| u.why.clone()));
    findings.claims.insert(0, books);
    // A law that this run has no condition for says nothing of it.
    findings.claims.retain(|claim| !claim.cases.is_empty());
    prediction::draw_over(L::SKETCHES, record, &mut findings);
    let unfit = disturbance::unfit(record);
    let claims = findings.claims.into_iter();
    let open = |claim: &Claim| undecided(claim.disturbed, record, &unfit);
    findings.claims = claims
        .map(|claim| {
            let why = open(&claim);
            let touched = unsound.iter().find(|u| claim.touches(u.point));
            claim.unless(why).withheld(touched.map(|u| u.why.clone()))
        })
        .collect();
    let speeds = findings.claims.iter().filter(|c| c.is_of_speed());
    let reasons: Vec<Option<String>> = speeds.map(open).collect();
    if let Some(Some(why)) = reasons
        .first()
        .filter(|_| reasons.iter().all(Option::is_some))
    {
        warn(&mut findings, why);
    }
    findings
}

thread_local! {
    /// True while this thread explains a record: a panic is then a reason, and is not printed.
    static EXPLAINING: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread explains a record.
pub(crate) fn is_explaining() -> bool {
    EXPLAINING.get()
}

/// What a record does that no lab expects, it does to itself: a panic over it is an error with its name, and
/// whoever goes through several records goes on.
fn contained(lab: &str, explain: impl FnOnce() -> Findings) -> anyhow::Result<Findings> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !EXPLAINING.get() {
                usual(panic);
            }
        }));
    });
    let before = EXPLAINING.replace(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(explain));
    EXPLAINING.set(before);
    result.map_err(|panic| {
        let why = reason(&*panic);
        anyhow::anyhow!("{lab}: theory fails over this record: {why}")
    })
}

/// What a panic says.
pub(crate) fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it gives no reason")
}

/// Why a claim about what is disturbed by `disturbed` is left open whatever was measured: the run as a whole
/// cannot decide it. It was interrupted, it was too short, or the machine was unfit to measure what the claim
/// is about. Symmetrical: what could have falsified a figure could have faked it.
fn undecided(disturbed: Disturbed, record: &Record, unfit: &[Unfit]) -> Option<String> {
    if record.interrupted {
        return Some("the run was interrupted".into());
    }
    if let Some(failures) = failed_elsewhere(record) {
        return Some(failures);
    }
    let needed = disturbed.resource()?;
    if record.scale == Scale::Smoke {
        return Some("too short to judge: smoke scale".into());
    }
    let why = unfit.iter().find(|unfit| unfit.takes.contains(&needed))?;
    Some(why.why.clone())
}

/// What a server that somebody else runs has failed to answer, which no experiment asked it to.
fn failed_elsewhere(record: &Record) -> Option<String> {
    record.target.as_ref()?;
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for trial in record.points.iter().flat_map(|point| &point.trials) {
        for (kind, n) in &trial.failures {
            *kinds.entry(kind).or_default() += n;
        }
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, n)| format!("{kind}: {n}"))
        .collect();
    let some = !kinds.is_empty();
    some.then(|| {
        format!(
            "the target failed for reasons outside the experiment ({})",
            kinds.join(", ")
        )
    })
}

/// A run that decides nothing about speeds says that first, and its charts say it as well.
fn warn(findings: &mut Findings, why: &str) {
    let named = "This run decides nothing about speeds";
    findings.headline = format!("{named}: {why}. As measured: {}", findings.headline);
    for figure in &mut findings.figures {
        figure.subtitle = format!("Not to be quoted: {why}. {}", figure.subtitle);
    }
}

/// A condition with trials that are none of it.
struct Unsound {
    /// Its place in the record.
    point: usize,
    /// How many of its trials.
    trials: usize,
    /// What is wrong with the first of them.
    why: String,
}

fn unsound<L: Lab>(params: &L::Params, summary: &Summary) -> Vec<Unsound> {
    let of = |(point, at): (usize, Condition)| {
        let may = L::may(params, &at);
        let wrong = |trial: &Trial| {
            let contradiction = accounts::contradiction(trial, may);
            contradiction.or_else(|| L::premise(params, &at, trial).err())
        };
        let found: Vec<String> = at.trials().iter().filter_map(wrong).collect();
        let why = format!("{at}: {}", found.first()?);
        let trials = found.len();
        Some(Unsound { point, trials, why })
    };
    summary.conditions().enumerate().filter_map(of).collect()
}

/// The claim that every lab makes: nothing was lost between the loads and the record, and its trials are what
/// their conditions say.
fn books(summary: &Summary, unsound: &[Unsound]) -> Claim {
    let open = summary.total(|trial| Some(f64::from(u8::from(!trial.books_close()))));
    let none = unsound.iter().map(|u| u.trials).sum::<usize>() as f64;
    let wrong = open.map(|open| open.plus(Estimate::exact(none)));
    let name = unsound.first().map_or("", |first| first.why.as_str());
    Law::counted(
        "the books close in every trial: each request has exactly one fate, one that its condition may have, and what is said twice says the same",
        "trials with open books",
    )
    .books()
    .near([Case::exact(name, 0.0, wrong)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_question_asks_for_what_the_flags_of_the_run_say() {
        let question = Question {
            key: "gap",
            ask: "{busy} in slices of {time-slice} for {tasks}, {of} at a time, {to}?",
            unit: "ms",
            hint: "",
        };
        let params = json!({"busy": "300ms", "time_slice": "1s500ms", "tasks": 50000, "of": [0.5, 2, 3], "to": ["1.5s"]});
        assert_eq!(
            question.asked(&params),
            "300 ms in slices of 1 s 500 ms for 50,000, 0.5, 2 and 3 at a time, 1.5 s?"
        );
        assert_eq!(
            question.asked(&Value::Null),
            "--busy in slices of --time-slice for --tasks, --of at a time, --to?"
        );
    }

    #[test]
    fn only_flags_in_braces_are_filled_in_and_code_stays_code() {
        let params =
            json!({"busy": "300ms", "time_slice": "2ms", "levels": [1, 50000], "file": null});
        let text = "{busy}, {time-slice}, {time_slice}, {levels}, {file}, {other}, {}, {Busy}, {busy\n\
                    `--busy {busy} --levels {levels} --file {file} {other}` and `` `{busy} `` or\n\
                    `code over\nlines {busy}` {busy}, an open ` one\n\n{busy}\n\
                    ```rust\nprintln!(\"{busy}\");\n```\n{busy}";
        let with = "300 ms, 2 ms, {time_slice}, 1 and 50,000, --file, {other}, {}, {Busy}, {busy\n\
                    `--busy 300ms --levels 1,50000 --file {file} {other}` and `` `300ms `` or\n\
                    `code over\nlines 300ms` 300 ms, an open ` one\n\n300 ms\n\
                    ```rust\nprintln!(\"{busy}\");\n```\n300 ms";
        assert_eq!(filled(text, &params), with);
        assert_eq!(
            filled("{busy}, {Busy}, `{busy}`, {busy", &Value::Null),
            "--busy, {Busy}, `{busy}`, {busy"
        );
        let evil = json!({"busy": "[x](https://example.org)", "file": "`<b>"});
        assert_eq!(filled("{busy} `{file}`", &evil), "--busy `{file}`");
    }
}
