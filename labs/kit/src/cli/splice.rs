//! Figures in prose come from records: this puts them there.
//!
//! Between `<!-- labs:begin WHAT LAB NAME -->` and `<!-- labs:end -->` stands what the record says:
//! `chart lab03 trap`, `table lab03 0`, `headline lab03`, `host lab03`, `syllabus`; and `instrument
//! build 0`, the first table of `DIR/instrument/build.json`, which is no lab's record.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result, bail};

use super::{Outcome, print, show};
use crate::{
    clean,
    findings::Table,
    lab::Experiment,
    report::{self, Entry},
    store,
};

const BEGIN: &str = "<!-- labs:begin ";
const END: &str = "<!-- labs:end -->";

pub(super) fn run(
    syllabus: &[&'static dyn Experiment],
    file: &Path,
    dir: &Path,
    check: bool,
) -> Outcome {
    let before =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (entries, _) = show::entries(syllabus, dir)?;
    let after = splice(&before, |what| content(syllabus, &entries, dir, what))
        .with_context(|| file.display().to_string())?;
    if check && before != after {
        return Err(anyhow::anyhow!(
            "{} is not up to date: `labs splice {} {}`",
            file.display(),
            file.display(),
            dir.display()
        )
        .into());
    }
    if before != after {
        store::write_whole(file, after.as_bytes())?;
        print(format!("{} updated\n", file.display()))?;
    }
    Ok(())
}

fn splice(text: &str, content: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for line in text.lines() {
        if let Some(what) = line.strip_prefix(BEGIN).and_then(|l| l.strip_suffix("-->")) {
            if inside {
                bail!("a second labs:begin before labs:end");
            }
            inside = true;
            let _ = write!(out, "{line}\n{}\n", content(what.trim())?.trim_end());
        }
        if line == END {
            inside = false;
        }
        if !inside {
            let _ = writeln!(out, "{line}");
        }
    }
    if inside {
        bail!("labs:begin without labs:end");
    }
    Ok(out)
}

fn content(
    syllabus: &[&'static dyn Experiment],
    entries: &[Entry],
    dir: &Path,
    what: &str,
) -> Result<String> {
    let words: Vec<&str> = what.split_whitespace().collect();
    if words == ["syllabus"] {
        let mut table = Table::new("Syllabus", &["lab", "question", "run it"]);
        for card in syllabus.iter().map(|lab| lab.card()).filter(|card| !card.judges()) {
            table.row([
                format!("{} {}", card.id(), card.name),
                card.question.into(),
                format!("`labs run {}`", card.number),
            ]);
        }
        return Ok(report::markdown_table(&table));
    }
    if let ["instrument", name, rest @ ..] = &words[..] {
        let number = rest.first().map_or(Ok(0), |n| n.parse::<usize>())?;
        return instrument(dir, name, number);
    }
    let (Some(kind), Some(id)) = (words.first(), words.get(1)) else { bail!("unknown: {what}") };
    let entry = entries
        .iter()
        .find(|e| e.card.id() == *id)
        .with_context(|| format!("no record of {id} in {}", dir.display()))?;
    Ok(match (*kind, words.get(2)) {
        ("chart", Some(name)) => {
            let figure = entry
                .findings
                .figures
                .iter()
                .find(|f| f.id == *name)
                .with_context(|| format!("{id} has no chart {name}"))?;
            format!(
                "![{}]({}/charts/{id}-{name}.png)",
                report::picture_text(&figure.title),
                dir.display()
            )
        }
        ("table", Some(number)) => {
            let table = entry
                .findings
                .tables
                .get(number.parse::<usize>()?)
                .with_context(|| format!("{id} has no table {number}"))?;
            report::markdown_table(table)
        }
        ("headline", None) => clean::markdown(&entry.findings.headline),
        ("host", None) => report::markdown_table(&report::host_table(&entry.record.host)),
        _ => bail!("unknown: {what}"),
    })
}

/// A table of `DIR/instrument/NAME.json`: what the suite itself costs and can do. Whoever measured it
/// wrote the table beside the figures it is made of.
fn instrument(dir: &Path, name: &str, number: usize) -> Result<String> {
    #[derive(serde::Deserialize)]
    struct Facts {
        tables: Vec<Table>,
    }
    let path = dir.join("instrument").join(format!("{name}.json"));
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let facts: Facts = serde_json::from_str(&text)
        .with_context(|| format!("{} is damaged or foreign", path.display()))?;
    let table = facts
        .tables
        .get(number)
        .with_context(|| format!("{} has no table {number}", path.display()))?;
    Ok(report::markdown_table(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instrument_has_tables_that_are_no_labs() {
        let dir = tempfile::tempdir().unwrap();
        let table = |what: &str| content(&[], &[], dir.path(), what);
        assert!(table("instrument build").is_err());
        fs::create_dir(dir.path().join("instrument")).unwrap();
        let file = dir.path().join("instrument/build.json");
        let text = r#"{"cold_build_s": 9, "tables": [{"title": "T", "columns": ["a"], "rows": [["b"]], "note": "n"}]}"#;
        fs::write(&file, text).unwrap();
        let shown = table("instrument build").unwrap();
        assert!(shown.starts_with("**T**") && shown.contains("| b |") && shown.ends_with("n\n"));
        assert_eq!(table("instrument build 0").unwrap(), shown);
        assert!(table("instrument build 1").is_err() && table("instrument build x").is_err());
        fs::write(&file, "{").unwrap();
        let error = format!("{:#}", table("instrument build").unwrap_err());
        assert!(error.contains("build.json"), "{error}");
    }

    #[test]
    fn only_marked_places_change_and_twice_is_once() {
        let text = "a\n<!-- labs:begin x y -->\nold\n<!-- labs:end -->\nb\n";
        let new = splice(text, |what| Ok(format!("[{what}]"))).unwrap();
        assert_eq!(new, "a\n<!-- labs:begin x y -->\n[x y]\n<!-- labs:end -->\nb\n");
        assert_eq!(splice(&new, |what| Ok(format!("[{what}]"))).unwrap(), new);
        assert!(splice("<!-- labs:begin x -->\n", |_| Ok(String::new())).is_err());
    }
}
