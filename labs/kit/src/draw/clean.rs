//! Texts as XML allows them, on one line.

use crate::{
    clean::line,
    figure::{Body, Figure, Layer},
};

/// Longest text in the picture, in characters; no place has room for more.
const LONGEST: usize = 1000;
/// Longest text for readers who cannot see the picture.
const LONGEST_DESC: usize = 4000;

/// Text as the content of an element of SVG or HTML: on one line, escaped, without characters that
/// neither allows, cut where it is very long.
pub fn escaped(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in line(raw, LONGEST_DESC).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// The figure with clean texts.
pub(super) fn figure(figure: &Figure) -> Figure {
    let mut clean = figure.clone();
    let wash = |s: &mut String| *s = line(s, LONGEST);
    wash(&mut clean.title);
    wash(&mut clean.subtitle);
    match &mut clean.body {
        Body::Panels(panels) => {
            wash(&mut panels.x.label);
            panels.marks.iter_mut().for_each(|mark| wash(&mut mark.label));
            for panel in &mut panels.panels {
                wash(&mut panel.title);
                wash(&mut panel.note);
                wash(&mut panel.y.label);
                for layer in &mut panel.layers {
                    match layer {
                        Layer::Line(line) => wash(&mut line.label),
                        Layer::Rule { label, .. } | Layer::Region { label, .. } => wash(label),
                    }
                }
            }
        }
        Body::Gantt(gantt) => {
            for group in &mut gantt.groups {
                wash(&mut group.title);
                wash(&mut group.note);
                for lane in &mut group.lanes {
                    wash(&mut lane.label);
                    lane.bars.iter_mut().for_each(|bar| wash(&mut bar.label));
                }
            }
        }
        Body::Bars(bars) => {
            wash(&mut bars.x.label);
            for group in &mut bars.groups {
                wash(&mut group.label);
                wash(&mut group.note);
                group.bars.iter_mut().for_each(|bar| wash(&mut bar.label));
            }
        }
        Body::Beats(beats) => {
            for lane in &mut beats.lanes {
                wash(&mut lane.title);
                wash(&mut lane.note);
            }
        }
    }
    clean
}
