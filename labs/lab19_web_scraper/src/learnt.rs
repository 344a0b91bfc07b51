//! What can be learnt from labelled pages.

use anyhow::Context;
use lab_kit::prelude::*;
use reqwest::Url;

use super::{Params, gauges};
use lab_crawl::{classify::Trainer, extract::extract};

/// How many times as many labelled pages as the crawls have, to see what is left to learn.
pub(super) const MORE: usize = 4;
/// Products that what was learnt is tried on.
pub(super) const HELD_OUT: u64 = 1000;

/// A shop of its own with labelled pages of its own: how well do these tell the categories of the others?
pub(super) fn learnt(r: &Recorder, p: &Params, samples: usize) -> Result<()> {
    let site = p.calm(r.seed(), HELD_OUT as usize);
    let base = Url::parse("http://shop/")?;
    let read = |path: String| extract(site.page(&path).as_bytes(), &base);
    let mut trainer = Trainer::default();
    for n in 0..samples {
        let page = read(format!("/labelled/{n}"));
        let label = page.label.context("a labelled page has no label")?;
        trainer.learn(&label, &page.text);
    }
    let model = trainer.model(1.0).context("nothing was learnt")?;
    let known = |n: &u64| model.classify(&read(format!("/p/{n}")).text) == site.category(*n);
    let right = (0..HELD_OUT).filter(known).count();
    r.gauge(gauges::CLASSIFIED, HELD_OUT as f64);
    r.gauge(gauges::RIGHT, right as f64);
    Ok(())
}
