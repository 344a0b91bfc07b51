//! Theory beside measurement for lab14.

use lab_kit::prelude::*;

use super::{Params, gauges, languages, laws::Away};

/// A timer is rounded up to the next millisecond, its thread needs some time to wake, and so does
/// the thread at the other end of the connection.
pub(super) const LATE: f64 = 3e-3;
/// A thread that wakes while all processors compute gets one within a time slice of the operating
/// system: 3 to 4 ms on Linux.
const SLICE: f64 = 4e-3;
/// Computations of the same cost differ by as much of it.
const UNLIKE: f64 = 0.02;

/// Times get longer when others have the processors.
const LONGER: Disturbed = Disturbed::Longer(Resource::Processors);

/// The quantiles of the echoes that are held against theory.
const QUANTILES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (1.0, "slowest")];

/// The conversations: their series, and where the mathematics is done.
const CONVERSATIONS: [(&str, &str); 6] = [
    ("quiet", "nobody asks"),
    ("inline", "on the event loop"),
    ("spawn_blocking", "spawn_blocking"),
    ("rayon", "rayon + oneshot"),
    ("process", "another process"),
    ("killed", "another process, killed"),
];

/// Those of the figures, with their titles and colours.
const DRAWN: [(&str, &str, Colour); 5] = [
    ("quiet", "Nobody asks", Colour::Muted),
    ("inline", "On the event loop", Colour::Vermilion),
    ("spawn_blocking", "spawn_blocking", Colour::Blue),
    ("rayon", "rayon + oneshot", Colour::Green),
    ("process", "another process", Colour::Purple),
];

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    let figures = [view.echoes(), view.quantiles(), view.leavers()];
    Findings {
        headline: view.headline(),
        figures: figures.into_iter().flatten().collect(),
        tables: std::iter::once(view.table()).chain(languages::table(summary)).collect(),
        claims: [view.claims(), languages::claims(p, summary)].concat(),
        answers: view.answers(),
    }
}

fn sum(trial: &Trial, one: Gauge, other: Gauge) -> Option<f64> {
    Some(trial.gauge(one)? + trial.gauge(other)?)
}

/// The users who lost their connection.
pub(super) fn gone(trial: &Trial) -> Option<f64> {
    sum(trial, gauges::USERS_LEFT, gauges::USERS_DISCONNECTED)
}

/// Dots without a line: what lies between them nobody measured.
fn dots(colour: Colour, points: Vec<(f64, f64)>) -> Line {
    Line { style: Style::Dots, ..Line::measured("", colour, points) }
}

/// Where its mathematics is done, in words.
fn place(k: &Condition) -> &'static str {
    let mut all = CONVERSATIONS.iter();
    let found = all.find(|(series, _)| *series == k.series());
    found.map_or("", |(_, place)| place)
}

/// "rayon + oneshot, 200 users".
fn place_and_users(k: &Condition) -> String {
    format!("{}, {} users", place(k), number(k.x()))
}

/// A record beside its flags.
struct View<'a> {
    p: &'a Params,
    summary: &'a Summary<'a>,
    conversations: Vec<Condition<'a>>,
    /// The blocks of the event loop to lose users by.
    losses: Vec<Condition<'a>>,
}

/// What was measured.
impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let conversations = CONVERSATIONS.into_iter();
        let conversations = conversations.flat_map(|(series, _)| summary.series(series));
        View {
            p,
            summary,
            conversations: conversations.collect(),
            losses: summary.series("losses"),
        }
    }

    /// The conversations in which somebody else computes.
    fn elsewhere(&self) -> impl Iterator<Item = &Condition<'a>> {
        let all = self.conversations.iter();
        all.filter(|k| !matches!(k.series(), "quiet" | "inline"))
    }

    /// The blocks of the event loop in the conversations.
    fn blocks(&self) -> impl Iterator<Item = Block<'a>> {
        let all = self.conversations.iter();
        let inline = all.filter(|k| k.series() == "inline");
        inline.map(|k| self.block(k, k.x(), self.p.block.s()))
    }

    /// And those to lose users by.
    fn long_blocks(&self) -> impl Iterator<Item = Block<'a>> {
        let all = self.losses.iter();
        all.map(|k| self.block(k, self.first(), k.x()))
    }

    fn block(&self, k: &Condition<'a>, users: f64, asked: f64) -> Block<'a> {
        Block { p: self.p, k: *k, users, asked }
    }

    /// The slowest 1 % of the echoes of the first crowd take at least that.
    fn p99(&self, series: &str) -> Option<Estimate> {
        self.summary.only(series)?.latency(0.99)
    }

    /// The users lost when the process is killed.
    fn lost(&self) -> Option<Estimate> {
        self.summary.only("killed")?.total(gone)
    }
}

/// What theory says.
impl View<'_> {
    /// Users of the first crowd, with which everything is tried.
    fn first(&self) -> f64 {
        self.summary.only("quiet").map_or(f64::NAN, |k| k.x())
    }

    /// A quantile of the echoes when nobody asks.
    fn quiet(&self, users: f64, q: f64) -> Option<Given> {
        Some(self.summary.at("quiet", users)?.latency(q)?.into())
    }

    /// How long the server needs to see to every connection once: to read what it has said and to
    /// write what waits for it, which costs what it costs when nobody asks.
    fn round(&self, users: f64) -> Option<Given> {
        let event = self.summary.at("quiet", users)?.estimate(|t| {
            let messages = t.gauge(gauges::MESSAGES_MEANT)? + t.offered as f64;
            let heartbeats = 2.0 * users * t.wall_s / self.p.beat.s();
            Some(t.gauge(gauges::SERVER_BUSY_SHARE)? * t.wall_s / (messages + heartbeats))
        })?;
        Some(2.0 * users * Given::from(event))
    }

    /// How many times as long as was asked for mathematics on the event loop takes, by another
    /// experiment: the blocks to lose users by.
    fn stretch(&self) -> Given {
        let of = |k: &Condition| Some(Given::from(k.gauge(gauges::BUSY_S)?) / k.x());
        let stretch = self.losses.first().and_then(of);
        // Where there is none: as long as was asked for.
        stretch.unwrap_or(Given::from(1.0))
    }

    /// A figure of the law of the block in the conversation of so many users; `None` where nobody
    /// measured how it is when nobody asks.
    fn law(&self, users: f64, figure: impl FnOnce(&Away, f64) -> f64) -> Option<Given> {
        let block = self.p.block.s() * self.stretch();
        let (after, calm) = (self.round(users)?, self.quiet(users, 0.5)?);
        let away = Away { block: block.value, after: after.value, ..self.p.away(self.p.block.s()) };
        let origin = block.origin().and(after.origin()).and(calm.origin());
        Some(Given::new(figure(&away, calm.value), origin))
    }

    /// Quantile of the echoes when the event loop computes.
    fn waits(&self, users: f64, q: f64) -> Option<Given> {
        self.law(users, |away, calm| away.quantile(q, calm))
    }

    /// Most of what the slowest 1 % of the echoes take at least while somebody else computes: as when
    /// nobody asks, a time slice for each of the two threads they pass, and the time to work off what
    /// has come meanwhile, for which there is what server and users leave of a processor.
    fn sliced(&self, users: f64) -> Option<Given> {
        let k = self.summary.at("quiet", users)?;
        let busy = |t: &Trial| sum(t, gauges::SERVER_BUSY_SHARE, gauges::USERS_BUSY_SHARE);
        let left = 1.0 - Given::from(k.estimate(busy)?);
        let left = left.map(|left| left.max(0.05));
        Some(self.quiet(users, 0.99)? + 2.0 * SLICE / left)
    }
}

/// A block of the event loop by which users may be lost.
struct Block<'a> {
    p: &'a Params,
    k: Condition<'a>,
    users: f64,
    asked: f64,
}

impl Block<'_> {
    fn name(&self) -> String {
        format!("a block of {}, {} users", seconds(self.asked), number(self.users))
    }

    /// The share that leaves whatever the block turns out to be, since no two computations of the same
    /// cost are alike: nobody or everybody; `None` where it depends on that.
    fn certain(&self) -> Option<f64> {
        let share = |asked: f64| self.p.away(asked).leave_share();
        let least = share(self.asked);
        let most = share(self.asked * (1.0 + 2.0 * UNLIKE) + LATE);
        (least == most).then_some(least)
    }

    /// Where a block that everybody stays through, by the flags, has lost somebody, it tells nothing of what
    /// those notice who stay.
    fn stayed(&self) -> bool {
        let nobody = |gone: Estimate| gone.value == 0.0;
        self.certain() != Some(0.0) || self.k.total(gone).is_some_and(nobody)
    }

    /// The share of the users who leave, less what a law says for the trial.
    fn gone(&self, law: impl Fn(&Trial) -> Option<f64>) -> Option<Estimate> {
        let beat = self.p.beat.s();
        // Estimated as time of silence, which is what a stall makes longer.
        let silence = |t: &Trial| Some((gone(t)? / self.users - law(t)?) * beat);
        Some(self.k.estimate(silence)?.scaled(1.0 / beat))
    }

    /// What holds of every block as it was.
    fn was(&self, holds: impl Fn(f64, &Trial) -> bool) -> bool {
        let of = |t: &Trial| t.gauge(gauges::BUSY_S).is_some_and(|busy| holds(busy, t));
        self.k.trials().iter().all(of)
    }
}

/// A case whose prediction may not be there, because what it rests on was not measured.
fn case(
    name: String,
    predicted: Option<Given>,
    measured: Option<Estimate>,
    tolerance: f64,
) -> Case {
    let missing = Given::from(f64::NAN);
    let measured = measured.filter(|_| predicted.is_some());
    Case::new(name, predicted.unwrap_or(missing), measured, tolerance)
}

/// A count of which each trial must have none.
fn none<'q>(
    unit: &'static str,
    count: impl Fn(&Condition, &Trial) -> Option<f64> + 'q,
) -> Quantity<'q> {
    let read = move |k: &Condition| k.every(|t| count(k, t));
    Quantity::new(unit, number, read).theory(|_| Some(0.0))
}

/// The claims and the answers.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![self.late_echoes(), self.missed_heartbeats()];
        claims.extend(self.leaving());
        claims.extend(self.beside_the_loop());
        claims.extend(self.counts());
        claims
    }

    fn late_echoes(&self) -> Claim {
        // Between two messages: one more or less beyond a quantile moves it by that.
        let apart = 1.0 / self.p.rate as f64;
        let tolerance = UNLIKE * self.p.block.s() + LATE + apart;
        let cases = self.blocks().flat_map(|b| {
            QUANTILES.map(|(q, quantile)| {
                let name = format!("{quantile}, {} users", number(b.users));
                let measured = b.k.latency(q).filter(|_| b.stayed());
                case(name, self.waits(b.users, q), measured, tolerance)
            })
        });
        Law::new("mathematics on the event loop: an echo that falls due meanwhile waits for the rest of it", "s", LONGER)
            .within("2 % of the block, by which computations of the same cost differ, 3 ms for late timers, and the time between two messages")
            .near(cases)
    }

    fn missed_heartbeats(&self) -> Claim {
        let p = self.p;
        let cases = self.blocks().map(|b| {
            // Counted as time without heartbeats, which is what a stall makes longer.
            let users_per_s = b.users / p.beat.s();
            let silence = |t: &Trial| Some(t.gauge(gauges::MISSED_HEARTBEATS)? / users_per_s);
            let measured = b.k.estimate(silence).filter(|_| b.stayed());
            case(
                format!("{} users", number(b.users)),
                self.law(b.users, |away, _| b.users * away.missed()),
                measured.map(|m| m.scaled(users_per_s)),
                (UNLIKE * p.block.s() + LATE) * users_per_s + 3.0,
            )
        });
        Law::new("mathematics on the event loop: every heartbeat that falls due meanwhile is missed, block/beat of each user's", "heartbeats", LONGER)
            .within("as many as fall due in 2 % of the block, by which computations of the same cost differ, and 3 ms for late timers; 3 because users are whole")
            .near(cases)
    }

    fn leaving(&self) -> [Claim; 3] {
        let (beat, patience) = (self.p.beat.s(), self.p.patience.s());
        let blocks: Vec<Block> = self.blocks().chain(self.long_blocks()).collect();
        let of = |certain| blocks.iter().filter(move |b| b.certain() == certain);
        let nobody = of(Some(0.0)).map(|b| {
            let short = b.was(|busy, _| busy + beat < patience);
            let measured = b.gone(|_| Some(0.0)).filter(|_| short);
            Case::new(b.name(), 0.0, measured, 1.5 / b.users)
        });
        let everybody = of(Some(1.0)).map(|b| {
            let long = b.was(|busy, t| busy > patience && t.ok < t.offered);
            let share = b.k.every(|t| Some(gone(t)? / b.users));
            Case::exact(b.name(), 1.0, share.filter(|_| long))
        });
        let some = of(None).map(|b| {
            let (predicted, measured) = self.some_leave(b).unzip();
            case(b.name(), predicted, measured, LATE / beat + 1.5 / b.users)
        });
        [
            Law::new("nobody leaves while the block and a beat are shorter than the patience", "of the users", LONGER)
                .within("a user and a half: they are whole")
                .near(nobody),
            Law::counted("everybody leaves when the block is longer than the patience", "of the users")
                .near(everybody),
            Law::new("between, those leave for whom the block as it was and what had passed of their beat before it exceed the patience", "of the users", LONGER)
                .within("those whose beat ends in the 3 ms by which timers are late, and a user and a half: they are whole")
                .near(some),
        ]
    }

    /// The share that should leave after the blocks as they were, and the share that does.
    fn some_leave(&self, b: &Block) -> Option<(Given, Estimate)> {
        let after = self.round(b.users)?;
        let says = |t: &Trial| {
            let away = Away {
                block: t.gauge(gauges::BUSY_S)?,
                after: after.value,
                ..self.p.away(b.asked)
            };
            Some(away.leave_share())
        };
        let predicted = Given::from(b.k.estimate(says)?).and(after.origin());
        let measured = b.gone(says)?.shifted(predicted.value);
        Some((predicted, measured))
    }

    /// What the conversation notices of mathematics that is done elsewhere.
    fn beside_the_loop(&self) -> [Claim; 2] {
        let slowest = |k: &Condition| k.every(|t| t.latency.quantile_s(0.99));
        let goal = 0.1 * self.p.block.s();
        let within = self.elsewhere();
        let within = within.map(|k| Case::exact(place_and_users(k), goal, slowest(k)));
        let slices = self.elsewhere();
        let slices = slices.map(|k| case(place_and_users(k), self.sliced(k.x()), slowest(k), 0.0));
        [
            Law::new("mathematics elsewhere: 99 % of everybody else's echoes come within a tenth of the time that it takes, even when its process is killed", "s", LONGER)
                .goal()
                .at_most(within),
            Law::new("mathematics elsewhere adds to the 99th percentile of the echoes at most two time slices of the operating system, one for each thread they pass, and the working off of what came meanwhile", "s", LONGER)
                .at_most(slices),
        ]
    }

    /// What nobody may lose, whoever computes.
    fn counts(&self) -> [Claim; 4] {
        let of_killed = [
            ("jobs that fail", gauges::JOBS_FAILED, 1.0),
            ("jobs that are done", gauges::JOBS_SOLVED, 1.0),
            ("processes", gauges::PROCESSES, 2.0),
        ];
        let of_killed = self.summary.only("killed").into_iter().flat_map(|k| {
            of_killed.map(|(name, gauge, n)| Case::exact(name, n, k.every(|t| t.gauge(gauge))))
        });
        let any_name = |k: &Condition| match k.series() {
            "losses" => format!("a block of {}", seconds(k.x())),
            series => format!("{series}, {} users", number(k.x())),
        };
        let all = || self.conversations.iter().chain(&self.losses);
        let shown_out = |t: &Trial| sum(t, gauges::USERS_SLOW, gauges::USERS_GIVEN_UP);
        [
            none("users", |_, t| gone(t))
                .near("mathematics elsewhere costs nobody the connection, whichever way", place_and_users, self.elsewhere()),
            Law::counted("killing the process in the middle of a job fails that job with an answer, and the next one is done by a new process", "in every trial")
                .near(of_killed),
            none("messages missing, doubled or in disorder", |k, t| self.wrong(k, t))
                .near("every message reaches every member of its room exactly once and in order", any_name, all()),
            none("users", |_, t| shown_out(t))
                .near("nobody is taken for a slow reader, and the server gives up nobody who is there", any_name, all()),
        ]
    }

    /// Messages missing, doubled or in disorder, but for those of users who have left.
    fn wrong(&self, k: &Condition, t: &Trial) -> Option<f64> {
        let users = match k.series() {
            "losses" => self.first(),
            _ => k.x(),
        };
        // Who has left hears no more and is heard no more: that much may be missing for each of them.
        let says = (t.offered as f64 / (users - 1.0)).ceil();
        let left = gone(t)? + t.gauge(gauges::USERS_SLOW)?;
        let excused = left * 2.0 * says * self.p.per_room as f64;
        let missing = t.gauge(gauges::MESSAGES_MEANT)? - t.gauge(gauges::MESSAGES_RECEIVED)?;
        // More missing than that, or too many.
        let wrong = (missing - excused).max(-missing).max(0.0);
        Some(t.gauge(gauges::MESSAGES_IN_DISORDER)? + wrong)
    }

    fn answers(&self) -> Vec<Answer> {
        let users = self.first();
        let value = |given: Option<Given>| given.map_or(f64::NAN, |g| g.value);
        let (waits, sliced) = (value(self.waits(users, 0.99)), value(self.sliced(users)));
        vec![
            Answer::near("inline", self.p99("inline"), waits).scaled(1e3),
            Answer::at_most("offloaded", self.p99("spawn_blocking"), sliced).scaled(1e3),
            Answer::near("killed", self.lost(), 0.0),
        ]
    }
}

/// The words, the table and the charts.
impl View<'_> {
    /// The slowest 1 % of the echoes, in words.
    fn say(&self, series: &str) -> String {
        cell(self.p99(series), seconds)
    }

    fn headline(&self) -> String {
        format!(
            "{} of mathematics on the event loop keep the slowest 1 % of everybody else's echoes waiting {} or more; in spawn_blocking it is {}, on rayon {}, in another process {}, and {} when nobody asks. Killing that process costs {} users their connection.",
            seconds(self.p.block.s()),
            self.say("inline"),
            self.say("spawn_blocking"),
            self.say("rayon"),
            self.say("process"),
            self.say("quiet"),
            cell(self.lost(), number),
        )
    }

    /// Every conversation.
    fn table(&self) -> Table {
        let shown = |given: Option<Given>| given.map_or("–".into(), |g| seconds(g.value));
        let theory = |k: &Condition| match k.series() {
            "quiet" => "–".into(),
            "inline" => shown(self.waits(k.x(), 0.99)),
            _ => format!("≤ {}", shown(self.sliced(k.x()))),
        };
        let quiet = self.summary.only("quiet");
        let busy = |gauge| cell(quiet.and_then(|k| k.gauge(gauge)), percent);
        Table::of("Everybody else", &self.conversations)
            .column("mathematics", |k| place(k).into())
            .column("users", |k| number(k.x()))
            .cells("p50", seconds, |k| k.latency(0.5))
            .cells("p99", seconds, |k| k.latency(0.99))
            .cells("slowest", seconds, |k| k.latency(1.0))
            .column("theory (p99)", |k| theory(k))
            .cells("heartbeats missed", number, |k| k.gauge(gauges::MISSED_HEARTBEATS))
            .cells("users gone", number, |k| k.estimate(gone))
            .cells("answered after", seconds, |k| k.gauge(gauges::ANSWER_S))
            .note(format!(
                "An echo counts from the instant it was due. When nobody asks, the server's event loop is busy {} of the time and the users' {}. Theory for mathematics elsewhere: when nobody asks, two time slices, and the working off of what came meanwhile.",
                busy(gauges::SERVER_BUSY_SHARE),
                busy(gauges::USERS_BUSY_SHARE)
            ))
    }

    /// Each echo as a dot, over the instant at which it was due.
    fn echoes(&self) -> Option<Figure> {
        let (p, block) = (self.p, self.p.block.s());
        let slowest = |t: &Trial| t.latency.max_s().unwrap_or(f64::NAN);
        let typical = |series: &str| self.summary.only(series)?.typical(slowest);
        let inline = typical("inline")?;
        let top = slowest(inline).max(block) * 1.15;
        let panel = |(series, name, colour)| {
            let trial = typical(series)?;
            let start = trial.gauge(gauge::STARTED_S)?;
            let span = trial.spans.first()?;
            let (from, to) = (span.start_s - start, span.end_s - start);
            let echoes = trial.traces.get("echoes")?.iter();
            let echoes = echoes.map(|(at, took)| (at - start, *took)).collect();
            let panel = Panel::new(name, Axis::linear("", Unit::Seconds).with_range(0.0, top))
                .layer(Layer::region((from, to), "mathematics", Colour::Muted))
                .layer(dots(colour, echoes));
            let note = format!("slowest echo {}", seconds(slowest(trial)));
            if series != "inline" {
                return Some(panel.note(note).height(0.6));
            }
            let rest = vec![(from, to - from), (to, 0.0)];
            let panel = panel.layer(Line::theory("", Colour::Ink, rest));
            Some(panel.note(format!("{note}; dashed: the rest of the block")))
        };
        let elsewhere = DRAWN[2..].iter();
        let elsewhere = elsewhere.map(|(series, ..)| typical(series).map_or(f64::NAN, slowest));
        let title = format!(
            "On the event loop an echo waits up to {}, elsewhere up to {}",
            seconds(slowest(inline)),
            seconds(elsewhere.fold(0.0, f64::max))
        );
        let x = Axis::linear("since the beginning", Unit::Seconds);
        Some(Figure::new("echoes", title)
            .subtitle(format!(
                "{} users, one of whom asks for {} of mathematics. A dot is an echo of one of the others: how long it took, over when it was due",
                p.users.first()?,
                seconds(block)
            ))
            .desc("Latency of echoes over time, a panel for each place where the mathematics is done. On the event loop it jumps to the length of the block and falls evenly to nothing; elsewhere it stays flat.")
            .over(x.with_range(0.0, p.away(block).window), DRAWN[1..].iter().copied().filter_map(panel)))
    }

    /// p50, p99 and the slowest, by where the mathematics is done.
    fn quantiles(&self) -> Option<Figure> {
        let shown = QUANTILES.into_iter().filter(|(q, _)| *q != 0.9);
        let groups = DRAWN.into_iter().filter_map(|(series, name, colour)| {
            let k = self.summary.only(series)?;
            let bars = shown.clone().map(|(q, quantile)| {
                let echoes = k.latency(q);
                let interval = echoes.and_then(|e| e.ci95).filter(|(low, _)| *low > 0.0);
                let value = echoes.map_or(f64::NAN, |e| e.value);
                let bar = ValueBar::measured(quantile, colour, value).with_interval(interval);
                match self.waits(k.x(), q) {
                    Some(law) if series == "inline" => bar.with_theory(law.value),
                    _ => bar,
                }
            });
            Some(BarGroup::new(name, bars))
        });
        let groups: Vec<BarGroup> = groups.collect();
        let title = format!(
            "99 % of the echoes come within {} on the event loop, within {} in another process",
            self.say("inline"),
            self.say("process")
        );
        (!groups.is_empty()).then(|| Figure::new("quantiles", title)
            .subtitle("Latency of everybody else's echoes, from the instant they were due. Dashed: what the law of the block says")
            .desc("Median, 99th percentile and slowest echo for each place where the mathematics is done.")
            .bars(Axis::log("latency of an echo, log scale", Unit::Seconds), groups))
    }

    /// Who leaves, over the length of the block.
    fn leavers(&self) -> Option<Figure> {
        let users = self.summary.only("quiet")?.x();
        let blocks = self.long_blocks().chain(self.blocks().take(1));
        let points = blocks.filter_map(|b| {
            let busy = b.k.gauge(gauges::BUSY_S)?.value;
            Some((busy, b.k.estimate(gone)?.value / users))
        });
        let mut points: Vec<(f64, f64)> = points.collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if points.len() < 2 {
            return None;
        }
        let lost = points.iter();
        let lost = lost.map(|(block, share)| format!("{} ({})", percent(*share), seconds(*block)));
        let lost = lost.collect::<Vec<_>>().join(", ");
        let (beat, patience) = (self.p.beat.s(), self.p.patience.s());
        let last = points.last()?.0.max(patience + beat);
        let corners = [0.0, patience - beat, patience, last];
        let theory = corners.map(|block| (block, self.p.away(block).leave_share()));
        let x = Axis::linear("the event loop is blocked for", Unit::Seconds);
        Some(Figure::new("leavers", format!("Users lost to a block of the event loop: {lost}"))
            .subtitle(format!(
                "{users} users who leave after {} without a heartbeat, one of which comes every {}. Dots: measured",
                seconds(patience),
                seconds(beat)
            ))
            .desc("Share of the users who leave over the time the event loop is blocked: none, then within one beat all.")
            .over(x.with_range(0.0, last * 1.05), [
                Panel::new("Users who leave", Axis::linear("", Unit::Share).with_range(0.0, 1.05))
                    .layer(Line::theory("theory", Colour::Ink, theory.to_vec()))
                    .layer(dots(Colour::Vermilion, points)),
            ]))
    }
}
