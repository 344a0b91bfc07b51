//! How values lie: quartiles, outliers, a strip of dots.

use std::fmt::Write;

use lab_book::page::{Html, escaped};
use lab_kit::{stats::quantile, text::number};
use serde::Serialize;

/// Least, median and largest of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// Half of them are below.
    pub median: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// `None` without a value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut all: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        all.sort_by(f64::total_cmp);
        Some(Spread { least: *all.first()?, median: quantile(&all, 0.5), most: *all.last()? })
    }

    /// "12 (3 to 40)".
    pub fn text(&self) -> String {
        match self.range() {
            None => number(self.median),
            Some(range) => format!("{} ({range})", number(self.median)),
        }
    }

    /// "3 to 40"; `None` where both ends read the same.
    pub fn range(&self) -> Option<String> {
        let (least, most) = (number(self.least), number(self.most));
        (least != most).then(|| format!("{least} to {most}"))
    }
}

/// Fewer values have no outliers.
const ENOUGH: usize = 5;
/// Modified z-score from which a value is an outlier (B. Iglewicz and D. C. Hoaglin, 1993).
const FAR: f64 = 3.5;
/// What lies closer to the median than this share of it is none, however equal the others are.
const CLOSE: f64 = 0.1;

/// Indices of the values that lie far from the others, with their modified z-scores, farthest first.
///
/// The score is 0.6745·(x − median)/MAD; where half of the values are equal, and so the MAD is zero,
/// (x − median)/(1.2533·mean absolute deviation) takes its place.
pub fn outliers(values: &[f64]) -> Vec<(usize, f64)> {
    if values.len() < ENOUGH {
        return Vec::new();
    }
    let median_of = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        quantile(&all, 0.5)
    };
    let median = median_of(values.to_vec());
    let off: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
    let mad = median_of(off.clone());
    let scale = match mad > 0.0 {
        true => mad / 0.6745,
        false => 1.2533 * off.iter().sum::<f64>() / off.len() as f64,
    };
    let mut far: Vec<(usize, f64)> = values
        .iter()
        .enumerate()
        .filter(|(i, _)| off[*i] > CLOSE * median.abs())
        .map(|(i, v)| (i, (v - median) / scale))
        .filter(|(_, z)| z.abs() > FAR)
        .collect();
    far.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    far
}

/// Ratios beyond this, and below its inverse, are drawn at the ends.
const END: f64 = 32.0;
const BINS: usize = 41;
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 96.0;
const FLOOR: f64 = 70.0;

/// Ratios as stacked dots, or as bars when there are many, over a logarithmic axis with 1 in its
/// middle, as an inline picture in the colours of the page.
pub fn strip(ratios: &[f64], what: &str) -> Html {
    let mut stacks = [0usize; BINS];
    for ratio in ratios.iter().filter(|r| **r > 0.0) {
        let share = (ratio.ln() / END.ln()).clamp(-1.0, 1.0);
        stacks[((share + 1.0) / 2.0 * (BINS - 1) as f64).round() as usize] += 1;
    }
    let highest = stacks.iter().copied().max().unwrap_or(0).max(1) as f64;
    let cell = ((WIDTH - 20.0) / BINS as f64).min((FLOOR - 6.0) / highest);
    let at = |share: f64| 10.0 + (share + 1.0) / 2.0 * (WIDTH - 20.0);
    let mut svg = format!(
        "<svg class=\"spread\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\" style=\"display:block;width:100%;max-width:{WIDTH}px;height:auto;font:12px var(--sans)\">\n",
        escaped(what)
    );
    for (ratio, label) in [
        (1.0 / END, "÷32 and less"),
        (0.1, "÷10"),
        (0.5, "÷2"),
        (1.0, "measured"),
        (2.0, "×2"),
        (10.0, "×10"),
        (END, "×32 and more"),
    ] {
        let x = at(f64::ln(ratio) / END.ln());
        // Letters are larger on a narrow screen, and these two have no room there.
        let class = match label {
            "÷10" | "×10" => " class=\"far\"",
            _ => "",
        };
        let (paint, anchor) = match ratio {
            1.0 => ("--lab-ink", "middle"),
            r if r < 0.05 => ("--lab-grid", "start"),
            r if r > 20.0 => ("--lab-grid", "end"),
            _ => ("--lab-grid", "middle"),
        };
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} 2V{FLOOR}\" stroke=\"var({paint})\"/><text{class} x=\"{x:.1}\" y=\"88\" text-anchor=\"{anchor}\" fill=\"var(--lab-muted)\">{label}</text>"
        );
    }
    let _ = writeln!(svg, "<path d=\"M4 {FLOOR}H{}\" stroke=\"var(--lab-muted)\"/>", WIDTH - 4.0);
    for (bin, count) in stacks.iter().enumerate() {
        let x = at(bin as f64 / (BINS - 1) as f64 * 2.0 - 1.0);
        let end = bin == 0 || bin == BINS - 1;
        let paint = if end { "--lab-vermilion" } else { "--lab-blue" };
        if cell >= 5.0 {
            for level in 0..*count {
                let y = FLOOR - cell * (level as f64 + 0.5);
                let r = cell.min(12.0) * 0.42;
                let _ = write!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\" fill=\"var({paint})\"/>"
                );
            }
        } else if *count > 0 {
            // Too many for dots.
            let (width, height) = ((WIDTH - 20.0) / BINS as f64 - 2.0, cell * *count as f64);
            let _ = write!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"var({paint})\"/>",
                x - width / 2.0,
                FLOOR - height
            );
        }
    }
    svg.push_str("\n</svg>");
    Html::trusted(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_one_that_is_far_off_is_found() {
        let mut values = vec![10.0, 10.2, 9.9, 10.1, 10.0, 9.8, 20.0];
        assert_eq!(outliers(&values)[0].0, 6);
        values.pop();
        assert_eq!(outliers(&values), []);
        // Counts that are equal but for one.
        let counts = [vec![0.0; 20], vec![7.0]].concat();
        assert_eq!(outliers(&counts)[0].0, 20);
        assert_eq!(outliers(&[1.0, 1.0, 1.0, 9.0]), []);
        // Far in deviations, near in size.
        assert_eq!(outliers(&[10.0, 10.0, 10.001, 10.0, 10.0, 10.3]), []);
    }

    #[test]
    fn a_strip_has_a_dot_for_every_ratio_and_its_text_is_escaped() {
        let svg = strip(&[1.0, 1.0, 5.0, 1e9], "<script>").to_string();
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(!svg.contains("<script"));
        let many = strip(&vec![1.0; 500], "").to_string();
        assert_eq!(many.matches("<rect").count(), 1);
    }

    #[test]
    fn a_range_is_told_only_where_it_can_be_read() {
        let spread = Spread::of([3.01, 3.07, 5.72]).unwrap();
        assert_eq!(spread.text(), "3.07 (3.01 to 5.72)");
        assert_eq!(Spread::of([1.941, 1.942]).unwrap().text(), "1.94");
    }

    proptest! {
        #[test]
        fn any_values_can_be_shown(values: Vec<f64>) {
            let svg = strip(&values, "x").to_string();
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
            let finite: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
            prop_assert!(outliers(&finite).len() <= finite.len());
            let spread = Spread::of(finite.iter().copied());
            prop_assert_eq!(spread.is_some(), !finite.is_empty());
        }
    }
}
