//! `labs journal`: how a reader's predictions got better.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use lab_book::page::{self, Html};
use lab_kit::{
    cli::{Failed, LOCAL, say},
    draw::draw,
    figure::{Axis, Body, Colour, Figure, Layer, Line, Panel, Panels, Style, Unit},
    findings::Table,
    lab::Experiment,
    prediction::Point,
    report::judgement,
    stats::median,
    store::{self, is_record_name},
    text::number,
};
use serde::Serialize;

use crate::{
    alone, counted,
    digest::{Digest, digest},
    end_of, factor, reason, show, write_page,
};

/// Shows how your predictions got better, from the records of a folder and its history
#[derive(Parser, Debug)]
#[command(name = "journal")]
struct Flags {
    /// Folder of results
    #[arg(default_value = LOCAL)]
    dir: PathBuf,
    /// Write a page that stands alone, with a chart
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The command, for [`lab_kit::cli::Extra`].
pub fn command() -> clap::Command {
    Flags::command()
}

/// Runs it.
///
/// # Errors
/// When the folder holds no results, or the page cannot be written.
pub fn run(syllabus: &[&'static dyn Experiment], matches: &ArgMatches) -> Result<(), Failed> {
    let flags = Flags::from_arg_matches(matches).map_err(|e| Failed::Usage(e.to_string()))?;
    let journal = Journal::read(syllabus, &flags.dir)?;
    for why in &journal.left_out {
        say(format!("left out: {why}"));
    }
    if let Some(out) = &flags.out {
        journal.write(out)?;
    }
    show(&journal, || journal.text(), flags.json, flags.out.as_deref())
}

/// What a reader predicted, over time.
#[derive(Debug, Default, Serialize)]
pub struct Journal {
    /// Runs in the folder and its history.
    pub runs: usize,
    /// Questions with their tries, in the order of the labs.
    pub questions: Vec<Question>,
    /// By number of the try: how far off the median question is.
    pub by_try: Vec<ByTry>,
    /// First tries in the order of time: the median factor of the earlier half and of the later.
    pub first_tries: Option<(f64, f64)>,
    /// What could not be read, and why.
    pub left_out: Vec<String>,
}

/// A question with all its tries.
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
    /// The earliest first.
    pub tries: Vec<Try>,
}

/// One prediction with its measurement.
#[derive(Debug, Serialize)]
pub struct Try {
    /// Start of the run, UTC.
    pub when: String,
    /// True when the flags differ from those of the try before: another experiment.
    pub other_flags: bool,
    /// A number, or the points of a curve.
    pub points: Vec<Point>,
    /// How far off, as a factor; the median over a curve. Null where there is no ratio.
    pub factor: Option<f64>,
}

/// All questions at the same number of tries.
#[derive(Debug, PartialEq, Serialize)]
pub struct ByTry {
    /// 1 for the first.
    pub number: usize,
    /// Questions with a factor at it.
    pub questions: usize,
    /// Their median factor.
    pub factor: f64,
}

impl Journal {
    /// Reads a folder and the `history` in it.
    ///
    /// # Errors
    /// When there are no records at all.
    pub fn read(syllabus: &[&'static dyn Experiment], dir: &Path) -> Result<Journal> {
        let files = |dir: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(dir).into_iter().flatten();
            entries.filter_map(|e| Some(e.ok()?.path())).collect()
        };
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // lab03-2026-11-21T19-24-07Z.json
        let is_old = |name: &str| {
            let parts = name.split_once('-');
            parts.is_some_and(|(lab, rest)| {
                is_record_name(&format!("{lab}.json")) && rest.ends_with(".json")
            })
        };
        let (now, beside): (Vec<_>, Vec<_>) =
            files(dir).into_iter().partition(|p| is_record_name(&name(p)));
        let (old, others): (Vec<_>, Vec<_>) =
            files(&dir.join("history")).into_iter().partition(|p| is_old(&name(p)));
        let mut paths: Vec<PathBuf> = now.into_iter().chain(old).collect();
        paths.sort();
        // A folder of results holds much else; what may have been meant as a record is named.
        let beside = beside.into_iter().filter(|p| name(p).ends_with(".json"));
        let mut unread: Vec<PathBuf> = beside.chain(others).collect();
        unread.sort();
        anyhow::ensure!(
            !paths.is_empty(),
            "no results in {}: `labs run 3` makes some, and asks what you predict",
            dir.display()
        );
        let unread = unread.iter().map(|path| {
            let why = "it is called neither labNN.json nor like a record of the history";
            format!("{}: {why}", end_of(path))
        });
        let (mut digests, mut left_out) = (Vec::new(), unread.collect::<Vec<_>>());
        for path in &paths {
            let read = || {
                let text = store::text(path)?;
                alone(|| digest(syllabus, &name(path), &text))
            };
            match read() {
                Ok(digest) => digests.push(digest),
                Err(why) => left_out.push(format!("{}: {}", end_of(path), reason(&why))),
            }
        }
        Ok(Journal { left_out, ..Journal::of(digests) })
    }

    fn of(mut digests: Vec<Digest>) -> Journal {
        // RFC 3339 in UTC sorts as text.
        digests.sort_by(|a, b| a.started_at.cmp(&b.started_at));
        // Questions in the lab's order, curves behind them.
        let mut found: BTreeMap<(u8, usize, &str), Question> = BTreeMap::new();
        let mut flags = BTreeMap::new();
        for digest in &digests {
            let card = digest.card;
            for scored in &digest.predictions {
                let known = card.predict.iter().position(|q| q.key == scored.key);
                let order = known.unwrap_or(card.predict.len());
                let place = (card.number, order, scored.key.as_str());
                let before = flags.insert(place, &digest.flags);
                let question = found.entry(place).or_insert_with(|| Question {
                    lab: card.id(),
                    title: card.title,
                    key: scored.key.clone(),
                    ask: scored.ask.clone(),
                    unit: scored.unit.clone(),
                    tries: Vec::new(),
                });
                question.tries.push(Try {
                    when: digest.started_at.clone(),
                    other_flags: before.is_some_and(|flags| *flags != digest.flags),
                    points: scored.points.clone(),
                    factor: scored.factor,
                });
            }
        }
        let questions: Vec<Question> = found.into_values().collect();
        Journal {
            runs: digests.len(),
            by_try: by_try(&questions),
            first_tries: first_tries(&questions),
            questions,
            left_out: Vec::new(),
        }
    }

    fn text(&self) -> String {
        if self.questions.is_empty() {
            return format!(
                "{}, and no prediction in any: `labs run 3` asks for some on a terminal, `--predict goodput=800` gives one.\n",
                counted(self.runs, "run")
            );
        }
        let mut text = format!(
            "{}, {} predicted\n",
            counted(self.runs, "run"),
            counted(self.questions.len(), "question")
        );
        let mut lab = "";
        for q in &self.questions {
            if lab != q.lab {
                lab = &q.lab;
                text += &format!("\n{lab}: {}\n", q.title);
            }
            let curve = if q.key.ends_with('@') { "Curve: " } else { "" };
            text += &format!("  {curve}{} ({})\n", q.ask, q.unit);
            for one in &q.tries {
                text += &format!("    {}  {}\n", one.when, one.told(&q.unit));
            }
            if let [first, .., last] = q.tries.as_slice() {
                text += &format!("    from {} to {}\n", factor(first.factor), factor(last.factor));
            }
        }
        text += "\n";
        for line in self.summary() {
            text += &format!("{line}\n");
        }
        text
    }

    /// How the predictions got better, in sentences.
    fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for by in &self.by_try {
            lines.push(format!(
                "Try {}: half of {} within {}.",
                by.number,
                counted(by.questions, "question"),
                factor(Some(by.factor))
            ));
        }
        if self.by_try.len() > 1 {
            lines.push(
                "From the second try on you had seen an answer; only other flags make it a new question."
                    .into(),
            );
        }
        if let Some((earlier, later)) = self.first_tries {
            lines.push(format!(
                "First tries, in the order of time: the earlier half within {}, the later within {}.",
                factor(Some(earlier)),
                factor(Some(later))
            ));
        }
        lines
    }

    fn write(&self, out: &Path) -> Result<()> {
        let mut body = Html::new();
        body.element("h1", "My predictions");
        for line in self.summary() {
            body.element("p class=\"lead\"", &line);
        }
        if self.questions.is_empty() {
            body.element("p", &self.text());
        } else {
            let drawing = draw(&self.figure(), "journal")?;
            let chart = format!(
                "<figure class=\"chart wide\"><div class=\"draw\" tabindex=\"0\" role=\"region\" aria-label=\"Chart\">{}</div></figure>\n",
                drawing.svg
            );
            body.push(&Html::trusted(chart));
        }
        let mut lab = "";
        for q in &self.questions {
            if lab != q.lab {
                lab = &q.lab;
                body.element("h2", &format!("{lab}: {}", q.title));
            }
            let mut table = Table::new(&q.ask, &["run (UTC)", "prediction", "factor"]);
            for one in &q.tries {
                let off = one.factor.map_or("–".into(), number);
                table.row([one.when.clone(), one.told(&q.unit), off]);
            }
            body.push(&page::table(&table));
        }
        let about = "What I predicted before each run, and what was measured.";
        write_page(out, "My predictions", about, body)
    }

    /// Factors over tries: a thin line for each question, a thick one for their median.
    fn figure(&self) -> Figure {
        let longest = self.questions.iter().map(|q| q.tries.len()).max();
        let longest = longest.unwrap_or(1);
        let mut layers = vec![Layer::Rule { y: 1.0, label: "exactly".into() }];
        for q in &self.questions {
            let factors = q.tries.iter().enumerate();
            let points: Vec<(f64, f64)> =
                factors.filter_map(|(i, one)| Some((i as f64 + 1.0, one.factor?))).collect();
            let key = q.key.replace('@', ", curve");
            let line = |style, label: String| {
                Layer::Line(Line { style, ..Line::measured(&label, Colour::Muted, points.clone()) })
            };
            let known = self.questions.len() <= 12 && points.len() == longest;
            let label = if known { format!("{} {key}", q.lab) } else { String::new() };
            layers.push(line(Style::Trace, String::new()));
            layers.push(line(Style::Dots, label));
        }
        let middle = self.by_try.iter().map(|by| (by.number as f64, by.factor));
        layers.push(Layer::Line(Line::measured("median", Colour::Blue, middle.collect())));
        let title = match self.by_try.as_slice() {
            [first, .., last] => format!(
                "From {} at the first try to {} at try {}",
                factor(Some(first.factor)),
                factor(Some(last.factor)),
                last.number
            ),
            [only] => format!("Half of the first tries are within {}", factor(Some(only.factor))),
            [] => "No prediction has a ratio to what was measured".into(),
        };
        Figure {
            id: "tries".into(),
            title,
            subtitle: "How many times too high or too low, by number of the try. A line for each question".into(),
            desc: "Lines over the number of the try: how far each prediction was off, as a factor, and the median of all.".into(),
            body: Body::Panels(Panels {
                x: Axis::linear("try", Unit::Number)
                    .with_ticks((1..=longest.min(30)).map(|i| i as f64).collect::<Vec<_>>())
                    .with_range(0.5, longest as f64 + 0.5),
                panels: vec![Panel {
                    title: "Off by a factor of".into(),
                    note: "log scale; 1 is exactly".into(),
                    y: Axis::log("", Unit::Factor),
                    layers,
                    height: 1.4,
                }],
                marks: vec![],
            }),
        }
    }
}

impl Try {
    /// "800 requests/s, measured 31 (theory 28): 26 × too high".
    fn told(&self, unit: &str) -> String {
        let points: Vec<String> = self
            .points
            .iter()
            .map(|p| {
                let x = p.x.map_or(String::new(), |x| format!("at {}: ", number(x)));
                let said = match p.x {
                    None => format!("{} {unit}", number(p.said)),
                    Some(_) => number(p.said),
                };
                match (p.measured, p.x) {
                    (None, _) => format!("{x}{said}, not measured"),
                    (Some(m), None) => {
                        let theory = p.theory.map_or(String::new(), |t| format!(" (theory {t})"));
                        let judgement = judgement(p.said, m);
                        format!("{said}, measured {}{theory}: {judgement}", number(m))
                    }
                    (Some(m), Some(_)) => format!("{x}{said} for {}", number(m)),
                }
            })
            .collect();
        let mut text = points.join("; ");
        if self.points.iter().any(|p| p.x.is_some()) {
            text += &format!(": half within {}", factor(self.factor));
        }
        if self.other_flags {
            text += " (other flags than before)";
        }
        text
    }
}

fn by_try(questions: &[Question]) -> Vec<ByTry> {
    let longest = questions.iter().map(|q| q.tries.len()).max().unwrap_or(0);
    let at = |i: usize| {
        let tries = questions.iter().filter_map(|q| q.tries.get(i)?.factor);
        let factors: Vec<f64> = tries.collect();
        (!factors.is_empty()).then(|| ByTry {
            number: i + 1,
            questions: factors.len(),
            factor: median(&factors),
        })
    };
    (0..longest).filter_map(at).collect()
}

/// Fewer first tries tell nothing about a trend.
const ENOUGH: usize = 6;

fn first_tries(questions: &[Question]) -> Option<(f64, f64)> {
    let mut firsts: Vec<(&str, f64)> = questions
        .iter()
        .filter_map(|q| q.tries.first())
        .filter_map(|one| Some((one.when.as_str(), one.factor?)))
        .collect();
    firsts.sort_by(|a, b| a.0.cmp(b.0));
    if firsts.len() < ENOUGH || firsts.first()?.0 == firsts.last()?.0 {
        return None;
    }
    let factors: Vec<f64> = firsts.into_iter().map(|(_, f)| f).collect();
    let (earlier, later) = factors.split_at(factors.len() / 2);
    Some((median(earlier), median(later)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(tries: &[(&str, Option<f64>)]) -> Question {
        Question {
            lab: "lab03".into(),
            title: "",
            key: "k".into(),
            ask: "<b>?".into(),
            unit: "ms".into(),
            tries: tries
                .iter()
                .map(|(when, factor)| Try {
                    when: when.to_string(),
                    other_flags: false,
                    points: vec![],
                    factor: *factor,
                })
                .collect(),
        }
    }

    #[test]
    fn the_median_is_over_questions_that_have_that_try_and_a_ratio() {
        let questions = [
            question(&[("1", Some(8.0)), ("3", Some(2.0))]),
            question(&[("2", Some(4.0))]),
            question(&[("2", None), ("4", Some(1.0))]),
        ];
        let by = by_try(&questions);
        let told: Vec<_> = by.iter().map(|b| (b.number, b.questions, b.factor)).collect();
        assert_eq!(told, [(1, 2, 6.0), (2, 2, 1.5)]);
    }

    #[test]
    fn first_tries_are_halved_in_the_order_of_time() {
        let of = |whens: [&str; 6]| {
            let factors = [1.0, 2.0, 3.0, 10.0, 20.0, 30.0];
            let all: Vec<Question> =
                whens.iter().zip(factors).map(|(when, f)| question(&[(when, Some(f))])).collect();
            first_tries(&all)
        };
        assert_eq!(of(["4", "5", "6", "1", "2", "3"]), Some((20.0, 2.0)));
        assert_eq!(of(["1"; 6]), None);
        assert_eq!(first_tries(&[question(&[("1", Some(2.0))])]), None);
    }

    #[test]
    fn whatever_may_have_been_a_record_is_read_or_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("history")).unwrap();
        let named = ["lab03.json", "lab3.json", "history/lab03-x.json", "history/lab03-x.bak"];
        for name in named.iter().chain(&["report.md"]) {
            fs::write(dir.path().join(name), "{").unwrap();
        }
        let journal = Journal::read(&[], dir.path()).unwrap();
        for name in named {
            assert!(
                journal.left_out.iter().any(|left| left.contains(&format!("{name}: "))),
                "{name}: {:?}",
                journal.left_out
            );
        }
        assert_eq!(journal.left_out.len(), named.len());
    }

    #[test]
    fn a_page_is_written_even_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("journal.html");
        Journal::default().write(&out).unwrap();
        let journal =
            Journal { questions: vec![question(&[("1", Some(8.0))])], ..Journal::default() };
        journal.write(&out).unwrap();
        let html = fs::read_to_string(&out).unwrap();
        assert!(html.contains("&lt;b&gt;?") && !html.contains("<b>?"));
    }
}
