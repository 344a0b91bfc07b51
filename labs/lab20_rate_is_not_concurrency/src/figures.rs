//! The charts of lab20.

use lab_kit::prelude::*;

use super::findings::{View, name};

pub(super) fn all(view: &View) -> Vec<Figure> {
    [bars(view), over_time(view)].into_iter().flatten().collect()
}

/// What is admitted and what is refused a second, of each way, in each part.
fn bars(view: &View) -> Option<Figure> {
    let groups = view.ways.iter().map(|k| {
        let parts = view.parts.iter().zip(view.admitted.iter().zip(&view.refused));
        let bars = parts.flat_map(|(part, (admitted, refused))| {
            [
                admitted.bar(&format!("admitted, {}", part.takes), Colour::Blue, k),
                refused.bar(&format!("refused, {}", part.takes), Colour::Vermilion, k),
            ]
        });
        BarGroup::new(name(k), bars)
    });
    let groups: Vec<BarGroup> = groups.collect();
    let trials = view.ways.first()?.trials().len();
    Some(
        Figure::new("ways", title(view))
            .subtitle(format!(
                "Requests a second at a service that admits {}; a request takes {} at first, then {}. {trials} trial(s) a bar; ticks: theory",
                view.p.quota, view.p.before, view.p.after
            ))
            .desc("For each way to hold clients back: requests admitted and refused a second while requests are slow and when they are fast.")
            .bars(Axis::linear("requests a second", Unit::Number), groups),
    )
}

fn title(view: &View) -> String {
    match view.largest() {
        None => "Requests admitted and refused".into(),
        Some(k) => format!(
            "The same {} permits: {} refused a second while a request takes {}, {} when it takes {}",
            k.x(),
            view.refused[0].cell(k),
            view.p.before,
            view.refused[1].cell(k),
            view.p.after
        ),
    }
}

/// Requests over time, of a typical trial of three ways.
fn over_time(view: &View) -> Option<Figure> {
    let step = view.theory.world.step();
    let allowed = view.theory.quota() * step;
    let drawn = [view.largest(), view.of_series("window").next(), view.of_series("bucket").next()];
    let panels: Vec<Panel> = drawn
        .into_iter()
        .flatten()
        .filter_map(|k| {
            let trial = k.typical(|t| t.offered as f64)?;
            let line =
                |series: &str, colour| Line::trace(series, colour, trial.trace(series).to_vec());
            Some(
                Panel::new(name(k), Unit::Number)
                    .note("requests in each step")
                    .layer(Layer::rule(allowed, "the quota"))
                    .layer(line("refused", Colour::Vermilion))
                    .layer(line("admitted", Colour::Blue)),
            )
        })
        .collect();
    let bucket = view.of_series("bucket").next()?;
    Some(
        Figure::new("time", format!(
            "A bucket keeps to the quota when requests become fast: {} a second before, {} after",
            view.admitted[0].cell(bucket),
            view.admitted[1].cell(bucket)
        ))
        .subtitle(format!(
            "Requests at the service in steps of {}; from {} on a request takes {} instead of {}",
            seconds(step),
            seconds(view.p.phase.s()),
            view.p.after,
            view.p.before
        ))
        .desc("Requests admitted and refused over time, for a semaphore, a fixed window and a bucket.")
        .over(Axis::linear("time since the first request", Unit::Seconds), panels)
        .marks([Mark::at(view.p.phase.s(), "requests become fast", Colour::Purple)]),
    )
}
