//! Many result sets as one.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use lab_handin::{Found, Wanted};
use lab_kit::{
    clean,
    lab::{Card, Experiment},
    prediction::{Point, Scored},
    store,
    text::number,
};
use lab_make::progress::Progress;
use rayon::prelude::*;
use serde::Serialize;

use crate::{
    alone, brief, counted,
    digest::{Claimed, Digest, digest},
    end_of,
    exercises::{self, Exercise},
    factor, reason,
    spread::{Spread, outliers},
};

/// What has been done of the exercises.
const PROGRESS: &str = lab_make::progress::FILE;

/// What is handed in: records, and what this program puts beside them.
static RECORDS: Wanted = Wanted {
    is: |name| store::is_record_name(name) || name == PROGRESS,
    // The largest lab at full scale writes four megabytes.
    largest: store::LARGEST,
    called: "records (labNN.json)",
    why_not: |name| {
        if name.to_ascii_lowercase().ends_with(".json") {
            "it is not called labNN.json: rename it, if it is a record"
        } else {
            RECORDS.neither
        }
    },
    neither: "it is neither a record (labNN.json) nor an archive of records",
    is_ours: |folder, name| {
        let is_picture = name.ends_with(".svg") || name.ends_with(".png");
        let of_exercises = ["Cargo.toml", "Cargo.lock"].contains(&name);
        name == "report.md" || (folder == "charts" && is_picture) || of_exercises
    },
    // Earlier runs belong to the journal, and exercises to `labs grade`.
    is_aside: |name| {
        let is_exercise = lab_make::EXERCISES.iter().any(|judge| judge.card().folder == name);
        is_exercise || ["history", "kit", "target", "schedules"].contains(&name)
    },
};

/// Most outliers that are told.
const MOST_OUTLIERS: usize = 200;
/// Outliers in the text.
const TOLD: usize = 20;

/// Many result sets, put together.
#[derive(Debug, Default, Serialize)]
pub struct Class {
    /// The sets, in the order of their names.
    pub sets: Vec<Member>,
    /// What was predicted, by lab and question.
    pub questions: Vec<Question>,
    /// What was made, by exercise.
    pub exercises: Vec<Exercise>,
    /// Verdicts, by lab and claim.
    pub claims: Vec<Claim>,
    /// Where it was measured.
    pub machines: Vec<Machine>,
    /// Figures about the machines.
    pub apparatus: Vec<Fact>,
    /// Values far from those of the others.
    pub outliers: Vec<Outlier>,
    /// Records that are in several sets, byte for byte.
    pub twins: Vec<Twins>,
    /// What could not be read, and why.
    pub left_out: Vec<LeftOut>,
}

/// One result set.
#[derive(Debug, Serialize)]
pub struct Member {
    /// The file or folder it came from, and the folder inside an archive of several.
    pub name: String,
    /// Its labs.
    pub labs: Vec<String>,
    /// Why its machine was unfit to measure, by lab.
    pub unfit: BTreeMap<String, String>,
}

/// A question, with everybody's predictions.
#[derive(Debug, Serialize)]
pub struct Question {
    /// "lab03".
    pub lab: String,
    /// Title of the lab.
    pub title: &'static str,
    /// The question's key, with an @ at its end for a curve.
    pub key: String,
    /// The question.
    pub ask: String,
    /// Unit of the values.
    pub unit: String,
    /// What was said; null for a curve, whose points differ in their places.
    pub said: Option<Spread>,
    /// What was measured; null for a curve.
    pub measured: Option<Spread>,
    /// How many are within 10 %.
    pub close: usize,
    /// How many are within a factor of 2.
    pub within_two: usize,
    /// The median of everybody's factor.
    pub factor: Option<f64>,
    /// Everybody's.
    pub predictions: Vec<Prediction>,
}

/// Somebody's prediction.
#[derive(Debug, Serialize)]
pub struct Prediction {
    /// Whose.
    pub set: String,
    /// How far off, as a factor; the median over a curve.
    pub factor: Option<f64>,
    /// A number, or the points of a curve.
    pub points: Vec<Point>,
}

/// A claim, with everybody's verdicts.
#[derive(Debug, Serialize)]
pub struct Claim {
    /// "lab03".
    pub lab: String,
    /// The claim.
    pub claim: String,
    /// How many measurements confirm it.
    pub confirmed: usize,
    /// How many do not decide.
    pub inconclusive: usize,
    /// How many refute it.
    pub refuted: usize,
    /// What was measured; of a law over several conditions the mean ratio to theory.
    pub measured: Option<Spread>,
    /// Unit of that.
    pub unit: &'static str,
    /// Whose measurements refute it.
    pub refuted_by: Vec<String>,
}

/// A kind of machine.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Operating system and architecture.
    pub system: String,
    /// The processor.
    pub cpu: String,
    /// Processors usable.
    pub cores: usize,
    /// Whose.
    pub sets: Vec<String>,
}

/// A figure about the machines.
#[derive(Debug, Serialize)]
pub struct Fact {
    /// Which.
    pub what: &'static str,
    /// Unit of the values.
    pub unit: &'static str,
    /// Over all sets.
    pub values: Spread,
}

/// A value far from those of the others.
#[derive(Debug, Serialize)]
pub struct Outlier {
    /// Whose.
    pub set: String,
    /// The lab; empty for a machine.
    pub lab: String,
    /// What was measured.
    pub what: String,
    /// The value.
    pub value: f64,
    /// The median over all.
    pub median: f64,
    /// Unit of both.
    pub unit: &'static str,
    /// Modified z-score (B. Iglewicz and D. C. Hoaglin, 1993).
    pub score: f64,
}

/// The same record in several sets.
#[derive(Debug, Serialize)]
pub struct Twins {
    /// "lab03".
    pub lab: String,
    /// Whose.
    pub sets: Vec<String>,
}

/// What could not be read.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// The file, and the record in it.
    pub what: String,
    /// Why.
    pub why: String,
}

/// A digest with the name of its set.
type Of = (String, Digest);

/// What one source holds.
#[derive(Default)]
struct Held {
    digests: Vec<Of>,
    progress: Vec<(String, Progress)>,
    left_out: Vec<LeftOut>,
}

impl Class {
    /// Reads everything that these paths lead to.
    pub fn read(syllabus: &[&'static dyn Experiment], files: &[PathBuf]) -> Class {
        let lab_handin::Sources { sets: sources, left_out: others } =
            lab_handin::expand(&RECORDS, files);
        let folder = shared_folder(&sources);
        let parts: Vec<Held> =
            sources.par_iter().map(|source| read_source(syllabus, source, &folder)).collect();
        let other = |(path, why): (PathBuf, String)| LeftOut { what: end_of(&path), why };
        let mut left_out: Vec<LeftOut> = others.into_iter().map(other).collect();
        let (mut digests, mut progress) = (Vec::new(), Vec::new());
        for held in parts {
            digests.extend(held.digests);
            progress.extend(held.progress);
            left_out.extend(held.left_out);
        }
        digests.sort_by(|a, b| (&a.0, a.1.card.number).cmp(&(&b.0, b.1.card.number)));
        let exercises = exercises::together(&progress);
        Class { exercises, ..Class::of(&digests, left_out) }
    }

    fn of(digests: &[Of], left_out: Vec<LeftOut>) -> Class {
        let mut class = Class {
            sets: members(digests),
            questions: questions(digests),
            machines: machines(digests),
            twins: twins(digests),
            left_out,
            ..Class::default()
        };
        claims(digests, &mut class);
        apparatus(digests, &mut class);
        class.outliers.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()));
        class.outliers.truncate(MOST_OUTLIERS);
        class
    }

    /// As text for the terminal.
    pub fn text(&self) -> String {
        [
            self.size_text(),
            self.predictions_text(),
            exercises::text(&self.exercises),
            self.verdicts_text(),
            self.machines_text(),
            self.outliers_text(),
            self.twins_text(),
            self.left_out_text(),
        ]
        .concat()
    }

    fn size_text(&self) -> String {
        let records: usize = self.sets.iter().map(|set| set.labs.len()).sum();
        format!(
            "{} with {}, on {}\n",
            counted(self.sets.len(), "result set"),
            counted(records, "record"),
            counted(self.machines.len(), "kind of machine")
                .replace("kind of machines", "kinds of machine"),
        )
    }

    fn predictions_text(&self) -> String {
        let mut text = String::from("\nPredictions\n");
        if self.questions.is_empty() {
            text += "  none: `labs run 3` asks for some on a terminal, `--predict goodput=800` gives one\n";
        }
        for q in &self.questions {
            let said = q.said.map_or(String::new(), |s| format!("said {}, ", s.text()));
            let measured =
                q.measured.map_or(String::new(), |m| format!("measured {} {}: ", m.text(), q.unit));
            text += &format!("  {} {}\n", q.lab, q.ask);
            text += &format!(
                "      {}: {said}{measured}half within {}, {} within 10 %\n",
                counted(q.predictions.len(), "prediction"),
                factor(q.factor),
                q.close
            );
        }
        text
    }

    /// How many claims everybody confirms, and the others one by one.
    fn verdicts_text(&self) -> String {
        let open = |c: &&Claim| c.refuted + c.inconclusive > 0;
        let mut text = format!(
            "\nVerdicts: {} of {} are confirmed by everybody\n",
            self.claims.iter().filter(|c| !open(c)).count(),
            counted(self.claims.len(), "claim")
        );
        for c in self.claims.iter().filter(open) {
            text += &format!(
                "  {} {}\n      {} confirmed, {} inconclusive, {} refuted{}\n",
                c.lab,
                c.claim,
                c.confirmed,
                c.inconclusive,
                c.refuted,
                named(&c.refuted_by)
            );
        }
        text
    }

    fn machines_text(&self) -> String {
        let mut text = String::from("\nMachines\n");
        for m in &self.machines {
            text += &format!(
                "  {} × {}, {}, {}\n",
                m.sets.len(),
                m.cpu,
                m.system,
                counted(m.cores, "processor")
            );
        }
        for fact in &self.apparatus {
            text += &format!("      {}: {} {}\n", fact.what, fact.values.text(), fact.unit);
        }
        let unfit: Vec<String> = self.unfit().map(|(set, _)| set.to_string()).collect();
        if !unfit.is_empty() {
            text += &format!("  unfit to measure in some lab{}\n", named(&unfit));
        }
        text
    }

    /// The farthest; empty where there is none.
    fn outliers_text(&self) -> String {
        let mut text = String::new();
        if !self.outliers.is_empty() {
            text += "\nFar from the others\n";
        }
        for o in self.outliers.iter().take(TOLD) {
            text += &format!(
                "  {}: {} {}: {} against {} {}\n",
                o.set,
                o.lab,
                o.what,
                number(o.value),
                number(o.median),
                o.unit
            );
        }
        if let Some(more @ 1..) = self.outliers.len().checked_sub(TOLD) {
            text += &format!("  and {more} more: --json or --out has them\n");
        }
        text
    }

    fn twins_text(&self) -> String {
        let told = self.twins.iter().map(|twins| {
            format!("\nThe same record of {}, byte for byte{}\n", twins.lab, named(&twins.sets))
        });
        told.collect()
    }

    fn left_out_text(&self) -> String {
        if self.left_out.is_empty() {
            return String::new();
        }
        format!("\n{} left out (see above)\n", counted(self.left_out.len(), "file"))
    }

    /// Sets with a machine that was unfit, and the first reason.
    pub fn unfit(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sets.iter().filter_map(|set| {
            let (_, why) = set.unfit.iter().next()?;
            Some((set.name.as_str(), why.as_str()))
        })
    }
}

/// ": alice.zip, bob.zip and 3 more".
pub fn named(sets: &[String]) -> String {
    const SHOWN: usize = 5;
    if sets.is_empty() {
        return String::new();
    }
    let more = sets.len().saturating_sub(SHOWN);
    let mut text = format!(": {}", sets[..sets.len() - more].join(", "));
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

/// The folder that all of several sources are in: it tells no set from another, and may tell where the
/// lecturer keeps them.
fn shared_folder(sources: &[PathBuf]) -> PathBuf {
    let mut folders = sources.iter().filter_map(|source| source.parent());
    let (Some(first), true) = (folders.next(), sources.len() > 1) else {
        return PathBuf::new();
    };
    folders.fold(first.to_path_buf(), |shared, folder| {
        let both = shared.components().zip(folder.components());
        both.take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
    })
}

/// A source's digests by set, whose name leaves this folder out, and what of it was left out.
fn read_source(syllabus: &[&'static dyn Experiment], source: &Path, folder: &Path) -> Held {
    let name = end_of(source);
    let short = end_of(source.strip_prefix(folder).unwrap_or(source));
    let mut held = Held::default();
    let end = lab_handin::read(&RECORDS, source, &mut |found: Found| {
        let taken = found.text.and_then(|text| {
            if found.file == PROGRESS {
                let progress = exercises::read(&text)?;
                held.progress.push((found.set.clone(), progress));
            } else {
                let digest = alone(|| digest(syllabus, &found.file, &text))?;
                held.digests.push((found.set.clone(), digest));
            }
            Ok(())
        });
        if let Err(why) = taken {
            let (set, file) = (brief(&found.set), brief(&found.file));
            let parts = [name.as_str(), &set, &file];
            let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
            held.left_out.push(LeftOut { what: parts.join(": "), why: reason(&why) });
        }
    });
    if let Err(why) = end {
        held.left_out.push(LeftOut { what: name.clone(), why: reason(&why) });
    }
    // A folder inside an archive tells sets apart, and nothing where there is only one.
    let of_records = held.digests.iter_mut().map(|(set, _)| set);
    let mut sets: Vec<&mut String> =
        of_records.chain(held.progress.iter_mut().map(|(set, _)| set)).collect();
    let several = sets.iter().any(|set| **set != *sets[0]);
    for set in &mut sets {
        let inner = brief(set);
        **set = if several { format!("{short}: {inner}") } else { short.clone() };
    }
    held
}

fn members(digests: &[Of]) -> Vec<Member> {
    digests
        .chunk_by(|a, b| a.0 == b.0)
        .map(|of_set| Member {
            name: of_set[0].0.clone(),
            labs: of_set.iter().map(|(_, d)| d.card.id()).collect(),
            unfit: of_set
                .iter()
                .filter_map(|(_, d)| Some((d.card.id(), brief(d.unfit.as_ref()?))))
                .collect(),
        })
        .collect()
}

fn questions(digests: &[Of]) -> Vec<Question> {
    type Asked<'a> = (&'static Card, Vec<(&'a str, &'a Scored)>);
    let mut found: BTreeMap<(u8, usize, &str), Asked> = BTreeMap::new();
    for (set, digest) in digests {
        let card = digest.card;
        for scored in &digest.predictions {
            // Questions in the lab's order, curves behind them.
            let known = card.predict.iter().position(|q| q.key == scored.key);
            let order = known.unwrap_or(card.predict.len());
            let place = (card.number, order, scored.key.as_str());
            let entry = found.entry(place).or_insert((card, Vec::new()));
            entry.1.push((set, scored));
        }
    }
    let question = |(card, all): (&'static Card, Vec<(&str, &Scored)>)| {
        let first = all[0].1;
        let single = !first.key.ends_with('@');
        let points = || all.iter().flat_map(|(_, s)| &s.points).filter(|_| single);
        let factors: Vec<f64> = all.iter().filter_map(|(_, s)| s.factor).collect();
        Question {
            lab: card.id(),
            title: card.title,
            key: first.key.clone(),
            ask: first.ask.clone(),
            unit: first.unit.clone(),
            said: Spread::of(points().map(|p| p.said)),
            measured: Spread::of(points().filter_map(|p| p.measured)),
            close: factors.iter().filter(|f| **f <= 1.1).count(),
            within_two: factors.iter().filter(|f| **f <= 2.0).count(),
            factor: Spread::of(factors).map(|s| s.median),
            predictions: all
                .iter()
                .map(|(set, s)| Prediction {
                    set: set.to_string(),
                    factor: s.factor,
                    points: s.points.clone(),
                })
                .collect(),
        }
    };
    found.into_values().map(question).collect()
}

fn claims(digests: &[Of], class: &mut Class) {
    type Made<'a> = (&'a str, &'a Digest, &'a Claimed);
    // In the order in which the labs make them; a set may lack some.
    let mut order: Vec<(u8, &str)> = Vec::new();
    let mut by_claim: HashMap<(u8, &str), Vec<Made>> = HashMap::new();
    for (set, digest) in digests {
        for claim in &digest.claims {
            let key = (digest.card.number, claim.row.claim.as_str());
            let known = by_claim.entry(key).or_insert_with(|| {
                order.push(key);
                Vec::new()
            });
            known.push((set, digest, claim));
        }
    }
    order.sort_by_key(|(lab, _)| *lab);
    for key in order {
        let all = &by_claim[&key];
        let count = |word: &str| all.iter().filter(|(_, _, c)| c.row.verdict == word).count();
        let refuted = all.iter().filter(|(_, _, c)| c.row.verdict == "refuted");
        let (_, digest, first) = all[0];
        class.claims.push(Claim {
            lab: digest.card.id(),
            claim: brief_claim(key.1),
            confirmed: count("confirmed"),
            inconclusive: count("inconclusive"),
            refuted: count("refuted"),
            measured: Spread::of(all.iter().filter_map(|(_, _, c)| c.value)),
            unit: first.unit,
            refuted_by: refuted.map(|(set, ..)| set.to_string()).collect(),
        });
        // Only equal experiments bear comparing.
        let mut alike: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
        for (set, digest, claim) in all {
            let value = claim.value.map(|value| (*set, value));
            alike.entry(&digest.flags).or_default().extend(value);
        }
        for values in alike.into_values() {
            far_off(
                &mut class.outliers,
                &digest.card.id(),
                &brief_claim(key.1),
                first.unit,
                &values,
            );
        }
    }
}

/// A claim's text may hold the flags of a record.
fn brief_claim(text: &str) -> String {
    clean::brief(text, 300)
}

fn far_off(
    into: &mut Vec<Outlier>,
    lab: &str,
    what: &str,
    unit: &'static str,
    values: &[(&str, f64)],
) {
    let numbers: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    let far = outliers(&numbers);
    if far.is_empty() {
        return;
    }
    let median = Spread::of(numbers).map_or(f64::NAN, |s| s.median);
    into.extend(far.into_iter().map(|(i, score)| Outlier {
        set: values[i].0.to_string(),
        lab: lab.to_string(),
        what: what.to_string(),
        value: values[i].1,
        median,
        unit,
        score,
    }));
}

fn machines(digests: &[Of]) -> Vec<Machine> {
    let mut found: Vec<Machine> = Vec::new();
    for (set, digest) in digests {
        let host = &digest.host;
        let cpu = host.cpu.as_deref().unwrap_or("unknown processor");
        let (system, cpu, cores) = (brief(&host.system), brief(cpu), host.cores);
        let same = |m: &&mut Machine| (&m.system, &m.cpu, m.cores) == (&system, &cpu, cores);
        match found.iter_mut().find(same) {
            Some(known) if known.sets.last() != Some(set) => known.sets.push(set.clone()),
            Some(_) => {}
            None => found.push(Machine { system, cpu, cores, sets: vec![set.clone()] }),
        }
    }
    found.sort_by_key(|m| std::cmp::Reverse(m.sets.len()));
    found
}

/// A figure about a machine: its name, its unit, and where it is.
type Figure = (&'static str, &'static str, fn(&Digest) -> f64);

fn apparatus(digests: &[Of], class: &mut Class) {
    let facts: [Figure; 5] = [
        ("processors usable", "", |d| d.host.cores as f64),
        ("what they are worth together", "processors", |d| {
            d.host.effective_parallelism.iter().copied().fold(0.0, f64::max)
        }),
        ("a 1 ms sleep ends late by", "ms", |d| d.host.timer_late_ms),
        ("overhead of a request", "ms", |d| d.host.request_overhead_ms),
        ("mock server's ceiling", "requests/s", |d| d.host.upstream_ceiling_per_s),
    ];
    for (what, unit, figure) in facts {
        // Calibrated with every run: the median of a set's records.
        let of_set = digests.chunk_by(|a, b| a.0 == b.0).filter_map(|all| {
            let values = all.iter().map(|(_, d)| figure(d));
            Some((all[0].0.as_str(), Spread::of(values)?.median))
        });
        let of_set: Vec<(&str, f64)> = of_set.collect();
        let values = Spread::of(of_set.iter().map(|(_, v)| *v));
        class.apparatus.extend(values.map(|values| Fact { what, unit, values }));
        if what != "processors usable" {
            far_off(&mut class.outliers, "machine", what, unit, &of_set);
        }
    }
}

fn twins(digests: &[Of]) -> Vec<Twins> {
    let mut prints: BTreeMap<(u8, u64), Vec<String>> = BTreeMap::new();
    for (set, digest) in digests {
        let same = prints.entry((digest.card.number, digest.print)).or_default();
        same.push(set.clone());
    }
    prints
        .into_iter()
        .filter(|(_, sets)| sets.len() > 1)
        .map(|((lab, _), sets)| Twins { lab: format!("lab{lab:02}"), sets })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_leave_out_the_folder_that_all_are_in() {
        let shared = |paths: &[&str]| {
            let sources: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            shared_folder(&sources).display().to_string()
        };
        assert_eq!(shared(&["in/a.zip", "in/b.zip"]), "in");
        assert_eq!(shared(&["in/one/a.zip", "in/two/a.zip"]), "in");
        assert_eq!(shared(&["one/results", "two/results"]), "");
        assert_eq!(shared(&["in/a.zip"]), "");
        assert_eq!(shared(&[]), "");
    }
}
