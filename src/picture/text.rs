//! Text from the shipped fonts.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};

/// What a caption may be broken at.
const SEPARATOR: &str = " · ";

/// The shipped faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    Regular,
    SemiBold,
}

impl Face {
    fn font(self) -> Option<&'static FontRef<'static>> {
        static FONTS: OnceLock<[Option<FontRef<'static>>; 2]> = OnceLock::new();
        let fonts = FONTS.get_or_init(|| {
            let bytes: [&'static [u8]; 2] = [
                include_bytes!("../../assets/fonts/Inter-Regular.ttf"),
                include_bytes!("../../assets/fonts/Inter-SemiBold.ttf"),
            ];
            bytes.map(|bytes| FontRef::try_from_slice(bytes).ok())
        });
        fonts[self as usize].as_ref()
    }

    /// Width of a line of text in pixels; `size` is that of the em.
    pub(super) fn width(self, text: &str, size: f32) -> f32 {
        let mut end = 0.0;
        self.place(text, size, |_, _, advance| end = advance);
        end
    }

    /// The text, or as much of it as fits with an ellipsis.
    pub(super) fn fit(self, text: &str, size: f32, width: f32) -> String {
        if self.width(text, size) <= width {
            return text.to_owned();
        }
        let mut kept: String = text.to_owned();
        while kept.pop().is_some() {
            let candidate = format!("{}…", kept.trim_end());
            if self.width(&candidate, size) <= width {
                return candidate;
            }
        }
        String::new()
    }

    /// The text in at most `most` lines, broken at `" · "`; what is left over
    /// ends in an ellipsis.
    pub(super) fn wrap(self, text: &str, size: f32, width: f32, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for part in text.split(SEPARATOR).filter(|part| !part.is_empty()) {
            let is_last = lines.len() >= most;
            match lines.last_mut() {
                Some(line) => {
                    let longer = format!("{line}{SEPARATOR}{part}");
                    if self.width(&longer, size) <= width || is_last {
                        *line = longer;
                    } else {
                        lines.push(part.to_owned());
                    }
                }
                None => lines.push(part.to_owned()),
            }
            // No line takes in more than the width can ever show.
            if is_last && lines.last().is_some_and(|line| self.width(line, size) > width) {
                break;
            }
        }
        lines.into_iter().map(|line| self.fit(&line, size, width)).collect()
    }

    /// Hand every pixel the text covers to `paint`, with its coverage. The
    /// baseline starts at `x, y`.
    pub(super) fn draw(
        self,
        text: &str,
        size: f32,
        [x, y]: [f32; 2],
        mut paint: impl FnMut(i32, i32, f32),
    ) {
        let Some(font) = self.font() else {
            return;
        };
        self.place(text, size, |id, offset, _| {
            let position = ab_glyph::point(x + offset, y);
            let glyph = id.with_scale_and_position(scale(font, size), position);
            if let Some(outline) = font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|column, row, coverage| {
                    paint(corner.x as i32 + column as i32, corner.y as i32 + row as i32, coverage);
                });
            }
        });
    }

    /// Hand every glyph to `each` with the places where it starts and ends.
    fn place(self, text: &str, size: f32, mut each: impl FnMut(ab_glyph::GlyphId, f32, f32)) {
        let Some(font) = self.font() else {
            return;
        };
        let scaled = font.as_scaled(scale(font, size));
        let mut x = 0.0;
        for symbol in text.chars() {
            let id = scaled.glyph_id(symbol);
            let start = x;
            x += scaled.h_advance(id);
            each(id, start, x);
        }
    }
}

/// `size` pixels to the em, whatever line height the font asks for.
fn scale(font: &FontRef<'_>, size: f32) -> PxScale {
    let units = font.units_per_em().unwrap_or(1000.0);
    PxScale::from(size * font.height_unscaled() / units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_face_draws_and_measures() {
        for face in [Face::Regular, Face::SemiBold] {
            let mut ink = 0.0;
            let mut right = 0;
            face.draw("Plan ± 0.5 → γ", 20.0, [10.0, 30.0], |x, _, coverage| {
                ink += coverage;
                right = right.max(x);
            });
            let width = face.width("Plan ± 0.5 → γ", 20.0);
            assert!(ink > 100.0, "{face:?} {ink}");
            assert!((right as f32 - 10.0 - width).abs() < 4.0, "{face:?} {right} {width}");
        }
        assert_eq!(Face::Regular.width("", 20.0), 0.0);
    }

    #[test]
    fn long_text_ends_in_an_ellipsis_within_its_width() {
        let fitted = Face::Regular.fit("a rather long title of a plan", 16.0, 100.0);
        assert!(fitted.ends_with('…') && fitted.starts_with("a rather"), "{fitted}");
        assert!(Face::Regular.width(&fitted, 16.0) <= 100.0);
        assert_eq!(Face::Regular.fit("short", 16.0, 100.0), "short");
        assert_eq!(Face::Regular.fit("short", 16.0, 1.0), "");
    }

    #[test]
    fn captions_break_between_their_parts() {
        let wrap = |text: &str, width| Face::Regular.wrap(text, 16.0, width, 2);
        assert_eq!(wrap("seed 1 · fine", 300.0), ["seed 1 · fine"]);
        assert_eq!(wrap("seed 1 · fine", 60.0), ["seed 1", "fine"]);
        let lines = wrap("seed 1 · fine · more · and more", 60.0);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("fine") && lines[1].ends_with('…'), "{lines:?}");
        assert!(wrap("", 60.0).is_empty());
    }
}
