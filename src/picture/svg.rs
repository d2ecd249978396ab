//! Pictures as scalable vector graphics: the shapes a pixel grid gets, written
//! as text in named groups, for papers and for editing.

use tiny_skia::{LineCap, Path, PathSegment, Point, Rect};

use super::canvas::{Align, Canvas, TextStyle};
use super::map::number;
use super::palette::Rgba;
use super::text::Face;
use super::{PictureError, check_size};

/// Viewers compute in single precision; nothing farther out could be seen.
const FARTHEST: f32 = 1e5;

/// A drawing being written.
pub(super) struct Svg {
    size: [u32; 2],
    background: Rgba,
    body: String,
    /// The layer that comes next, if nothing has been drawn on it yet.
    next: Option<&'static str>,
    is_open: bool,
}

impl Svg {
    pub(super) fn new(size: [u32; 2], background: Rgba) -> Result<Self, PictureError> {
        check_size(size)?;
        Ok(Self { size, background, body: String::new(), next: None, is_open: false })
    }

    /// The whole document; title and description are for those who cannot see
    /// it and for tooltips.
    pub(super) fn finish(self, title: &str, description: &str) -> String {
        let [width, height] = self.size;
        let (title, description) = (escaped(title), escaped(description));
        let ground = ink_of("fill", self.background);
        let end = if self.is_open { "</g>\n" } else { "" };
        let body = self.body;
        // The shipped fonts' name, then what else a machine may have.
        let family = "Inter, 'Helvetica Neue', Arial, sans-serif";
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" font-family="{family}" stroke-linejoin="round">
<title>{title}</title>
<desc>{description}</desc>
<rect width="{width}" height="{height}"{ground}/>
{body}{end}</svg>
"#
        )
    }

    /// One element on the present layer; a layer without any is left out.
    fn push(&mut self, element: &str) {
        if let Some(name) = self.next.take() {
            let end = if self.is_open { "</g>\n" } else { "" };
            self.body.push_str(&format!("{end}<g id=\"{name}\">\n"));
            self.is_open = true;
        }
        self.body.push_str(element);
        self.body.push('\n');
    }

    fn circle(&mut self, [x, y]: [f32; 2], radius: f32, look: &str) {
        if [x, y].iter().all(|value| value.is_finite()) && radius > 0.0 {
            let [x, y, radius] = [x, y, radius].map(length);
            self.push(&format!(r#"<circle cx="{x}" cy="{y}" r="{radius}"{look}/>"#));
        }
    }
}

impl Canvas for Svg {
    fn layer(&mut self, name: &'static str) {
        self.next = Some(name);
    }

    fn fill_rect(&mut self, rect: Rect, ink: Rgba) {
        let [x, y] = [rect.left(), rect.top()].map(length);
        let [width, height] = [rect.width(), rect.height()].map(length);
        let ink = ink_of("fill", ink);
        self.push(&format!(r#"<rect x="{x}" y="{y}" width="{width}" height="{height}"{ink}/>"#));
    }

    fn fill(&mut self, path: &Path, ink: Rgba) {
        let (path, ink) = (course(path), ink_of("fill", ink));
        self.push(&format!(r#"<path d="{path}"{ink}/>"#));
    }

    fn stroke(&mut self, path: &Path, width: f32, ink: Rgba, cap: LineCap) {
        let (path, width, ink) = (course(path), number(width), ink_of("stroke", ink));
        let cap = if cap == LineCap::Round { r#" stroke-linecap="round""# } else { "" };
        self.push(&format!(r#"<path d="{path}" fill="none"{ink} stroke-width="{width}"{cap}/>"#));
    }

    fn text(&mut self, text: &str, [x, y]: [f32; 2], style: TextStyle) {
        if text.is_empty() || !(x.is_finite() && y.is_finite()) {
            return;
        }
        let anchor = match style.align {
            Align::Left => "",
            Align::Center => r#" text-anchor="middle""#,
            Align::Right => r#" text-anchor="end""#,
        };
        let weight = match style.face {
            Face::Regular => "",
            Face::SemiBold => r#" font-weight="600""#,
        };
        // Another font than ours still takes the room ours would.
        let width = number(style.face.width(text, style.size));
        let ([x, y], size) = ([x, y].map(length), number(style.size));
        let (text, ink) = (escaped(text), ink_of("fill", style.color));
        self.push(&format!(
            r#"<text x="{x}" y="{y}" font-size="{size}"{weight}{anchor} textLength="{width}" lengthAdjust="spacingAndGlyphs"{ink}>{text}</text>"#
        ));
    }

    fn fill_circle(&mut self, center: [f32; 2], radius: f32, ink: Rgba) {
        self.circle(center, radius, &ink_of("fill", ink));
    }

    fn ring(&mut self, center: [f32; 2], radius: f32, width: f32, ink: Rgba) {
        let (ink, width) = (ink_of("stroke", ink), number(width));
        self.circle(center, radius, &format!(r#" fill="none"{ink} stroke-width="{width}""#));
    }
}

/// A path's commands.
fn course(path: &Path) -> String {
    let at = |point: Point| format!("{} {}", length(point.x), length(point.y));
    path.segments()
        .map(|segment| match segment {
            PathSegment::MoveTo(to) => format!("M{}", at(to)),
            PathSegment::LineTo(to) => format!("L{}", at(to)),
            PathSegment::QuadTo(by, to) => format!("Q{} {}", at(by), at(to)),
            PathSegment::CubicTo(a, b, to) => format!("C{} {} {}", at(a), at(b), at(to)),
            PathSegment::Close => "Z".to_owned(),
        })
        .collect()
}

/// A coordinate in units of the picture, to a tenth: a picture has 1600.
fn length(value: f32) -> String {
    number((10.0 * value.clamp(-FARTHEST, FARTHEST)).round() / 10.0)
}

/// Attributes that give `what`, a fill or a stroke, its color.
fn ink_of(what: &str, ink: Rgba) -> String {
    let Rgba { r, g, b, a } = ink;
    let opacity = match a {
        255 => String::new(),
        _ => format!(r#" {what}-opacity="{:.3}""#, f32::from(a) / 255.0),
    };
    format!(r##" {what}="#{r:02x}{g:02x}{b:02x}"{opacity}"##)
}

/// Text as XML has it, without the characters XML cannot have.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            symbol if symbol.is_control() => {}
            symbol => out.push(symbol),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Rgba = Rgba::hex(0xff0000);

    fn svg() -> Svg {
        Svg::new([100, 100], Rgba::hex(0x000000)).unwrap()
    }

    #[test]
    fn shapes_are_written_on_their_layers_and_empty_layers_are_not() {
        let mut canvas = svg();
        canvas.layer("nothing");
        canvas.layer("lines");
        canvas.polyline(
            &[[1.0, 2.0], [3.04, -4.0], [3.04, f32::NAN], [9.0, 9.0], [8.0, 8.0]],
            2.5,
            RED.with_alpha(0.5),
            LineCap::Round,
        );
        canvas.layer("dots");
        canvas.fill_circle([5.0, 6.0], 2.0, RED);
        canvas.fill_circle([f32::NAN, 6.0], 2.0, RED);
        let text = canvas.finish("A", "B");
        let body = r##"<g id="lines">
<path d="M1 2L3 -4M9 9L8 8" fill="none" stroke="#ff0000" stroke-opacity="0.502" stroke-width="2.5" stroke-linecap="round"/>
</g>
<g id="dots">
<circle cx="5" cy="6" r="2" fill="#ff0000"/>
</g>
</svg>"##;
        assert!(text.contains(body), "{text}");
        assert!(!text.contains("nothing") && !text.contains("NaN"), "{text}");
    }

    #[test]
    fn words_cannot_break_the_document() {
        let mut canvas = svg();
        let style = TextStyle { face: Face::SemiBold, size: 10.0, color: RED, align: Align::Right };
        canvas.text("</text>&\u{0}", [10.0, 20.0], style);
        canvas.text("", [10.0, 20.0], style);
        let text = canvas.finish("<b>", "a\u{ffff}b");
        assert_eq!(text.matches("<text ").count(), 1);
        assert!(text.contains(r#"text-anchor="end""#), "{text}");
        assert!(text.contains(">&lt;/text&gt;&amp;</text>"), "{text}");
        assert!(text.contains("<title>&lt;b&gt;</title>\n<desc>ab</desc>"), "{text}");
    }

    #[test]
    fn far_away_is_written_as_far_away() {
        let mut canvas = svg();
        canvas.polyline(&[[0.0, 0.0], [1e20, -1e20]], 1.0, RED, LineCap::Butt);
        assert!(canvas.finish("", "").contains("M0 0L100000 -100000"));
        assert!(matches!(Svg::new([9, 9], RED), Err(PictureError::Size { .. })));
    }
}
