//! What pictures are made of: anti-aliased shapes and text, and the pixel grid
//! they are drawn on.

use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform,
};

use super::palette::Rgba;
use super::text::Face;
use super::{PictureError, check_size};

/// Where text stands relative to its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Center,
    Right,
}

/// How text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextStyle {
    pub face: Face,
    pub size: f32,
    pub color: Rgba,
    pub align: Align,
}

/// Share of a corner's radius at which a cubic curve comes closest to a circle.
const ROUND: f32 = 0.552_284_8;

/// Something to draw on; the second coordinate runs down. Pictures are drawn on
/// [`Pixels`] or written as [`super::svg::Svg`] by the same calls.
pub(super) trait Canvas {
    /// Fill a rectangle.
    fn fill_rect(&mut self, rect: Rect, ink: Rgba);

    /// Fill a path, once where it overlaps itself.
    fn fill(&mut self, path: &Path, ink: Rgba);

    /// Draw along a path, with round joints.
    fn stroke(&mut self, path: &Path, width: f32, ink: Rgba, cap: LineCap);

    /// One line of text; `position` is on its baseline.
    fn text(&mut self, text: &str, position: [f32; 2], style: TextStyle);

    /// What is drawn from here on belongs together. Pixels do not care.
    fn layer(&mut self, _name: &'static str) {}

    /// Fill a rectangle whose edges are moved to the pixel grid, so that
    /// neighbors leave no seam.
    fn fill_crisp(&mut self, [left, top, right, bottom]: [f32; 4], ink: Rgba) {
        let edges = [left.round(), top.round(), right.round(), bottom.round()];
        if let Some(rect) = Rect::from_ltrb(edges[0], edges[1], edges[2], edges[3]) {
            self.fill_rect(rect, ink);
        }
    }

    /// Fill a rectangle on the pixel grid whose corners have radii of their own,
    /// clockwise from the upper left one.
    fn fill_round(&mut self, edges: [f32; 4], radii: [f32; 4], ink: Rgba) {
        self.fill_union(std::iter::once((edges.map(f32::round), radii)), ink);
    }

    /// Fill what any of the rectangles covers, once. Their corners have radii.
    fn fill_union(&mut self, rectangles: impl Iterator<Item = ([f32; 4], [f32; 4])>, ink: Rgba) {
        let mut builder = PathBuilder::new();
        for (edges, radii) in rectangles {
            push_round(&mut builder, edges, radii);
        }
        if let Some(path) = builder.finish() {
            self.fill(&path, ink);
        }
    }

    /// Fill a square that stands on its corner.
    fn fill_diamond(&mut self, [x, y]: [f32; 2], radius: f32, ink: Rgba) {
        let mut builder = PathBuilder::new();
        builder.move_to(x, y - radius);
        builder.line_to(x + radius, y);
        builder.line_to(x, y + radius);
        builder.line_to(x - radius, y);
        builder.close();
        if let Some(path) = builder.finish() {
            self.fill(&path, ink);
        }
    }

    fn fill_circle(&mut self, [x, y]: [f32; 2], radius: f32, ink: Rgba) {
        if let Some(circle) = PathBuilder::from_circle(x, y, radius) {
            self.fill(&circle, ink);
        }
    }

    fn ring(&mut self, [x, y]: [f32; 2], radius: f32, width: f32, ink: Rgba) {
        if let Some(circle) = PathBuilder::from_circle(x, y, radius) {
            self.stroke(&circle, width, ink, LineCap::Butt);
        }
    }

    /// A line through points, with a gap where one is not finite. Fewer than two
    /// draw nothing.
    fn polyline(&mut self, points: &[[f32; 2]], width: f32, ink: Rgba, cap: LineCap) {
        let mut builder = PathBuilder::new();
        let mut is_down = false;
        for &[x, y] in points {
            let is_finite = x.is_finite() && y.is_finite();
            match (is_finite, is_down) {
                (true, true) => builder.line_to(x, y),
                (true, false) => builder.move_to(x, y),
                (false, _) => {}
            }
            is_down = is_finite;
        }
        if let Some(path) = builder.finish() {
            self.stroke(&path, width, ink, cap);
        }
    }
}

/// Pixels to draw on.
#[derive(Clone)]
pub(super) struct Pixels {
    pixmap: Pixmap,
}

impl Pixels {
    pub(super) fn new(size: [u32; 2], background: Rgba) -> Result<Self, PictureError> {
        check_size(size)?;
        let [width, height] = size;
        let mut pixmap = Pixmap::new(width, height).ok_or(PictureError::Size { width, height })?;
        pixmap.fill(color(background));
        Ok(Self { pixmap })
    }

    /// Red, green, blue and alpha of every pixel, row by row. The background
    /// is opaque, so nothing has to be divided by alpha.
    pub(super) fn into_rgba(self) -> Vec<u8> {
        self.pixmap.take()
    }
}

impl Canvas for Pixels {
    fn fill_rect(&mut self, rect: Rect, ink: Rgba) {
        self.pixmap.fill_rect(rect, &paint(ink), Transform::identity(), None);
    }

    fn fill(&mut self, path: &Path, ink: Rgba) {
        let (paint, identity) = (paint(ink), Transform::identity());
        self.pixmap.fill_path(path, &paint, FillRule::Winding, identity, None);
    }

    fn stroke(&mut self, path: &Path, width: f32, ink: Rgba, cap: LineCap) {
        let stroke =
            Stroke { width, line_cap: cap, line_join: LineJoin::Round, ..Stroke::default() };
        self.pixmap.stroke_path(path, &paint(ink), &stroke, Transform::identity(), None);
    }

    fn text(&mut self, text: &str, [x, y]: [f32; 2], style: TextStyle) {
        let width = style.face.width(text, style.size);
        let left = match style.align {
            Align::Left => x,
            Align::Center => x - width / 2.0,
            Align::Right => x - width,
        };
        let (columns, rows) = (self.pixmap.width() as i32, self.pixmap.height() as i32);
        let pixels = self.pixmap.data_mut();
        // Whole pixels keep small text sharp.
        style.face.draw(text, style.size, [left.round(), y.round()], |column, row, coverage| {
            if (0..columns).contains(&column) && (0..rows).contains(&row) {
                let at = 4 * (row * columns + column) as usize;
                blend(&mut pixels[at..at + 4], style.color, coverage);
            }
        });
    }
}

/// Append a rectangle with round corners, unless it has no extent.
fn push_round(builder: &mut PathBuilder, edges: [f32; 4], radii: [f32; 4]) {
    let [left, top, right, bottom] = edges;
    let most = ((right - left) / 2.0).min((bottom - top) / 2.0);
    // NaN has no extent either.
    if !(edges.iter().all(|edge| edge.is_finite()) && most > 0.0) {
        return;
    }
    let [nw, ne, se, sw] = radii.map(|radius| radius.clamp(0.0, most));
    let gap = |radius: f32| radius * (1.0 - ROUND);
    builder.move_to(left + nw, top);
    builder.line_to(right - ne, top);
    builder.cubic_to(right - gap(ne), top, right, top + gap(ne), right, top + ne);
    builder.line_to(right, bottom - se);
    builder.cubic_to(right, bottom - gap(se), right - gap(se), bottom, right - se, bottom);
    builder.line_to(left + sw, bottom);
    builder.cubic_to(left + gap(sw), bottom, left, bottom - gap(sw), left, bottom - sw);
    builder.line_to(left, top + nw);
    builder.cubic_to(left, top + gap(nw), left + gap(nw), top, left + nw, top);
    builder.close();
}

fn blend(pixel: &mut [u8], ink: Rgba, coverage: f32) {
    let alpha = coverage.clamp(0.0, 1.0) * f32::from(ink.a) / 255.0;
    for (channel, target) in pixel.iter_mut().zip([ink.r, ink.g, ink.b]) {
        let below = f32::from(*channel);
        *channel = (below + (f32::from(target) - below) * alpha).round() as u8;
    }
}

fn color(ink: Rgba) -> Color {
    Color::from_rgba8(ink.r, ink.g, ink.b, ink.a)
}

fn paint(ink: Rgba) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(color(ink));
    paint
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: Rgba = Rgba::hex(0x000000);
    const WHITE: Rgba = Rgba::hex(0xffffff);

    fn lit(canvas: Pixels) -> usize {
        canvas.into_rgba().chunks(4).filter(|pixel| pixel[0] > 0).count()
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for size in [[0, 100], [100, 63], [8193, 100]] {
            assert!(matches!(Pixels::new(size, BLACK), Err(PictureError::Size { .. })));
        }
    }

    #[test]
    fn crisp_neighbors_share_their_edge() {
        let mut canvas = Pixels::new([64, 64], BLACK).unwrap();
        canvas.fill_crisp([0.0, 0.0, 20.4, 64.0], WHITE);
        canvas.fill_crisp([20.4, 0.0, 64.0, 64.0], WHITE);
        assert!(canvas.into_rgba().iter().all(|&value| value == 255));
    }

    #[test]
    fn round_corners_are_round_where_asked_and_unions_do_not_add_up() {
        let mut canvas = Pixels::new([64, 64], BLACK).unwrap();
        canvas.fill_round([0.2, 0.0, 64.0, 64.0], [20.0, 0.0, 0.0, 0.0], WHITE);
        canvas.fill_round([f32::NAN, 0.0, 9.0, 9.0], [1.0; 4], WHITE);
        let pixels = canvas.into_rgba();
        assert_eq!((pixels[0], pixels[4 * 63], pixels[4 * 64 * 63]), (0, 255, 255));
        let mut canvas = Pixels::new([64, 64], BLACK).unwrap();
        let halves = [[0.0, 0.0, 40.0, 64.0], [20.0, 0.0, 64.0, 64.0]];
        let halves = halves.into_iter().map(|edges| (edges, [0.0; 4]));
        canvas.fill_union(halves, WHITE.with_alpha(0.5));
        let pixels = canvas.into_rgba();
        assert!(pixels.chunks(4).all(|pixel| pixel[0] == pixels[0] && pixel[0] > 100));
    }

    #[test]
    fn shapes_and_text_leave_ink_and_bad_points_leave_none() {
        let mut canvas = Pixels::new([64, 64], BLACK).unwrap();
        canvas.polyline(&[[f32::NAN, 1.0], [3.0, f32::INFINITY]], 2.0, WHITE, LineCap::Round);
        canvas.fill_circle([f32::NAN, 3.0], 4.0, WHITE);
        assert_eq!(lit(canvas), 0);
        let mut canvas = Pixels::new([64, 64], BLACK).unwrap();
        canvas.polyline(&[[5.0, 5.0], [50.0, 5.0]], 2.0, WHITE, LineCap::Butt);
        let style =
            TextStyle { face: Face::Regular, size: 14.0, color: WHITE, align: Align::Center };
        canvas.text("edge of the picture", [60.0, 40.0], style);
        assert!(lit(canvas) > 120);
    }
}
