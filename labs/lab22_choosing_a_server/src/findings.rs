//! Theory beside measurement for lab22.

use lab_kit::prelude::*;

use super::Params;

pub(super) fn explain(p: &Params, summary: &Summary) -> Findings {
    let ways = [summary.only("in turn"), summary.only("together")];
    let ways: Vec<Condition> = ways.into_iter().flatten().collect();
    let took = took(p);
    let faster = match &ways[..] {
        [in_turn, together] => in_turn.paired(together, |a, b| Some(a.wall_s / b.wall_s)),
        _ => None,
    };
    let times = cell(faster, number);
    let bars = ways.iter().map(|k| took.bar(k.series(), Colour::Blue, k));
    Findings {
        headline: format!("Begun together, {} waits end {times} times sooner.", p.items),
        figures: vec![
            Figure::new("ways", format!("Begun together, the waits end {times} times sooner"))
                .subtitle(format!("{} waits of {}; dashed: theory", p.items, p.wait))
                .desc("Two bars: the time of the waits one after another, and begun together.")
                .bars(Axis::linear("time", Unit::Seconds), [BarGroup::new("", bars)]),
        ],
        tables: vec![
            Table::of("Two ways to wait", &ways)
                .column("way", |k| k.series().into())
                .column("time", |k| took.cell(k))
                .column("theory", |k| took.theory_cell(k))
                .done(),
        ],
        claims: vec![took.near(
            "one after another the waits take n·u, and begun together u",
            |k| k.series().into(),
            &ways,
        )],
        answers: vec![Answer::near("faster", faster, p.items as f64)],
    }
}

/// How long all waits took.
fn took(p: &Params) -> Quantity<'_> {
    // A timer comes up to a tick late, and its turn of the processor later still.
    let late = Within::Share(2e-3 / p.wait.s());
    Quantity::of_trials("s", seconds, |t| Some(t.wall_s))
        .theory(|k| Some(by_theory(p, k.series())))
        .within(late, "2 ms a wait: a tick of the timers, and its turn of the processor")
        .disturbed(Disturbed::Longer(Resource::Timers))
}

fn by_theory(p: &Params, series: &str) -> f64 {
    match series {
        "in turn" => p.items as f64 * p.wait.s(),
        _ => p.wait.s(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Tests are about arithmetic and accounts, never about a time that a clock has measured.
    #[test]
    fn one_after_another_takes_the_sum_and_together_the_longest() {
        let p =
            lab_kit::lab::params::<crate::ChoosingAServerLab>(&["--items", "4", "--wait", "10ms"]);
        assert_eq!([by_theory(&p, "in turn"), by_theory(&p, "together")], [0.04, 0.01]);
    }
}
