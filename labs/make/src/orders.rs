//! What the orders of the threads' steps say, and the one that broke something as a timeline.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use crate::{line::Seen, verdict::Verdict};

/// Widest column of a thread.
const WIDTH: usize = 34;
/// Most lines of a timeline.
const LINES: usize = 60;

/// Reads what was told of the orders into the verdict. True when it holds in all. How many threads held a lock at the
/// same time, at most and in any order, is measured as `together`, and how many steps the threads took in the last order
/// as `steps`: those that the model checker cannot see are none. How many switches were forced in it is `forced`: what
/// breaks without any is no race.
pub(crate) fn read(verdict: &mut Verdict, seen: &Seen) -> bool {
    let did = |what: &str| {
        seen.did.iter().find_map(|did| did.strip_prefix(what)?.parse().ok()).unwrap_or(0.0)
    };
    verdict.measured("together", did("together "));
    verdict.measured("steps", did("steps "));
    verdict.measured("forced", did("forced "));
    let Some(orders) = &seen.orders else {
        return false;
    };
    let mut parts = orders.splitn(4, ' ');
    let (held, which) = (parts.next() == Some("held"), parts.next().unwrap_or_default());
    let tried: u64 = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let why = parts.next().unwrap_or_default();
    if held {
        let said = match which {
            "all" => format!("it holds in every order of the threads' steps: {tried} tried"),
            "replayed" => "it holds in the order of the file".to_owned(),
            _ => format!(
                "it holds in {tried} orders of the threads' steps; there are more than can be tried"
            ),
        };
        return verdict.check(true, said);
    }
    let said = match which {
        "replayed" => format!("in the order of the file, it breaks: {why}"),
        _ => format!("order {tried} of the threads' steps breaks it: {why}"),
    };
    for line in timeline(&seen.events) {
        verdict.show(line);
    }
    verdict.schedule.clone_from(&seen.schedule);
    verdict.check(false, said)
}

/// Who did what, a column a thread, from top to bottom.
#[must_use]
pub fn timeline(events: &[(usize, String)]) -> Vec<String> {
    let mut threads: Vec<usize> = events.iter().map(|(thread, _)| *thread).collect();
    threads.sort_unstable();
    threads.dedup();
    let wide = |thread: usize| {
        let texts = events.iter().filter(|(t, _)| *t == thread);
        texts.map(|(_, text)| text.chars().count()).max().unwrap_or(0).clamp(10, WIDTH)
    };
    let name = |thread: usize| if thread == 0 { "main".into() } else { format!("thread {thread}") };
    let row = |cells: &dyn Fn(usize) -> String| {
        let mut line = String::new();
        for &thread in &threads {
            let cell: String = cells(thread).chars().take(WIDTH).collect();
            let _ = write!(line, "{cell:<width$}  ", width = wide(thread));
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![row(&|thread| name(thread))];
    for (who, text) in events.iter().take(LINES) {
        lines.push(row(&|thread| if thread == *who { text.clone() } else { String::new() }));
    }
    if events.len() > LINES {
        lines.push(format!("… and {} more steps", events.len() - LINES));
    }
    lines
}

/// Writes an order to a file: the name of the exercise, then who took each step.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, name: &str, steps: &[usize]) -> Result<()> {
    let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
    let text = format!("{name}\n{}\n", steps.join(" "));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    lab_kit::store::write_whole(path, text.as_bytes())
}

/// Reads such a file: the exercise and the order.
///
/// # Errors
/// When it is no such file.
pub(crate) fn load(path: &Path) -> Result<(String, Vec<usize>)> {
    let text =
        lab_kit::store::text(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let what = || format!("{} is no order of threads", path.display());
    let (name, steps) = text.split_once('\n').with_context(what)?;
    let steps: Option<Vec<usize>> = steps.split_whitespace().map(|s| s.parse().ok()).collect();
    Ok((name.to_owned(), steps.filter(|steps| !steps.is_empty()).with_context(what)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_has_a_column_a_thread() {
        let event = |thread, text: &str| (thread, text.to_owned());
        let lines = timeline(&[event(1, "reads 0"), event(2, "reads 0"), event(1, "writes 1")]);
        assert_eq!(lines[0], "thread 1    thread 2");
        assert_eq!(lines[2], "            reads 0");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn an_order_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/x.txt");
        write(&path, "count", &[0, 1, 2, 1]).unwrap();
        assert_eq!(load(&path).unwrap(), ("count".to_owned(), vec![0, 1, 2, 1]));
        fs::write(&path, "count\n1 x\n").unwrap();
        assert!(load(&path).is_err());
        fs::write(&path, "count\n").unwrap();
        assert!(load(&path).is_err());
    }
}
