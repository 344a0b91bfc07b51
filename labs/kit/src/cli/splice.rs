//! Figures in prose come from records: this puts them there.
//!
//! Between `<!-- labs:begin WHAT LAB NAME -->` and `<!-- labs:end -->` stands what the record says:
//! `chart lab03 trap`, `table lab03 0`, `headline lab03`, `host lab03`, `syllabus`.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result, bail};

use super::{Outcome, print, show};
use crate::{
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
        for lab in syllabus {
            let card = lab.card();
            table.row([
                format!("{} {}", card.id(), card.name),
                card.question.into(),
                format!("`labs run {}`", card.number),
            ]);
        }
        return Ok(report::markdown_table(&table));
    }
    let (Some(kind), Some(id)) = (words.first(), words.get(1)) else {
        bail!("unknown: {what}")
    };
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
                figure.title,
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
        ("headline", None) => entry.findings.headline.clone(),
        ("host", None) => report::markdown_table(&report::host_table(&entry.record.host)),
        _ => bail!("unknown: {what}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_places_change_and_twice_is_once() {
        let text = "a\n<!-- labs:begin x y -->\nold\n<!-- labs:end -->\nb\n";
        let new = splice(text, |what| Ok(format!("[{what}]"))).unwrap();
        assert_eq!(
            new,
            "a\n<!-- labs:begin x y -->\n[x y]\n<!-- labs:end -->\nb\n"
        );
        assert_eq!(splice(&new, |what| Ok(format!("[{what}]"))).unwrap(), new);
        assert!(splice("<!-- labs:begin x -->\n", |_| Ok(String::new())).is_err());
    }
}
