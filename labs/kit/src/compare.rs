//! Two sets of results side by side, claim by claim.
//!
//! Only like is compared with like. Runs with other flags are not compared at all. Runs on different
//! machines, with load on different servers, at different scales or from different builds are shown with
//! their ratios, and no ratio between them is called a change: it may be the machine's.
//!
//! Of hundreds of ratios some lie beyond their own 95 % intervals by chance. A change is what lies beyond an
//! interval that all of them together have at 95 % (Bonferroni), widened by what disturbed the trials and, where
//! theory replays these very trials, by what it says of their difference. A single random sample has no
//! interval, and cannot have changed; a count that nothing disturbs has where theory would tell the two apart.
//! What is nought or missing on one side only has changed by that.

use serde::Serialize;

use crate::{
    address,
    answer::Relation,
    claim::{Case, Claim},
    disturbance::Disturbed,
    findings::Table,
    judge,
    record::{Record, Scale},
    report::{self, Entry},
    stats::{Estimate, Spread},
    text::number,
};

/// Share of comparisons of equal runs that may show a change at all.
const ALPHA: f64 = 0.05;

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
    /// What else was not the same: machines, scales, builds. When there is any, nothing is judged.
    pub unlike: Vec<String>,
    /// What was not the same and changes no law: seeds.
    pub aside: Vec<String>,
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
    /// Every condition that changed.
    pub changed: Vec<String>,
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
    /// "changed" (beyond what chance does to any of all ratios, or nought or missing on one side only),
    /// "could be chance" (its own interval excludes 1), "within noise", "same", "cannot tell" (no interval),
    /// "not in both" (the claim), or "not alike": the runs differ in more than time.
    pub judgement: &'static str,
}

impl Comparison {
    /// Compares two sets, named `a` and `b` in the notes.
    pub fn of((a, left): (&str, &[Entry]), (b, right): (&str, &[Entry])) -> Comparison {
        let mut comparison = Comparison::default();
        let twin = |l: &Entry| right.iter().find(|r| r.record.lab == l.record.lab);
        let both = left.iter().filter_map(|l| Some((l, twin(l)?)));
        let ratios: usize = both.map(|(l, r)| ratios(l, r)).sum();
        for l in left {
            match twin(l) {
                Some(r) => comparison.labs.push(Compared::of(l, r, ratios)),
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
                format!("{}: not compared, other flags: {}", lab.lab, lab.flags.join(", "))
            });
            let others = lab.unlike.iter().chain(&lab.aside);
            let others = others.map(|why| format!("{}: {why}", lab.lab));
            flags.into_iter().chain(others).collect::<Vec<_>>()
        };
        let labs = self.labs.iter().flat_map(of);
        labs.chain(self.notes.iter().cloned()).collect()
    }

    /// How many rows of like runs have an interval to judge by, and how many of them would lie beyond it by
    /// chance alone if nothing had changed.
    pub fn by_chance(&self) -> (usize, f64) {
        let judged = |row: &&Row| {
            let word = matches!(row.judgement, "changed" | "could be chance" | "within noise");
            word && row.ratio_ci95.is_some()
        };
        let judged = self.rows().filter(judged).count();
        (judged, ALPHA * judged as f64)
    }

    /// What that means, as a sentence; empty where nothing has an interval.
    pub fn chance(&self) -> String {
        match self.by_chance() {
            (0, _) => String::new(),
            (judged, chance) => format!(
                "of {judged} comparisons with an interval about {} would lie beyond it by chance alone if nothing had changed; “changed” is beyond what chance does to any of them in 19 of 20 comparisons",
                number(chance.ceil())
            ),
        }
    }

    /// For the terminal.
    pub fn text(&self, a: &str, b: &str) -> String {
        let mut table =
            Table::new(&format!("A = {a}, B = {b}"), &["lab", "claim", "A", "B", "B/A [95 %]", ""]);
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
        let chance = self.chance();
        if !chance.is_empty() {
            text += &format!("note: {chance}\n");
        }
        text
    }
}

/// The claims of A, each with B's of the same text, and those that only B has.
fn claims<'a>(l: &'a Entry, r: &'a Entry) -> Vec<(Option<&'a Claim>, Option<&'a Claim>)> {
    let (before, after) = (&l.findings.claims, &r.findings.claims);
    let twin = |all: &'a [Claim], one: &Claim| all.iter().find(|c| c.text == one.text);
    let known = before.iter().map(|a| (Some(a), twin(after, a)));
    let new = after.iter().filter(|b| twin(before, b).is_none());
    known.chain(new.map(|b| (None, Some(b)))).collect()
}

/// How many ratios with an interval two runs have, if they are alike.
fn ratios(l: &Entry, r: &Entry) -> usize {
    if !(differing_flags(l, r).is_empty() && differences(l, r).is_empty()) {
        return 0;
    }
    let of = |(a, b): (Option<&Claim>, Option<&Claim>)| {
        let (a, b) = (a?, b?);
        let pairs = pairs(a, b).into_iter();
        let with = pairs.filter(|p| p.ratio_interval(ALPHA).is_some());
        Some(with.count())
    };
    claims(l, r).into_iter().filter_map(of).sum()
}

impl Compared {
    /// `ratios`: how many are judged together.
    fn of(l: &Entry, r: &Entry, ratios: usize) -> Compared {
        let flags = differing_flags(l, r);
        let unlike = differences(l, r);
        let (a, b) = (l.record.seed, r.record.seed);
        let aside = (a != b).then(|| format!("other seeds: {a} against {b}"));
        let judge = Judge { together: ALPHA / ratios.max(1) as f64, same_seed: a == b };
        let mut rows: Vec<Row> = Vec::new();
        if flags.is_empty() {
            let all = claims(l, r).into_iter();
            rows.extend(all.map(|(a, b)| judge.row(&l.record.lab, a, b)));
        }
        if !unlike.is_empty() {
            for row in rows.iter_mut().filter(|r| r.judgement != NOT_IN_BOTH) {
                row.judgement = "not alike";
                row.changed.clear();
            }
        }
        Compared {
            lab: l.record.lab.clone(),
            title: l.card.title,
            flags,
            unlike,
            aside: aside.into_iter().collect(),
            rows,
        }
    }
}

impl Row {
    /// The claim, with the condition that is shown.
    pub fn named(&self) -> String {
        let more = match self.changed.len() {
            0 | 1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        match (self.condition.as_str(), more.as_str()) {
            ("", "") => self.claim.clone(),
            (condition, more) => format!("{} ({condition}{more})", self.claim),
        }
    }

    /// "B is 1.02 [0.98, 1.06] times A"; in other words where there is no ratio.
    pub fn change(&self) -> String {
        match (self.a, self.b) {
            (None, _) => "not measured in A".into(),
            (_, None) => "not measured in B".into(),
            (Some(a), Some(b)) if a == 0.0 || b == 0.0 => {
                format!("{} in A, {} in B", number(a), number(b))
            }
            _ => format!("B is {} times A", self.ratio_text()),
        }
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
        unlike.push(format!("different machines: {} against {}", name(l), name(r)));
    }
    if a.scale != b.scale {
        unlike.push(format!("{} scale against {} scale", a.scale, b.scale));
    }
    if a.host.build != b.host.build {
        unlike.push(format!("{} build against {} build", a.host.build, b.host.build));
    }
    let load = |r: &Record| match target(r) {
        Some(target) => format!("load on {target}"),
        None => "load on its own upstream".into(),
    };
    if target(a) != target(b) {
        unlike.push(format!("{} against {}", load(a), load(b)));
    } else if one_at_a_time(a) != one_at_a_time(b) && a.scale == b.scale {
        unlike.push("conditions one at a time against several at once".into());
    }
    if a.interrupted || b.interrupted {
        unlike.push("a run was interrupted".into());
    }
    unlike
}

/// Where the load went, if not to the run's own upstream. Older records have it in the command only.
fn target(record: &Record) -> Option<String> {
    let words: Vec<&str> = record.command.split_whitespace().collect();
    let flag = words.iter().position(|word| *word == "--target");
    let after = flag.and_then(|at| words.get(at + 1)).copied();
    let joined = words.iter().find_map(|word| word.strip_prefix("--target="));
    let url = record.target.as_deref().or(after).or(joined)?;
    Some(address::shown(url.trim_end_matches('/')))
}

fn one_at_a_time(record: &Record) -> bool {
    let asked = |word: &str| word == "--one-at-a-time";
    let alone = record.scale == Scale::Full || target(record).is_some();
    alone || record.command.split_whitespace().any(asked)
}

fn differing_flags(l: &Entry, r: &Entry) -> Vec<String> {
    let flags = |e: &Entry| e.record.params.as_object().cloned().unwrap_or_default();
    let (left, right) = (flags(l), flags(r));
    let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
    names.sort();
    names.dedup();
    let differ = names.into_iter().filter(|name| left.get(*name) != right.get(*name));
    let show = |v: Option<&serde_json::Value>| v.map_or("none".into(), ToString::to_string);
    differ
        .map(|name| format!("{name} {} against {}", show(left.get(name)), show(right.get(name))))
        .collect()
}

const NOT_IN_BOTH: &str = "not in both";

/// A condition of a claim in both sets.
#[derive(Clone, Copy)]
struct Pair<'a> {
    cases: [Option<&'a Case>; 2],
    disturbed: Disturbed,
    relation: Relation,
}

/// The conditions of either that were measured in one of them. The conditions that speak for A and for B
/// may differ, and would not bear comparing: like stands beside like.
fn pairs<'a>(a: &'a Claim, b: &'a Claim) -> Vec<Pair<'a>> {
    let of = |claim: &'a Claim, name: &str| claim.cases.iter().find(|c| c.name == name);
    let new = b.cases.iter().filter(|c| of(a, &c.name).is_none());
    let pair = |case: &Case| Pair {
        cases: [of(a, &case.name), of(b, &case.name)],
        disturbed: a.disturbed,
        relation: a.relation(),
    };
    let measured = |p: &Pair| p.values().iter().any(Option::is_some);
    a.cases.iter().chain(new).map(pair).filter(measured).collect()
}

impl Pair<'_> {
    fn name(&self) -> &str {
        let known = self.cases.iter().flatten().next();
        known.map_or("", |case| &case.name)
    }

    fn values(&self) -> [Option<Estimate>; 2] {
        let value = |case: Option<&Case>| case?.measured.filter(|m| m.value.is_finite());
        self.cases.map(value)
    }

    fn both(&self) -> Option<(Estimate, Estimate)> {
        let [a, b] = self.values();
        a.zip(b)
    }

    /// B / A, of values on the same side of nought.
    fn ratio(&self) -> Option<f64> {
        let (a, b) = self.both()?;
        Some(b.value / a.value).filter(|r| r.is_finite() && *r > 0.0)
    }

    /// How far apart they are, in either direction.
    fn far(&self) -> f64 {
        match self.both() {
            Some((a, b)) if a.value == b.value => 0.0,
            _ => self.ratio().map_or(f64::INFINITY, |r| r.ln().abs()),
        }
    }

    /// The interval of their ratio in all but a share `alpha` of runs, as far as chance and what disturbed
    /// their trials go; `None` where either has none.
    fn ratio_interval(&self, alpha: f64) -> Option<(f64, f64)> {
        let ((a, b), ratio) = (self.both()?, self.ratio()?);
        let half = log_half(a, b, alpha)?;
        // What has no spread by itself: what another run would count is not known.
        if half == 0.0 && a.value != b.value {
            return None;
        }
        let ((a_less, a_more), (b_less, b_more)) = (self.allowance(a), self.allowance(b));
        let explained = self.replayed();
        let low = ratio * (-half).exp() * (1.0 - b_less).max(0.0) / (1.0 + a_more);
        let high = ratio * half.exp() * (1.0 + b_more) / (1.0 - a_less).max(0.0);
        let (low, high) = (low / explained.max(1.0), high / explained.min(1.0));
        (low.is_finite() && high.is_finite()).then_some((low, high))
    }

    /// What theory says of B / A, where it says it from the very trials; else 1.
    fn replayed(&self) -> f64 {
        let [Some(a), Some(b)] = self.cases else {
            return 1.0;
        };
        let ratio = b.predicted.value / a.predicted.value;
        let of_these = a.is_replayed() && b.is_replayed() && ratio.is_finite() && ratio > 0.0;
        if of_these { ratio } else { 1.0 }
    }

    /// True when what each may be in all but a share `alpha` of runs leaves nothing in common; `None` where
    /// either has no interval.
    fn apart(&self, alpha: f64) -> Option<bool> {
        let (a, b) = self.both()?;
        let range = |e: Estimate| {
            let (lo, hi) = e.interval(alpha)?;
            let (less, more) = self.allowance(e);
            Some((lo - less * e.value.abs(), hi + more * e.value.abs()))
        };
        let ((a_lo, a_hi), (b_lo, b_hi)) = (range(a)?, range(b)?);
        Some(a_hi < b_lo || b_hi < a_lo)
    }

    /// How much smaller and larger a value would have been at most without what disturbed it, as shares of
    /// it.
    fn allowance(&self, e: Estimate) -> (f64, f64) {
        let (by, second) = e.disturbance();
        let (down, up) = self.disturbed.allowance(e.value, second, by);
        let share = |by: f64| if by > 0.0 { by / e.value.abs() } else { 0.0 };
        (share(down), share(up))
    }

    /// True when theory tells the two apart: they are farther from each other than it may be off, or on
    /// different sides of a bound.
    fn told_apart(&self) -> bool {
        let ([Some(l), Some(r)], Some((a, b))) = (self.cases, self.both()) else {
            return true;
        };
        let keeps = |case: &Case, e: Estimate| {
            let (from, to) = judge::allowed(self.relation, case.predicted.value, case.tolerance);
            (from..=to).contains(&e.value)
        };
        match self.relation {
            Relation::Near => (a.value - b.value).abs() > l.tolerance.max(r.tolerance),
            _ => keeps(l, a) != keeps(r, b),
        }
    }

    /// True when one of them is nought and the other is no small part of what theory speaks of.
    fn vanished(&self) -> bool {
        let Some((a, b)) = self.both() else {
            return false;
        };
        let (least, most) = (a.value.min(b.value), a.value.max(b.value));
        let bounds = self.cases.iter().flatten().map(|case| case.predicted.value.abs());
        let large = self.relation != Relation::Near && most > 0.1 * bounds.fold(0.0, f64::max);
        least == 0.0 && most > 0.0 && (large || self.told_apart())
    }

    /// A count or a number of bytes that nothing disturbs, and that no chance makes: equal seeds make it
    /// equal.
    fn is_fact(&self, same_seed: bool) -> bool {
        let certain = |e: Estimate| match e.spread() {
            Spread::Exact | Spread::Unknown => true,
            Spread::Mean { deviation, .. } => deviation == 0.0,
            Spread::Every(least, most) => least == most,
            _ => false,
        };
        let both = self.both();
        let certain = both.is_some_and(|(a, b)| certain(a) && certain(b));
        same_seed && certain && self.disturbed == Disturbed::Never
    }
}

/// Half the width of the interval of a ratio on the log scale (delta method).
fn log_half(a: Estimate, b: Estimate, alpha: f64) -> Option<f64> {
    let is = |e: Estimate, kind: fn(&Spread) -> bool| kind(&e.spread());
    let every = |s: &Spread| matches!(s, Spread::Every(..));
    let share = |s: &Spread| matches!(s, Spread::Share(..));
    if is(a, every) || is(b, every) {
        return None;
    }
    if is(a, share) || is(b, share) {
        // Their intervals are right for few hits as well; squared and added (Newcombe 1998).
        let own = |e: Estimate| {
            let (lo, hi) = e.interval(alpha)?;
            (lo > 0.0).then(|| (hi / lo).ln() / 2.0)
        };
        return Some(own(a)?.hypot(own(b)?));
    }
    let ratio = b.over(a);
    let (lo, hi) = ratio.interval(alpha)?;
    Some((hi - lo) / (2.0 * ratio.value.abs()))
}

/// How often chance alone puts all of so many values of one run below all of so many of another that differs
/// by nothing, or above them.
fn all_on_one_side(n: usize, m: usize) -> f64 {
    // Two of the ways to choose n of n + m.
    (1..=n).fold(2.0, |share, i| share * i as f64 / (m + i) as f64)
}

/// What became of a condition, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stand {
    Same,
    WithinNoise,
    CannotTell,
    CouldBeChance,
    Changed,
}

impl Stand {
    fn word(self) -> &'static str {
        match self {
            Stand::Same => "same",
            Stand::WithinNoise => "within noise",
            Stand::CannotTell => "cannot tell",
            Stand::CouldBeChance => "could be chance",
            Stand::Changed => "changed",
        }
    }

    fn of(beyond_all: bool, beyond_own: bool) -> Stand {
        match (beyond_all, beyond_own) {
            (true, _) => Stand::Changed,
            (_, true) => Stand::CouldBeChance,
            _ => Stand::WithinNoise,
        }
    }
}

/// By what conditions are judged.
struct Judge {
    /// How often chance may put one ratio beyond its interval, so that of all of them together it puts one
    /// there in [`ALPHA`] of comparisons.
    together: f64,
    /// Equal seeds give equal counts, where nothing disturbs them.
    same_seed: bool,
}

impl Judge {
    /// `own` is the share of runs in which chance may put the ratio beyond the interval that is shown.
    fn stand(&self, pair: &Pair, own: f64) -> Stand {
        let Some((a, b)) = pair.both() else {
            return Stand::Changed;
        };
        if a.value == b.value {
            return Stand::Same;
        }
        if let (Some(all), Some(own)) =
            (pair.ratio_interval(self.together), pair.ratio_interval(own))
        {
            let beyond = |(lo, hi): (f64, f64)| lo > 1.0 || hi < 1.0;
            return Stand::of(beyond(all), beyond(own));
        }
        if pair.is_fact(self.same_seed) {
            return match pair.told_apart() {
                true => Stand::Changed,
                false => Stand::WithinNoise,
            };
        }
        let ranges =
            matches!(a.spread(), Spread::Every(..)) || matches!(b.spread(), Spread::Every(..));
        match (pair.apart(own), pair.apart(self.together)) {
            (Some(false), _) => Stand::WithinNoise,
            // Nought is no small number: an interval that it is not in is enough, and so is none.
            _ if pair.vanished() => Stand::Changed,
            // The least and the greatest of few lie on one side by chance.
            (Some(true), _) if ranges => match all_on_one_side(a.trials, b.trials) <= self.together
            {
                true => Stand::Changed,
                false => Stand::CannotTell,
            },
            (Some(true), Some(beyond)) if pair.ratio().is_none() => Stand::of(beyond, true),
            _ => Stand::CannotTell,
        }
    }

    fn row(&self, lab: &str, a: Option<&Claim>, b: Option<&Claim>) -> Row {
        let either = a.or(b);
        let value = |claim: Option<&Claim>| Some(claim?.measured()?.value);
        let verdict = |claim: Option<&Claim>| Some(claim?.verdict().word());
        let named = either.and_then(|claim| Some(claim.named()?.0.name.clone()));
        let row = Row {
            lab: lab.into(),
            claim: either.map_or(String::new(), |claim| claim.text.clone()),
            unit: either.map_or("", |claim| claim.unit),
            condition: named.unwrap_or_default(),
            changed: Vec::new(),
            a: value(a),
            b: value(b),
            verdicts: [verdict(a), verdict(b)],
            ratio: None,
            ratio_ci95: None,
            judgement: NOT_IN_BOTH,
        };
        match (a, b) {
            (Some(a), Some(b)) => self.compared(a, b, row),
            _ => row,
        }
    }

    /// The row of a claim in both sets. What is shown is the condition that changed, of several the one that
    /// changed most.
    fn compared(&self, a: &Claim, b: &Claim, row: Row) -> Row {
        let pairs = pairs(a, b);
        let own = ALPHA / pairs.len().max(1) as f64;
        let stand = |p: &Pair| self.stand(p, own);
        let judged: Vec<(Pair, Stand)> = pairs.into_iter().map(|p| (p, stand(&p))).collect();
        // Without an interval it may be the farthest, and says no more.
        let order = |(p, stand): &(Pair, Stand)| {
            let stand = (*stand).max(Stand::CannotTell);
            (stand, p.far())
        };
        let farthest = judged.iter().max_by(|l, r| {
            let ((l, l_far), (r, r_far)) = (order(l), order(r));
            l.cmp(&r).then(l_far.total_cmp(&r_far))
        });
        let Some((pair, stand)) = farthest else {
            return Row { judgement: Stand::CannotTell.word(), ..row };
        };
        let changed = judged.iter().filter(|(_, stand)| *stand == Stand::Changed);
        let value = |e: Option<Estimate>| e.map(|e| e.value);
        let ratio = pair.both().map(|(a, b)| b.value / a.value);
        let interval = pair.ratio_interval(own);
        let [left, right] = pair.values();
        Row {
            condition: pair.name().into(),
            changed: changed.map(|(p, _)| p.name().to_string()).collect(),
            a: value(left),
            b: value(right),
            ratio: ratio.filter(|r| r.is_finite()),
            ratio_ci95: interval.map(|(lo, hi)| [lo, hi]),
            judgement: stand.word(),
            ..row
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claim::Law,
        disturbance::{Disturbance, Resource},
        given::Given,
        origin::Origin,
    };

    const TIMERS: Disturbed = Disturbed::Longer(Resource::Timers);

    fn judge(ratios: usize) -> Judge {
        Judge { together: ALPHA / ratios as f64, same_seed: true }
    }

    fn row(a: &Claim, b: &Claim) -> Row {
        judge(1).row("lab03", Some(a), Some(b))
    }

    fn of_estimates(disturbed: Disturbed, cases: &[(&str, Option<Estimate>)]) -> Claim {
        let case =
            |(name, measured): &(&str, Option<Estimate>)| Case::new(*name, 100.0, *measured, 5.0);
        Law::new("law", "", disturbed).near(cases.iter().map(case))
    }

    /// A law over conditions of three trials each, a half apart.
    fn law(values: &[(&str, f64)]) -> Claim {
        let trials = |(name, value): &(&'static str, f64)| {
            (*name, Estimate::of(&[value - 0.5, *value, value + 0.5]))
        };
        let values: Vec<(&'static str, f64)> =
            values.iter().map(|(name, value)| (&*name.to_string().leak(), *value)).collect();
        let cases: Vec<(&str, Option<Estimate>)> = values.iter().map(trials).collect();
        of_estimates(TIMERS, &cases)
    }

    /// The worst condition of A is not that of B; only like is compared with like.
    #[test]
    fn laws_are_compared_condition_by_condition() {
        let a = law(&[("1", 90.0), ("10", 101.0), ("100", 99.0), ("1000", 100.0)]);
        let b = law(&[("1", 90.2), ("10", 101.0), ("100", 99.5), ("1000", 100.0)]);
        let same = row(&a, &a);
        assert_eq!((same.a, same.judgement), (same.b, "same"));
        let other = row(&a, &b);
        assert_eq!(
            (other.condition.as_str(), other.a, other.b, other.judgement),
            ("100", Some(99.0), Some(99.5), "within noise")
        );
        // One condition of four is enough for a change, and it is the one that is shown.
        let c = law(&[("1", 90.0), ("10", 101.0), ("100", 198.0), ("1000", 100.0)]);
        let changed = row(&a, &c);
        assert_eq!((changed.condition.as_str(), changed.judgement), ("100", "changed"));
        assert!((changed.ratio.unwrap() - 2.0).abs() < 0.01);
        assert!(changed.change().starts_with("B is 2 ["), "{}", changed.change());
    }

    #[test]
    fn a_change_is_shown_although_a_noisy_condition_lies_farther_off() {
        let noisy = |value: f64| Estimate::of(&[value, 3.0 * value, 9.0 * value]);
        let steady = |value: f64| Estimate::of(&[value - 0.5, value, value + 0.5]);
        let a = of_estimates(TIMERS, &[("noisy", noisy(10.0)), ("steady", steady(100.0))]);
        let b = of_estimates(TIMERS, &[("noisy", noisy(30.0)), ("steady", steady(150.0))]);
        let row = row(&a, &b);
        assert_eq!((row.condition.as_str(), row.judgement), ("steady", "changed"));
    }

    #[test]
    fn what_vanished_has_changed() {
        let of = |v: f64| {
            let case = Case::exact("2000 clients", 0.0, Some(Estimate::exact(v)));
            Law::counted("lost", "").near([case])
        };
        let row = row(&of(0.0), &of(3.0));
        assert_eq!((row.judgement, row.ratio), ("changed", None));
        assert_eq!(row.change(), "0 in A, 3 in B");
    }

    /// Goodput that is nought at three of four levels, and a level that was left out.
    #[test]
    fn nought_and_missing_are_changes_and_are_named() {
        let values = [("1", 10.0), ("50", 990.0), ("500", 400.0), ("2000", 20.0)];
        let a = law(&values);
        for trials in [1, 3] {
            let none = Estimate::of(&[0.0; 3][..trials]);
            let few = |(name, value): (&'static str, f64)| {
                (name, Estimate::of(&[value, value * 1.01, value * 0.99][..trials]))
            };
            let before = of_estimates(TIMERS, &values.map(few));
            let mut cases = values.map(few);
            (cases[1].1, cases[2].1, cases[3].1) = (none, none, none);
            let row = row(&before, &of_estimates(TIMERS, &cases));
            assert_eq!((row.judgement, row.b), ("changed", Some(0.0)), "{trials}");
            assert_eq!(row.changed, ["50", "500", "2000"]);
            assert!(row.named().ends_with(" and 2 more)"), "{}", row.named());
        }
        let missing = law(&values[..3]);
        for (row, told) in
            [(row(&a, &missing), "not measured in B"), (row(&missing, &a), "not measured in A")]
        {
            assert_eq!(
                (row.judgement, row.condition.as_str(), row.change()),
                ("changed", "2000", told.to_string())
            );
        }
        let unmeasured = of_estimates(TIMERS, &[("1", None)]);
        assert_eq!(row(&unmeasured, &unmeasured).judgement, "cannot tell");
    }

    #[test]
    fn few_that_may_be_none_by_chance_have_not_changed() {
        let of = |hits| of_estimates(TIMERS, &[("", Estimate::share(hits, 100))]);
        assert_eq!(row(&of(0), &of(1)).judgement, "within noise");
        assert_eq!(row(&of(0), &of(50)).judgement, "changed");
        let of = |last| of_estimates(TIMERS, &[("", Estimate::of(&[0.0, 0.0, last]))]);
        assert_eq!(row(&of(0.0), &of(1.0)).judgement, "within noise");
    }

    #[test]
    fn a_single_sample_has_not_changed_unless_nothing_disturbs_it() {
        let of = |disturbed, v| of_estimates(disturbed, &[("", Estimate::of(&[v]))]);
        let word = |disturbed, b| {
            let row = row(&of(disturbed, 100.0), &of(disturbed, b));
            assert_eq!(row.ratio_ci95, None);
            row.judgement
        };
        assert_eq!(word(TIMERS, 110.0), "cannot tell");
        // Theory may be off by 5.
        assert_eq!(word(Disturbed::Never, 110.0), "changed");
        assert_eq!(word(Disturbed::Never, 103.0), "within noise");
        // Neither has one of several values that happen to be equal, nor one that must hold in every trial.
        let equal = |v: f64| of_estimates(TIMERS, &[("", Estimate::of(&[v; 3]))]);
        assert_eq!(row(&equal(100.0), &equal(103.0)).judgement, "cannot tell");
        let every = |values: &[f64]| of_estimates(TIMERS, &[("", Estimate::every(values))]);
        assert_eq!(row(&every(&[100.0]), &every(&[103.0])).judgement, "cannot tell");
        assert_eq!(row(&every(&[1.0, 2.0]), &every(&[1.5, 2.5])).judgement, "within noise");
        let (low, high): (Vec<f64>, Vec<f64>) =
            (0..8).map(|i| (f64::from(i) + 1.0, f64::from(i) + 20.0)).unzip();
        assert_eq!(row(&every(&low), &every(&high)).judgement, "changed");
        assert_eq!(row(&every(&low[..2]), &every(&high[..2])).judgement, "cannot tell");
        // Another seed makes other counts.
        let other = Judge { same_seed: false, ..judge(1) };
        let (a, b) = (of(Disturbed::Never, 100.0), of(Disturbed::Never, 110.0));
        assert_eq!(other.row("", Some(&a), Some(&b)).judgement, "cannot tell");
    }

    #[test]
    fn of_what_keeps_a_bound_only_what_no_longer_does_has_changed() {
        let most = |v: f64, bound: f64| {
            let case = Case::exact("", bound, Some(Estimate::exact(v)));
            Law::counted("at most", "").at_most([case])
        };
        assert_eq!(row(&most(25.0, 40.0), &most(39.0, 40.0)).judgement, "within noise");
        assert_eq!(row(&most(25.0, 40.0), &most(41.0, 40.0)).judgement, "changed");
        let single = |v: f64| {
            let case = Case::exact("", 40.0, Estimate::of(&[v]));
            Law::new("at most", "", TIMERS).at_most([case])
        };
        assert_eq!(row(&single(0.0), &single(39.0)).judgement, "changed");
        assert_eq!(row(&single(0.0), &single(1.0)).judgement, "cannot tell");
        // Nought is nothing special between what is less and what is more.
        assert_eq!(row(&single(0.0), &single(-20.0)).judgement, "cannot tell");
    }

    /// Other arrivals, of which theory knows that they make others wait as long.
    #[test]
    fn what_theory_replays_from_the_trials_has_changed_only_beyond_that() {
        let of = |measured: f64, predicted: f64| {
            let origin = Origin::condition(0);
            let trials = Estimate::of(&[measured - 0.5, measured, measured + 0.5]);
            let trials = trials.map(|e| e.from(origin));
            let case = Case::new("", Given::new(predicted, origin), trials, 5.0);
            Law::new("law", "", TIMERS).near([case])
        };
        let word = |a: &Claim, b: &Claim| (row(a, b).judgement, row(b, a).judgement);
        assert_eq!(word(&of(100.0, 100.0), &of(130.0, 131.0)), ("within noise", "within noise"));
        assert_eq!(word(&of(100.0, 100.0), &of(130.0, 100.0)), ("changed", "changed"));
    }

    #[test]
    fn of_many_ratios_some_lie_beyond_their_own_interval() {
        let of = |v: f64| of_estimates(TIMERS, &[("", Estimate::of(&[v - 0.5, v, v + 0.5]))]);
        let (a, b) = (of(100.0), of(101.5));
        let word = |ratios: usize| judge(ratios).row("", Some(&a), Some(&b)).judgement;
        assert_eq!((word(1), word(1000)), ("changed", "could be chance"));
        assert_eq!(judge(1000).row("", Some(&a), Some(&of(130.0))).judgement, "changed");
    }

    #[test]
    fn what_disturbed_the_trials_widens_the_interval() {
        let stalled =
            Disturbance { stall_s: 3.0, worst_stall_s: 3.0, wall_s: 100.0, others_s: 0.0 };
        let calm = Estimate::of(&[10.0, 10.1, 9.9]).unwrap();
        let long = Estimate::of(&[12.0, 12.1, 11.9]).unwrap();
        let one = |e: Estimate| of_estimates(TIMERS, &[("", Some(e))]);
        assert_eq!(row(&one(calm), &one(long)).judgement, "changed");
        let disturbed = one(long.disturbed(stalled));
        assert_eq!(row(&one(calm), &disturbed).judgement, "within noise");
    }

    #[test]
    fn ratios_have_intervals_only_where_logarithms_exist() {
        let e = |value: f64| Some(Estimate::with_error(value, value / 20.0, 1000));
        let interval = |left, right| {
            let [a, b] = [left, right].map(|e| of_estimates(Disturbed::Never, &[("", e)]));
            pairs(&a, &b).first()?.ratio_interval(0.05)
        };
        let (lo, hi) = interval(e(10.0), e(20.0)).unwrap();
        assert!(lo < 2.0 && 2.0 < hi && hi < 2.4);
        assert_eq!(interval(e(0.0), e(1.0)), None);
        assert_eq!(interval(Estimate::of(&[1.0]), e(1.0)), None);
        assert_eq!(interval(None, e(1.0)), None);
    }

    #[test]
    fn two_runs_of_three_are_on_either_side_by_chance_once_in_ten() {
        assert!((all_on_one_side(3, 3) - 0.1).abs() < 1e-12);
        assert!((all_on_one_side(1, 1) - 1.0).abs() < 1e-12);
        assert!((all_on_one_side(2, 5) - 2.0 / 21.0).abs() < 1e-12);
    }
}
