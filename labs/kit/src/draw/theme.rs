//! Colours, the two themes, and the way from plotters' output to SVG and PNG.
//!
//! plotters writes fixed colours only. Everything is drawn in sentinel colours that no theme uses
//! and replaced afterwards: by CSS variables in the SVG, by one theme's colours for a PNG.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use plotters::style::RGBColor;
use resvg::{tiny_skia, usvg};

use super::canvas::Pattern;
use super::font::{REGULAR, SEMIBOLD};
use crate::figure::Colour;

/// The two colour schemes of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Dark text on white.
    Light,
    /// Light text on near-black.
    Dark,
}

/// A colour by role; the theme decides what it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Paper,
    Ink,
    Muted,
    Grid,
    Blue,
    Vermilion,
    Green,
    Purple,
    Sky,
    Orange,
}

impl From<Colour> for Paint {
    fn from(colour: Colour) -> Paint {
        match colour {
            Colour::Blue => Paint::Blue,
            Colour::Vermilion => Paint::Vermilion,
            Colour::Green => Paint::Green,
            Colour::Purple => Paint::Purple,
            Colour::Sky => Paint::Sky,
            Colour::Orange => Paint::Orange,
            Colour::Ink => Paint::Ink,
            Colour::Muted => Paint::Muted,
        }
    }
}

struct Swatch {
    variable: &'static str,
    light: &'static str,
    dark: &'static str,
}

const fn swatch(variable: &'static str, light: &'static str, dark: &'static str) -> Swatch {
    Swatch { variable, light, dark }
}

/// In the order of [`Paint`]. Okabe-Ito, darkened until text in it is readable on white, and
/// lifted for a dark ground.
const SWATCHES: [Swatch; 10] = [
    swatch("--lab-paper", "#FFFFFF", "#0D1117"),
    swatch("--lab-ink", "#1B1F24", "#E6EDF3"),
    swatch("--lab-muted", "#5A636E", "#9BA6B2"),
    swatch("--lab-grid", "#E3E6EA", "#2A313A"),
    swatch("--lab-blue", "#0072B2", "#4DA3D9"),
    swatch("--lab-vermilion", "#BF5200", "#F0813A"),
    swatch("--lab-green", "#00835F", "#2FC79B"),
    swatch("--lab-purple", "#A84A7F", "#DB92BA"),
    swatch("--lab-sky", "#3D8DBF", "#A9D9F5"),
    swatch("--lab-orange", "#9A6A00", "#E6A92B"),
];

/// Red and green byte of every sentinel; the blue byte names the paint and the [`Pattern`], since
/// plotters knows no `stroke-dasharray`.
const SENTINEL: (u8, u8) = (0xF1, 0x7A);
/// Set in the blue byte of a broken line's sentinel.
const PATTERNS: [(u8, Pattern); 3] =
    [(0x80, Pattern::Dashed), (0x40, Pattern::Dotted), (0xC0, Pattern::Drawn)];
/// What is left of the blue byte for the paint.
const PAINTS: u8 = 0x3F;

pub(super) fn sentinel(paint: Paint, pattern: Pattern) -> RGBColor {
    let bits = PATTERNS.iter().find(|p| p.1 == pattern).map_or(0, |p| p.0);
    RGBColor(SENTINEL.0, SENTINEL.1, paint as u8 | bits)
}

/// Replaces every sentinel. Only attributes can match: in text a quote is written `&quot;`.
fn replace_sentinels(plain: &str, colour: impl Fn(&Swatch) -> String) -> String {
    let mark = format!("\"#{:02X}{:02X}", SENTINEL.0, SENTINEL.1);
    let mut parts = plain.split(mark.as_str());
    let mut out = String::with_capacity(plain.len() * 5 / 4);
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let known = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let swatch = known.and_then(|code| SWATCHES.get(usize::from(code & PAINTS)));
        let (Some(code), Some(swatch), Some(rest)) = (known, swatch, part.get(3..)) else {
            out.push_str(&mark);
            out.push_str(part);
            continue;
        };
        out.push('"');
        out.push_str(&colour(swatch));
        out.push('"');
        let pattern = PATTERNS.iter().find(|p| p.0 == code & !PAINTS);
        out.push_str(pattern.map_or("", |p| p.1.attribute()));
        out.push_str(rest);
    }
    out
}

/// The SVG with CSS variables and both themes in its style sheet.
pub(super) fn themed(plain: &str) -> String {
    let svg = replace_sentinels(plain, |s| format!("var({},{})", s.variable, s.light));
    let list = |pick: fn(&Swatch) -> &'static str| -> String {
        SWATCHES.iter().map(|s| format!("{}:{};", s.variable, pick(s))).collect()
    };
    let style = format!(
        "<style>svg{{color-scheme:light dark;{}}}\
         @media(prefers-color-scheme:dark){{svg{{{}}}}}</style>\n",
        list(|s| s.light),
        list(|s| s.dark)
    );
    match svg.find("</desc>\n") {
        Some(at) => {
            let (head, tail) = svg.split_at(at + "</desc>\n".len());
            format!("{head}{style}{tail}")
        }
        None => svg,
    }
}

/// The SVG in one theme's colours, for renderers without CSS variables.
pub(super) fn flat(plain: &str, theme: Theme) -> String {
    replace_sentinels(plain, |s| {
        match theme {
            Theme::Light => s.light,
            Theme::Dark => s.dark,
        }
        .to_owned()
    })
}

/// Largest side of a PNG in pixels; a larger picture is an error, not gigabytes of memory.
const MAX_SIDE: f32 = 20_000.0;

pub(super) fn render(flat: &str, scale: f32) -> anyhow::Result<Vec<u8>> {
    static FONTS: OnceLock<Arc<usvg::fontdb::Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(REGULAR.to_vec());
        fonts.load_font_data(SEMIBOLD.to_vec());
        Arc::new(fonts)
    });
    let options = usvg::Options {
        font_family: "Inter".into(),
        fontdb: Arc::clone(fonts),
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(flat, &options).context("parsing the chart's SVG")?;
    let size = tree.size();
    let (width, height) = (size.width() * scale, size.height() * scale);
    anyhow::ensure!(
        width >= 1.0 && height >= 1.0 && width <= MAX_SIDE && height <= MAX_SIDE,
        "a chart of {width} by {height} pixels cannot be rendered"
    );
    let mut pixels = tiny_skia::Pixmap::new(width.round() as u32, height.round() as u32)
        .context("allocating the picture")?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().context("encoding the PNG")
}
