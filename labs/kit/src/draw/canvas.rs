//! A display list in CSS pixels, drawn with plotters once the height is known.

use anyhow::{Context, anyhow};
use plotters::prelude::{
    Circle, Color, DrawingArea, IntoDrawingArea, PathElement, Polygon, Rectangle, SVGBackend,
    ShapeStyle, Text, TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::font::Font;
use super::place::Rect;
use super::theme::{Paint, sentinel};

/// Width of every chart.
pub(super) const WIDTH: f64 = 880.0;
/// Nothing is written nearer to the canvas' edge.
pub(super) const EDGE: f64 = 8.0;
/// plotters' coordinates are integers: draw on a finer grid and shrink by the view box.
const GRID: f64 = 4.0;
/// plotters-svg shifts text anchored at its top down by this many em.
const TOP_SHIFT: f64 = 0.76;
/// Half the height of a capital, in em: from a text's middle to its baseline.
const HALF_CAP: f64 = 0.365;

/// How a line is broken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Solid,
    Dashed,
    Dotted,
    /// Long dashes.
    Drawn,
}

impl Pattern {
    /// Dash and gap, as an attribute in grid units.
    pub fn attribute(self) -> &'static str {
        match self {
            Pattern::Solid => "",
            Pattern::Dashed => " stroke-dasharray=\"22 16\"",
            Pattern::Dotted => " stroke-dasharray=\"5 12\"",
            Pattern::Drawn => " stroke-dasharray=\"52 22\"",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    pub paint: Paint,
    pub width: f64,
    pub pattern: Pattern,
    pub opacity: f64,
}

impl Stroke {
    pub fn solid(paint: Paint, width: f64) -> Stroke {
        Stroke { paint, width, pattern: Pattern::Solid, opacity: 1.0 }
    }

    pub fn dashed(paint: Paint, width: f64) -> Stroke {
        Stroke { pattern: Pattern::Dashed, ..Stroke::solid(paint, width) }
    }

    pub fn dotted(paint: Paint, width: f64) -> Stroke {
        Stroke { pattern: Pattern::Dotted, ..Stroke::solid(paint, width) }
    }

    pub fn drawn(paint: Paint, width: f64) -> Stroke {
        Stroke { pattern: Pattern::Drawn, ..Stroke::solid(paint, width) }
    }

    pub fn faint(self, opacity: f64) -> Stroke {
        Stroke { opacity, ..self }
    }
}

/// A point in pixels.
pub(super) type Point = (f64, f64);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    Line { points: Vec<Point>, stroke: Stroke },
    Area { points: Vec<Point>, paint: Paint, opacity: f64 },
    Box { rect: Rect, paint: Paint, opacity: f64 },
    Dot { at: Point, radius: f64, paint: Paint },
    Text { at: Point, text: String, font: Font, paint: Paint, align: Align, rect: Rect },
}

#[derive(Debug, Default)]
pub(super) struct Canvas {
    pub ops: Vec<Op>,
}

impl Canvas {
    pub fn line(&mut self, points: impl Into<Vec<Point>>, stroke: Stroke) {
        let points = points.into();
        if points.len() > 1 {
            self.ops.push(Op::Line { points, stroke });
        }
    }

    pub fn area(&mut self, points: Vec<Point>, paint: Paint, opacity: f64) {
        if points.len() > 2 {
            self.ops.push(Op::Area { points, paint, opacity });
        }
    }

    pub fn fill(&mut self, rect: Rect, paint: Paint, opacity: f64) {
        self.ops.push(Op::Box { rect, paint, opacity });
    }

    pub fn dot(&mut self, at: Point, radius: f64, paint: Paint) {
        self.ops.push(Op::Dot { at, radius, paint });
    }

    /// Writes text whose middle is at height `y`; what would leave the canvas at the side is
    /// shortened and moved. Returns the room it takes.
    pub fn text(
        &mut self,
        (x, y): Point,
        text: &str,
        font: Font,
        paint: Paint,
        align: Align,
    ) -> Rect {
        let text = font.fit(text, WIDTH - 2.0 * EDGE);
        let width = font.width(&text);
        let left = match align {
            Align::Left => x,
            Align::Centre => x - width / 2.0,
            Align::Right => x - width,
        };
        let inside = left.clamp(EDGE, (WIDTH - EDGE - width).max(EDGE));
        let rect = Rect::round((inside + width / 2.0, y), width, 1.2 * font.size);
        if !text.is_empty() {
            let at = (x + inside - left, y + HALF_CAP * font.size);
            self.ops.push(Op::Text { at, text, font, paint, align, rect });
        }
        rect
    }

    /// The drawing as SVG in sentinel colours; `head` goes to the front of its content.
    pub fn svg(
        &self,
        height: f64,
        attributes: &str,
        head: &str,
        background: Paint,
    ) -> anyhow::Result<String> {
        let size = (grid(WIDTH) as u32, grid(height) as u32);
        let mut out = String::new();
        {
            let root = SVGBackend::with_string(&mut out, size).into_drawing_area();
            let whole = Rect { left: 0.0, top: 0.0, right: WIDTH, bottom: height };
            paint_op(&root, &Op::Box { rect: whole, paint: background, opacity: 1.0 })?;
            for op in &self.ops {
                paint_op(&root, op)?;
            }
            root.present().context("finishing the SVG")?;
        }
        let (_, content) = out.split_once(">\n").context("plotters wrote no svg element")?;
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {} {}\" stroke-linejoin=\"round\" {attributes}>\n{head}{content}",
            size.0, size.1
        ))
    }
}

fn grid(v: f64) -> i32 {
    (v * GRID).round() as i32
}

fn grid_point((x, y): Point) -> (i32, i32) {
    (grid(x), grid(y))
}

fn filled(paint: Paint, opacity: f64) -> ShapeStyle {
    ShapeStyle {
        color: sentinel(paint, Pattern::Solid).mix(opacity),
        filled: true,
        stroke_width: 0,
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn paint_op(area: &Area<'_>, op: &Op) -> anyhow::Result<()> {
    let done = match op {
        Op::Line { points, stroke } => {
            let points: Vec<_> = points.iter().map(|p| grid_point(*p)).collect();
            let style = ShapeStyle {
                color: sentinel(stroke.paint, stroke.pattern).mix(stroke.opacity),
                filled: false,
                stroke_width: grid(stroke.width).max(1) as u32,
            };
            area.draw(&PathElement::new(points, style))
        }
        Op::Area { points, paint, opacity } => {
            let points: Vec<_> = points.iter().map(|p| grid_point(*p)).collect();
            area.draw(&Polygon::new(points, filled(*paint, *opacity)))
        }
        Op::Box { rect, paint, opacity } => {
            let corners =
                [grid_point((rect.left, rect.top)), grid_point((rect.right, rect.bottom))];
            area.draw(&Rectangle::new(corners, filled(*paint, *opacity)))
        }
        Op::Dot { at, radius, paint } => {
            area.draw(&Circle::new(grid_point(*at), grid(*radius), filled(*paint, 1.0)))
        }
        Op::Text { at, text, font, paint, align, .. } => {
            let mut style = TextStyle::from(font.desc(GRID));
            style.color =
                plotters::style::Color::to_backend_color(&sentinel(*paint, Pattern::Solid));
            let anchor = match align {
                Align::Left => HPos::Left,
                Align::Centre => HPos::Center,
                Align::Right => HPos::Right,
            };
            // The only one of the three that does not depend on the renderer's idea of an ex.
            let style = style.pos(Pos::new(anchor, VPos::Top));
            let top = (at.0, at.1 - TOP_SHIFT * font.size);
            area.draw(&Text::new(text.clone(), grid_point(top), style))
        }
    };
    done.map_err(|e| anyhow!("drawing a shape: {e}"))
}
