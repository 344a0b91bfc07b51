//! What there is and what was measured, from records alone.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Failed, LOCAL, Outcome, pretty, print, say};
use crate::{
    claim::Verdict,
    draw::{Theme, draw, drew},
    findings::Table,
    gate,
    host::Host,
    lab::Experiment,
    prove,
    record::Scale,
    report::{self, Entry},
    runtimes::{Language, Runtime},
    store,
};

/// Pixels of a PNG for each of the figure's own.
const PNG_SCALE: f32 = 2.0;

pub(super) fn welcome(syllabus: &[&'static dyn Experiment]) -> Outcome {
    let mut text = String::from(
        "Experiments on concurrency, measured on this machine and held against theory.\n\n",
    );
    text += &syllabus_table(syllabus);
    text += "\nNext (labs is short for `cargo run --release --`):\n";
    text += "  labs doctor       is this machine fit to measure?\n";
    text += "  labs run 3        the concurrency trap: a chart and a verdict in seconds\n";
    text += "  labs all          every lab, the charts and the report\n";
    text += "  labs run 3 --help what can be changed in an experiment\n";
    text += "  labs make         exercises: something to change, judged by what it does\n";
    if Path::new(LOCAL).is_dir() {
        text += "  labs verdicts     what your runs in results/local say\n";
    }
    Ok(print(text)?)
}

pub(super) fn list(syllabus: &[&'static dyn Experiment], json: bool) -> Outcome {
    if !json {
        return Ok(print(syllabus_table(syllabus))?);
    }
    let labs: Vec<_> = syllabus
        .iter()
        .map(|lab| {
            let card = lab.card();
            let questions: Vec<_> = card
                .predict
                .iter()
                .map(|q| json!({"key": q.key, "ask": q.asked(&Value::Null), "unit": q.unit, "hint": q.hint}))
                .collect();
            let curves: Vec<_> = lab
                .sketches()
                .iter()
                .map(|s| {
                    json!({"key": s.key, "ask": s.ask, "unit": s.unit, "hint": s.hint, "x": s.x})
                })
                .collect();
            let presets: Vec<_> = lab
                .presets()
                .iter()
                .map(|p| json!({"name": p.name, "what": p.what, "flags": p.flags}))
                .collect();
            json!({"lab": card.id(), "number": card.number, "name": card.name, "title": card.title,
                   "question": card.question, "predict": questions, "curves": curves, "presets": presets})
        })
        .collect();
    pretty(&labs)
}

fn syllabus_table(syllabus: &[&'static dyn Experiment]) -> String {
    let mut table = Table::new("Labs", &["lab", "title", "question"]);
    for lab in syllabus {
        let card = lab.card();
        table.row([card.id(), card.title.to_string(), card.question.to_string()]);
    }
    report::text_table(&table)
}

/// Reads a folder; what is refused is told on stderr, and what remains is used. False when something
/// was refused.
///
/// # Errors
/// When the folder cannot be read or has no records at all.
pub fn entries(syllabus: &[&'static dyn Experiment], dir: &Path) -> Result<(Vec<Entry>, bool)> {
    let results = store::load_all(dir)?;
    let mut sound = results.refused.is_empty();
    for error in &results.refused {
        say(format!("left out: {error:#}"));
    }
    let mut entries = Vec::new();
    for record in results.records {
        let Some(lab) = syllabus.iter().find(|l| l.card().id() == record.lab) else {
            say(format!("left out: {} is no lab of this version", record.lab));
            sound = false;
            continue;
        };
        match gate::explained(*lab, record) {
            Ok((record, findings)) => entries.push(Entry { card: lab.card(), record, findings }),
            Err(error) => {
                say(format!("left out: {error:#}"));
                sound = false;
            }
        }
    }
    Ok((entries, sound))
}

/// Something was left out: the rest was done, and the exit code says so.
///
/// # Errors
/// When it was.
pub fn whole(sound: bool) -> Result<(), Failed> {
    if sound {
        Ok(())
    } else {
        Err(anyhow::anyhow!("not every record could be used (see above)").into())
    }
}

pub(super) fn charts(syllabus: &[&'static dyn Experiment], dir: &Path) -> Outcome {
    let (entries, sound) = entries(syllabus, dir)?;
    for path in write_charts(dir, &entries)? {
        print(format!("{}\n", path.display()))?;
    }
    whole(sound)
}

/// Draws the charts of these labs into `DIR/charts` and removes charts that they no longer have.
pub(super) fn write_charts(dir: &Path, entries: &[Entry]) -> Result<Vec<PathBuf>> {
    let folder = dir.join("charts");
    let mut written = Vec::new();
    for entry in entries {
        let id = entry.card.id();
        for figure in &entry.findings.figures {
            let drawing =
                draw(figure, &id).with_context(|| format!("{id}: cannot draw {}", figure.id))?;
            let svg = folder.join(format!("{id}-{}.svg", figure.id));
            let png = svg.with_extension("png");
            store::write_whole(&svg, drawing.svg.as_bytes())?;
            store::write_whole(&png, &drawing.png(Theme::Light, PNG_SCALE)?)?;
            written.extend([svg, png]);
        }
        remove_stale(&folder, &id, &written)?;
    }
    Ok(written)
}

/// Removes the charts that this program drew for a lab and that the lab no longer has. Whatever else lies
/// beside them is somebody's own, also where it is called alike.
fn remove_stale(folder: &Path, id: &str, written: &[PathBuf]) -> Result<()> {
    let Ok(files) = fs::read_dir(folder) else {
        return Ok(());
    };
    for svg in files.filter_map(|f| Some(f.ok()?.path())) {
        let png = svg.with_extension("png");
        if written.contains(&svg) || !drawn_for(&svg, id) {
            continue;
        }
        for path in [&svg, &png].into_iter().filter(|path| path.is_file()) {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// True for an SVG of this program's, under the name that it gave it.
fn drawn_for(path: &Path, id: &str) -> bool {
    let name = path.file_stem().and_then(|n| n.to_str());
    let ours = |name: &&str| name.starts_with(&format!("{id}-"));
    let Some(name) = name.filter(ours) else {
        return false;
    };
    // Neither links nor what is no picture at all, and of a picture no more than its first line.
    let plain = fs::symlink_metadata(path).is_ok_and(|about| about.is_file());
    let svg = path.extension().is_some_and(|e| e == "svg");
    if !(plain && svg) {
        return false;
    }
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
    read.is_ok() && drew(&String::from_utf8_lossy(&head), name)
}

pub(super) fn report(syllabus: &[&'static dyn Experiment], dir: &Path) -> Outcome {
    let (path, sound) = write_report(syllabus, dir)?;
    print(format!("{}\n", path.display()))?;
    whole(sound)
}

/// Writes charts and report; false when a record had to be left out.
pub(super) fn write_report(
    syllabus: &[&'static dyn Experiment],
    dir: &Path,
) -> Result<(PathBuf, bool)> {
    let (entries, sound) = entries(syllabus, dir)?;
    write_charts(dir, &entries)?;
    let path = dir.join("report.md");
    store::write_whole(&path, report::markdown(&entries).as_bytes())?;
    Ok((path, sound))
}

pub(super) fn verdicts(
    syllabus: &[&'static dyn Experiment],
    dir: &Path,
    json: bool,
    check: bool,
) -> Outcome {
    let (entries, sound) = entries(syllabus, dir)?;
    if json {
        let rows: Vec<_> = entries
            .iter()
            .flat_map(|e| e.findings.claims.iter().map(|c| c.row(&e.record.lab)))
            .collect();
        pretty(&rows)?;
    } else {
        for e in &entries {
            let claims = &e.findings.claims;
            let unfit = report::unfit_lines(&e.record);
            print(format!(
                "{}: {} ({} scale)\n{}{}\n",
                e.card.id(),
                report::score(claims),
                e.record.scale,
                unfit.iter().map(|why| format!("  {why}\n")).collect::<String>(),
                report::verdict_lines(claims)
            ))?;
        }
    }
    let refuted =
        entries.iter().flat_map(|e| &e.findings.claims).any(|c| c.verdict() == Verdict::Refuted);
    if check && refuted {
        return Err(Failed::Refuted);
    }
    whole(sound)
}

pub(super) fn prove(
    syllabus: &[&'static dyn Experiment],
    dirs: &[PathBuf],
    json: bool,
    unread: bool,
) -> Outcome {
    let (mut proofs, mut sound) = (Vec::new(), true);
    for dir in dirs {
        let (entries, whole) = entries(syllabus, dir)?;
        sound &= whole;
        let labs: Vec<_> = entries
            .into_iter()
            .filter_map(|e| {
                let lab = syllabus.iter().find(|l| l.card().id() == e.record.lab)?;
                Some((*lab, e.record))
            })
            .collect();
        if unread {
            for (lab, record) in &labs {
                for (series, names) in prove::unread(*lab, record) {
                    print(format!("{} {series}: {}\n", record.lab, names.join(", ")))?;
                }
            }
            continue;
        }
        let found = prove::all(&labs);
        if !json {
            let table = prove::table(&found);
            print(format!("{}\n{}\n", dir.display(), report::text_table(&table)))?;
        }
        proofs.extend(found);
    }
    if json {
        pretty(&proofs)?;
    }
    let survived = proofs.iter().filter(|p| !p.holds()).count();
    if survived > 0 {
        return Err(anyhow::anyhow!("{survived} claims could not have been lost").into());
    }
    whole(sound)
}

pub(super) fn doctor(json: bool) -> Outcome {
    let host = Host::calibrate(Scale::Quick)?;
    let complaints = host.complaints();
    let runtimes = Language::ALL.map(|language| (language, Runtime::find(language)));
    if json {
        let found: Vec<_> =
            runtimes.iter().map(|(language, found)| told(*language, found)).collect();
        return pretty(
            &json!({"fit": complaints.is_empty(), "complaints": complaints, "host": host, "runtimes": found}),
        );
    }
    let mut text = report::text_table(&report::host_table(&host));
    if let Some(limit) = host.open_files.filter(|n| *n < 4200) {
        text += &format!(
            "\nOpen files are limited to {limit}: the largest levels of labs 3 and 4 will be left out. `ulimit -n 16384` raises the limit for this shell.\n"
        );
    }
    if complaints.is_empty() {
        text += "\nThis machine is fit to measure.\n";
    } else {
        text += "\nMeasure again when these are gone, or expect inconclusive verdicts:\n";
        complaints.iter().for_each(|c| text += &format!("  - {c}\n"));
    }
    text += "\nOther languages, for --with:\n";
    for (language, found) in runtimes {
        text += &match found {
            Ok(runtime) => {
                format!("  {language} {}: {}\n", runtime.version, runtime.executable().display())
            }
            Err(why) => format!("  no {language}: {why}\n"),
        };
    }
    Ok(print(text)?)
}

/// A runtime, or what is missing of it, for programs to read.
fn told(language: Language, found: &Result<Runtime, String>) -> Value {
    let runtime = found.as_ref().ok();
    json!({
        "language": language.key(),
        "version": runtime.map(|runtime| &runtime.version),
        "executable": runtime.map(|runtime| runtime.executable().display().to_string()),
        "missing": found.as_ref().err(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Bars, Body, Figure};

    fn drawing(id: &str) -> String {
        let figure = Figure {
            id: id.into(),
            title: "T".into(),
            subtitle: String::new(),
            desc: "D".into(),
            body: Body::Bars(Bars {
                x: crate::figure::Axis::linear("x", crate::figure::Unit::Number),
                groups: vec![],
            }),
        };
        draw(&figure, "lab03").unwrap().svg
    }

    #[test]
    fn only_what_the_program_drew_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| fs::write(at(name), text).unwrap();
        // Drawn by us, and gone from the lab; drawn by us, and still there; another lab's.
        for name in ["lab03-old_one", "lab03-trap"] {
            write(&format!("{name}.svg"), &drawing(name.strip_prefix("lab03-").unwrap()));
            write(&format!("{name}.png"), "png");
        }
        write("lab04-sweep.svg", &drawing("sweep"));
        let own = [
            "lab03-my-annotated.png",
            "lab03-notes.txt",
            "lab03-trap-annotated.svg",
            "lab03-foreign.svg",
            "lab03-foreign.png",
        ];
        for name in own {
            write(name, "mine");
        }
        write("lab03-trap-annotated.svg", &drawing("trap"));
        #[cfg(unix)]
        std::os::unix::fs::symlink("lab03-old_one.svg", at("lab03-link.svg")).unwrap();
        let written = [at("lab03-trap.svg"), at("lab03-trap.png")];
        remove_stale(dir.path(), "lab03", &written).unwrap();
        assert!(!at("lab03-old_one.svg").exists() && !at("lab03-old_one.png").exists());
        for name in own.iter().chain(&["lab03-trap.svg", "lab03-trap.png", "lab04-sweep.svg"]) {
            assert!(at(name).exists(), "{name} is gone");
        }
        #[cfg(unix)]
        assert!(fs::symlink_metadata(at("lab03-link.svg")).is_ok());
    }
}
