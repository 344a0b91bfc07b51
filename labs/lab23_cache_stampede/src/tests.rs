use lab_kit::theory::cache::Zipf;
use mock_server::{Faults, Outage, Upstream};
use tokio::{runtime::Runtime, task::JoinSet};

use super::*;

/// A key at an upstream of its own, whose values live for an hour.
async fn key(spec: Spec) -> (Key, Upstream) {
    let upstream = Upstream::start(spec).await.unwrap();
    let hour = Duration::from_secs(3600);
    (Key::new(0, (&http::client(), &hot::pool(100)), upstream.url(), hour, 1), upstream)
}

fn spec() -> Spec {
    Spec::new(100, ServiceTime::Constant(Duration::from_millis(200)))
}

/// Twenty requests at once.
async fn twenty<Fut>(get: impl Fn() -> Fut) -> Vec<Got>
where
    Fut: Future<Output = Got> + Send + 'static,
{
    let mut all = JoinSet::new();
    for _ in 0..20 {
        all.spawn(get());
    }
    all.join_all().await
}

#[test]
fn where_every_miss_asks_all_do_and_behind_a_lock_or_by_moka_one_does() {
    Runtime::new().unwrap().block_on(async {
        let (asks, upstream) = key(spec()).await;
        let got = twenty(|| {
            let key = asks.clone();
            async move { every_miss_asks(&key).await }
        });
        assert!(got.await.iter().all(Result::is_ok));
        // A thread may come late, to a value that is there by then.
        assert!(upstream.counters().arrived > 1);
        let (asks, upstream) = key(spec()).await;
        let got = twenty(|| {
            let key = asks.clone();
            async move { one_asks(&key).await }
        });
        assert!(got.await.iter().all(Result::is_ok));
        assert_eq!(upstream.counters().arrived, 1);
        let (asks, upstream) = key(spec()).await;
        let moka = Cache::builder().build();
        let got = twenty(|| {
            let (key, moka) = (asks.clone(), moka.clone());
            async move { by_moka(&moka, &key).await }
        });
        assert!(got.await.iter().all(Result::is_ok));
        assert_eq!(upstream.counters().arrived, 1);
    });
}

#[test]
fn the_old_value_is_handed_out_while_one_asks_and_no_longer_than_it_may() {
    Runtime::new().unwrap().block_on(async {
        let (key, upstream) = key(spec()).await;
        let now = Instant::now();
        let old = key.store(now, Duration::from_millis(30));
        let hour = Duration::from_secs(3600);
        let got = twenty(|| {
            let key = key.clone();
            async move { stale_meanwhile(&key, hour).await }
        });
        assert!(got.await.iter().flatten().any(|value| value.stored == old.stored));
        drop(key.turn.lock().await);
        assert_eq!(upstream.counters().arrived, 1);
        assert!(key.fresh().is_some());
        // Too old for that.
        key.store(now, Duration::from_millis(30));
        let got = stale_meanwhile(&key, Duration::ZERO).await.unwrap();
        assert!(got.left() > Duration::ZERO);
        assert_eq!(upstream.counters().arrived, 2);
    });
}

#[test]
fn a_failure_is_not_stored_and_who_asks_early_keeps_what_is_fresh() {
    Runtime::new().unwrap().block_on(async {
        let until = Duration::from_secs(3600);
        let outage = Outage { from: Duration::ZERO, until, status: 503 };
        let faults = Faults { outages: vec![outage], ..Faults::default() };
        let (key, _upstream) = key(Spec { faults, ..spec() }).await;
        assert!(one_asks(&key).await.is_err());
        assert!(key.fresh().is_none());
        let fresh =
            key.store(Instant::now() + Duration::from_secs(60), Duration::from_secs(1_000_000));
        let got = early_by_chance(&key, 1.0).await.unwrap();
        assert_eq!(got.stored, fresh.stored);
        assert_eq!(key.log().0.len(), 2);
    });
}

#[test]
fn the_ten_lines_hold_what_a_list_that_moves_to_the_front_holds() {
    let zipf = Zipf::new(50, 0.8);
    let (mut lru, mut list) = (Lru { most: 7, ..Lru::default() }, Vec::new());
    let mut random = 0.5f64;
    for _ in 0..5000 {
        random = (random * 997.0 + 0.123).fract();
        let key = zipf.key(random);
        let found = list.iter().position(|held| *held == key);
        found.map(|at| list.remove(at));
        list.insert(0, key);
        list.truncate(7);
        assert_eq!(lru.get(key), found.is_some());
    }
    assert_eq!(lru.asked.len(), 7);
}

#[test]
fn lives_are_alike_or_spread() {
    let (ttl, spread) = (Duration::from_secs(2), Duration::from_secs(1));
    assert_eq!(alike(ttl), ttl);
    assert_eq!(jittered(ttl, spread, 0.0), ttl);
    assert_eq!(jittered(ttl, spread, 0.5), Duration::from_millis(2500));
}

#[test]
fn flags_that_make_no_sense_are_refused_with_what_to_do() {
    let check =
        |flags: &[&str]| CacheStampedeLab::check(&lab_kit::lab::params::<CacheStampedeLab>(flags));
    assert_eq!(check(&[]), Ok(()));
    for flags in [
        &["--timeout", "55ms"][..],
        &["--places", "2000"],
        &["--window", "500ms"],
        &["--rates", "5000", "--service", "500ms", "--timeout", "5s"],
        &["--rates", "5000,5000,5000", "--expiries", "1000"],
        &["--keys", "2000", "--key-rate", "5000"],
        &["--jitter", "10m"],
    ] {
        assert!(check(flags).is_err(), "{flags:?}");
    }
}
