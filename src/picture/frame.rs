//! Where the map, its axes and the words around it go, and the map's scale.

use super::PictureError;

/// Distances in pixels on a picture 720 pixels wide or high, whichever is less.
const REFERENCE_SIDE: f32 = 720.0;
const MARGIN: f32 = 28.0;
const TITLE_HEIGHT: f32 = 90.0;
const AXIS_LEFT: f32 = 30.0;
const AXIS_BOTTOM: f32 = 32.0;
const LEGEND_HEIGHT: f32 = 34.0;

/// A picture's layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Pixels per unit of the reference picture: multiplies widths and sizes.
    pub unit: f32,
    /// The map on the picture: left, top, right, bottom.
    pub plot: [f32; 4],
    /// Left, top, right and bottom within the margins.
    pub inner: [f32; 4],
    bounds: [f32; 4],
    /// Pixels per meter.
    pub scale: f32,
}

impl Frame {
    /// Lay out a map of `bounds` as large as fits, with equal scales.
    ///
    /// # Errors
    /// Bounds that span no area.
    pub(super) fn new(bounds: [f32; 4], size: [u32; 2]) -> Result<Self, PictureError> {
        let [x_span, y_span] = spans(bounds)?;
        let (width, height) = (size[0] as f32, size[1] as f32);
        let unit = (width.min(height) / REFERENCE_SIDE).clamp(0.35, 8.0);
        let margin = MARGIN * unit;
        let left = margin + AXIS_LEFT * unit;
        let top = margin + TITLE_HEIGHT * unit;
        let room = [
            (width - left - margin).max(1.0),
            (height - top - margin - (AXIS_BOTTOM + LEGEND_HEIGHT) * unit).max(1.0),
        ];
        let scale = (room[0] / y_span).min(room[1] / x_span);
        let (plot_width, plot_height) = (scale * y_span, scale * x_span);
        // The words hug the map, and what is left over goes to both sides.
        let plot_left = left + (room[0] - plot_width) / 2.0;
        let plot_top = top + (room[1] - plot_height) / 2.0;
        let plot = [plot_left, plot_top, plot_left + plot_width, plot_top + plot_height]
            .map(|edge| edge.round());
        let inner = [
            plot[0] - AXIS_LEFT * unit,
            plot[1] - TITLE_HEIGHT * unit,
            plot[2],
            plot[3] + (AXIS_BOTTOM + LEGEND_HEIGHT) * unit,
        ];
        Ok(Self { unit, plot, inner, bounds, scale })
    }

    /// Where a position on the map is on the picture: x runs down, y runs right.
    pub(super) fn place(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [
            self.plot[0] + (y - self.bounds[1]) * self.scale,
            self.plot[1] + (x - self.bounds[0]) * self.scale,
        ]
    }

    /// Axis positions worth a label, on the map: those of x, then those of y.
    pub(super) fn ticks(&self) -> [Vec<f32>; 2] {
        let least = 44.0 * self.unit / self.scale;
        let [x_min, y_min, x_max, y_max] = self.bounds;
        [ticks(x_min, x_max, least), ticks(y_min, y_max, least)]
    }
}

/// A size with the given long side that leaves no empty bands beside a map.
pub(super) fn fitting_size(bounds: [f32; 4], long_side: u32) -> [u32; 2] {
    let Ok([x_span, y_span]) = spans(bounds) else {
        return [long_side, long_side];
    };
    // Margins are in units of the short side, which depends on them: a few
    // rounds settle it.
    let (beside, above) =
        (2.0 * MARGIN + AXIS_LEFT, 2.0 * MARGIN + TITLE_HEIGHT + AXIS_BOTTOM + LEGEND_HEIGHT);
    let long = long_side as f32;
    let mut size = [long, long];
    for _ in 0..20 {
        let unit = (size[0].min(size[1]) / REFERENCE_SIDE).clamp(0.35, 8.0);
        let scale = ((long - beside * unit) / y_span).min((long - above * unit) / x_span).max(1e-6);
        size = [scale * y_span + beside * unit, scale * x_span + above * unit];
    }
    // Even numbers, because video encoders want them.
    size.map(|side| 2 * (side / 2.0).round() as u32)
}

fn spans(bounds: [f32; 4]) -> Result<[f32; 2], PictureError> {
    let spans = [bounds[2] - bounds[0], bounds[3] - bounds[1]];
    let usable = |span: &f32| span.is_finite() && *span > 0.0;
    if spans.iter().all(usable) { Ok(spans) } else { Err(PictureError::Bounds(bounds)) }
}

/// Round numbers from `min` to `max` that are at least `least` apart.
fn ticks(min: f32, max: f32, least: f32) -> Vec<f32> {
    let decade = 10.0_f32.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * decade)
        .find(|&step| step >= least)
        .unwrap_or(10.0 * decade);
    // Labels are whole numbers wherever whole numbers are dense enough.
    let step = step.max(if max - min >= 3.0 { 1.0 } else { 0.0 });
    let first = (min / step).ceil() as i32;
    let last = (max / step).floor() as i32;
    (first..=last.min(first.saturating_add(100))).map(|k| k as f32 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_runs_down_and_y_runs_right_at_one_scale() {
        let frame = Frame::new([-0.7, -0.7, 8.3, 11.3], [960, 720]).unwrap();
        let [left, top] = frame.place([-0.7, -0.7]);
        let [right, bottom] = frame.place([8.3, 11.3]);
        assert!(left < right && top < bottom);
        assert!(((right - left) / 12.0 - (bottom - top) / 9.0).abs() < 1e-3);
        assert!(left >= 0.0 && top >= 0.0 && right <= 960.0 && bottom <= 720.0);
    }

    #[test]
    fn a_fitting_size_leaves_no_bands() {
        for bounds in [[-0.7, -0.7, 8.3, 11.3], [0.0, 0.0, 12.0, 5.0], [0.0, 0.0, 1.0, 1.0]] {
            let size = fitting_size(bounds, 1000);
            assert!((998..=1000).contains(&size[0].max(size[1])), "{size:?}");
            let frame = Frame::new(bounds, size).unwrap();
            let margin = MARGIN * frame.unit;
            assert!((frame.inner[0] - margin).abs() < 3.0, "{bounds:?} {frame:?}");
            assert!((frame.inner[1] - margin).abs() < 3.0, "{bounds:?} {frame:?}");
        }
        assert_eq!(fitting_size([0.0; 4], 300), [300, 300]);
    }

    #[test]
    fn ticks_are_round_and_far_enough_apart() {
        assert_eq!(ticks(-0.7, 4.3, 0.4), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks(0.0, 20.0, 3.0), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(ticks(0.0, 1.0, 0.3), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn bounds_without_area_are_refused() {
        for bounds in [[0.0; 4], [0.0, 0.0, f32::NAN, 1.0], [0.0, 0.0, -1.0, 1.0]] {
            assert!(matches!(Frame::new(bounds, [100, 100]), Err(PictureError::Bounds(_))));
        }
    }
}
