//! Two sets of results side by side, claim by claim.
//!
//! Only like is compared with like. Runs with other flags are not compared at all. Runs on different
//! machines, at different scales or from different builds are shown with their ratios, and no ratio
//! between them is called a change: it may be the machine's.

use serde::Serialize;

use crate::{
    claim::Claim,
    findings::{Table, number},
    report::{self, Entry},
    stats::Estimate,
};

/// Two sets of results, compared.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// The labs that both have, in the order of the course.
    pub labs: Vec<Compared>,
    /// Labs that only one of them has, as sentences.
    pub notes: Vec<String>,
}

/// A lab in both sets.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// "lab03".
    pub lab: String,
    /// "The concurrency trap".
    pub title: &'static str,
    /// Flags with different values, each with both; when there are any, nothing is compared.
    pub flags: Vec<String>,
    /// What else was not the same: machines, scales, builds.
    pub unlike: Vec<String>,
    /// A row for each claim of either.
    pub rows: Vec<Row>,
}

/// A claim in both sets.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// "lab03".
    pub lab: String,
    /// The claim.
    pub claim: String,
    /// Unit of the values.
    pub unit: &'static str,
    /// The condition whose values and ratio are shown: of several the one that changed most.
    pub condition: String,
    /// What A measured; null where it did not.
    pub a: Option<f64>,
    /// What B measured.
    pub b: Option<f64>,
    /// Their verdicts: "confirmed", "refuted", "inconclusive"; null where there is no such claim.
    pub verdicts: [Option<&'static str>; 2],
    /// B / A; null where it means nothing.
    pub ratio: Option<f64>,
    /// Its 95 % interval.
    pub ratio_ci95: Option<[f64; 2]>,
    /// "changed" (the ratio's interval excludes 1), "within noise", "same", "cannot tell", "not in
    /// both", or "not alike": the runs differ in more than time.
    pub judgement: &'static str,
}

impl Comparison {
    /// Compares two sets, named `a` and `b` in the notes.
    pub fn of((a, left): (&str, &[Entry]), (b, right): (&str, &[Entry])) -> Comparison {
        let mut comparison = Comparison::default();
        for l in left {
            match right.iter().find(|r| r.record.lab == l.record.lab) {
                Some(r) => comparison.labs.push(Compared::of(l, r)),
                None => {
                    let note = format!("{}: only in {a}", l.record.lab);
                    comparison.notes.push(note);
                }
            }
        }
        for r in right {
            if !left.iter().any(|l| l.record.lab == r.record.lab) {
                let note = format!("{}: only in {b}", r.record.lab);
                comparison.notes.push(note);
            }
        }
        comparison
    }

    /// Every row of every lab.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.labs.iter().flat_map(|lab| &lab.rows)
    }

    /// Everything that the reader must know beside the rows, a sentence each.
    pub fn all_notes(&self) -> Vec<String> {
        let of = |lab: &Compared| {
            let flags = (!lab.flags.is_empty()).then(|| {
                format!(
                    "{}: not compared, other flags: {}",
                    lab.lab,
                    lab.flags.join(", ")
                )
            });
            let unlike = lab.unlike.iter().map(|why| format!("{}: {why}", lab.lab));
            flags.into_iter().chain(unlike).collect::<Vec<_>>()
        };
        let labs = self.labs.iter().flat_map(of);
        labs.chain(self.notes.iter().cloned()).collect()
    }

    /// How many rows of like runs have an interval to judge by, and how many of them would be called
    /// changed by chance alone if nothing had.
    pub fn by_chance(&self) -> (usize, f64) {
        let judged = |row: &&Row| matches!(row.judgement, "changed" | "within noise");
        let judged = self.rows().filter(judged).count();
        (judged, 0.05 * judged as f64)
    }

    /// For the terminal.
    pub fn text(&self, a: &str, b: &str) -> String {
        let mut table = Table::new(
            &format!("A = {a}, B = {b}"),
            &["lab", "claim", "A", "B", "B/A [95 %]", ""],
        );
        for row in self.rows() {
            let value = |v: Option<f64>| v.map_or("–".into(), number);
            table.row([
                row.lab.clone(),
                row.named(),
                value(row.a),
                value(row.b),
                row.ratio_text(),
                row.judgement.into(),
            ]);
        }
        let mut text = report::text_table(&table);
        for note in self.all_notes() {
            text += &format!("note: {note}\n");
        }
        let (judged, chance) = self.by_chance();
        if judged > 0 {
            text += &format!(
                "note: of {judged} comparisons with an interval about {} would show a change by chance alone\n",
                number(chance.ceil())
            );
        }
        text
    }
}

impl Compared {
    fn of(l: &Entry, r: &Entry) -> Compared {
        let flags = differing_flags(l, r);
        let unlike = differences(l, r);
        let mut rows: Vec<Row> = Vec::new();
        if flags.is_empty() {
            let (before, after) = (&l.findings.claims, &r.findings.claims);
            for claim in before {
                let twin = after.iter().find(|c| c.text == claim.text);
                rows.push(row(&l.record.lab, claim, twin));
            }
            let new = after
                .iter()
                .filter(|c| !before.iter().any(|b| b.text == c.text));
            rows.extend(new.map(|claim| only_in_b(row(&l.record.lab, claim, None))));
            for row in &mut rows {
                if !unlike.is_empty() && row.judgement != "not in both" {
                    row.judgement = "not alike";
                }
            }
        }
        Compared {
            lab: l.record.lab.clone(),
            title: l.card.title,
            flags,
            unlike,
            rows,
        }
    }
}

impl Row {
    /// The claim, with the condition that is shown.
    pub fn named(&self) -> String {
        if self.condition.is_empty() {
            return self.claim.clone();
        }
        format!("{} ({})", self.claim, self.condition)
    }

    /// "1.02 [0.98, 1.06]", or a dash.
    pub fn ratio_text(&self) -> String {
        match (self.ratio, self.ratio_ci95) {
            (Some(r), Some([lo, hi])) => format!("{} [{}, {}]", number(r), number(lo), number(hi)),
            (Some(r), None) => number(r),
            _ => "–".into(),
        }
    }
}

fn only_in_b(row: Row) -> Row {
    let [verdict, _] = row.verdicts;
    Row {
        a: None,
        b: row.a,
        verdicts: [None, verdict],
        ..row
    }
}

/// What differs beside the flags, each with both sides.
fn differences(l: &Entry, r: &Entry) -> Vec<String> {
    let (a, b) = (&l.record, &r.record);
    let mut unlike = Vec::new();
    if !report::same_machine(&a.host, &b.host) {
        let name = |e: &Entry| {
            let host = &e.record.host;
            let cpu = host.cpu.clone().unwrap_or_else(|| host.system.clone());
            let memory = host.memory_bytes.map_or(String::new(), |bytes| {
                format!(", {:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
            });
            format!("{cpu} ({} processors{memory})", host.cores)
        };
        unlike.push(format!(
            "different machines: {} against {}",
            name(l),
            name(r)
        ));
    }
    if a.scale != b.scale {
        unlike.push(format!("{} scale against {} scale", a.scale, b.scale));
    }
    if a.host.build != b.host.build {
        unlike.push(format!(
            "{} build against {} build",
            a.host.build, b.host.build
        ));
    }
    if a.interrupted || b.interrupted {
        unlike.push("a run was interrupted".into());
    }
    unlike
}

fn differing_flags(l: &Entry, r: &Entry) -> Vec<String> {
    let flags = |e: &Entry| e.record.params.as_object().cloned().unwrap_or_default();
    let (left, right) = (flags(l), flags(r));
    let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
    names.sort();
    names.dedup();
    let differ = names
        .into_iter()
        .filter(|name| left.get(*name) != right.get(*name));
    let show = |v: Option<&serde_json::Value>| v.map_or("none".into(), ToString::to_string);
    differ
        .map(|name| {
            format!(
                "{name} {} against {}",
                show(left.get(name)),
                show(right.get(name))
            )
        })
        .collect()
}

fn row(lab: &str, a: &Claim, b: Option<&Claim>) -> Row {
    let sides = b.map_or_else(Sides::default, |b| Sides::of(a, b));
    let left = sides.left.or_else(|| a.measured());
    let interval = sides.interval;
    let equal = left
        .zip(sides.right)
        .is_some_and(|(l, r)| l.value == r.value);
    let judgement = match interval {
        _ if left.zip(sides.right).is_none() => "not in both",
        // What is nought on one side only has no ratio, and is no less a change.
        _ if sides.vanished => "changed",
        // The condition that changed most has not changed.
        _ if equal => "same",
        Some((lo, hi)) if lo > 1.0 || hi < 1.0 => "changed",
        Some(_) => "within noise",
        None => "cannot tell",
    };
    Row {
        lab: lab.into(),
        claim: a.text.clone(),
        unit: a.unit,
        condition: sides
            .condition
            .or_else(|| Some(a.named()?.0.name.clone()))
            .unwrap_or_default(),
        a: left.map(|e| e.value),
        b: sides.right.map(|e| e.value),
        verdicts: [
            Some(a.verdict().word()),
            b.map(|claim| claim.verdict().word()),
        ],
        ratio: sides.ratio.filter(|r| r.is_finite()),
        ratio_ci95: interval.map(|(lo, hi)| [lo, hi]),
        judgement,
    }
}

/// A claim in both sets, like beside like.
#[derive(Default)]
struct Sides {
    condition: Option<String>,
    left: Option<Estimate>,
    right: Option<Estimate>,
    ratio: Option<f64>,
    interval: Option<(f64, f64)>,
    vanished: bool,
}

impl Sides {
    /// The values at the condition that changed most, of those that both have, with their ratio and its
    /// interval. The conditions that speak for A and for B may differ, and would not bear comparing.
    fn of(a: &Claim, b: &Claim) -> Sides {
        let twin = |name: &str| b.cases.iter().find(|c| c.name == name)?.measured;
        let pairs = a
            .cases
            .iter()
            .filter_map(|c| Some((c, c.measured?, twin(&c.name)?)));
        let far = |l: &Estimate, r: &Estimate| match (l.value, r.value) {
            (x, y) if x == y => 0.0,
            (x, y) if x / y > 0.0 => (y / x).ln().abs(),
            _ => f64::INFINITY,
        };
        let most = pairs.max_by(|(_, l, r), (_, m, s)| far(l, r).total_cmp(&far(m, s)));
        let Some((case, left, right)) = most else {
            return Sides::default();
        };
        let strict = 0.05 / a.cases.len().max(1) as f64;
        Sides {
            condition: Some(case.name.clone()),
            left: Some(left),
            right: Some(right),
            ratio: Some(right.value / left.value),
            interval: ratio_interval(left, right, strict),
            vanished: (left.value == 0.0) != (right.value == 0.0),
        }
    }
}

/// Interval of the ratio of two independent positive estimates, by adding their relative spreads
/// in quadrature on the log scale (delta method).
fn ratio_interval(a: Estimate, b: Estimate, alpha: f64) -> Option<(f64, f64)> {
    let spread = |e: Estimate| {
        let (lo, hi) = e.interval(alpha)?;
        (e.value > 0.0 && lo > 0.0).then(|| (hi / lo).ln() / 2.0)
    };
    let half = spread(a)?.hypot(spread(b)?);
    // Counts have no spread by themselves; what another run would count is not known.
    if half == 0.0 && a.value != b.value {
        return None;
    }
    let ratio = b.value / a.value;
    Some((ratio * (-half).exp(), ratio * half.exp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claim::{Case, Law},
        disturbance::{Disturbed, Resource},
    };

    /// A law over conditions of three trials each, a half apart.
    fn law(values: &[(&str, f64)]) -> Claim {
        let case = |(name, value): &(&str, f64)| {
            let trials = Estimate::of(&[value - 0.5, *value, value + 0.5]);
            Case::new(*name, 100.0, trials, 5.0)
        };
        Law::new("law", "", Disturbed::Longer(Resource::Timers)).near(values.iter().map(case))
    }

    /// The worst condition of A is not that of B; only like is compared with like.
    #[test]
    fn laws_are_compared_condition_by_condition() {
        let a = law(&[("1", 90.0), ("10", 101.0), ("100", 99.0), ("1000", 100.0)]);
        let b = law(&[("1", 90.2), ("10", 101.0), ("100", 99.5), ("1000", 100.0)]);
        let same = row("lab03", &a, Some(&a));
        assert_eq!(same.a, same.b);
        let other = row("lab03", &a, Some(&b));
        assert_eq!(
            (other.condition.as_str(), other.a, other.b, other.judgement),
            ("100", Some(99.0), Some(99.5), "within noise")
        );
        // One condition of four is enough for a change, and it is the one that is shown.
        let c = law(&[("1", 90.0), ("10", 101.0), ("100", 198.0), ("1000", 100.0)]);
        let changed = row("lab03", &a, Some(&c));
        assert_eq!(
            (changed.condition.as_str(), changed.judgement),
            ("100", "changed")
        );
        assert!((changed.ratio.unwrap() - 2.0).abs() < 0.01);
    }

    #[test]
    fn what_vanished_has_changed() {
        let of = |v: f64| {
            let case = Case::exact("2000 clients", 0.0, Some(Estimate::exact(v)));
            Law::counted("lost", "").near([case])
        };
        let row = row("lab03", &of(0.0), Some(&of(3.0)));
        assert_eq!((row.judgement, row.ratio), ("changed", None));
    }

    #[test]
    fn ratios_have_intervals_only_where_logarithms_exist() {
        let e = |value| Estimate::with_error(value, value / 20.0, 1000);
        let (lo, hi) = ratio_interval(e(10.0), e(20.0), 0.05).unwrap();
        assert!(lo < 2.0 && 2.0 < hi && hi < 2.4);
        assert_eq!(ratio_interval(e(0.0), e(1.0), 0.05), None);
        assert_eq!(
            ratio_interval(Estimate::of(&[1.0]).unwrap(), e(1.0), 0.05),
            None
        );
    }
}
