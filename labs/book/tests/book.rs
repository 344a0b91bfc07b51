//! The book of the course, and of records that nobody measured.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    path::PathBuf,
};

use lab_book::{
    lesson::{self, Lesson},
    pairs, site,
};
use lab_kit::{
    answer::{Relation, Theory},
    cli,
    compare::{Comparison, Row},
    lab::{Experiment, defaults, filled},
    record::{Record, Scale, Trial},
    report::Entry,
    runtimes::Language,
    store,
};
use labs::SYLLABUS;

const EVIL: &str =
    "</title></svg><script>alert(1)</script>\" onload=\"x\" '<img src=x onerror=y>\u{202E}\u{0}";

fn reference() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/reference"))
}

fn records() -> Vec<Record> {
    store::load_all(&reference()).unwrap().records
}

/// The entry of a record; `None` when the lab refuses it, which is an answer as well.
fn entry(record: Record) -> Option<Entry> {
    let lab = SYLLABUS.iter().find(|l| l.card().id() == record.lab)?;
    let findings = lab.explain(&record).ok()?;
    Some(Entry { card: lab.card(), record, findings })
}

fn pages(entries: &[Entry]) -> Vec<(String, String)> {
    let site = site::site(SYLLABUS, entries).unwrap();
    assert!(site.left_out.is_empty(), "{:?}", site.left_out);
    site.pages
}

/// Every attribute of this name.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let mark = format!(" {name}=\"");
    let parts = page.split(mark.as_str()).skip(1);
    parts.filter_map(|part| Some(part.split_once('"')?.0)).collect()
}

/// Names of a tag's attributes: what is left of it without the values, which are quoted.
fn attribute_names(tag: &str) -> Vec<&str> {
    let outside = tag.split('"').step_by(2);
    let words = outside.flat_map(|part| part.split([' ', '/']));
    words.filter_map(|word| word.strip_suffix('=')).collect()
}

/// No markup of a record's, no address that leads elsewhere, and what a reader without eyes or a
/// mouse needs.
fn is_sound(name: &str, page: &str, all: &HashSet<String>) {
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("{name}: an open tag: {tag}"));
        let element = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap_or_default();
        assert!(
            !matches!(element, "script" | "img" | "iframe" | "object" | "base" | "link"),
            "{name}: {tag}"
        );
        for attribute in attribute_names(tag) {
            assert!(!attribute.starts_with("on") && attribute != "src", "{name}: {tag}");
        }
    }
    assert!(!page.contains("=\"javascript:"), "{name}");
    assert_eq!(page.matches("<h1").count(), 1, "{name}");
    assert_eq!(page.matches("<main").count(), 1, "{name}");
    let mut level = 0;
    for part in page.split("<h").skip(1) {
        let Some(next) = part.chars().next().and_then(|c| c.to_digit(10)) else {
            continue;
        };
        assert!(next <= level + 1, "{name}: a heading of level {next} after {level}");
        level = next;
    }
    let ids = attributes(page, "id");
    let known: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), known.len(), "{name} has an id twice");
    for labels in attributes(page, "aria-labelledby") {
        for label in labels.split(' ') {
            assert!(known.contains(label), "{name}: nothing is called {label}");
        }
    }
    for link in attributes(page, "href") {
        match link.split_once('#') {
            Some(("", id)) => assert!(known.contains(id), "{name}: no {id}"),
            Some((page, _)) => assert!(all.contains(page), "{name}: no page {page}"),
            None => assert!(all.contains(link), "{name}: no page {link}"),
        }
    }
}

fn names(pages: &[(String, String)]) -> HashSet<String> {
    pages.iter().map(|(name, _)| name.clone()).collect()
}

#[test]
fn every_lab_has_a_page_with_code_even_without_a_record() {
    let pages = pages(&[]);
    assert_eq!(pages.len(), SYLLABUS.len() + 2);
    for (name, page) in &pages {
        is_sound(name, page, &names(&pages));
        if name != "index.html" {
            assert!(
                page.contains("class=\"way wrong\"") && page.contains("class=\"way right\""),
                "{name}"
            );
            assert!(page.contains("labs run"), "{name}");
        }
    }
}

#[test]
fn every_lab_has_a_wrong_way_and_a_right_one() {
    for lab in SYLLABUS {
        let card = lab.card();
        let pairs = pairs::of(card).unwrap_or_else(|e| panic!("{}: {e}", card.id()));
        assert!(!pairs.is_empty(), "{}", card.id());
    }
}

/// The labs that there are programs for in other languages.
fn with_programs() -> impl Iterator<Item = &'static dyn Experiment> {
    SYLLABUS.iter().copied().filter(|lab| !lab.programs().sources.is_empty())
}

#[test]
fn every_program_has_a_wrong_way_and_a_right_one() {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    assert!(with_programs().count() >= 8);
    for lab in with_programs() {
        let card = lab.card();
        let rust: BTreeSet<usize> =
            pairs::of(card).unwrap().iter().map(|pair| pair.number).collect();
        for source in lab.programs().sources {
            let name = format!("{}, {}", card.id(), source.1);
            let pairs = pairs::of_program(card, source).unwrap_or_else(|e| panic!("{e}"));
            for pair in &pairs {
                assert!(rust.contains(&pair.number), "{name}: there is no such pair in Rust");
                // What to do about the trap is for the service, which is Rust's here.
                assert!(pair.right.is_there() || card.number == 3, "{name}");
                for piece in [&pair.wrong, &pair.right].into_iter().filter(|p| p.is_there()) {
                    assert!(root.join(&piece.file).is_file(), "{}", piece.file);
                    assert!(!piece.code.starts_with([' ', '\t']), "{name}:\n{}", piece.code);
                    assert!(piece.code.lines().count() > 1, "{name}:\n{}", piece.code);
                    for (open, close) in ["{}", "()", "[]"].map(|both| both.split_at(1)) {
                        let count = |of: &str| piece.code.matches(of).count();
                        assert_eq!(count(open), count(close), "{name}:\n{}", piece.code);
                    }
                }
            }
        }
    }
}

fn page<'a>(pages: &'a [(String, String)], name: &str) -> &'a str {
    &pages.iter().find(|(of, _)| of == name).unwrap().1
}

#[test]
fn the_page_on_languages_needs_no_record() {
    let pages = pages(&[]);
    let languages = page(&pages, "languages.html");
    let cover = page(&pages, "index.html");
    assert!(cover.contains("href=\"languages.html\""));
    let ids = attributes(languages, "id");
    for lab in SYLLABUS {
        let (card, programs) = (lab.card(), lab.programs());
        let here = !programs.sources.is_empty();
        let link = format!("languages.html#{}", card.id());
        let own = page(&pages, &format!("{}.html", card.id()));
        assert_eq!(attributes(own, "href").contains(&link.as_str()), here, "{link}");
        assert_eq!(ids.contains(&card.id().as_str()), here, "{link}");
        for (_, name, _) in programs.sources {
            assert!(languages.contains(&format!("/{name}</p>")), "{name}");
        }
        let command = format!("run {} <span class=\"w\">--with</span> all", card.number);
        assert_eq!(languages.contains(&command), here, "{command}");
    }
    // The heart comes first.
    let [first, second, third] = ["lab02", "lab14", "lab01"].map(|id| languages.find(id).unwrap());
    assert!(first < second && second < third);
}

/// The committed record of lab 2 as if it had been made with Python and Node, which did what Rust did.
fn in_two_languages() -> Record {
    let mut record = records().into_iter().find(|r| r.lab == "lab02").unwrap();
    record.points.retain(|point| Language::of_series(&point.series).is_none());
    for language in [Language::Python, Language::Node] {
        for arm in ["sleep", "compute", "yield"] {
            let mut point = record.points.iter().find(|p| p.series == arm).unwrap().clone();
            point.series = language.series(arm);
            record.points.push(point);
        }
    }
    record.notes = vec!["compared with Python 3.99".into(), "something else".into()];
    record
}

#[test]
fn the_page_on_languages_shows_what_was_measured() {
    let made = || pages(&[entry(in_two_languages()).unwrap()]);
    let pages = made();
    assert!(pages == made(), "two builds differ");
    let languages = page(&pages, "languages.html");
    is_sound("languages.html", languages, &names(&pages));
    let (_, rest) = languages.split_once("<section id=\"lab02\"").unwrap();
    let (lab02, rest) = rest.split_once("<section id=\"lab14\"").unwrap();
    let own = page(&pages, "lab02.html");
    let (_, table) = own.split_once("The heartbeat in other languages</caption>").unwrap();
    let (table, _) = table.split_once("</table>").unwrap();
    assert!(lab02.contains(table) && table.contains("<td>Node</td>"), "the lab's own table");
    assert!(lab02.contains("compared with Python 3.99") && !lab02.contains("something else"));
    assert!(lab02.contains("Not measured here: Go and Java."));
    assert!(lab02.contains("scale</span> Record of "));
    assert!(!lab02.contains("Nothing yet") && rest.contains("Nothing yet"));
}

#[test]
fn every_lesson_has_its_parts_and_every_question_one_answer() {
    let parts = [
        "The question",
        "What to predict",
        "The experiment",
        "What the figures show",
        "A common belief",
        "In production",
        "Check yourself",
    ];
    for lab in SYLLABUS {
        let card = lab.card();
        let lesson = Lesson::of(&card.lesson(&defaults(*lab)));
        // Some lessons say more, of runtimes beside Rust's.
        let own = lesson.headings().filter(|heading| *heading != "In other languages");
        assert_eq!(own.collect::<Vec<_>>(), parts, "{}", card.id());
        let questions = lesson.questions();
        let answers = filled(card.answers, &defaults(*lab));
        let answers = lesson::answers(&answers);
        assert_eq!(questions.len(), answers.len(), "{}: questions and answers", card.id());
        for (question, (head, answer)) in questions.iter().zip(&answers) {
            let of: Vec<_> = questions.iter().filter(|q| q.starts_with(head.as_str())).collect();
            assert_eq!(of, [question], "{}: the answer under \"{head}\"", card.id());
            assert!(answer.trim().len() > 20, "{}: {head}", card.id());
        }
    }
}

/// What a reader predicts stands beside what was measured and what theory says: in one unit, so not
/// far from each other, or with the reason why there is no theory.
#[test]
fn every_question_is_answered_by_the_reference_and_by_theory() {
    let entries: Vec<Entry> = records().into_iter().filter_map(entry).collect();
    assert_eq!(entries.len(), SYLLABUS.len());
    for entry in &entries {
        let (lab, answers) = (entry.card.id(), &entry.findings.answers);
        let asked: Vec<&str> = entry.card.predict.iter().map(|q| q.key).collect();
        let answered: Vec<&str> = answers.iter().map(|a| a.key).collect();
        assert_eq!(asked, answered, "{lab}");
        for question in entry.card.predict {
            let asked = question.asked(&entry.record.params);
            assert!(
                !asked.contains(['{', '}']) && !asked.contains("--"),
                "{lab} has no such flag: {asked}"
            );
        }
        for answer in answers {
            let name = format!("{lab}, {}", answer.key);
            let measured = answer.measured.unwrap_or_else(|| panic!("{name}")).value;
            match answer.theory {
                Ok(Theory { relation, value }) => {
                    let sound = match relation {
                        // Whether they agree is for verdicts to say: here that both speak of one thing, in
                        // one unit.
                        Relation::Near => {
                            measured == value || (0.1..=10.0).contains(&(measured / value))
                        }
                        Relation::AtMost => measured <= value,
                        Relation::AtLeast => measured >= value,
                    };
                    assert!(sound, "{name}: measured {measured}, theory {value}");
                }
                Err(why) => assert!(why.len() > 20, "{name}: {why}"),
            }
        }
    }
}

#[test]
fn the_reference_makes_the_same_small_sound_pages_each_time() {
    let entries: Vec<Entry> = records().into_iter().filter_map(entry).collect();
    assert!(!entries.is_empty());
    let first = pages(&entries);
    // Another process would have other hash seeds; so have other maps of this one.
    let again: Vec<Entry> = records().into_iter().filter_map(entry).collect();
    assert!(first == pages(&again), "two builds differ");
    for (name, page) in &first {
        is_sound(name, page, &names(&first));
        assert!(page.len() <= 400_000, "{name} has {} bytes", page.len());
    }
    for entry in &entries {
        let (_, page) = first.iter().find(|(name, _)| name.starts_with(&entry.record.lab)).unwrap();
        assert_eq!(page.matches("<figure").count(), entry.findings.figures.len());
        assert!(page.matches("class=\"badge").count() > entry.findings.claims.len());
    }
}

/// Texts that want to be markup or fill the disk, figures that are none, conditions that are missing.
#[test]
fn what_a_record_says_stays_text_whatever_it_says() {
    let mut shown = 0;
    for mut record in records() {
        record.notes = vec![EVIL.into(), "<".repeat(10_000_000)];
        record.command = EVIL.into();
        record.started_at = EVIL.into();
        record.host.system = EVIL.into();
        record.host.cpu = Some(EVIL.repeat(1000));
        record.host.build = EVIL.into();
        let half = record.points.len() / 2;
        record.points.truncate(half);
        for point in &mut record.points {
            for trial in &mut point.trials {
                trial.gauges.insert(EVIL.into(), f64::NAN);
                for gauge in trial.gauges.values_mut().step_by(3) {
                    *gauge = -f64::INFINITY;
                }
                for span in &mut trial.spans {
                    (span.lane, span.name) = (EVIL.into(), EVIL.into());
                }
                for trace in trial.traces.values_mut() {
                    trace.iter_mut().step_by(2).for_each(|p| *p = (f64::NAN, -1e300));
                }
                trial.failures = trial.failures.keys().map(|_| (EVIL.to_string(), 1)).collect();
            }
        }
        let Some(entry) = entry(record) else { continue };
        let site = site::site(SYLLABUS, &[entry]).unwrap();
        shown += 1 - site.left_out.len();
        for (name, page) in &site.pages {
            is_sound(name, page, &names(&site.pages));
            assert!(page.len() < 1_000_000, "{name} has {} bytes", page.len());
        }
    }
    assert!(shown > 0);
}

#[test]
fn predictions_stand_beside_what_was_measured() {
    let mut record = records().into_iter().find(|r| r.lab == "lab03").unwrap();
    record.predictions.insert("success".into(), 30.0);
    record.predictions.insert(EVIL.into(), 1.0);
    let pages = pages(&[entry(record).unwrap()]);
    let (_, page) = pages.iter().find(|(name, _)| name == "lab03.html").unwrap();
    let (_, strip) = page.split_once("You predicted").unwrap();
    let strip: String = strip.chars().take(80).collect();
    assert!(strip.contains("30 %"), "{strip}");
    // The other question was not answered, and does not give its answer away.
    assert!(page.contains("Predict first"));
}

/// The committed record of lab 3, with a change.
fn lab03(change: &dyn Fn(&mut Record)) -> Vec<Entry> {
    let mut record = records().into_iter().find(|r| r.lab == "lab03").unwrap();
    change(&mut record);
    entry(record).into_iter().collect()
}

/// The committed one against another.
fn against(other: &[Entry]) -> Comparison {
    Comparison::of(("A", &lab03(&|_| {})), ("B", other))
}

fn with_target(url: &str) -> Vec<Entry> {
    lab03(&|r: &mut Record| r.target = Some(url.into()))
}

#[test]
fn only_like_runs_are_judged() {
    let judged = against(&lab03(&|_| {}));
    assert!(judged.all_notes().is_empty());
    assert!(judged.rows().all(|row| matches!(
        row.judgement,
        "same" | "within noise" | "cannot tell" | "not in both"
    )));

    let elsewhere = against(&lab03(&|r| r.host.cpu = Some(EVIL.into())));
    assert!(elsewhere.all_notes()[0].contains("different machines"));
    assert!(elsewhere.rows().all(|row| matches!(row.judgement, "not alike" | "not in both")));
    let page = lab_book::comparison_page(&elsewhere, EVIL, "B").unwrap();
    is_sound("comparison", &page, &HashSet::new());
    assert!(page.contains("not judged"));

    let quick = |command: &str| {
        lab03(&|r| {
            r.scale = Scale::Quick;
            r.command = command.into();
        })
    };
    let (several, one) = (quick("labs run 3"), quick("labs run 3 --one-at-a-time"));
    let apart = Comparison::of(("A", &several), ("B", &one));
    assert!(apart.all_notes()[0].contains("one at a time"), "{:?}", apart.all_notes());
    assert!(Comparison::of(("A", &one), ("B", &one)).all_notes().is_empty());
    let seed = against(&lab03(&|r| r.seed = 7));
    assert_eq!(seed.all_notes(), ["lab03: other seeds: 1 against 7"]);
    assert!(seed.rows().all(|row| row.judgement != "not alike"));

    let other_flags = against(&lab03(&|r| r.params["queue"] = 100.into()));
    assert_eq!(other_flags.rows().count(), 0);
    assert!(
        other_flags.all_notes()[0].contains("queue 200 against 100"),
        "{:?}",
        other_flags.all_notes()
    );
}

#[test]
fn loads_on_different_servers_are_not_alike() {
    let elsewhere = against(&with_target("http://127.0.0.1:8080"));
    assert!(
        elsewhere.all_notes()[0]
            .contains("load on its own upstream against load on http://127.0.0.1:8080"),
        "{:?}",
        elsewhere.all_notes()
    );
    assert!(elsewhere.rows().all(|row| matches!(row.judgement, "not alike" | "not in both")));
    // Records from before it was a field have it in the command, and a password in there is not shown.
    let one = with_target("http://127.0.0.1:8080/");
    let words =
        ["labs run 3 --target http://127.0.0.1:8080", "labs run 3 --target=http://127.0.0.1:8080/"];
    for command in words {
        let older = lab03(&|r| r.command = command.into());
        let comparison = Comparison::of(("A", &one), ("B", &older));
        assert!(comparison.all_notes().is_empty(), "{:?}", comparison.all_notes());
    }
    let secret =
        against(&lab03(&|r| r.command = "labs run 3 --target http://anna:hunter2@h".into()));
    let notes = secret.all_notes().join("\n");
    assert!(notes.contains("anna:***@h") && !notes.contains("hunter2"), "{notes}");
}

/// Every other round of a run is one by itself: two runs of one program on one machine.
#[test]
fn two_halves_of_a_run_show_no_change() {
    let slow = ["lab03", "lab04", "lab15"];
    let half = |first: usize| -> Vec<Entry> {
        let quick = records().into_iter().filter(|r| !slow.contains(&r.lab.as_str()));
        let halved = quick.map(|mut record| {
            for point in &mut record.points {
                let mine = |t: &Trial| t.round as usize % 2 == first;
                if point.trials.iter().filter(|t| mine(t)).count() > 0 {
                    point.trials.retain(mine);
                }
            }
            record
        });
        halved.filter_map(entry).collect()
    };
    let comparison = Comparison::of(("A", &half(0)), ("B", &half(1)));
    let rows = |word: &str| {
        // What was measured in few rounds only may be in one half only.
        let both = |row: &&Row| row.a.is_some() && row.b.is_some();
        let rows = comparison.rows().filter(|row| row.judgement == word);
        rows.filter(both)
            .map(|row| (row.lab.as_str(), row.named(), row.change()))
            .collect::<Vec<_>>()
    };
    assert!(rows("changed").is_empty(), "{:#?}", rows("changed"));
    let (judged, chance) = comparison.by_chance();
    let beyond = rows("could be chance");
    assert!(judged > 50, "{judged}");
    // Twice as many as are announced is more than chance makes of as few.
    assert!(beyond.len() as f64 <= 2.0 * chance.ceil(), "{beyond:#?}");
}

#[test]
fn the_command_makes_a_book_and_leaves_the_pages_of_others_alone() {
    let run = |out: &std::path::Path, results: &std::path::Path| {
        let words = [OsStr::new("book"), results.as_os_str(), OsStr::new("--out"), out.as_os_str()];
        let matches = lab_book::cli::book_command().get_matches_from(words);
        lab_book::cli::book(SYLLABUS, SYLLABUS, &matches)
    };
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path().join("results");
    std::fs::create_dir(&results).unwrap();
    let site = dir.path().join("site");
    assert!(
        matches!(run(&site, &results), Err(cli::Failed::Error(e)) if e.to_string().contains("labs run"))
    );
    assert!(!site.exists());

    std::fs::copy(reference().join("lab03.json"), results.join("lab03.json")).unwrap();
    assert!(run(&site, &results).is_ok());
    // Over itself, and with one record that is damaged: the rest is done, and it is no success.
    std::fs::write(results.join("lab04.json"), "{").unwrap();
    assert!(run(&site, &results).is_err());
    assert!(std::fs::read_to_string(site.join("lab03.html")).unwrap().contains("<figure"));

    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("index.html"), "<h1>mine</h1>").unwrap();
    assert!(
        matches!(run(&foreign, &results), Err(cli::Failed::Error(e)) if e.to_string().contains("--out"))
    );
    assert_eq!(std::fs::read_to_string(foreign.join("index.html")).unwrap(), "<h1>mine</h1>");
}
