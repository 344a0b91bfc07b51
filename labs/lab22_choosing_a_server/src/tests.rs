//! Arithmetic and accounts, never a time that a clock has measured.

use std::sync::Mutex;

use lab_kit::prelude::*;
use lab_kit::theory::balance::{Choice, Fleet, Odd, Outcome, Start};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use tokio::runtime::Runtime;

use super::{
    Known, Visit, any, better_of_two,
    crowd::{self, Arm, Crowd, World},
    fan_out::FanOut,
    fleet::{Refused, watch},
    gauges, heard_and_ejected, in_turn, least, may_be_asked,
    plan::{ChoosingAServerLab, Params},
    tally::Tally,
    within_budget,
};

fn params() -> Params {
    lab_kit::lab::params::<ChoosingAServerLab>(ChoosingAServerLab::CARD.sizes.smoke)
}

fn known(servers: usize) -> Mutex<Known> {
    let now = Instant::now();
    Mutex::new(Known {
        in_flight: vec![1; servers],
        strikes: vec![0; servers],
        out_until: vec![now; servers],
        turn: 0,
        saved: 0.0,
    })
}

// The choices above and those of the simulator are written twice: the same luck draws the same server.
#[test]
fn the_balancer_and_the_simulator_choose_alike() {
    for luck in 0..500_u64 {
        let counts: Vec<usize> = (0..6).map(|server| (luck as usize >> server) % 3).collect();
        let lines = counts.iter().map(|n| vec![1.0; *n]).collect();
        let visit = Visit { at: 0.5, work: 1.0, luck, again: 1.0 };
        let simulated = |choice: Choice| {
            let fleet = Fleet { servers: 6, odd: Odd::None, policy: choice.into() };
            let start = Start { lines, turn: 4, ..fleet.idle() };
            [fleet.run(&start, &[visit]).unwrap().outcomes[0].server]
        };
        let (among, mut rng): (Vec<usize>, _) = ((0..6).collect(), Pcg64Mcg::seed_from_u64(luck));
        let choice =
            [Choice::Random, Choice::InTurn, Choice::Least, Choice::Two][luck as usize % 4];
        let chosen = match choice {
            Choice::Random => any(&among, &mut rng),
            Choice::InTurn => in_turn(&among, &mut 4),
            Choice::Least => least(&among, &counts, &mut rng),
            Choice::Two => better_of_two(&among, &counts, &mut rng),
        };
        assert_eq!(simulated(choice), [chosen], "{choice:?} {luck} {counts:?}");
    }
}

#[test]
fn who_errs_in_a_row_is_out_and_all_are_better_than_none() {
    let known = known(2);
    let rules = (2, Duration::from_secs(100));
    let err = |server| heard_and_ejected(&known, server, &Err(Refused), rules);
    let may = |not| may_be_asked(&known.lock().unwrap(), not);
    err(0);
    assert_eq!(may(None), [0, 1]);
    known.lock().unwrap().in_flight = vec![9; 2];
    err(0);
    assert_eq!(may(None), [1]);
    // Nobody else is left.
    assert_eq!(may(Some(1)), [0]);
    // Back on probation: one error is enough.
    known.lock().unwrap().out_until[0] = Instant::now();
    assert_eq!(may(None), [0, 1]);
    err(0);
    assert_eq!(may(None), [1]);
    assert_eq!(known.lock().unwrap().in_flight, [7, 9]);
}

#[test]
fn a_budget_is_spent_once() {
    let known = known(2);
    known.lock().unwrap().saved = 2.5;
    assert_eq!([(); 4].map(|()| within_budget(&known)), [true, true, false, false]);
}

#[test]
fn conditions_have_names_of_their_own() {
    let p = params();
    let mut names: Vec<String> =
        Crowd::all(&p).iter().map(|c| format!("{} {}", c.series(), c.age)).collect();
    names.extend(FanOut::all(&p).iter().map(|fan| format!("{} {}", fan.series(), fan.answers)));
    let found = |c: &Crowd| Crowd::at(&p, &c.series(), c.age) == Some(*c);
    assert!(Crowd::all(&p).iter().all(found) && Crowd::at(&p, "alike/two", 0.0).is_none());
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

// Real time, as short as can be: whatever the machine does, nobody is lost or counted twice.
#[test]
fn the_books_of_every_condition_close() {
    let p = params();
    let runtime = Runtime::new().unwrap();
    for crowd in Crowd::all(&p) {
        let crowd = Crowd { window: 0.03, patience: 0.05, ..crowd.part(100) };
        let (start, visits) = crowd.draw(0, 3);
        let come = visits.len() as u64;
        let watched = runtime.block_on(async {
            let opened = Instant::now();
            let until = opened + Duration::from_millis(80);
            watch(crowd.fleet, start, visits, opened, until).await
        });
        let trial = crowd::books(&crowd, 3, &[watched]);
        assert!(trial.books_close(), "{}: {trial:?}", crowd.series());
        assert_eq!(trial.offered, come);
        let shares = [gauges::ERROR_SHARE, gauges::FIRST_SHARE].map(|g| trial.gauge(g).unwrap());
        if crowd.world != World::Sinkhole {
            assert_eq!(shares[0], 0.0);
        }
        if crowd.arm != Arm::Hedged && crowd.arm != Arm::Budgeted {
            assert_eq!(trial.gauge(gauges::HEDGED_SHARE), Some(0.0));
        }
    }
}

#[test]
fn a_tally_counts_who_gave_up_as_long_as_they_waited() {
    let outcome = |server, took, failed| Outcome { server, second: None, took, failed };
    let mut tally = Tally::new(2);
    let all = [
        outcome(0, 1.0, false),
        outcome(0, f64::INFINITY, false),
        outcome(1, 0.0, true),
        outcome(0, 3.0, false),
    ];
    tally.add(all, &[8.0, 4.0, 2.0], 4.0);
    assert_eq!([tally.at_least(0), tally.at_least(1), tally.at_least(2)], [1.0, 0.5, 0.25]);
    assert_eq!((tally.offered, tally.failed, tally.given_up), (4, 1, 1));
    let figures = tally.figures();
    let of = |gauge| figures.iter().find(|(g, _)| *g == gauge).unwrap().1;
    assert!((of(gauges::TIME_MEAN_S) - 8.0 / 3.0).abs() < 1e-12);
    assert_eq!([of(gauges::FIRST_SHARE), of(gauges::APART_MOST)], [0.75, 2.0]);
}

#[test]
fn a_request_is_as_slow_as_its_slowest_answer() {
    let p = lab_kit::lab::params::<ChoosingAServerLab>(&["--fan-outs", "10"]);
    let fan = FanOut::of(&p, 10, true).part(1000);
    let ms = Duration::from_millis;
    let trial = super::fan_out::books(&fan, &[(ms(40), 0), (ms(241), 2), (ms(239), 1)]);
    assert!(trial.books_close());
    assert_eq!((trial.offered, trial.ok, trial.timed_out), (3, 2, 1));
    assert_eq!(trial.gauge(gauges::AGAIN_TOTAL), Some(3.0));
    assert_eq!(trial.gauge(gauges::ASKED_TOTAL), Some(30.0));
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let refused = |flags: &[&str]| {
        ChoosingAServerLab::check(&lab_kit::lab::params::<ChoosingAServerLab>(flags)).is_err()
    };
    assert!(!refused(&[]) && !refused(ChoosingAServerLab::CARD.sizes.smoke));
    for flags in
        [["--service", "1ms"], ["--patience", "50ms"], ["--window", "100ms"], ["--fleets", "500"]]
    {
        assert!(refused(&flags), "{flags:?}");
    }
}
