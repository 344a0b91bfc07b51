//! Two folders of results side by side, claim by claim.

use std::path::Path;

use serde::Serialize;

use super::{Outcome, pretty, print, show};
use crate::{
    findings::{Claim, Table, number},
    lab::Experiment,
    report::{self, Entry},
    stats::Estimate,
};

#[derive(Serialize)]
struct Row {
    lab: String,
    claim: String,
    a: Option<f64>,
    b: Option<f64>,
    ratio: Option<f64>,
    ratio_ci95: Option<[f64; 2]>,
    judgement: &'static str,
}

pub(super) fn run(syllabus: &[&'static dyn Experiment], a: &Path, b: &Path, json: bool) -> Outcome {
    let (left, left_sound) = show::entries(syllabus, a)?;
    let (right, right_sound) = show::entries(syllabus, b)?;
    let sound = left_sound && right_sound;
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for l in &left {
        let Some(r) = right.iter().find(|r| r.record.lab == l.record.lab) else {
            notes.push(format!("{}: only in {}", l.record.lab, a.display()));
            continue;
        };
        let differences = differing_flags(l, r);
        if !differences.is_empty() {
            notes.push(format!(
                "{}: not compared, other flags: {}",
                l.record.lab,
                differences.join(", ")
            ));
            continue;
        }
        if !report::same_machine(&l.record.host, &r.record.host) {
            let name = |e: &Entry| {
                e.record
                    .host
                    .cpu
                    .clone()
                    .unwrap_or_else(|| e.record.host.system.clone())
            };
            notes.push(format!(
                "{}: different machines: {} against {}",
                l.record.lab,
                name(l),
                name(r)
            ));
        }
        if l.record.scale != r.record.scale {
            notes.push(format!(
                "{}: {} scale against {} scale",
                l.record.lab, l.record.scale, r.record.scale
            ));
        }
        for claim in &l.findings.claims {
            let twin = r.findings.claims.iter().find(|c| c.text == claim.text);
            rows.push(row(&l.record.lab, claim, twin));
        }
    }
    for r in right
        .iter()
        .filter(|r| !left.iter().any(|l| l.record.lab == r.record.lab))
    {
        notes.push(format!("{}: only in {}", r.record.lab, b.display()));
    }
    if json {
        pretty(&serde_json::json!({"notes": notes, "rows": rows}))?;
        return show::whole(sound);
    }
    let mut table = Table::new(
        &format!("A = {}, B = {}", a.display(), b.display()),
        &["lab", "claim", "A", "B", "B/A [95 %]", ""],
    );
    for row in &rows {
        let ratio = match (row.ratio, row.ratio_ci95) {
            (Some(r), Some([lo, hi])) => format!("{} [{}, {}]", number(r), number(lo), number(hi)),
            (Some(r), None) => number(r),
            _ => "–".into(),
        };
        let value = |v: Option<f64>| v.map_or("–".into(), number);
        table.row([
            row.lab.clone(),
            row.claim.clone(),
            value(row.a),
            value(row.b),
            ratio,
            row.judgement.into(),
        ]);
    }
    let mut text = report::text_table(&table);
    notes
        .iter()
        .for_each(|note| text += &format!("note: {note}\n"));
    print(text)?;
    show::whole(sound)
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
    let (left, right, ratio, interval) = match b {
        Some(b) if a.cases.len() > 1 => over_cases(a, b),
        _ => {
            let (left, right) = (a.measured, b.and_then(|c| c.measured));
            let ratio = left.zip(right).map(|(l, r)| r.value / l.value);
            let interval = left.zip(right).and_then(|(l, r)| ratio_interval(l, r));
            (left, right, ratio, interval)
        }
    };
    let equal = left.zip(right).is_some_and(|(l, r)| l.value == r.value);
    let judgement = match interval {
        _ if left.zip(right).is_none() => "not in both",
        Some((lo, hi)) if lo > 1.0 || hi < 1.0 => "changed",
        Some((1.0, 1.0)) => "same",
        Some(_) if a.cases.len() > 1 || !equal => "within noise",
        None if !equal => "cannot tell",
        _ => "same",
    };
    Row {
        lab: lab.into(),
        claim: a.text.clone(),
        a: left.map(|e| e.value),
        b: right.map(|e| e.value),
        ratio: ratio.filter(|r| r.is_finite()),
        ratio_ci95: interval.map(|(lo, hi)| [lo, hi]),
        judgement,
    }
}

type Compared = (
    Option<Estimate>,
    Option<Estimate>,
    Option<f64>,
    Option<(f64, f64)>,
);

/// A law over several conditions: the values at the condition that decided A, and the mean ratio
/// over all conditions that both runs have, with the interval that its spread over them gives. The
/// conditions that decided A and B may differ, and would not bear comparing.
fn over_cases(a: &Claim, b: &Claim) -> Compared {
    let twin = |name: &str| b.cases.iter().find(|c| c.name == name)?.measured;
    let decided = a.cases.iter().filter(|c| c.measured.is_some());
    let decided = decided.min_by_key(|c| !a.detail.ends_with(&c.name));
    let (left, right) = decided.map_or((None, None), |c| (c.measured, twin(&c.name)));
    let logarithms: Vec<f64> = a
        .cases
        .iter()
        .filter_map(|c| Some((twin(&c.name)?.value / c.measured?.value).ln()))
        .collect();
    let mean = Estimate::of(&logarithms);
    let interval = mean
        .and_then(|m| m.ci95)
        .map(|(lo, hi)| (lo.exp(), hi.exp()));
    (left, right, mean.map(|m| m.value.exp()), interval)
}

/// Interval of the ratio of two independent positive estimates, by adding their relative spreads
/// in quadrature on the log scale (delta method).
fn ratio_interval(a: Estimate, b: Estimate) -> Option<(f64, f64)> {
    let spread = |e: Estimate| {
        let (lo, hi) = e.ci95?;
        (e.value > 0.0 && lo > 0.0).then(|| (hi / lo).ln() / 2.0)
    };
    let half = spread(a)?.hypot(spread(b)?);
    let ratio = b.value / a.value;
    Some((ratio * (-half).exp(), ratio * half.exp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Basis, Case};

    fn law(values: &[(&str, f64)]) -> Claim {
        let case = |(name, value): &(&str, f64)| Case {
            name: name.to_string(),
            predicted: 100.0,
            measured: Some(Estimate {
                value: *value,
                ci95: None,
                trials: 1,
            }),
            tolerance: 5.0,
        };
        Claim::at_every("law", Basis::Predicted, values.iter().map(case).collect())
    }

    /// The worst condition of A is not that of B; only like is compared with like.
    #[test]
    fn laws_are_compared_condition_by_condition() {
        let a = law(&[("1", 90.0), ("10", 101.0), ("100", 99.0), ("1000", 100.0)]);
        let b = law(&[("1", 91.0), ("10", 100.0), ("100", 120.0), ("1000", 100.0)]);
        let same = row("lab03", &a, Some(&a));
        assert_eq!(
            (same.a, same.b, same.judgement),
            (Some(90.0), Some(90.0), "same")
        );
        let other = row("lab03", &a, Some(&b));
        assert_eq!(
            (other.a, other.b, other.judgement),
            (Some(90.0), Some(91.0), "within noise")
        );
        let double = law(&[("1", 180.0), ("10", 201.0), ("100", 199.0), ("1000", 200.0)]);
        let doubled = row("lab03", &a, Some(&double));
        assert_eq!(doubled.judgement, "changed");
        assert!((doubled.ratio.unwrap() - 2.0).abs() < 0.01);
    }

    #[test]
    fn ratios_have_intervals_only_where_logarithms_exist() {
        let e = |value, lo, hi| Estimate {
            value,
            ci95: Some((lo, hi)),
            trials: 3,
        };
        let (lo, hi) = ratio_interval(e(10.0, 9.0, 11.0), e(20.0, 18.0, 22.0)).unwrap();
        assert!(lo < 2.0 && 2.0 < hi && hi < 2.4);
        assert_eq!(ratio_interval(e(0.0, -1.0, 1.0), e(1.0, 0.5, 1.5)), None);
    }
}
