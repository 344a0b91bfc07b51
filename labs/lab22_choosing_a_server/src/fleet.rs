//! Servers that serve one at a time, in real time, and the balancer in front of them.

use std::sync::{Arc, Mutex};

use lab_kit::prelude::*;
use lab_kit::theory::balance::{self, Choice, Odd, Outcome, Start};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep_until, timeout_at};

use super::{
    Known, any, better_of_two, better_of_two_old, heard, heard_and_ejected, in_turn, least,
    may_be_asked, whatever_is_late, within_budget,
};

pub(super) use lab_kit::theory::balance::Visit;

/// A server has answered, and should have done so then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    due: Instant,
}

/// A server has refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused;

/// A request in front of a server.
struct Job {
    /// When it was due, not when somebody got round to sending it.
    arrived: Instant,
    work: Duration,
    reply: oneshot::Sender<Answer>,
}

/// A request in front of a server, and where its answer will come from.
struct Posted {
    server: usize,
    answer: oneshot::Receiver<Answer>,
}

/// A server: one request after another, until nobody comes any more.
async fn serve(mut jobs: mpsc::UnboundedReceiver<Job>, opened: Instant) {
    let mut free = opened;
    while let Some(job) = jobs.recv().await {
        // Timers fire a millisecond late. The next one begins when this one should have been done.
        free = free.max(job.arrived) + job.work;
        sleep_until(free.into()).await;
        let _ = job.reply.send(Answer { due: free });
    }
}

/// Ten servers and what is known of them.
pub(super) struct Fleet {
    rules: balance::Fleet,
    opened: Instant,
    doors: Vec<mpsc::UnboundedSender<Job>>,
    known: Mutex<Known>,
    /// The counts that were last read.
    shown: Mutex<Vec<usize>>,
    /// How many servers have at least 0, 1, 2 … in flight, over what arrivals see.
    seen: Mutex<Vec<u64>>,
    /// Who got each request, and its second one; nobody, where nobody sent it.
    sent: Mutex<Vec<(usize, Option<usize>)>>,
}

/// What became of a request, and how late its client heard of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) outcome: Outcome,
    pub(super) late: f64,
}

/// A fleet and those who came to it, watched to the end.
pub(super) struct Watched {
    pub(super) visits: Vec<Visit>,
    /// A client that was still waiting at the end takes for ever.
    pub(super) heard: Vec<Heard>,
    /// As in [`balance::Run`].
    pub(super) seen: Vec<f64>,
}

impl Fleet {
    /// Opens it as it is found. Its servers end when the set is dropped.
    fn open(
        rules: balance::Fleet,
        start: &Start,
        clients: usize,
        opened: Instant,
    ) -> (Arc<Fleet>, JoinSet<()>) {
        let mut servers = JoinSet::new();
        let doors = (0..rules.servers).map(|_| {
            let (door, jobs) = mpsc::unbounded_channel();
            servers.spawn(serve(jobs, opened));
            door
        });
        let known = Known {
            in_flight: vec![0; rules.servers],
            strikes: start.strikes.clone(),
            out_until: start.out.iter().map(|s| opened + Duration::from_secs_f64(*s)).collect(),
            turn: start.turn,
            saved: start.saved,
        };
        let fleet = Fleet {
            rules,
            opened,
            doors: doors.collect(),
            known: Mutex::new(known),
            shown: Mutex::new(start.shown.clone()),
            seen: Mutex::default(),
            sent: Mutex::new(vec![(usize::MAX, None); clients]),
        };
        (Arc::new(fleet), servers)
    }

    /// The server for a request.
    fn choose(&self, luck: u64, not: Option<usize>) -> usize {
        let mut rng = Pcg64Mcg::seed_from_u64(luck);
        let mut known = self.known.lock().expect("nobody panics holding it");
        if not.is_none() {
            self.look(&known.in_flight);
            let budget = self.rules.policy.hedge.map_or(0.0, |hedge| hedge.budget);
            known.saved = (known.saved + budget).min(balance::SAVED);
        }
        let among = may_be_asked(&known, not);
        let shown = self.shown.lock().expect("nobody panics holding it");
        let server = match (self.rules.policy.choice, self.rules.policy.age > 0.0) {
            (Choice::Random, _) => any(&among, &mut rng),
            (Choice::InTurn, _) => in_turn(&among, &mut known.turn),
            (Choice::Least, false) => least(&among, &known.in_flight, &mut rng),
            (Choice::Least, true) => least(&among, &shown, &mut rng),
            (Choice::Two, false) => better_of_two(&among, &known.in_flight, &mut rng),
            (Choice::Two, true) => better_of_two_old(&among, &shown, &mut rng),
        };
        known.in_flight[server] += 1;
        server
    }

    /// Counts what an arrival sees.
    fn look(&self, in_flight: &[usize]) {
        let mut seen = self.seen.lock().expect("nobody panics holding it");
        let most = in_flight.iter().max().copied().unwrap_or(0);
        if seen.len() <= most {
            seen.resize(most + 1, 0);
        }
        for (k, seen) in seen.iter_mut().enumerate() {
            *seen += in_flight.iter().filter(|n| **n >= k).count() as u64;
        }
    }

    /// Puts a request in front of a server, which may refuse it at once.
    fn post(&self, server: usize, arrived: Instant, work: f64) -> Result<Posted, Refused> {
        if self.rules.odd == Odd::Fails && server == 0 {
            self.hear(server, &Err(Refused));
            return Err(Refused);
        }
        let work = Duration::from_secs_f64(match self.rules.odd {
            Odd::Slow(times) if server == 0 => work * times,
            _ => work,
        });
        let (reply, answer) = oneshot::channel();
        let _ = self.doors[server].send(Job { arrived, work, reply });
        Ok(Posted { server, answer })
    }

    /// Waits for a server's answer. Whoever asked may have gone meanwhile.
    async fn answer(self: Arc<Fleet>, posted: Posted) -> Result<Answer, Refused> {
        let answer = posted.answer.await.map_err(|_| Refused);
        self.hear(posted.server, &answer);
        answer
    }

    fn hear(&self, server: usize, answer: &Result<Answer, Refused>) {
        match self.rules.policy.ejection {
            None => heard(&self.known, server, answer),
            Some(ejection) => {
                let out = Duration::from_secs_f64(ejection.back);
                heard_and_ejected(&self.known, server, answer, (ejection.strikes, out));
            }
        }
    }

    /// A client with a request, and with a second one when the first takes too long.
    async fn visit(
        self: Arc<Fleet>,
        client: usize,
        visit: Visit,
        first: Posted,
    ) -> Result<Answer, Refused> {
        let arrived = self.opened + Duration::from_secs_f64(visit.at);
        let Some(hedge) = self.rules.policy.hedge else {
            return self.answer(first).await;
        };
        let (later, server) = (arrived + Duration::from_secs_f64(hedge.after), first.server);
        let mut one = tokio::spawn(self.clone().answer(first));
        if let Ok(answer) = timeout_at(later.into(), &mut one).await {
            return joined(answer);
        }
        let bounded = hedge.budget.is_finite();
        if !(if bounded { within_budget(&self.known) } else { whatever_is_late() }) {
            return joined(one.await);
        }
        let second = self.choose(visit.luck.wrapping_add(1), Some(server));
        self.note(client, server, Some(second));
        match self.post(second, later, visit.again) {
            Ok(second) => earlier(one, tokio::spawn(self.answer(second))).await,
            // Who refuses leaves it with the first.
            Err(Refused) => joined(one.await),
        }
    }

    /// Writes down who got a request.
    fn note(&self, client: usize, first: usize, second: Option<usize>) {
        self.sent.lock().expect("nobody panics holding it")[client] = (first, second);
    }

    /// Reads the counts, again and again.
    async fn read_counts(self: Arc<Fleet>) {
        let every = Duration::from_secs_f64(self.rules.policy.age);
        let mut at = self.opened;
        loop {
            at += every;
            sleep_until(at.into()).await;
            let known = self.known.lock().expect("nobody panics holding it");
            let mut shown = self.shown.lock().expect("nobody panics holding it");
            shown.clone_from(&known.in_flight);
        }
    }
}

/// The answer that comes first; an error leaves it with the other.
async fn earlier(
    mut one: JoinHandle<Result<Answer, Refused>>,
    mut other: JoinHandle<Result<Answer, Refused>>,
) -> Result<Answer, Refused> {
    tokio::select! {
        answer = &mut one => match joined(answer) {
            Ok(answer) => Ok(answer),
            Err(Refused) => joined(other.await),
        },
        answer = &mut other => match joined(answer) {
            Ok(answer) => Ok(answer),
            Err(Refused) => joined(one.await),
        },
    }
}

fn joined<E>(answer: Result<Result<Answer, Refused>, E>) -> Result<Answer, Refused> {
    answer.unwrap_or(Err(Refused))
}

/// What became of a request, by its client's clock; nothing, where it was still waiting.
fn heard_of(
    arrived: Instant,
    (server, second): (usize, Option<usize>),
    answer: Option<(Result<Answer, Refused>, Instant)>,
) -> Heard {
    let (took, late) = match answer {
        None => (f64::INFINITY, 0.0),
        Some((Err(Refused), _)) => (0.0, 0.0),
        Some((Ok(Answer { due }), at)) => {
            let took = due.saturating_duration_since(arrived).as_secs_f64();
            (took, at.saturating_duration_since(due).as_secs_f64())
        }
    };
    let failed = matches!(answer, Some((Err(Refused), _)));
    Heard { outcome: Outcome { server, second, took, failed }, late }
}

/// Visits a fleet, and watches it until a given instant.
pub(super) async fn watch(
    rules: balance::Fleet,
    start: Start,
    visits: Vec<Visit>,
    opened: Instant,
    until: Instant,
) -> Watched {
    let (fleet, mut servers) = Fleet::open(rules, &start, visits.len(), opened);
    sleep_until(opened.into()).await;
    // Those who are in front of the servers already.
    for (server, line) in start.lines.iter().enumerate() {
        for work in line {
            fleet.known.lock().expect("nobody panics holding it").in_flight[server] += 1;
            if let Ok(posted) = fleet.post(server, opened, *work) {
                servers.spawn(old(fleet.clone(), posted));
            }
        }
    }
    if rules.policy.age > 0.0 {
        servers.spawn(fleet.clone().read_counts());
    }
    let (mut clients, mut answers) = (JoinSet::new(), vec![None; visits.len()]);
    for (client, visit) in visits.iter().copied().enumerate() {
        let arrived = opened + Duration::from_secs_f64(visit.at);
        if arrived > Instant::now() {
            sleep_until(arrived.into()).await;
        }
        // Here and not in a task of its own: those that come within a tick are served in their order.
        let first = fleet.choose(visit.luck, None);
        fleet.note(client, first, None);
        match fleet.post(first, arrived, visit.work) {
            Err(Refused) => answers[client] = Some((Err(Refused), Instant::now())),
            Ok(posted) => {
                let fleet = fleet.clone();
                clients.spawn(async move {
                    let answer = fleet.visit(client, visit, posted).await;
                    (client, answer, Instant::now())
                });
            }
        }
        // All of them at the end would hold the others up for half a second.
        while let Some(Ok((client, answer, at))) = clients.try_join_next() {
            answers[client] = Some((answer, at));
        }
    }
    let hear = async {
        while let Some(done) = clients.join_next().await {
            if let Ok((client, answer, at)) = done {
                answers[client] = Some((answer, at));
            }
        }
    };
    let _ = timeout_at(until.into(), hear).await;
    let sent = fleet.sent.lock().expect("nobody panics holding it").clone();
    let seen = fleet.seen.lock().expect("nobody panics holding it");
    let seen = seen.iter().map(|n| *n as f64).collect();
    let all = visits.iter().zip(sent).zip(answers);
    let heard = all.map(|((visit, sent), answer)| {
        heard_of(opened + Duration::from_secs_f64(visit.at), sent, answer)
    });
    Watched { heard: heard.collect(), visits, seen }
}

/// One who was there before, of whom nobody waits for the answer.
async fn old(fleet: Arc<Fleet>, posted: Posted) {
    let _ = fleet.answer(posted).await;
}
