//! One look for every small plot of a panel: nothing in it is dragged or
//! zoomed, its grid is round and sparse, its numbers stay small.

use std::fmt::Debug;
use std::hash::Hash;

use eframe::egui::{Color32, FontId, RichText, vec2};
use egui_plot::{AxisHints, GridInput, GridMark, HPlacement, Line, LineStyle, Plot, PlotPoints};

use crate::ui::theme::{Colors, SMALL};

/// Size of the numbers at the axes, in points.
const TICKS: f32 = 10.0;

/// One axis: what it shows, about how many grid lines it has, how a mark reads.
pub struct Axis<'a> {
    /// Quantity and unit; may be empty.
    pub name: &'a str,
    /// About how many grid lines.
    pub lines: f64,
    /// The text at a mark.
    pub text: fn(GridMark) -> String,
}

impl<'a> Axis<'a> {
    /// Round numbers.
    pub fn new(name: &'a str, lines: f64) -> Self {
        Self { name, lines, text: rounded }
    }
}

/// A plot that is only looked at; the vertical axis takes at least `left`
/// points.
pub fn plot<'a>(
    id: impl Hash + Debug,
    [height, left]: [f32; 2],
    x: Axis<'a>,
    y: Axis<'a>,
    colors: Colors,
) -> Plot<'a> {
    let hints = |hints: AxisHints<'a>, axis: &Axis<'a>| {
        let text = axis.text;
        let hints = hints
            .formatter(move |mark, _| text(mark))
            .tick_label_color(colors.muted_ink())
            .tick_label_font(FontId::proportional(TICKS));
        if axis.name.is_empty() {
            return hints;
        }
        hints.label(RichText::new(axis.name).size(SMALL).color(colors.muted_ink()))
    };
    let x_axis = hints(AxisHints::new_x(), &x).label_spacing(20.0..=36.0).min_thickness(12.0);
    let y_axis = hints(AxisHints::new_y(), &y)
        .placement(HPlacement::Left)
        .label_spacing(9.0..=14.0)
        .min_thickness(left);
    Plot::new(id)
        .height(height)
        .show_background(false)
        .custom_x_axes(vec![x_axis])
        .custom_y_axes(vec![y_axis])
        .x_grid_spacer(move |input| grid(input, x.lines))
        .y_grid_spacer(move |input| grid(input, y.lines))
        .grid_color(colors.line())
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .allow_double_click_reset(false)
        .show_crosshair(false)
        .set_margin_fraction(vec2(0.01, 0.06))
}

/// A line that is only looked at.
pub fn line(
    name: impl Into<String>,
    points: Vec<[f64; 2]>,
    ink: Color32,
    width: f32,
    dashed: bool,
) -> Line<'static> {
    let style = if dashed { LineStyle::Dashed { length: 6.0 } } else { LineStyle::Solid };
    Line::new(name, PlotPoints::new(points)).color(ink).width(width).style(style).allow_hover(false)
}

/// At most about `most` of the points, with both ends.
pub fn thinned(mut points: Vec<[f64; 2]>, most: usize) -> Vec<[f64; 2]> {
    let stride = points.len().div_ceil(most.max(1)).max(1);
    let last = points.len().saturating_sub(1);
    let mut index = 0;
    points.retain(|_| {
        index += 1;
        (index - 1) % stride == 0 || index - 1 == last
    });
    points
}

/// A mark's value with the digits its step needs.
pub fn rounded(mark: GridMark) -> String {
    let decimals = (-mark.step_size.log10().floor()).max(0.0) as usize;
    format!("{:.decimals$}", mark.value)
}

/// About `count` grid lines at round values.
pub fn grid(input: GridInput, count: f64) -> Vec<GridMark> {
    let (low, high) = input.bounds;
    let rough = (high - low) / count;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let decade = 10_f64.powf(rough.log10().floor());
    let step_size = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * decade)
        .find(|step| *step >= rough * 0.5)
        .unwrap_or(rough);
    let first = (low / step_size).ceil() as i64;
    let last = (high / step_size).floor() as i64;
    (first..=last).map(|index| GridMark { value: index as f64 * step_size, step_size }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_lines_are_few_and_round() {
        let input = GridInput { bounds: (0.7, 7.9), base_step_size: 1.0 };
        let values: Vec<f64> = grid(input, 3.0).iter().map(|mark| mark.value).collect();
        assert_eq!(values, [2.0, 4.0, 6.0]);
        let flat = GridInput { bounds: (1.0, 1.0), base_step_size: 1.0 };
        assert!(grid(flat, 3.0).is_empty());
    }

    #[test]
    fn a_thinned_line_keeps_both_ends() {
        let points: Vec<[f64; 2]> = (0..5000).map(|x| [f64::from(x), 0.0]).collect();
        let thin = thinned(points, 400);
        assert!(thin.len() <= 401);
        assert_eq!((thin[0][0], thin[thin.len() - 1][0]), (0.0, 4999.0));
    }
}
