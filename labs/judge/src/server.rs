//! Lab 15 from the other side: a learner's own *server*, held against the queue that it claims to be.
//!
//! Requests arrive by chance and wait for nobody (an open loop). The same arrivals go through c slots of s with K
//! waiting places in virtual time: a server that is what it claims refuses as many, and answers as late.

use lab_kit::{
    accounts::{self, Fate},
    address::ServerUrl,
    http,
    prelude::*,
    theory::queue::{Admission, Queue},
};
use tokio::runtime::Builder;

use crate::{check::Check, findings};

/// What a server has to do, for `--help`.
const TASK: &str = "What the server has to do:
Answer GET /work/0, GET /work/1 and so on with any 2xx, after its service time. It serves --slots requests at a time, first come, first served. No more than --queue others wait; what finds no waiting place is answered at once with 503.";

/// What a server claims, and how it is asked.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
#[command(before_help = TASK)]
pub struct Claimed {
    /// The server, on this machine
    #[arg(long, required = true, value_name = "URL")]
    pub server: ServerUrl,
    /// Requests that it says it serves at a time
    #[arg(long, default_value_t = 4, value_parser = slots)]
    pub slots: usize,
    /// How long it says it takes for one
    #[arg(long, default_value = "20ms")]
    pub service: Time,
    /// Waiting places: when all are taken it answers 503
    #[arg(long, default_value_t = 12, value_parser = places)]
    pub queue: usize,
    /// Loads to put on it, as shares of what it can serve, with commas
    #[arg(long, value_delimiter = ',', value_parser = load, default_value = "0.5,0.8,1.2,2")]
    pub loads: Vec<f64>,
    /// How long each load lasts
    #[arg(long, default_value = "3s")]
    pub window: Time,
}

fn slots(text: &str) -> Result<usize, String> {
    whole(text, 1..=1000)
}

fn places(text: &str) -> Result<usize, String> {
    whole(text, 0..=10_000)
}

fn load(text: &str) -> Result<f64, String> {
    within(text, 0.05..=5.0, "a number from 0.05 to 5")
}

/// Most requests of one load.
const MOST: f64 = 20_000.0;
/// The first requests find a server that was idle: connections, caches, a compiler that is still at work.
const WARM_UP: usize = 20;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// What an answer may be late by, beside its share: two ticks of a timer and a request's way.
const LATE_S: f64 = 0.004;

impl Claimed {
    /// Requests a second that it can serve.
    fn capacity(&self) -> f64 {
        self.slots as f64 / self.service.s()
    }

    fn open(&self, load: f64, seed: u64) -> Open {
        Open {
            rate: load * self.capacity(),
            poisson: true,
            window: self.window.duration(),
            // The same for each trial: the server is what differs.
            seed: seed.wrapping_add(load.to_bits()),
        }
    }

    /// What the queue that it claims to be makes of these arrivals.
    fn predicted(&self, load: f64, seed: u64) -> Queued {
        let mut queue = Queue::new(self.slots, Some(self.queue));
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let service = nanos(self.service.duration());
        let mut of = Queued::default();
        for at in self.open(load, seed).arrivals() {
            of.arrivals += 1;
            match queue.arrive(nanos(at), service) {
                Admission::Admitted { finish, .. } => {
                    of.answered += 1;
                    of.stay_s += (finish - nanos(at)) as f64 / 1e9;
                }
                Admission::Refused { .. } => of.refused += 1,
            }
        }
        of
    }
}

/// What became of arrivals in virtual time.
#[derive(Clone, Copy, Debug, Default)]
struct Queued {
    arrivals: usize,
    answered: usize,
    refused: usize,
    /// From arrival to answer, added up.
    stay_s: f64,
}

impl Queued {
    fn refused_share(&self) -> f64 {
        self.refused as f64 / self.arrivals.max(1) as f64
    }

    fn mean_stay_s(&self) -> f64 {
        self.stay_s / self.answered.max(1) as f64
    }
}

/// Lab 15, for a server.
pub struct Server;

const SERIES: &str = "server";

impl Lab for Server {
    type Params = Claimed;

    const TAKES_TARGET: bool = false;

    const CARD: Card = Card {
        number: 15,
        name: "judge_server",
        title: "A server and the queue it claims to be",
        question: "Does the server serve, keep waiting and refuse as it says?",
        predict: &[],
        next: &[],
        sources: &[],
        answers: "",
        sizes: Sizes {
            smoke: &["--window", "300ms", "--loads", "0.5,2"],
            full: &["--window", "10s"],
            trials: (3, 5),
        },
    };

    fn check(p: &Claimed) -> Result<(), String> {
        let most = p.loads.iter().copied().fold(0.0, f64::max) * p.capacity() * p.window.s();
        if most > MOST {
            return Err(format!(
                "{most:.0} requests in one load are too many: a shorter --window, fewer --slots or a longer --service"
            ));
        }
        let longest = (1.0 + p.queue as f64 / p.slots as f64) * p.service.s();
        if longest > PATIENCE.as_secs_f64() / 2.0 {
            return Err(format!(
                "the last of its waiting places waits for {}, and an answer is waited for for {} s: fewer --queue places, or a shorter --service",
                seconds(longest),
                PATIENCE.as_secs()
            ));
        }
        if p.service.s() < 5e-3 {
            return Err("--service must be 5 ms or more: timers tick in milliseconds".into());
        }
        Ok(())
    }

    fn ready(p: &Claimed) -> Result<(), String> {
        http::site("--server", &p.server)?;
        answers(&p.server)
    }

    fn needs(p: &Claimed, extent: &Extent) -> Needs {
        let warm_up = WARM_UP as f64 * p.service.s();
        let drain = (p.slots + p.queue) as f64 / p.capacity();
        Needs {
            seconds: extent.times() * p.loads.len() as f64 * (warm_up + p.window.s() + drain + 0.1),
            less: "a shorter --window or fewer --loads",
            ..Needs::default()
        }
    }

    fn measure(p: &Claimed, session: &mut Session) -> Result<()> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let seed = session.seed;
        let mut plan = session.plan();
        for load in &p.loads {
            plan.point(SERIES, *load, |r| runtime.block_on(ask(r, p, *load, seed)));
        }
        plan.run()
    }

    fn may(_: &Claimed, _: &Condition) -> &'static [Fate] {
        &[Fate::Rejected, Fate::TimedOut, Fate::Failed]
    }

    fn premise(p: &Claimed, at: &Condition, t: &Trial) -> Result<(), String> {
        // How many arrive follows from the load, give or take what chance gives or takes.
        let mean = at.x() * p.capacity() * p.window.s();
        let off = (t.offered as f64 - mean).abs();
        accounts::ensure(off <= 6.0 * mean.sqrt() + 1.0, || {
            format!("{} requests, where about {mean:.0} arrive", t.offered)
        })
    }

    fn explain(p: &Claimed, summary: &Summary) -> Findings {
        explain(p, summary)
    }
}

/// Asks it once, before it is asked a thousand times.
fn answers(url: &ServerUrl) -> Result<(), String> {
    let failed = |why: String| format!("--server {url}: {why}");
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| failed(e.to_string()))?;
    let client = http::builder().timeout(Duration::from_secs(10)).build();
    let client = client.map_err(|e| failed(e.to_string()))?;
    runtime.block_on(async {
        let first = format!("{}/work/0", url.reveal().trim_end_matches('/'));
        match client.get(first).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                Err(failed(format!("GET /work/0 is answered with {}, not 2xx", answer.status())))
            }
            Err(e) if e.is_timeout() => Err(failed("no answer within 10 s".into())),
            Err(e) if e.is_connect() => {
                Err(failed("nobody is there; is it running, and is its address right?".into()))
            }
            Err(_) => Err(failed("its answer broke off".into())),
        }
    })
}

async fn ask(r: &Recorder, p: &Claimed, load: f64, seed: u64) -> Result<()> {
    let client = http::builder().timeout(PATIENCE).build()?;
    let url = p.server.reveal().trim_end_matches('/').to_owned();
    let one = |i: usize| {
        let (client, url) = (client.clone(), format!("{url}/work/{i}"));
        async move {
            match http::get(&client, url).await {
                Ok(_) => Outcome::Ok,
                Err(error) => Outcome::of_error(&error),
            }
        }
    };
    // Connections are there before the clock starts.
    for i in 0..WARM_UP {
        one(i).await;
    }
    let tally = r.load().open(p.open(load, seed), one).await;
    r.gauge(gauge::GOODPUT_PER_S, tally.goodput_per_s);
    r.books(tally.trial);
    Ok(())
}

fn explain(p: &Claimed, summary: &Summary) -> Findings {
    let loads: Vec<(Condition, Queued)> = summary
        .series(SERIES)
        .into_iter()
        .map(|k| {
            let of = p.predicted(k.x(), summary.seed());
            (k, of)
        })
        .collect();
    let checks = checks(&loads);
    let share = |k: &Condition| k.share_of(|t| Some(t.rejected), |t| Some(t.offered));
    let stay = |k: &Condition| k.estimate(|t| t.latency.mean_s());
    let queue = Table::of("The server beside the queue it claims to be", &loads)
        .column("load", |(k, _)| percent(k.x()))
        .column("refused, queue", |(_, of)| percent(of.refused_share()))
        .cells("refused, server", percent, |(k, _)| share(k))
        .column("mean time, queue", |(_, of)| seconds(of.mean_stay_s()))
        .cells("mean time, server", seconds, |(k, _)| stay(k))
        .note(format!(
            "The queue: {} slots of {}, {} waiting places, asked at the very same instants, in virtual time.",
            p.slots, p.service, p.queue
        ));
    let line = |label: &str, style, points: Vec<(f64, f64)>| {
        Layer::Line(Line {
            label: label.into(),
            colour: if style == Style::Theory { Colour::Muted } else { Colour::Blue },
            style,
            points,
            band: Vec::new(),
        })
    };
    let measured = |of: &dyn Fn(&Condition) -> Option<Estimate>| {
        let value = |(k, _): &(Condition, Queued)| Some((k.x(), of(k)?.value));
        loads.iter().filter_map(value).collect::<Vec<_>>()
    };
    let theory = |of: &dyn Fn(&Queued) -> f64| {
        loads.iter().map(|(k, queued)| (k.x(), of(queued))).collect::<Vec<_>>()
    };
    let panel = |title: &str, unit: Unit, layers| Panel {
        title: title.into(),
        note: String::new(),
        y: unit.into(),
        layers,
        height: 1.0,
    };
    let panels = [
        panel(
            "refused",
            Unit::Share,
            vec![
                line("the queue", Style::Theory, theory(&Queued::refused_share)),
                line("the server", Style::Measured, measured(&share)),
            ],
        ),
        panel(
            "mean time of an answer",
            Unit::Seconds,
            vec![
                line("the queue", Style::Theory, theory(&Queued::mean_stay_s)),
                line("the server", Style::Measured, measured(&stay)),
            ],
        ),
    ];
    let x = Axis {
        label: "load, as a share of what it says it can serve".into(),
        ..Unit::Share.into()
    };
    let headline = findings::headline("The server shows", summary, &checks);
    let figure = Figure::new("server", headline.trim_end_matches('.').to_owned())
        .subtitle("Arrivals by chance that wait for nobody. Dashed: the queue that the server claims to be.")
        .desc("Share refused and mean time of an answer over the load, of the server and of the queue it claims to be.")
        .over(x, panels);
    Findings {
        headline,
        figures: vec![figure],
        tables: vec![findings::table(summary, &checks), queue],
        claims: checks.into_iter().map(|check| check.claim).collect(),
        answers: Vec::new(),
    }
}

fn checks(loads: &[(Condition, Queued)]) -> Vec<Check> {
    let name = |k: &Condition| format!("{} of what it can serve", percent(k.x()));
    let refused = loads.iter().map(|(k, of)| {
        let share = k.estimate(|t| Some(100.0 * t.rejected as f64 / t.offered.max(1) as f64));
        Case::new(name(k), 100.0 * of.refused_share(), share, 3.0)
    });
    let stays = loads.iter().map(|(k, of)| {
        let stay = of.mean_stay_s();
        let measured = k.estimate(|t| t.latency.mean_s());
        Case::new(name(k), 1e3 * stay, measured.map(|m| m.scaled(1e3)), 1e3 * (LATE_S + 0.1 * stay))
    });
    let broken = loads.iter().map(|(k, _)| {
        Case::exact(name(k), 0.0, k.total(|t| Some((t.failed + t.timed_out) as f64)))
    });
    let over = loads.iter().filter(|(k, _)| k.x() > 1.0).map(|(k, of)| {
        let served = of.answered as f64 / of.arrivals.max(1) as f64;
        let measured = k.estimate(|t| Some(100.0 * t.ok as f64 / t.offered.max(1) as f64));
        Case::new(name(k), 100.0 * served, measured, 3.0)
    });
    let processors = Disturbed::Either(Resource::Timers);
    let mut checks = vec![
        Check {
            fault: "answers that fail",
            cause: "connections dropped, an error under load, no answer within 30 s",
            claim: Law::counted("every request is answered or refused", "requests").near(broken),
        },
        Check {
            fault: "other waiting places than claimed",
            cause: "no bound on the queue, a bound elsewhere (a backlog, a pool), or other slots than claimed",
            claim: Law::new("it refuses as many as the queue it claims to be", "%", processors)
                .within("3 points: one late answer lets one arrival in that the queue refuses")
                .near(refused),
        },
        Check {
            fault: "other times than claimed",
            cause: "fewer slots or a longer service than claimed, work on the event loop, a queue that is not first come, first served",
            claim: Law::new("its answers take as long as those of the queue", "ms", processors)
                .within("4 ms for timers and the network, and a tenth, since each request before it was a little late, too")
                .near(stays),
        },
    ];
    if loads.iter().any(|(k, _)| k.x() > 1.0) {
        checks.push(Check {
            fault: "less served than claimed",
            cause: "slots that stand idle while requests wait, or a service that slows down when it is crowded",
            claim: Law::new("beyond what it can serve it still serves as much", "%", processors)
                .within("3 points of what arrives")
                .near(over),
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_kit::lab::params;

    #[test]
    fn a_queue_refuses_what_does_not_fit_and_keeps_the_rest_waiting() {
        let p = params::<Server>(&["--server", "http://127.0.0.1:1"]);
        let [calm, crowded] = [0.3, 3.0].map(|load| p.predicted(load, 1));
        assert_eq!(calm.refused, 0);
        assert!(calm.mean_stay_s() >= p.service.s());
        // Two thirds of three times the capacity do not fit.
        assert!((crowded.refused_share() - 2.0 / 3.0).abs() < 0.05, "{crowded:?}");
        // All places taken: K/c services before its own.
        let full = p.service.s() * (1.0 + p.queue as f64 / p.slots as f64);
        assert!((crowded.mean_stay_s() / full - 1.0).abs() < 0.1, "{crowded:?}");
    }

    #[test]
    fn arrivals_are_the_same_in_each_trial_and_others_with_another_seed() {
        let p = params::<Server>(&["--server", "http://127.0.0.1:1"]);
        assert_eq!(p.open(0.5, 1).arrivals(), p.open(0.5, 1).arrivals());
        assert_ne!(p.open(0.5, 1).arrivals(), p.open(0.5, 2).arrivals());
    }
}
