//! A figure in a page: its picture inline, small, and its data as tables.

use lab_kit::{
    draw,
    figure::{Axis, Body, Figure, Layer, Line, Panel, Style, Unit},
    findings::Table,
    text::{number, percent, seconds},
};

use crate::page::Html;

/// Rows of a table of data; a chart that has more is a trace, and its record has all of it.
const ROWS: usize = 60;
/// A line of more points is told by its extent.
const DENSE: usize = 60;

/// The picture, for `<div class="draw">`. `lab` ("lab03") makes its ids unique in the page.
///
/// # Errors
/// When it cannot be drawn.
pub fn inline(figure: &Figure, lab: &str) -> anyhow::Result<Html> {
    Ok(Html::trusted(compact(&draw::draw(figure, lab)?.svg)))
}

/// The drawing without what the page's style sheet says already, and with marks of one kind in one
/// path: a trace of nine thousand dots is a megabyte as circles, and a tenth of it so.
fn compact(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len() / 2);
    let mut run = Run::default();
    let mut in_style = false;
    for line in svg.lines() {
        in_style |= line.starts_with("<style>");
        if in_style {
            in_style = !line.ends_with("</style>");
            continue;
        }
        if run.takes(line) {
            continue;
        }
        run.end(&mut out);
        if !run.takes(line) {
            out.push_str(&slim(line));
            out.push('\n');
        }
    }
    run.end(&mut out);
    out
}

/// A line of the drawing without defaults. In texts a quote is written `&quot;`, so that only
/// attributes can match.
fn slim(line: &str) -> String {
    if !line.starts_with('<') {
        return line.into();
    }
    let mut line = line.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", "");
    if line.starts_with("<svg") {
        // The page makes it as wide as there is room.
        for name in ["xmlns", "width", "height"] {
            line = without(&line, name);
        }
    }
    if line.starts_with("<text") {
        line = without(&line, "font-family").replace(".00000000000001\"", "\"");
    }
    // A colour has its value for readers without the style sheet behind a comma.
    let mut parts = line.split("var(--lab-");
    let head = parts.next().unwrap_or_default().to_string();
    parts.fold(head, |line, part| match part.split_once(')') {
        Some((name, rest)) => {
            let name = name.split(',').next().unwrap_or(name);
            format!("{line}var(--lab-{name}){rest}")
        }
        None => format!("{line}var(--lab-{part}"),
    })
}

fn without(line: &str, attribute: &str) -> String {
    let mark = format!(" {attribute}=\"");
    let Some((head, tail)) = line.split_once(&mark) else {
        return line.into();
    };
    match tail.split_once('"') {
        Some((_, rest)) => format!("{head}{rest}"),
        None => line.into(),
    }
}

/// Elements that follow each other and look the same.
#[derive(Default)]
struct Run {
    /// What they look like: the attributes of the path.
    look: String,
    /// Its data.
    path: String,
}

impl Run {
    /// True when the element is one more of the run, or begins one.
    fn takes(&mut self, line: &str) -> bool {
        let Some((look, path)) = mark(line) else {
            return false;
        };
        if !self.path.is_empty() && self.look != look {
            return false;
        }
        self.look = look;
        self.path.push_str(&path);
        true
    }

    fn end(&mut self, out: &mut String) {
        if !self.path.is_empty() {
            let path = format!("<path d=\"{}\" {}/>", self.path, self.look);
            out.push_str(&slim(&path));
            out.push('\n');
        }
        *self = Run::default();
    }
}

/// An opaque dot or line as part of a path: what it looks like, and where it is.
fn mark(line: &str) -> Option<(String, String)> {
    let get = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}=\""))?;
        Some(rest.split_once('"')?.0)
    };
    let solid = get("opacity") == Some("1");
    if line.starts_with("<circle ") && solid && get("stroke") == Some("none") {
        let (x, y, fill) = (get("cx")?, get("cy")?, get("fill")?);
        let width = 2.0 * get("r")?.parse::<f64>().ok()?;
        // A line of no length with round ends is a dot.
        let look = format!("stroke=\"{fill}\" stroke-width=\"{width}\" stroke-linecap=\"round\"");
        return Some((look, format!("M{x} {y}h0")));
    }
    if line.starts_with("<polyline ") && solid && get("fill") == Some("none") {
        let points = get("points")?.trim();
        let attributes = without(&without(line, "points"), "opacity");
        let look = attributes.trim_start_matches("<polyline ").trim_end_matches("/>").trim();
        return Some((look.into(), format!("M{points}")));
    }
    None
}

/// The data of the picture as tables.
pub fn data(figure: &Figure) -> Vec<Table> {
    match &figure.body {
        Body::Panels(panels) => {
            let mut tables: Vec<Table> = Vec::new();
            for panel in &panels.panels {
                tables.extend(points(panel, &panels.x));
                tables.extend(traces(panel, &panels.x));
                tables.extend(rules(panel));
            }
            let mut marks = Table::new("Marks", &["mark", "at", "interval"]);
            for mark in &panels.marks {
                let interval = mark.interval.map_or(String::new(), |i| range(&panels.x, i));
                marks.row([mark.label.clone(), value(&panels.x, mark.x), interval]);
            }
            tables.extend((!marks.rows.is_empty()).then_some(marks));
            tables
        }
        Body::Gantt(gantt) => {
            let mut table =
                Table::new("What was done when", &["condition", "lane", "what", "from", "to"]);
            let mut ends = Table::new("Ends", &["condition", "measured", "theory"]);
            for group in &gantt.groups {
                for lane in &group.lanes {
                    for bar in &lane.bars {
                        let what = if bar.waiting { "waits " } else { "" };
                        table.row([
                            group.title.clone(),
                            lane.label.clone(),
                            format!("{what}{}", bar.label),
                            seconds(bar.start),
                            seconds(bar.end),
                        ]);
                    }
                }
                let time = |t: Option<f64>| t.map_or("–".into(), seconds);
                ends.row([group.title.clone(), time(group.end), time(group.predicted_end)]);
            }
            vec![ends, table]
        }
        Body::Beats(beats) => {
            let mut table =
                Table::new("Beats and gaps", &["condition", "what it is", "beats", "longest gap"]);
            for lane in &beats.lanes {
                table.row([
                    lane.title.clone(),
                    lane.note.clone(),
                    lane.beats.len().to_string(),
                    seconds(lane.longest_gap),
                ]);
            }
            table.note = format!("A gap beyond {} counts as one.", seconds(beats.threshold));
            vec![table]
        }
        Body::Bars(bars) => {
            let head = ["condition", "what", "value", "interval", "theory"];
            let mut table = Table::new(&title(&bars.x.label, "Values"), &head);
            for group in &bars.groups {
                for bar in &group.bars {
                    let simulated = if bar.hollow { " (simulated)" } else { "" };
                    table.row([
                        group.label.clone(),
                        format!("{}{simulated}", bar.label),
                        value(&bars.x, bar.value),
                        bar.interval.map_or(String::new(), |i| range(&bars.x, i)),
                        bar.theory.map_or(String::new(), |t| value(&bars.x, t)),
                    ]);
                }
            }
            vec![table]
        }
    }
}

/// How many rows of [`data`]'s tables to show.
pub fn most_rows() -> usize {
    ROWS
}

fn title(given: &str, otherwise: &str) -> String {
    if given.is_empty() { otherwise } else { given }.into()
}

fn value(axis: &Axis, v: f64) -> String {
    match axis.unit {
        Unit::Number => number(v),
        Unit::Seconds => seconds(v),
        Unit::Share => percent(v),
        Unit::Factor if v.is_finite() => format!("{}×", number(v)),
        Unit::Factor => "–".into(),
    }
}

fn range(axis: &Axis, (low, high): (f64, f64)) -> String {
    format!("{} – {}", value(axis, low), value(axis, high))
}

fn lines(panel: &Panel) -> impl Iterator<Item = &Line> {
    panel.layers.iter().filter_map(|layer| match layer {
        Layer::Line(line) if !line.points.is_empty() => Some(line),
        _ => None,
    })
}

fn name(line: &Line, n: usize) -> String {
    let label = title(&line.label, &format!("line {}", n + 1));
    match line.style {
        Style::Theory if !label.contains("theory") && !label.contains("fitted") => {
            format!("{label} (theory)")
        }
        Style::Simulated if !label.contains("simulated") => format!("{label} (simulated)"),
        _ => label,
    }
}

/// The lines of few points, side by side over x.
fn points(panel: &Panel, x: &Axis) -> Option<Table> {
    let sparse: Vec<(usize, &Line)> =
        lines(panel).enumerate().filter(|(_, line)| line.points.len() <= DENSE).collect();
    let mut columns = vec![title(&x.label, "x")];
    for (n, line) in &sparse {
        columns.push(name(line, *n));
        if !line.band.is_empty() {
            columns.push("interval".into());
        }
    }
    let mut at: Vec<f64> =
        sparse.iter().flat_map(|(_, line)| line.points.iter().map(|p| p.0)).collect();
    at.sort_by(f64::total_cmp);
    at.dedup();
    let mut table = Table { title: heading(panel), columns, ..Table::default() };
    for here in at {
        let mut row = vec![value(x, here)];
        for (_, line) in &sparse {
            let found = line.points.iter().find(|p| p.0 == here);
            row.push(found.map_or(String::new(), |p| value(&panel.y, p.1)));
            if !line.band.is_empty() {
                let found = line.band.iter().find(|b| b.0 == here);
                row.push(found.map_or(String::new(), |b| range(&panel.y, (b.1, b.2))));
            }
        }
        table.rows.push(row);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// The lines of many points, each by its extent.
fn traces(panel: &Panel, x: &Axis) -> Option<Table> {
    let mut table = Table::new(
        &format!("{}, traces", heading(panel)),
        &["line", "points", "from", "to", "least", "median", "most"],
    );
    for (n, line) in lines(panel).enumerate().filter(|(_, line)| line.points.len() > DENSE) {
        let mut y: Vec<f64> = line.points.iter().map(|p| p.1).filter(|y| y.is_finite()).collect();
        y.sort_by(f64::total_cmp);
        let at = |q: usize| {
            let last = y.len().saturating_sub(1);
            y.get(last * q / 2).map_or("–".into(), |v| value(&panel.y, *v))
        };
        let end = |p: Option<&(f64, f64)>| p.map_or("–".into(), |p| value(x, p.0));
        table.row([
            name(line, n),
            line.points.len().to_string(),
            end(line.points.first()),
            end(line.points.last()),
            at(0),
            at(1),
            at(2),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

fn rules(panel: &Panel) -> Option<Table> {
    let mut table = Table::new(&format!("{}, rules", heading(panel)), &["rule", "at"]);
    for layer in &panel.layers {
        if let Layer::Rule { y, label } = layer {
            table.row([label.clone(), value(&panel.y, *y)]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

fn heading(panel: &Panel) -> String {
    let y = title(&panel.y.label, &panel.note);
    match (panel.title.is_empty(), y.is_empty()) {
        (true, _) => title(&y, "Data"),
        (false, true) => panel.title.clone(),
        (false, false) => format!("{}: {y}", panel.title),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_kit::figure::{Colour, Panels};

    fn figure(points: Vec<(f64, f64)>, label: &str, style: Style) -> Figure {
        let line = Line { style, ..Line::measured(label, Colour::Blue, points) };
        Figure {
            id: "a".into(),
            title: label.into(),
            subtitle: label.into(),
            desc: label.into(),
            body: Body::Panels(Panels {
                x: Axis::linear("clients", Unit::Number),
                panels: vec![Panel {
                    title: label.into(),
                    note: String::new(),
                    y: Axis::linear("", Unit::Seconds),
                    layers: vec![Layer::Line(line)],
                    height: 1.0,
                }],
                marks: vec![],
            }),
        }
    }

    #[test]
    fn thousands_of_dots_are_one_small_path() {
        let dots: Vec<(f64, f64)> = (0..5000).map(|i| (f64::from(i), f64::from(i % 97))).collect();
        let dots = figure(dots, "dots", Style::Dots);
        let small = inline(&dots, "lab01").unwrap();
        let large = draw::draw(&dots, "lab01").unwrap().svg;
        assert!(small.as_str().len() * 5 < large.len());
        assert!(!small.as_str().contains("<circle") && !small.as_str().contains("<style"));
        assert!(small.as_str().contains("id=\"lab01-a-title\""));
        let tables = data(&dots);
        assert_eq!((tables[0].rows.len(), tables[0].rows[0][1].as_str()), (1, "5000"));
    }

    #[test]
    fn hostile_labels_and_numbers_stay_data() {
        let evil = "</title></svg><script>alert(1)</script>\" onload=\"x var(--lab-)";
        let points = vec![(f64::NAN, 1.0), (1.0, f64::INFINITY), (2.0, f64::NAN), (-1e300, 1e300)];
        let evil = figure(points, evil, Style::Measured);
        let html = inline(&evil, "lab01").unwrap();
        assert!(!html.as_str().contains("<script") && !html.as_str().contains("\" onload"));
        assert!(!data(&evil).is_empty());
    }

    #[test]
    fn points_stand_over_their_x() {
        let table =
            &data(&figure(vec![(1.0, 0.5), (2.0, f64::NAN)], "latency", Style::Measured))[0];
        assert_eq!(table.columns, ["clients", "latency"]);
        assert_eq!(table.rows, [["1", "500 ms"], ["2", "–"]]);
    }
}
