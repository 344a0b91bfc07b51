//! The embedded faces: measuring, shortening and wrapping text.

use std::sync::Once;

use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};

pub(super) static REGULAR: &[u8] = include_bytes!("../../assets/Inter-Regular.subset.otf");
pub(super) static SEMIBOLD: &[u8] = include_bytes!("../../assets/Inter-SemiBold.subset.otf");

/// The CSS font stack, and the name under which the embedded faces are registered, so that
/// measuring, resvg and browser agree. The fallbacks are no wider than what [`Font::reserve`] leaves
/// room for: a bare Linux has DejaVu only, whose condensed face comes next to Inter.
const STACK: &str =
    "Inter, 'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans Condensed', sans-serif";

/// plotters-svg divides font sizes by this.
const SIZE_FACTOR: f64 = 1.24;
/// No text is longer than this, so that measuring stays cheap.
const MAX_CHARS: usize = 600;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Font {
    pub size: f64,
    pub bold: bool,
}

impl Font {
    pub const TITLE: Font = Font { size: 18.0, bold: true };
    pub const SUBTITLE: Font = Font { size: 12.5, bold: false };
    pub const HEADING: Font = Font { size: 13.0, bold: true };
    pub const NOTE: Font = Font { size: 12.0, bold: false };
    pub const LABEL: Font = Font { size: 12.0, bold: true };
    pub const TICK: Font = Font { size: 11.5, bold: false };
    pub const IN_BAR: Font = Font { size: 11.5, bold: true };

    fn style(self) -> FontStyle {
        if self.bold { FontStyle::Bold } else { FontStyle::Normal }
    }

    /// What a measured width is multiplied with. plotters takes Inter's line height for 1.24 em; it is
    /// 1.21. A little of the error is kept for other renderers, and for DejaVu's condensed bold face,
    /// 6 % wider than Inter's semi-bold, more.
    fn reserve(self) -> f64 {
        if self.bold { 1.035 } else { 0.985 }
    }

    /// For plotters; `scale` pixels of its grid are one of ours.
    pub fn desc(self, scale: f64) -> FontDesc<'static> {
        register();
        let size = self.size * scale * SIZE_FACTOR;
        FontDesc::new(FontFamily::Name(STACK), size, self.style())
    }

    /// Width in pixels.
    pub fn width(self, text: &str) -> f64 {
        // Characters the faces lack come from a fallback; reserve room for the widest.
        let foreign = text.chars().filter(|c| *c >= '\u{2E80}').count() as f64;
        let own: String = text.chars().filter(|c| *c < '\u{2E80}').collect();
        let measured = self.desc(16.0).layout_box(&own).map(|(_, (right, _))| f64::from(right));
        let guess = own.chars().count() as f64 * self.size * 0.6;
        measured.map_or(guess, |w| w * self.reserve() / 16.0) + foreign * self.size * 1.3
    }

    /// The text, shortened with an ellipsis until it fits.
    pub fn fit(self, text: &str, width: f64) -> String {
        let text = text.trim();
        let head: Vec<char> = text.chars().take(MAX_CHARS).collect();
        if head.len() == text.chars().count() && self.width(text) <= width {
            return text.to_owned();
        }
        let cut = |n: usize| {
            let part: String = head.iter().take(n).collect();
            format!("{}…", part.trim_end_matches(|c: char| c.is_whitespace() || c == '\u{200D}'))
        };
        let (mut fits, mut too_long) = (0, head.len() + 1);
        while too_long - fits > 1 {
            let middle = usize::midpoint(fits, too_long);
            if self.width(&cut(middle)) <= width {
                fits = middle;
            } else {
                too_long = middle;
            }
        }
        cut(fits)
    }

    /// The text in at most `lines` lines; the last one is shortened if need be.
    pub fn wrap(self, text: &str, width: f64, lines: usize) -> Vec<String> {
        let mut done: Vec<String> = Vec::new();
        let mut line = String::new();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if self.width(&longer) <= width || line.is_empty() && done.len() + 1 < lines {
                line = longer;
            } else if done.len() + 1 < lines {
                done.push(self.fit(&line, width));
                line = word.to_owned();
            } else {
                let rest = words.take(MAX_CHARS).fold(longer, |all, w| all + " " + w);
                line = self.fit(&rest, width);
                break;
            }
            if line.len() > 8 * MAX_CHARS {
                break;
            }
        }
        if !line.is_empty() {
            done.push(self.fit(&line, width));
        }
        done
    }
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A face that cannot be read makes `Font::width` guess; nothing else needs it.
        let _ = register_font(STACK, FontStyle::Normal, REGULAR);
        let _ = register_font(STACK, FontStyle::Bold, SEMIBOLD);
    });
}
