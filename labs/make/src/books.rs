//! Reading a service's books.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mock_server::{Body, Entry, Upstream};

pub use mock_server::books::{
    attempts, beside, by_path, changes, found_empty, from_to, most_in_flight, under,
};

use crate::{line::Moment, verdict::Verdict};

/// Widest chart, in characters.
const WIDTH: usize = 60;
/// So often, at about a millisecond each, the books are looked at without anything new before a program is said to
/// stand still. Looks and not time: a machine that stands still does not look either.
const LOOKS: u32 = 2000;

/// What the service answers on a path: known to it and to the judge, and not to be guessed.
#[must_use]
pub fn stamp(secret: u64, path: &str) -> u64 {
    // FNV-1a (Fowler, Noll and Vo, 1991), then SplitMix64's finish.
    let mut state = 0xcbf2_9ce4_8422_2325 ^ secret;
    for byte in path.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state ^ (state >> 27)
}

/// When there was something under way: a row for each name, all on one scale of time.
#[must_use]
pub fn lanes(rows: &[(&str, &[Entry])]) -> Vec<String> {
    let all = || rows.iter().flat_map(|(_, entries)| entries.iter());
    let first = all().map(|entry| entry.arrived).min().unwrap_or_default();
    let last = all().filter_map(|entry| entry.left).max().unwrap_or_default();
    let whole = last.saturating_sub(first).max(Duration::from_nanos(1));
    let column = |at: Duration| {
        let share = at.saturating_sub(first).as_secs_f64() / whole.as_secs_f64();
        ((share * WIDTH as f64) as usize).min(WIDTH - 1)
    };
    let name = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (row, entries) in rows {
        let mut bar = [' '; WIDTH];
        for entry in *entries {
            let end = entry.left.unwrap_or(last).max(entry.arrived);
            bar[column(entry.arrived)..=column(end)].fill('█');
        }
        lines.push(format!("{row:>name$} │{}│", bar.iter().collect::<String>()));
    }
    let end = format!("{:.0} ms", whole.as_secs_f64() * 1e3);
    lines.push(format!("{:>name$}  0{end:>width$}", "", width = WIDTH - 1));
    lines
}

/// From moments that begin something to those that end it, as entries of a book. Where a moment stands among all is its
/// time: these can be held against each other, and not against those of a service.
#[must_use]
pub fn spans(moments: &[Moment], begins: &str, ends: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (at, Moment { what, of, .. }) in (0..).map(Duration::from_nanos).zip(moments) {
        if what == begins {
            entries.push(Entry {
                method: begins.to_owned(),
                path: of.clone(),
                arrived: at,
                left: None,
                status: 0,
                retry_after: None,
                abandoned: false,
            });
        } else if what == ends {
            let open = entries.iter_mut().find(|e| e.path == *of && e.left.is_none());
            open.into_iter().for_each(|entry| entry.left = Some(at));
        }
    }
    entries
}

/// What a service was given, by path.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<BTreeMap<String, String>>>);

impl Kept {
    /// What was given last to a path.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

/// An empty answer that keeps what comes with the request, and where it is kept.
#[must_use]
pub fn keeping() -> (Body, Kept) {
    let kept = Kept::default();
    let into = kept.clone();
    let body = Body::made("text/plain", move |asked| {
        let content = String::from_utf8_lossy(asked.body).into_owned();
        let mut kept = into.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(asked.path.to_owned(), content);
        Vec::new()
    });
    (body, kept)
}

/// For `Run::stop_when`: true when the service has not been asked anything new for 2000 looks, some seconds.
pub fn stand_still(upstream: &Upstream) -> impl FnMut() -> bool {
    let (mut looks, mut before) = (0, 0);
    move || {
        let now = upstream.counters().arrived;
        looks = if now == before { looks + 1 } else { 0 };
        before = now;
        looks > LOOKS
    }
}

/// When requests were at the service, a row for each label: `█` for an answer, `▒` for a failure, `░` for an
/// answer that nobody waited for.
#[must_use]
pub fn timeline(rows: &[(String, Vec<&Entry>)]) -> Vec<String> {
    let all = || rows.iter().flat_map(|(_, entries)| entries);
    let first = all().map(|entry| entry.arrived).min().unwrap_or_default();
    let last = all().map(|entry| entry.left.unwrap_or(entry.arrived)).max().unwrap_or_default();
    let whole = (last - first).max(Duration::from_nanos(1));
    let column = |at: Duration| {
        let share = (at - first).as_secs_f64() / whole.as_secs_f64();
        ((share * WIDTH as f64) as usize).min(WIDTH - 1)
    };
    let wide = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (label, entries) in rows {
        let mut row = [' '; WIDTH];
        for entry in entries {
            let mark = match (entry.abandoned, entry.status) {
                (true, _) => '░',
                (false, 200) => '█',
                _ => '▒',
            };
            row[column(entry.arrived)..=column(entry.left.unwrap_or(last))].fill(mark);
        }
        lines.push(format!("{label:>wide$} │{}│", row.iter().collect::<String>()));
    }
    let ms = whole.as_secs_f64() * 1e3;
    lines.push(format!("{:>wide$}  0 {ms:>width$.0} ms", "", width = WIDTH - 4));
    lines
}

/// Looks whether each of these paths was asked for once, and nothing else was.
pub fn each_once(
    verdict: &mut Verdict,
    ledger: &[Entry],
    paths: impl Iterator<Item = String>,
) -> bool {
    let mut attempts = attempts(ledger);
    let (mut wanted, mut never, mut again) = (0, 0, 0);
    for path in paths {
        wanted += 1;
        match attempts.remove(path.as_str()) {
            None => never += 1,
            Some(1) => {}
            Some(_) => again += 1,
        }
    }
    let other = attempts.len();
    let mut said = format!("of {wanted} paths, {} were asked for once", wanted - never - again);
    for (count, what) in
        [(never, "never"), (again, "more than once"), (other, "without being wanted")]
    {
        if count > 0 {
            said.push_str(&format!(", {count} {what}"));
        }
    }
    verdict.check(never + again + other == 0, said)
}

/// As [`in_flight_chart`], of items under way, with words of its own above it.
#[must_use]
pub fn under_way_chart(above: &str, items: &[Entry], limit: usize) -> Vec<String> {
    let mut lines = in_flight_chart(items, limit);
    if let Some(first) = lines.first_mut() {
        above.clone_into(first);
    }
    lines
}

/// How many requests the service had over time: a row a number, the highest first, the limit marked.
#[must_use]
pub fn in_flight_chart(ledger: &[Entry], limit: usize) -> Vec<String> {
    let changes = changes(ledger);
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
        return Vec::new();
    };
    let (first, whole) = (first.0, (last.0 - first.0).max(Duration::from_nanos(1)));
    let mut most_in = [0_isize; WIDTH];
    let mut now = 0_isize;
    let mut column = 0;
    for (at, change) in changes {
        let share = (at - first).as_secs_f64() / whole.as_secs_f64();
        let here = ((share * WIDTH as f64) as usize).min(WIDTH - 1);
        for between in &mut most_in[column..=here] {
            *between = (*between).max(now);
        }
        now += change;
        column = here;
        most_in[here] = most_in[here].max(now);
    }
    let top = most_in.iter().copied().max().unwrap_or(0);
    let step = (top.cast_unsigned().max(limit)).div_ceil(12).max(1);
    let rows = top.cast_unsigned().max(limit).div_ceil(step);
    let mut lines = vec!["requests in flight, as the service counts them:".to_owned()];
    for row in (1..=rows).rev() {
        let level = row * step;
        let bars: String = most_in
            .iter()
            .map(|&n| if n.cast_unsigned() + step > level { '█' } else { ' ' })
            .collect();
        let limit = if (level - step + 1..=level).contains(&limit) { " ← limit" } else { "" };
        lines.push(format!("{level:>5} │{bars}│{limit}"));
    }
    lines.push(format!("      0 {:>width$.0} ms", whole.as_secs_f64() * 1e3, width = WIDTH - 3));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(arrived: u64, left: u64) -> Entry {
        Entry {
            method: "GET".to_owned(),
            path: format!("/{arrived}"),
            arrived: Duration::from_millis(arrived),
            left: Some(Duration::from_millis(left)),
            status: 200,
            retry_after: None,
            abandoned: false,
        }
    }

    #[test]
    fn lanes_have_one_scale() {
        let (fetches, stores) = ([entry(0, 10), entry(10, 20)], [entry(20, 30)]);
        let lines = lanes(&[("fetch", &fetches), ("store", &stores)]);
        assert!(lines[0].starts_with("fetch │████") && lines[1].ends_with("████│"), "{lines:#?}");
    }

    #[test]
    fn spans_end_where_their_own_moments_are() {
        let moment =
            |idle, what: &str, of: &str| Moment { idle, what: what.to_owned(), of: of.to_owned() };
        let moments = [
            moment(1, "asks", "/1"),
            moment(1, "digests", "7"),
            moment(1, "asks", "/2"),
            moment(2, "answered", "/2"),
            moment(2, "digested", "7"),
            moment(4, "asks", "/2"),
        ];
        let asked = spans(&moments, "asks", "answered");
        let ends: Vec<_> = asked.iter().map(|e| e.left.map(|left| left.as_nanos())).collect();
        assert_eq!(ends, [None, Some(3), None]);
        assert_eq!(beside(&spans(&moments, "digests", "digested"), &asked[1..]), 1);
    }

    #[test]
    fn once_is_neither_never_nor_twice() {
        let ledger = [entry(0, 1), entry(1, 2), entry(1, 3), entry(9, 10)];
        let mut verdict = Verdict::new();
        let paths = ["/0", "/1", "/2"].map(str::to_owned);
        assert!(!each_once(&mut verdict, &ledger, paths.into_iter()));
        let said = &verdict.checks[0].said;
        assert_eq!(
            said,
            "of 3 paths, 1 were asked for once, 1 never, 1 more than once, 1 without being wanted"
        );
    }

    #[test]
    fn the_chart_reaches_the_limit_and_the_most() {
        let ledger: Vec<_> = (0..30).map(|n| entry(n, n + 30)).collect();
        let lines = in_flight_chart(&ledger, 5);
        assert!(lines.len() <= 14, "{lines:#?}");
        assert!(lines.iter().any(|line| line.ends_with("← limit")));
    }

    #[test]
    fn a_timeline_has_a_row_for_each_label() {
        let ledger = [entry(0, 10), entry(5, 60), entry(50, 60)];
        assert_eq!(by_path(&ledger)["/5"].len(), 1);
        let given_up = Entry { abandoned: true, ..ledger[1].clone() };
        let rows = [
            ("a".to_owned(), vec![&ledger[0], &ledger[2]]),
            ("longer".to_owned(), vec![&given_up]),
        ];
        let lines = timeline(&rows);
        assert!(lines[0].starts_with("     a │█") && lines[0].ends_with("█│"), "{lines:#?}");
        assert_eq!(lines[1].matches('░').count(), 55);
        assert!(timeline(&[]).len() == 1);
    }

    #[test]
    fn a_stamp_belongs_to_its_secret_and_path() {
        assert_eq!(stamp(1, "/a"), stamp(1, "/a"));
        assert_ne!(stamp(1, "/a"), stamp(2, "/a"));
        assert_ne!(stamp(1, "/a"), stamp(1, "/b"));
    }
}
