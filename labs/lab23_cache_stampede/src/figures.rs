//! The charts of lab23.

use lab_kit::{prelude::*, theory::cache::Early};

use super::{
    findings::{View, herd, hits, refused},
    gauges,
    held::Policy,
    rush::LEAD,
};

pub(super) fn all(view: &View) -> Vec<Figure> {
    let figures = [view.at_the_upstream(), view.over_rates(), view.early(), view.same_age()];
    figures.into_iter().flatten().chain([view.held()]).collect()
}

/// The trial to draw, with its times from the beginning of the load.
fn drawn(k: &Condition, name: &str, typical: Gauge) -> Vec<(f64, f64)> {
    let trial = k.typical(|t| t.gauge(typical).unwrap_or(f64::NAN));
    let points = trial.map_or(&[][..], |t| t.trace(name));
    let from = trial.map_or(0.0, Trial::started_s);
    points.iter().map(|(at, value)| (at - from, *value)).collect()
}

/// What stays as it is until it changes.
fn steps(points: Vec<(f64, f64)>, until: f64) -> Vec<(f64, f64)> {
    let mut all = vec![(0.0, 0.0)];
    for (at, value) in points {
        let before = all.last().map_or(0.0, |(_, value)| *value);
        all.extend([(at, before), (at, value)]);
    }
    let last = all.last().map_or(0.0, |(_, value)| *value);
    all.push((until, last));
    all
}

/// Points of theory, evenly over a logarithmic axis.
fn curve(from: f64, to: f64, of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let at = |i: u32| from * (to / from).powf(f64::from(i) / 60.0);
    (0..=60).map(at).map(|x| (x, of(x))).collect()
}

impl View<'_> {
    /// Requests for one key at its upstream, over time, a panel for each way.
    fn at_the_upstream(&self) -> Option<Figure> {
        let (p, base) = (self.p, self.base()?);
        let until = p.window.s();
        let early = self.early.iter().find(|k| k.x() == 1.0).or(self.early.last());
        let ways = [
            (Some(base), "Every miss asks", Colour::Vermilion),
            (self.one("lock"), "A lock: one asks, the others wait", Colour::Blue),
            (self.one("stale"), "One asks, the others take the old value", Colour::Green),
            (early, "Early by chance", Colour::Purple),
        ];
        let panel = |(k, title, colour): (Option<&Condition>, &str, Colour)| {
            let k = k?;
            let line = steps(drawn(k, "in flight", gauges::HERD), until);
            let note = match k.series() {
                "early" => format!("β = {}, asked for {} times a second", k.x(), p.early_rate),
                _ => format!("asked for {} times a second", number(k.x())),
            };
            let most = line.iter().fold(1.0, |most: f64, (_, n)| most.max(*n));
            let whole = (0..=4).map(|i| f64::from(i) * (most / 4.0).ceil());
            let ticks: Vec<f64> = whole.filter(|n| *n <= most).collect();
            let panel = Panel::new(title, Axis::linear("", Unit::Number).with_ticks(ticks))
                .note(note)
                .layer(Line::trace("", colour, line))
                .height(0.6);
            Some(if k.series() == "none" {
                let room = p.room();
                panel.layer(Layer::rule(room as f64, format!("room for {room}"))).height(1.1)
            } else {
                panel
            })
        };
        let title = format!(
            "Each time the value expires the upstream gets {} requests, or {} behind a lock",
            cell(herd(base), number),
            cell(self.one("lock").and_then(herd), number)
        );
        Some(
            Figure::new("upstream", title)
                .subtitle(format!(
                    "Requests for one key at the upstream; {} to compute, kept for {}. One key of a trial each",
                    p.service, p.ttl
                ))
                .desc("Four panels over time: spikes where every miss asks, single requests behind a lock and with old values meanwhile, one to a few early by chance.")
                .over(
                    Axis::linear("time since the load began", Unit::Seconds).with_range(0.0, until),
                    ways.into_iter().filter_map(panel),
                ),
        )
    }

    /// The herd over λ·s.
    fn over_rates(&self) -> Option<Figure> {
        let (p, s) = (self.p, self.p.service.s());
        let (first, last) = (self.none.first()?, self.none.last()?);
        let beside = |k: &Condition| k.x() * s;
        let (from, to) = (beside(first) * 0.999, beside(last) * 1.001);
        let line = |label: &str, colour, of: &dyn Fn(&Condition) -> Option<Estimate>| {
            Line::of_estimates(label, colour, self.none.iter().map(|k| (beside(k), of(k))))
        };
        let one = self.one("lock").map(|k| {
            let points = [(p.rate * s, herd(k))];
            Line::of_estimates("behind a lock", Colour::Blue, points)
        });
        let lost = |x: f64| {
            let key = p.key(x / s);
            key.turned_away(p.room()) / key.herd()
        };
        let title = format!(
            "The herd is one and λ·s: {} at {}/s, of which {} find no room",
            cell(herd(last), number),
            number(last.x()),
            cell(refused(last), percent)
        );
        Some(
            Figure::new("herd", title)
                .subtitle(format!(
                    "Every miss asks; {} to compute, {} slots, {} places to wait. Dashed: theory",
                    p.service, p.slots, p.places
                ))
                .desc("Two panels over the requests that come while one value is computed: requests at the upstream for each end, and the share of them that is refused.")
                .over(
                    Axis::log("λ·s, requests while one is computed (log scale)", Unit::Number)
                        .with_ticks(self.none.iter().map(beside).collect::<Vec<_>>()),
                    [
                        Panel::new("Requests at the upstream", Unit::Number)
                            .note("each time the value expires")
                            .layer(Line::theory("1 + λ·s", Colour::Muted, curve(from, to, |x| p.key(x / s).herd())))
                            .layer(Layer::rule(p.room() as f64, format!("room for {}", p.room())))
                            .layer(line("every miss asks", Colour::Vermilion, &herd))
                            .layers(one)
                            .height(1.2),
                        Panel::new("Refused", Unit::Share)
                            .note("of the herd")
                            .layer(Line::theory("", Colour::Muted, curve(from, to, lost)))
                            .layer(line("", Colour::Vermilion, &refused)),
                    ],
                ),
        )
    }

    /// Early by chance, over β.
    fn early(&self) -> Option<Figure> {
        let p = self.p;
        let (first, last) = (self.early.first()?, self.early.last()?);
        let (from, to) = (first.x() * 0.999, last.x() * 1.001);
        let of = |read: &dyn Fn(&Condition) -> Option<Estimate>, colour| {
            Line::of_estimates("", colour, self.early.iter().map(|k| (k.x(), read(k))))
        };
        let ahead = |k: &Condition| k.gauge(gauges::AHEAD_MEAN_S);
        let title = format!(
            "The more eager, the fewer ask at once: {} with β = {}, {} with β = {}, which asks {} early",
            cell(herd(first), number),
            first.x(),
            cell(herd(last), number),
            last.x(),
            cell(ahead(last), seconds)
        );
        Some(
            Figure::new("early", title)
                .subtitle(format!(
                    "Refreshed early by chance; asked for {} times a second, {} to compute, kept for {}. Dashed: theory",
                    p.early_rate, p.service, p.ttl
                ))
                .desc("Two panels over β: requests at the upstream for each end fall, and the time by which the first one is early grows.")
                .over(
                    Axis::log("β (log scale)", Unit::Number).with_ticks(self.early.iter().map(Condition::x).collect::<Vec<_>>()),
                    [
                        Panel::new("Requests at the upstream", Unit::Number)
                            .note("each time a value is asked for anew")
                            .layer(Line::theory("theory", Colour::Muted, curve(from, to, |b| p.early(b).requests())))
                            .layer(Line::theory("of many: e^(1/β)", Colour::Sky, curve(from.max(0.4), to, Early::requests_of_many)))
                            .layer(of(&herd, Colour::Purple))
                            .height(1.2),
                        Panel::new("Time before the end", Unit::Seconds)
                            .note("at which the first one asks")
                            .layer(Line::theory("theory", Colour::Muted, curve(from, to, |b| p.early(b).ahead())))
                            .layer(of(&ahead, Colour::Purple)),
                    ],
                ),
        )
    }

    /// Keys of one age, over time.
    fn same_age(&self) -> Option<Figure> {
        let p = self.p;
        let (together, jittered) = (self.together.as_ref()?, self.jittered.as_ref()?);
        let panel = |k: &Condition, title: &str| {
            let of = |name| drawn(k, name, gauge::UPSTREAM_REFUSED);
            let refused = cell(k.estimate(|t| t.gauge(gauge::UPSTREAM_REFUSED)), number);
            let capacity = p.slots as f64 / p.service.s();
            let most = of("requests").iter().fold(capacity, |most, (_, n)| n.max(most));
            // The mark's label lies above the lines.
            Panel::new(title, Axis::linear("", Unit::Number).with_range(0.0, 1.3 * most))
                .note(format!("requests a second; {refused} of them refused in all"))
                .layer(Layer::rule(capacity, "capacity"))
                .layer(Line::trace("at the upstream", Colour::Ink, of("requests")))
                .layer(Line::trace("refused", Colour::Vermilion, of("refused")))
        };
        let count = |k: &Condition| cell(k.gauge(gauge::UPSTREAM_REFUSED), number);
        let title = format!(
            "{} keys that expire together are refused {} times, with jitter {} times",
            p.keys,
            count(together),
            count(jittered)
        );
        let lead = LEAD.as_secs_f64();
        Some(
            Figure::new("same-age", title)
                .subtitle(format!(
                    "A lock for each key, each asked for {} times a second; {} slots, {} to compute. One trial each",
                    p.key_rate, p.slots, p.service
                ))
                .desc("Two panels over time: requests at the upstream and refusals, for keys that expire together and for keys whose lives differ.")
                .over(
                    Axis::linear("time since the load began", Unit::Seconds),
                    [
                        panel(together, "The same lifetime for all"),
                        panel(jittered, &format!("Spread over {}", p.jitter)),
                    ],
                )
                .marks([Mark::at(lead, "the first values expire", Colour::Muted)]),
        )
    }

    /// Hit rates over the size.
    fn held(&self) -> Figure {
        let p = self.p;
        let look = |policy: &Policy| match policy {
            Policy::Lru => ("least recently used", Colour::Blue),
            Policy::MokaLru => ("", Colour::Sky),
            Policy::TinyLfu => ("moka, TinyLFU", Colour::Green),
        };
        let lines = self.held.iter().map(|(policy, conditions)| {
            let (label, colour) = look(policy);
            Line::of_estimates(label, colour, conditions.iter().map(|k| (k.x(), hits(k))))
        });
        let ends =
            p.sizes.iter().copied().fold((f64::MAX, 0.0f64), |(a, b), x| (a.min(x), b.max(x)));
        let (from, to) = (ends.0 * 0.999, ends.1 * 1.001);
        let of = |policy: Policy| {
            let found = self.held.iter().find(|(p, _)| *p == policy);
            found.and_then(|(_, conditions)| conditions.first()).and_then(hits)
        };
        let least = number(ends.0);
        let title = format!(
            "A cache of {least} % of the keys answers {} of the requests, by TinyLFU {}",
            cell(of(Policy::Lru), percent),
            cell(of(Policy::TinyLfu), percent)
        );
        Figure::new("hits", title)
            .subtitle(format!(
                "{} keys, popularity by Zipf's law with exponent {}. Dashed: Che's approximation, and the most popular keys. moka with the same policy lies on the line of the ten lines",
                p.items, p.zipf
            ))
            .desc("Hit rate over the size of the cache: least recently used on its theory, TinyLFU above it and below the best possible.")
            .over(
                Axis::log("size in percent of the keys (log scale)", Unit::Number).with_ticks(p.sizes.clone()),
                [Panel::new("Hits", Axis::share())
                    .note("of all requests")
                    .layer(Line::theory("best possible", Colour::Muted, curve(from, to, |x| self.zipf.best(p.entries(x)))))
                    .layer(Line::theory("Che", Colour::Muted, curve(from, to, |x| self.zipf.lru(p.entries(x)))))
                    .layers(lines)
                    .height(1.6)],
            )
    }
}
