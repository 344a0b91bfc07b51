//! Theory beside measurement for lab20.

use lab_kit::prelude::*;
use lab_kit::theory::rate::{self, InFlight, Saw};

use super::{
    figures, gauges,
    held::Held,
    languages::{self, arm},
    plan::Params,
    world::{World, is_shared},
};

use Disturbed::{Beyond, Either, Longer};
use Resource::Timers;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let view = View::of(p, summary);
    Findings {
        headline: view.headline(),
        figures: figures::all(&view),
        tables: [Some(view.table()), view.tenants(), languages::table(p, summary)]
            .into_iter()
            .flatten()
            .collect(),
        claims: [view.claims(), languages::claims(&view, summary)].concat(),
        answers: view.answers(),
    }
}

/// A part of a trial: how long a request takes in it, and the gauges of it.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) takes: Time,
    pub(super) admitted: Gauge,
    pub(super) refused: Gauge,
    in_service: Gauge,
}

impl Part {
    fn both(p: &Params) -> [Part; 2] {
        [
            Part {
                takes: p.before,
                admitted: gauges::BEFORE_ADMITTED_PER_S,
                refused: gauges::BEFORE_REFUSED_PER_S,
                in_service: gauges::BEFORE_IN_SERVICE,
            },
            Part {
                takes: p.after,
                admitted: gauges::AFTER_ADMITTED_PER_S,
                refused: gauges::AFTER_REFUSED_PER_S,
                in_service: gauges::AFTER_IN_SERVICE,
            },
        ]
    }
}

/// What theory starts from: the flags alone.
#[derive(Clone, Copy)]
pub(super) struct Theory<'a> {
    p: &'a Params,
    pub(super) world: World,
}

impl Theory<'_> {
    pub(super) fn quota(self) -> f64 {
        self.world.quota.per_s
    }

    /// Seconds that are looked at in each part.
    fn look(self) -> f64 {
        let [(from, until), _] = self.world.looks();
        until - from
    }

    /// What limits the number in flight: the permits, or all clients where there is no limit.
    fn permits(self, k: &Condition) -> Option<f64> {
        match arm(k) {
            "semaphore" => Some(k.x()),
            "none" => Some(self.p.crowd as f64),
            "token first" | "permit first" => Some(self.p.permits as f64),
            _ => None,
        }
    }

    /// What these make of the service. Theory says nothing where the service's burst is not used up before it is
    /// looked at.
    fn in_flight(self, k: &Condition, part: Part) -> Option<InFlight> {
        let permits = self.permits(k)?;
        let (takes, pause) = (part.takes.s(), self.p.pause.s());
        let limit = InFlight { permits, takes, quota_per_s: self.quota(), pause };
        let is_below = permits / takes < 0.95 * self.quota();
        let burst = f64::from(self.world.quota.burst);
        (is_below || limit.uses_up(burst) < self.world.settles()).then_some(limit)
    }

    /// Whether the saw is one in what is looked at: with too slow a gain it has hardly a tooth there, with too fast a one
    /// a tooth is less than a request, and with too small a bucket some of what it saves is lost.
    fn has_teeth(self) -> bool {
        let (saw, burst) = (self.saw(), f64::from(self.world.quota.burst));
        saw.refusals() * self.look() >= 2.0 && (0.5..=burst).contains(&saw.saves())
    }

    fn saw(self) -> Saw {
        Saw { quota_per_s: self.quota(), gain: self.p.gain, back: self.p.back }
    }

    /// Admitted per second: `min(R, m/W)` of what is limited by permits, what the service's bucket holds of a window,
    /// and the quota itself of everything else.
    fn admitted(self, k: &Condition, part: Part) -> Option<f64> {
        let quota = self.world.quota;
        Some(match arm(k) {
            "window" => rate::fixed_window(quota, self.p.window.s()),
            "adaptive" if !self.has_teeth() => return None,
            _ if self.permits(k).is_some() => self.in_flight(k, part)?.goodput(),
            _ => quota.per_s,
        })
    }

    /// Refused per second of permits that are kept while they wait.
    fn refused(self, k: &Condition, part: Part) -> Option<f64> {
        match arm(k) {
            "semaphore" | "none" => self.in_flight(k, part).map(|limit| limit.refusals()),
            _ => None,
        }
    }

    /// Tokens that wait for a permit when requests become fast, and are then refused but for the service's burst: what
    /// the bucket gave and the permits could not use, up to the end of the last slow requests. The permits begin
    /// together, and so come back together. Where every client holds a token, the bucket is full besides.
    fn taken_early(self) -> f64 {
        let permits = self.p.permits as f64;
        let rounds = (self.p.phase.s() / self.p.before.s() - 1e-9).ceil();
        let burst = f64::from(self.world.client_quota().burst);
        let given = burst + self.quota() * rounds * self.p.before.s();
        let held = Held::TokenFirst.clients(self.p) as f64 - permits + burst;
        let waiting = (given - permits * rounds).clamp(0.0, held);
        (waiting - f64::from(self.world.quota.burst)).max(0.0)
    }

    /// By how much requests come ahead of an even pace: the burst less one, in gaps.
    fn ahead(self, k: &Condition) -> Option<f64> {
        let burst = match k.series() {
            "leaky" => 1,
            "bucket" | "governor" => self.world.client_quota().burst,
            _ => return None,
        };
        Some(f64::from(burst - 1) / self.quota())
    }

    /// How long the modest tenant waits: a round of the greedy one's clients in one line; or the token that is on
    /// its way, which is another's, and half of a gap until it comes.
    fn modest_wait(self, k: &Condition) -> Option<f64> {
        let (greedy, modest) = (self.p.greedy as f64, f64::from(self.p.modest));
        match k.series() {
            "one line" => rate::one_line(self.quota(), greedy, self.p.before.s(), modest),
            "in turn" => Some(1.5 / self.quota()),
            _ => None,
        }
    }
}

/// The name of a condition, for people.
pub(super) fn name(k: &Condition) -> String {
    match arm(k) {
        "none" => "no limit".into(),
        "semaphore" => format!("a semaphore of {}", k.x()),
        "window" => "a fixed window".into(),
        "leaky" => "an even pace".into(),
        "bucket" => "a bucket".into(),
        "governor" => "governor's bucket".into(),
        "adaptive" => "a rate that adapts".into(),
        "token first" => "both, the token first".into(),
        "permit first" => "both, the permit first".into(),
        other => other.into(),
    }
}

/// The record, and what is looked at in it.
pub(super) struct View<'a> {
    pub(super) p: &'a Params,
    pub(super) theory: Theory<'a>,
    pub(super) parts: [Part; 2],
    /// Those with saturated clients.
    pub(super) ways: Vec<Condition<'a>>,
    tenants: Vec<Condition<'a>>,
    pub(super) admitted: [Quantity<'a>; 2],
    pub(super) refused: [Quantity<'a>; 2],
    in_service: [Quantity<'a>; 2],
    ahead: Quantity<'a>,
    wait: Quantity<'a>,
}

impl<'a> View<'a> {
    fn of(p: &'a Params, summary: &'a Summary<'a>) -> View<'a> {
        let theory = Theory { p, world: World::of(p) };
        let parts = Part::both(p);
        let here = summary.conditions().filter(|k| Language::of_series(k.series()).is_none());
        let (tenants, ways) = here.partition(|k| is_shared(k.series()));
        let look = theory.look();
        View {
            p,
            theory,
            parts,
            ways,
            tenants,
            admitted: parts.map(|part| {
                Quantity::gauge("requests/s", number, part.admitted)
                    .theory(move |k| theory.admitted(k, part))
                    .within(
                        Within::Absolute(0.02 * theory.quota() + 1.0 / look),
                        "2 % of the quota, since timers are late by one or two of a hundred milliseconds, and one request at the edges of what is looked at",
                    )
                    .disturbed(Either(Timers))
            }),
            refused: parts.map(|part| {
                Quantity::gauge("requests/s", number, part.refused)
                    .theory(move |k| theory.refused(k, part))
            }),
            in_service: parts.map(|part| {
                Quantity::gauge("requests in service", number, part.in_service)
                    .theory(move |_| Some(theory.quota() * part.takes.s()))
                    .within(
                        Within::Absolute(2e-3 * theory.quota() + 0.02 * theory.quota() * part.takes.s()),
                        "answers leave two ticks of the timers late, 2 ms each, and 2 % for the edges of what is looked at",
                    )
                    .disturbed(Either(Timers))
            }),
            ahead: Quantity::gauge("s", seconds, gauges::AHEAD_S)
                .theory(move |k| theory.ahead(k))
                .within(Within::Absolute(0.01), "10 ms: what some requests are late more than others, by timers and on their way")
                .disturbed(Longer(Timers)),
            wait: Quantity::gauge("s", seconds, gauges::MODEST_WAIT_S)
                .theory(move |k| theory.modest_wait(k)),
        }
    }

    pub(super) fn of_series(&self, series: &str) -> impl Iterator<Item = &Condition<'a>> {
        self.ways.iter().filter(move |k| k.series() == series)
    }

    pub(super) fn semaphores(&self) -> impl Iterator<Item = &Condition<'a>> {
        self.of_series("semaphore")
    }

    /// The semaphore with the most permits.
    pub(super) fn largest(&self) -> Option<&Condition<'a>> {
        self.semaphores().max_by(|a, b| a.x().total_cmp(&b.x()))
    }

    fn smallest(&self) -> Option<&Condition<'a>> {
        self.semaphores().min_by(|a, b| a.x().total_cmp(&b.x()))
    }

    fn among(&self, series: &'static [&str]) -> impl Iterator<Item = &Condition<'a>> {
        self.ways.iter().filter(move |k| series.contains(&k.series()))
    }
}

/// The claims.
impl View<'_> {
    fn claims(&self) -> Vec<Claim> {
        let [before, after] = &self.admitted;
        let ways = |part: usize| {
            let part = self.parts[part];
            self.ways.iter().filter(move |k| self.theory.admitted(k, part).is_some())
        };
        vec![
            before.near("while requests take their first time: m permits let m/W through and no more than the quota, a fixed window what the service's burst holds, and every limit on the rate the quota", name, ways(0)),
            after.near("when they take their second time: the same laws", name, ways(1)),
            self.refusals(),
            self.none_refused(),
            self.early(),
            self.ahead.near("requests come ahead of an even pace by the burst of their bucket less one, in gaps of 1/R", name, self.among(&["leaky", "bucket", "governor"])),
            self.border(),
            self.saw(),
            self.little(),
            self.permits_hold(),
            self.fairness(),
        ]
    }

    fn refusals(&self) -> Claim {
        let look = self.theory.look();
        let cases = self.parts.iter().zip(&self.refused).flat_map(|(part, refused)| {
            self.among(&["semaphore", "none"]).filter_map(move |k| {
                let predicted = refused.predicted(k)?;
                let apart = 0.08 * predicted.value + 3.0 / look;
                let name = format!("{} while a request takes {}", name(k), part.takes);
                Some(Case::new(name, predicted, refused.measured(k), apart))
            })
        });
        Law::new("of m permits R·W are being served, and each other one is refused once in each pause: (m − R·W)/p refusals a second, or none", "requests/s", Either(Timers))
            .within("8 %: pauses are drawn, from half to one and a half, and timers end each late by one or two of a hundred milliseconds; and three requests at the edges of what is looked at")
            .near(cases)
    }

    /// The room between the client's burst and the service's, in time.
    pub(super) fn forgives(&self) -> f64 {
        let (service, client) = (self.theory.world.quota, self.theory.world.client_quota());
        f64::from(service.burst - client.burst) / service.per_s
    }

    fn none_refused(&self) -> Claim {
        let ways = self.among(&["leaky", "bucket", "governor", "permit first"]);
        let cases = ways.map(|k| Case::exact(name(k), 0.0, k.every(|t| t.gauge(gauges::REFUSED))));
        let law = "nobody is refused who takes a token from a bucket of the same rate and half of the burst, and uses it at once";
        Law::new(law, "requests", Beyond(Timers, self.forgives())).near(cases)
    }

    fn early(&self) -> Claim {
        let (permits, phase) = (self.p.permits as f64, self.p.phase.s());
        let refused = move |t: &Trial, late: bool| -> f64 {
            let steps = t.trace("refused").iter();
            steps.filter(|(at, _)| (*at > phase + 1e-6) == late).map(|(_, n)| n).sum()
        };
        let cases = self.of_series("token first").flat_map(|k| {
            let before = k.every(|t| Some(refused(t, false)));
            let after = k.estimate(|t| Some(refused(t, true)));
            [
                Case::exact(format!("{}, before", name(k)), 0.0, before),
                Case::new(name(k), self.theory.taken_early(), after, permits + 2.0),
            ]
        });
        Law::new("tokens that are taken before a permit pile up while requests are slow, and all but the service's burst of them are refused when they become fast", "requests", Either(Timers))
            .within("as many as there are permits, since these come back together, and a request at either end")
            .near(cases)
    }

    fn border(&self) -> Claim {
        let two = 2.0 * self.theory.world.per_window() as f64;
        let most = |k: &Condition| k.every(|t| t.gauge(gauges::MOST_IN_WINDOW));
        let cases = self.of_series("window").map(|k| Case::exact(name(k), two, most(k)));
        let spare = 0.4 * self.p.window.s();
        Law::new(
            "within the length of a window twice as many come as the quota allows in it",
            "requests",
            Beyond(Timers, spare),
        )
        .near(cases)
    }

    fn saw(&self) -> Claim {
        let saw = self.theory.saw();
        let apart = 1.0 / self.theory.look();
        let cases = self.parts.iter().zip(&self.refused).flat_map(|(part, refused)| {
            self.of_series("adaptive").map(move |k| {
                let name = format!("while a request takes {}", part.takes);
                Case::new(name, saw.refusals(), refused.measured(k), apart)
            })
        });
        Law::new("a rate that adapts makes a saw round the quota, and is refused once at each of its peaks", "requests/s", Either(Timers))
            .within("one peak more or less in each part that is looked at")
            .near(cases)
            .unless((!self.theory.has_teeth()).then(|| "no saw with these flags: it has less than two teeth in each part, or a tooth is less than a request or more than the service's bucket holds".into()))
    }

    fn little(&self) -> Claim {
        let cases = self.parts.iter().zip(&self.in_service).flat_map(|(part, inside)| {
            let named = |k: &Condition| format!("{} while a request takes {}", name(k), part.takes);
            self.among(&["leaky", "bucket", "governor"]).map(move |k| inside.case(named(k), k))
        });
        let cases: Vec<Case> = cases.collect();
        self.in_service[0]
            .law("a limit on the rate bounds no concurrency: R·W are in service, whatever W is")
            .near(cases)
    }

    fn permits_hold(&self) -> Claim {
        let permits = |k: &Condition| self.theory.permits(k).unwrap_or(f64::NAN);
        let most = |k: &Condition| k.every(|t| t.gauge(gauges::IN_SERVICE_MAX));
        let cases = self
            .among(&["semaphore", "token first", "permit first"])
            .map(|k| Case::exact(name(k), permits(k), most(k)));
        Law::counted("no more are in service than there are permits", "requests").at_most(cases)
    }

    fn fairness(&self) -> Claim {
        let cases = self.tenants.iter().map(|k| {
            let predicted = self.wait.predicted(k).unwrap_or(f64::NAN.into());
            let apart = 0.1 * predicted.value + 4e-3;
            Case::new(k.series(), predicted, self.wait.measured(k), apart)
        });
        Law::new("in one line a modest tenant waits a round of the greedy one's clients; with a place for each tenant it waits one gap and a half", "s", Longer(Timers))
            .within("10 %: the modest tenant's requests come unevenly, and leave the others more or less; and two ticks of the timers, 4 ms, in each token")
            .near(cases)
    }

    fn answers(&self) -> Vec<Answer> {
        let two = 2.0 * self.theory.world.per_window() as f64;
        let most = |k: &Condition| k.gauge(gauges::MOST_IN_WINDOW);
        vec![
            self.admitted[0].answer("admitted", self.smallest()),
            self.refused[1].answer("refused", self.largest()),
            Answer::near("border", self.of_series("window").next().and_then(most), two),
        ]
    }
}

/// The words and tables.
impl View<'_> {
    fn headline(&self) -> String {
        let Some(k) = self.largest() else { return "No semaphore was tried.".into() };
        let bucket = self.of_series("bucket").next();
        let refused = |k: Option<&Condition>| k.map_or("–".into(), |k| self.refused[1].cell(k));
        format!(
            "When a request takes {}, a semaphore of {} gets {} admitted a second and {} refused; a bucket gets {} and {}.",
            self.p.after,
            k.x(),
            self.admitted[1].cell(k),
            refused(Some(k)),
            bucket.map_or("–".into(), |k| self.admitted[1].cell(k)),
            refused(bucket),
        )
    }

    fn table(&self) -> Table {
        let [before, after] = self.parts.map(|part| part.takes);
        let [slow, fast] = &self.admitted;
        let [refused_slow, refused_fast] = &self.refused;
        Table::of("The same clients, held back in different ways", &self.ways)
            .column("limit", |k| name(k))
            .column(format!("admitted/s at {before}"), |k| slow.cell(k))
            .column("theory", |k| slow.theory_cell(k))
            .column("refused/s", |k| refused_slow.cell(k))
            .column(format!("admitted/s at {after}"), |k| fast.cell(k))
            .column("theory", |k| fast.theory_cell(k))
            .column("refused/s", |k| refused_fast.cell(k))
            .column("theory", |k| refused_fast.theory_cell(k))
            .cells("in service at most", number, |k| k.gauge(gauges::IN_SERVICE_MAX))
            .cells("ahead of an even pace", seconds, |k| k.gauge(gauges::AHEAD_S))
            .note(format!(
                "The service admits {} a second, and {} at once after a pause. Ahead of an even pace: by how long a request came before the moment at which a pace of the quota would have sent it, at most; refused attempts count. All figures are from the service's books.",
                self.p.quota, self.p.burst
            ))
    }

    fn tenants(&self) -> Option<Table> {
        Table::of("A greedy and a modest tenant of one bucket", &self.tenants)
            .column("line", |k| k.series().to_string())
            .column("the modest one waits", |k| self.wait.cell(k))
            .column("theory", |k| self.wait.theory_cell(k))
            .cells("its requests that were answered", number, |k| k.gauge(gauges::MODEST))
            .done()
            .unless_empty()
    }
}
