//! Findings as text: for the terminal and as a Markdown report.

use std::fmt::Write;

use comfy_table::{ContentArrangement, LineStyle, Table as Grid, TableStyle, presets};

use crate::{
    card::Card,
    claim::{Claim, Verdict},
    clean, disturbance,
    findings::{Findings, Table},
    host::Host,
    record::Record,
    text::number,
};

/// A lab's record with everything derived from it.
pub struct Entry {
    /// What the lab is about.
    pub card: &'static Card,
    /// What was measured.
    pub record: Record,
    /// What follows from it.
    pub findings: Findings,
}

/// A rule above, below and under the head, and no other lines.
const RULED: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// A table for the terminal.
pub fn text_table(table: &Table) -> String {
    let mut text = format!("{}\n{}\n", table.title, grid(table, RULED));
    if !table.note.is_empty() {
        let _ = writeln!(text, "{}", table.note);
    }
    text
}

/// A table in Markdown.
pub fn markdown_table(table: &Table) -> String {
    let escaped = |s: &String| clean::markdown(s).replace('|', "\\|");
    let rows = table.rows.iter().map(|r| r.iter().map(escaped).collect()).collect();
    let table =
        Table { rows, columns: table.columns.iter().map(escaped).collect(), ..table.clone() };
    let mut text = format!(
        "**{}**\n\n{}\n",
        clean::markdown(&table.title),
        grid(&table, presets::ASCII_MARKDOWN)
    );
    if !table.note.is_empty() {
        let _ = write!(text, "\n{}\n", clean::markdown(&table.note));
    }
    text
}

fn grid(table: &Table, preset: TableStyle) -> String {
    let mut grid = Grid::new();
    grid.load_style(preset).set_content_arrangement(ContentArrangement::Disabled);
    grid.set_header(&table.columns);
    for row in &table.rows {
        grid.add_row(row);
    }
    grid.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Claims as a table: one line a claim.
pub fn verdict_table(claims: &[Claim]) -> Table {
    let columns = ["", "claim", "kind", "theory", "measured [95 %]", "unit"];
    let mut table = Table::new("Theory against measurement", &columns);
    for claim in claims {
        let detail = claim.detail();
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        let off = claim.verdict_text();
        let off = off.strip_prefix("confirmed").unwrap_or_default();
        table.row([
            claim.verdict().sign().to_string(),
            format!("{}{detail}{off}", claim.text),
            claim.kind.word().to_string(),
            claim.expectation(),
            claim.observation(),
            claim.unit.to_string(),
        ]);
    }
    let theory = "predicted: from the flags and theory alone; calibrated: with something measured before, or in other conditions";
    let others = "replayed: from the very trials; fitted: to the very data; goal: our own bound; books: checks of the apparatus";
    table.note = format!("Kinds: {theory}. These prove nothing of theory: {others}.");
    table
}

/// Why each tolerance is as wide as it is: one line a claim that has one.
fn tolerance_table(claims: &[Claim]) -> Table {
    let mut table = Table::new("How wide the tolerances are, and why", &["claim", "width"]);
    for claim in claims.iter().filter(|c| !c.tolerance_reason.is_empty()) {
        table.row([claim.text.clone(), claim.tolerance_reason.to_string()]);
    }
    table
}

/// The claims for the terminal, which has no room for wide tables: two lines a claim.
pub fn verdict_lines(claims: &[Claim]) -> String {
    let mut text = String::new();
    for claim in claims {
        let unit = if claim.unit.is_empty() { String::new() } else { format!(" {}", claim.unit) };
        let why = claim.reason();
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let _ = writeln!(text, "  {} {}", claim.verdict().sign(), claim.text);
        let _ = writeln!(
            text,
            "      {}: {}, measured {}{unit}: {}{why}",
            claim.kind.word(),
            claim.expectation(),
            claim.observation(),
            claim.verdict_text()
        );
    }
    text
}

/// What made the machine unfit to measure, a sentence each, and what follows from it.
pub fn unfit_lines(record: &Record) -> Vec<String> {
    let all = disturbance::unfit(record).into_iter();
    all.map(|unfit| {
        format!(
            "Unfit to measure: {}. Claims that need {} are left open, whatever was measured.",
            unfit.why,
            unfit.needed()
        )
    })
    .collect()
}

/// What became of claims: of those that test theory, and of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Predicted and calibrated claims: confirmed, inconclusive, refuted.
    pub theory: [usize; 3],
    /// Replayed, fitted, goals and books, in the same order.
    pub others: [usize; 3],
}

impl Score {
    /// Counts claims.
    pub fn of<'a>(claims: impl IntoIterator<Item = &'a Claim>) -> Score {
        let mut score = Score::default();
        for claim in claims {
            let counts =
                if claim.kind.tests_theory() { &mut score.theory } else { &mut score.others };
            let at = match claim.verdict() {
                Verdict::Confirmed => 0,
                Verdict::Inconclusive(_) => 1,
                Verdict::Refuted => 2,
            };
            counts[at] += 1;
        }
        score
    }
}

/// "12 confirmed, 1 inconclusive, 0 refuted; besides theory 3 hold, 0 open, 0 fail".
impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [yes, open, no] = self.theory;
        write!(f, "{yes} confirmed, {open} inconclusive, {no} refuted")?;
        match self.others {
            [0, 0, 0] => Ok(()),
            [yes, open, no] => write!(f, "; besides theory {yes} hold, {open} open, {no} fail"),
        }
    }
}

/// [`Score::of`] as text.
pub fn score<'a>(claims: impl IntoIterator<Item = &'a Claim>) -> String {
    Score::of(claims).to_string()
}

/// How good the reader's predictions were, a line each; empty when there were none.
pub fn prediction_lines(card: &Card, record: &Record, findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    for question in card.predict {
        let Some(said) = record.predictions.get(question.key) else {
            continue;
        };
        let Some(answer) = findings.answer(question.key) else {
            continue;
        };
        let Some(measured) = answer.measured else {
            continue;
        };
        let (said, got) = (*said, measured.value);
        let judgement = judgement(said, got);
        let theory = answer.theory.map_or(String::new(), |theory| format!(" (theory {theory})"));
        lines.push(format!(
            "{} You said {} {unit}, measured {} {unit}{theory}: {judgement}.",
            question.asked(&record.params),
            number(said),
            number(got),
            unit = question.unit
        ));
    }
    lines
}

/// How good a prediction was: "within 10 %", "2.1 × too high".
pub fn judgement(said: f64, got: f64) -> String {
    match said / got {
        r if got == 0.0 || !r.is_finite() || r <= 0.0 => {
            if said == got {
                "exactly".into()
            } else {
                format!("off by {}", number((said - got).abs()))
            }
        }
        r if (r - 1.0).abs() <= 0.1 => "within 10 %".to_string(),
        r if r > 1.0 => format!("{} × too high", number(r)),
        r => format!("{} × too low", number(1.0 / r)),
    }
}

/// The facts about a machine.
pub fn host_table(host: &Host) -> Table {
    let mut table = Table::new("The machine and its apparatus", &["fact", "value"]);
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64);
    let unknown = || "not known on this system".to_string();
    let widths: Vec<String> =
        host.effective_parallelism.iter().map(|w| format!("{w:.2}")).collect();
    let rows = [
        ("system", host.system.clone()),
        ("processor", host.cpu.clone().unwrap_or_else(unknown)),
        ("processors usable", host.cores.to_string()),
        ("effective parallelism on 1, 2, … threads", widths.join(", ")),
        ("memory", host.memory_bytes.map_or_else(unknown, gib)),
        ("open-file limit", host.open_files.map_or("none".into(), |n| n.to_string())),
        ("build", host.build.clone()),
        (
            "a 1 ms sleep ends late by (median, p99)",
            format!("{:.2} ms, {:.2} ms", host.timer_late_ms, host.timer_late_p99_ms),
        ),
        ("longest time off the processor", format!("{:.2} ms", host.spin_jitter_ms)),
        ("mock server's ceiling", format!("{:.0} requests/s", host.upstream_ceiling_per_s)),
        ("overhead of a request", format!("{:.2} ms", host.request_overhead_ms)),
    ];
    for (fact, value) in rows {
        table.row([fact.to_string(), value]);
    }
    table
}

/// The report over a folder of results, in Markdown. Charts are expected in `charts/`.
pub fn markdown(entries: &[Entry]) -> String {
    let mut text = String::from(
        "# Report\n\nWritten by `labs report` from the records beside it. Nothing here is typed by hand.\n\n",
    );
    let mut overview = Table::new("Labs", &["lab", "question", "verdicts", "scale", "measured"]);
    for e in entries {
        overview.row([
            format!("{} {}", e.card.id(), e.card.name),
            e.card.question.to_string(),
            score(&e.findings.claims),
            e.record.scale.to_string(),
            e.record.started_at.clone(),
        ]);
    }
    text += &markdown_table(&overview);
    let mut hosts: Vec<&Host> = Vec::new();
    for e in entries {
        // Calibration is measured anew with every run; a machine is told by its facts.
        if !hosts.iter().any(|h| same_machine(h, &e.record.host)) {
            hosts.push(&e.record.host);
        }
    }
    for host in hosts {
        let _ = write!(text, "\n{}", markdown_table(&host_table(host)));
    }
    for e in entries {
        text += &section(e);
    }
    text
}

/// What stands for a picture where it cannot be seen, inside of the brackets of Markdown.
pub fn picture_text(title: &str) -> String {
    clean::markdown(&title.replace(['[', ']'], ""))
}

/// True when two records come from the same machine, as far as they tell.
pub fn same_machine(a: &Host, b: &Host) -> bool {
    (&a.system, &a.cpu, a.cores, a.memory_bytes) == (&b.system, &b.cpu, b.cores, b.memory_bytes)
}

fn section(e: &Entry) -> String {
    let id = e.card.id();
    let mut text = format!(
        "\n---\n\n# {id}: {}\n\n*{}*\n\n{}\n",
        e.card.title,
        e.card.question,
        clean::markdown(&e.findings.headline)
    );
    if e.record.interrupted {
        text += "\n> This run was interrupted; what is here is complete, but not all of it.\n";
    }
    for note in &e.record.notes {
        let _ = write!(text, "\n> {}\n", clean::markdown(note));
    }
    for why in unfit_lines(&e.record) {
        let _ = write!(text, "\n> {}\n", clean::markdown(&why));
    }
    for line in prediction_lines(e.card, &e.record, &e.findings) {
        let _ = write!(text, "\n- {}\n", clean::markdown(&line));
    }
    for figure in &e.findings.figures {
        let _ =
            write!(text, "\n![{}](charts/{id}-{}.svg)\n", picture_text(&figure.title), figure.id);
    }
    let _ = write!(text, "\n{}", markdown_table(&verdict_table(&e.findings.claims)));
    for claim in &e.findings.claims {
        if let Verdict::Inconclusive(why) = claim.verdict() {
            let line = format!("inconclusive: {}: {why}", claim.text);
            let _ = write!(text, "\n- {}\n", clean::markdown(&line));
        }
    }
    let tolerances = tolerance_table(&e.findings.claims);
    if !tolerances.rows.is_empty() {
        let _ = write!(text, "\n{}", markdown_table(&tolerances));
    }
    for table in &e.findings.tables {
        let _ = write!(text, "\n{}", markdown_table(table));
    }
    // The lesson's own headings sink below the lab's.
    for line in
        e.card.lesson(&e.record.params).lines().skip_while(|l| l.starts_with("# ") || l.is_empty())
    {
        if line.starts_with('#') {
            text.push('#');
        }
        text += line;
        text.push('\n');
    }
    let command = clean::code(&e.record.command);
    let _ = write!(text, "\n**Run it again:** `{command}`\n");
    for (command, shows) in e.card.next {
        let _ = write!(text, "\n**Next:** `{command}`: {shows}\n");
    }
    text
}
