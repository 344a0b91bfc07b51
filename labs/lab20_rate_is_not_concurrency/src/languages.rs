//! The same two limits in another language.

use lab_kit::prelude::*;

use super::{
    books,
    findings::{View, name},
    gauges,
    held::Held,
    plan::Params,
    world::World,
};

/// `python/lab20.py`.
pub(super) const PROGRAMS: Programs = lab_kit::programs!("lab20", "Lab20": python);

/// Longer than it takes that runs without `--long`.
const LIMIT: Duration = Duration::from_secs(700);

/// Clients before a semaphore, or before a bucket.
pub(super) async fn run(r: Recorder, program: Program, p: Params, held: Held) -> Result<()> {
    let world = World::of(&p);
    let service = r.upstream(world.spec()).await?;
    let (quota, in_flight) = (world.client_quota(), held.in_flight(&p));
    let flags = [
        ("arm", held.series().to_string()),
        ("limit", in_flight.to_string()),
        ("rate", quota.per_s.to_string()),
        ("burst", quota.burst.to_string()),
        ("clients", held.clients(&p).to_string()),
        ("connections", in_flight.to_string()),
        ("duration", world.lasts().to_string()),
    ];
    r.program(&program, Some(&service), &flags, LIMIT).await?;
    books::write_down(&r, &service, &world);
    Ok(())
}

/// What holds back the clients of a condition, in whichever language.
pub(super) fn arm<'k>(k: &Condition<'k>) -> &'k str {
    Language::of_series(k.series()).map_or(k.series(), |(_, arm)| arm)
}

/// Limits do what they do, whoever holds them.
pub(super) fn claims(view: &View, summary: &Summary) -> Vec<Claim> {
    let all = || runtimes::conditions(summary);
    let told = |language: Language, k: &Condition, part: usize| {
        format!("{language}, {} while a request takes {}", name(k), view.parts[part].takes)
    };
    let admitted = [0, 1].into_iter().flat_map(|part| {
        all().filter_map(move |(language, _, k)| {
            let quantity = &view.admitted[part];
            quantity.predicted(&k)?;
            Some(quantity.case(told(language, &k, part), &k))
        })
    });
    let refused = all().filter(|(_, arm, _)| *arm == "bucket").map(|(language, _, k)| {
        let refused = k.every(|t| t.gauge(gauges::REFUSED));
        Case::exact(format!("{language}, {}", name(&k)), 0.0, refused)
    });
    let spare = Disturbed::Beyond(Resource::Timers, view.forgives());
    vec![
        view.admitted[0]
            .law("in every language m permits let m/W through and no more than the quota, and a bucket the quota")
            .near(admitted),
        Law::new("in every language nobody is refused behind a bucket", "requests", spare)
            .near(refused),
    ]
}

/// Rust and another language before the same service.
pub(super) fn table(p: &Params, summary: &Summary) -> Option<Table> {
    let rows = runtimes::conditions(summary).filter_map(|(language, arm, k)| {
        let rust = match arm {
            "semaphore" => summary.at("semaphore", k.x())?,
            _ => summary.only("bucket")?,
        };
        Some((language, rust, k))
    });
    let refused = gauges::AFTER_REFUSED_PER_S;
    let admitted = gauges::AFTER_ADMITTED_PER_S;
    Table::of(format!("The same limits {}", runtimes::BESIDE), rows)
        .column("limit", |r| name(&r.1))
        .column("language", |r| r.0.to_string())
        .cells(format!("admitted/s at {}, Rust", p.after), number, |r| r.1.gauge(admitted))
        .cells("there", number, |r| r.2.gauge(admitted))
        .cells("refused/s, Rust", number, |r| r.1.gauge(refused))
        .cells("there", number, |r| r.2.gauge(refused))
        .cells("ahead of an even pace, Rust", seconds, |r| r.1.gauge(gauges::AHEAD_S))
        .cells("there", seconds, |r| r.2.gauge(gauges::AHEAD_S))
        .done()
        .unless_empty()
}
