//! What a lab is.

use std::{collections::BTreeMap, marker::PhantomData, rc::Rc};

use anyhow::Context;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use crate::card::{Card, Question, Sizes, Sketch, filled};

use crate::{
    accounts::{self, Fate},
    claim::{Case, Claim, Law},
    contain,
    disturbance::{self, Disturbed, Unfit},
    findings::{Findings, Table},
    needs::{Extent, Needs},
    prediction,
    preset::{self, Preset},
    record::{Record, Scale, Trial},
    runtimes::Programs,
    session::Session,
    stats::Estimate,
    summary::{Condition, Summary},
};

/// A lab: a question, an experiment that answers it and the theory it is held against.
pub trait Lab: 'static {
    /// Every constant of the experiment, as flags. They are stored in the record, and theory
    /// follows them. A flag that comes later has `#[serde(default)]`: older records do not have it.
    type Params: Args + Serialize + DeserializeOwned;

    /// What the lab is about.
    const CARD: Card;

    /// Whether its load may go to a server that somebody else runs (`--target`).
    const TAKES_TARGET: bool = true;

    /// Curves that the reader may predict, drawn over the measured ones.
    const SKETCHES: &'static [Sketch] = &[];

    /// Parameters by name, `--preset NAME`: those of the material that the lab grew from, where it has any.
    const PRESETS: &'static [Preset] = &[];

    /// Parameters that older records have under another name: that name, and the one of today.
    const FORMERLY: &'static [(&'static str, &'static str)] = &[];

    /// The same experiment in other languages.
    const PROGRAMS: Programs = Programs::NONE;

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
    /// Parameters by name.
    fn presets(&self) -> &'static [Preset];
    /// Parameters that older records have under another name.
    fn formerly(&self) -> &'static [(&'static str, &'static str)];
    /// The same experiment in other languages.
    fn programs(&self) -> Programs;
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

    fn presets(&self) -> &'static [Preset] {
        L::PRESETS
    }

    fn formerly(&self) -> &'static [(&'static str, &'static str)] {
        L::FORMERLY
    }

    fn programs(&self) -> Programs {
        L::PROGRAMS
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
                format!("{}: the record's parameters are not those of this lab", record.lab)
            })?;
        L::check(&params).map_err(|e| anyhow::anyhow!("{}: {e}", record.lab))?;
        contain::contained(&record.lab, || explained::<L>(&params, record))
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
    findings.tables.extend(printed::<L>(record));
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
    if let Some(Some(why)) = reasons.first().filter(|_| reasons.iter().all(Option::is_some)) {
        warn(&mut findings, why);
    }
    findings
}

/// What the source printed beside what was measured, where the run has a preset.
fn printed<L: Lab>(record: &Record) -> Option<Table> {
    let preset = preset::named(L::PRESETS, record.preset.as_deref()?)?;
    let own = serde_json::to_value(params::<L>(&preset.words())).ok()?;
    preset.table(record, &own)
}

/// Why a claim about what is disturbed by `disturbed` is left open whatever was measured: the run as a whole
/// cannot decide it. It was interrupted, it was too short, or the machine was unfit to measure what the claim
/// is about. Symmetrical: what could have falsified a figure could have faked it.
pub(crate) fn undecided(disturbed: Disturbed, record: &Record, unfit: &[Unfit]) -> Option<String> {
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
    let kinds: Vec<String> = kinds.iter().map(|(kind, n)| format!("{kind}: {n}")).collect();
    let some = !kinds.is_empty();
    some.then(|| {
        format!("the target failed for reasons outside the experiment ({})", kinds.join(", "))
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
