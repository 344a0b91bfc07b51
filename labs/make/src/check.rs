//! From a source to a verdict.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result};
use lab_kit::cli::{Failed, print};

use crate::{
    EXERCISES,
    bench::{Bench, Programs},
    exercise::Judge,
    place::{self, Place},
    verdict::{Outcome, Verdict},
    workshop::{Refused, Workshop},
};

/// Longest source, in bytes.
const SOURCE: u64 = 128 << 10;

/// What became of a source.
#[derive(Debug)]
pub(crate) enum Found {
    /// It was not run.
    Refused(Refused),
    /// It was.
    Judged(Box<Verdict>),
}

impl Found {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Found::Refused(_) => Outcome::Rejected,
            Found::Judged(verdict) => verdict.outcome(),
        }
    }
}

/// What is to be checked, and how.
#[derive(Clone, Copy)]
pub(crate) struct Check<'a> {
    /// Whose source it is, for the place where it is built.
    pub hand: &'a str,
    pub source: &'a str,
    /// What the judge draws.
    pub seed: u64,
    /// One order of threads, in place of all.
    pub replay: Option<&'a [usize]>,
}

impl Check<'_> {
    /// Builds and judges.
    ///
    /// # Errors
    /// When this machine does not let it be done.
    pub(crate) fn run(&self, shop: &Workshop, judge: &dyn Judge) -> Result<Found> {
        let programs = match self.build(shop, judge)? {
            Ok(programs) => programs,
            Err(refused) => return Ok(Found::Refused(refused)),
        };
        let replay = self.replay.map(<[usize]>::to_vec);
        let mut bench = Bench::new(programs, self.seed, replay)?;
        Ok(Found::Judged(Box::new(judge.judge(&mut bench)?)))
    }

    /// Builds what its judge runs.
    ///
    /// # Errors
    /// When this machine does not let it be done.
    pub(crate) fn build(
        &self,
        shop: &Workshop,
        judge: &dyn Judge,
    ) -> Result<Result<Programs, Refused>> {
        let card = judge.card();
        let files = card.files();
        let learner = match shop.build(files, self.hand, self.source, false)? {
            Ok(program) => program,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut programs = Programs { learner, orders: None, right: None, wrong: None };
        if card.orders {
            match shop.build(files, self.hand, self.source, true)? {
                Ok(program) => programs.orders = Some(program),
                Err(refused) => return Ok(Err(refused)),
            }
        }
        let own = |hand: &str, source: &str| -> Result<_> {
            let built = shop.build(files, hand, source, false)?;
            built.map_err(|why| anyhow::anyhow!("the authors' {hand} was not built: {why:?}"))
        };
        if let Some(name) = card.pace {
            let wrong_way = files.wrong.iter().find(|(wrong, _)| *wrong == name);
            let (_, source) = wrong_way.with_context(|| format!("there is no wrong way {name}"))?;
            programs.right = Some(own("solution", files.solution)?);
            programs.wrong = Some(own(&format!("wrong-{name}"), source)?);
        }
        Ok(Ok(programs))
    }
}

/// Reads a learner's file: a text of bounded length.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(crate) fn source(path: &Path) -> Result<String> {
    let shown = path.display();
    let length = fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?.len();
    anyhow::ensure!(
        length <= SOURCE,
        "{shown} has {length} bytes: a file of an exercise has {SOURCE} at most"
    );
    let bytes = fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    let text = String::from_utf8(bytes).ok();
    let text = text.with_context(|| format!("{shown} is no text (UTF-8)"))?;
    anyhow::ensure!(
        !text.trim().is_empty(),
        "{shown} is empty: `labs make reset NAME` puts the beginning back"
    );
    Ok(text)
}

/// What stands for a text, to tell whether it has changed.
pub(crate) fn mark_of(source: &str) -> String {
    format!("{:016x}", crate::books::stamp(0, source))
}

/// What the judge draws for a student: the same each time, another for each student and exercise.
pub(crate) fn seed_of(student: &str, folder: &str) -> u64 {
    crate::books::stamp(crate::books::stamp(0, student), folder)
}

/// The authors' own check: every start fails, every solution passes, every wrong way is rejected and named.
///
/// # Errors
/// What is not so, as [`Failed::Refuted`], after all have been tried.
pub(crate) fn prove(names: &[String], times: u32) -> Result<(), Failed> {
    let place = Place::find()?;
    let shop = Workshop::open(&place.root, false)?;
    let chosen = names.iter().map(|name| place::named(name)).collect::<Result<Vec<_>, _>>()?;
    let chosen = if chosen.is_empty() { EXERCISES.to_vec() } else { chosen };
    let (mut tried, mut faults) = (0, 0);
    for round in 0..times {
        for judge in &chosen {
            let card = judge.card();
            let files = card.files();
            let start = ("start", files.start, Outcome::Rejected, None);
            let solution = ("solution", files.solution, Outcome::Passed, None);
            let wrong = files.wrong.iter();
            let wrong =
                wrong.map(|(name, source)| (*name, *source, Outcome::Rejected, Some(*name)));
            for (hand, source, wanted, name) in [start, solution].into_iter().chain(wrong) {
                let began = Instant::now();
                let whose = if name.is_some() { format!("wrong-{hand}") } else { hand.to_owned() };
                let check = Check { hand: &whose, source, seed: rand::random(), replay: None };
                let found = check.run(&shop, *judge)?;
                let named = match &found {
                    Found::Judged(verdict) => verdict.misconception,
                    Found::Refused(_) => None,
                };
                let is_run = matches!(found, Found::Judged(_));
                let is_named = name.is_none() || named == name;
                let is_so = is_run && found.outcome() == wanted && is_named;
                tried += 1;
                let mark = if is_so { "✓" } else { "✗" };
                let said = named.map_or(String::new(), |named| format!(", looks like {named}"));
                print(format!(
                    "{mark} {} {whose}: {:?}{said} ({:.1} s)\n",
                    card.name(),
                    found.outcome(),
                    began.elapsed().as_secs_f64(),
                ))?;
                if !is_so {
                    faults += 1;
                    print(crate::say::found(&card, hand, &found))?;
                }
            }
        }
        if times > 1 {
            print(format!(
                "round {} of {times}: {faults} of {tried} not as they should be\n",
                round + 1
            ))?;
        }
    }
    print(format!("{tried} sources judged, {faults} not as they should be\n"))?;
    if faults > 0 { Err(Failed::Refuted) } else { Ok(()) }
}
