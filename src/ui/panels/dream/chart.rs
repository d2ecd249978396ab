//! Errors against the horizon: distances on a logarithmic scale, likelihoods
//! on a linear one.

use eframe::egui::{FontId, RichText, Ui, vec2};
use egui_plot::{
    AxisHints, GridInput, GridMark, HPlacement, Line, LineStyle, Plot, PlotPoints, VLine,
};

use super::{Measure, Who};
use crate::lab::dream::DreamCurves;
use crate::ui::panels::curves::{grid, rounded};
use crate::ui::theme::{Colors, SMALL};

const HEIGHT: f32 = 168.0;
/// Least distance on the logarithmic scale.
const LEAST: f64 = 1e-4;
/// A line that falls so many nats below the oracle runs along the bottom.
const DEEPEST: f64 = 40.0;

/// Show the plot, with a mark at `at` transitions. Returns the horizon under
/// the pointer, if there is one.
pub fn show(ui: &mut Ui, measure: Measure, curves: &DreamCurves, at: usize) -> Option<usize> {
    let colors = Colors::of(ui.ctx());
    let floor = floor(measure, curves);
    let response = plot(measure, colors).show(ui, |plot| {
        for who in Who::ALL {
            let Some(curve) = who.curve(curves) else { continue };
            let points = points(measure, &measure.line(curve), floor);
            let is_oracle = who == Who::Oracle;
            let style =
                if is_oracle { LineStyle::Dashed { length: 5.0 } } else { LineStyle::Solid };
            plot.line(
                Line::new(who.name(), PlotPoints::new(points))
                    .color(who.ink(colors))
                    .width(if is_oracle { 1.2 } else { 2.0 })
                    .style(style)
                    .allow_hover(false),
            );
        }
        plot.vline(VLine::new("picked", at as f64).color(colors.ink()).width(1.0));
        plot.pointer_coordinate().map(|point| point.x)
    });
    let is_held = response.response.is_pointer_button_down_on();
    let pointed = response.inner.filter(|_| is_held)?;
    (pointed >= 0.0).then_some(pointed.round() as usize)
}

/// The least number that is shown.
fn floor(measure: Measure, curves: &DreamCurves) -> f64 {
    match measure {
        Measure::Distance => LEAST,
        Measure::LogLikelihood => {
            let oracle = measure.line(&curves.oracle);
            let least = oracle.into_iter().flatten().fold(f64::INFINITY, f64::min);
            if least.is_finite() { least - DEEPEST } else { f64::MIN }
        }
    }
}

/// A line as the plot wants it: horizons from 1 on, powers of ten for
/// distances.
fn points(measure: Measure, line: &[Option<f64>], floor: f64) -> Vec<[f64; 2]> {
    let known = line.iter().enumerate();
    known
        .filter_map(|(index, value)| {
            let value = (*value)?.max(floor);
            let value = if measure == Measure::Distance { value.log10() } else { value };
            Some([(index + 1) as f64, value])
        })
        .collect()
}

fn plot<'a>(measure: Measure, colors: Colors) -> Plot<'a> {
    let font = FontId::proportional(10.0);
    let name = |text: &str| RichText::new(text).size(SMALL).color(colors.muted_ink());
    let x_axis = AxisHints::new_x()
        .formatter(|mark, _| rounded(mark))
        .label(name("transitions"))
        .tick_label_color(colors.muted_ink())
        .tick_label_font(font.clone())
        .label_spacing(20.0..=36.0)
        .min_thickness(12.0);
    let (is_distance, y_name) = match measure {
        Measure::Distance => (true, "distance (std. dev.)"),
        Measure::LogLikelihood => (false, "ln p (nats)"),
    };
    let y_axis = AxisHints::new_y()
        .formatter(move |mark, _| if is_distance { power(mark) } else { rounded(mark) })
        .label(name(y_name))
        .placement(HPlacement::Left)
        .tick_label_color(colors.muted_ink())
        .tick_label_font(font)
        .label_spacing(9.0..=14.0)
        .min_thickness(34.0);
    let spacer = move |input: GridInput| {
        if is_distance { decades(input.bounds) } else { grid(input, 4.0) }
    };
    Plot::new(("dream", y_name))
        .height(HEIGHT)
        .show_background(false)
        .custom_x_axes(vec![x_axis])
        .custom_y_axes(vec![y_axis])
        .x_grid_spacer(|input| grid(input, 5.0))
        .y_grid_spacer(spacer)
        .grid_color(colors.line())
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .allow_double_click_reset(false)
        .show_crosshair(false)
        .include_x(0.0)
        .set_margin_fraction(vec2(0.01, 0.06))
}

/// A mark's distance, which the scale shows as its power of ten.
fn power(mark: GridMark) -> String {
    let value = 10_f64.powf(mark.value);
    let decimals = (-(mark.value + 1e-9).floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

/// Marks at powers of ten, with 2 and 5 between them where there are few.
fn decades((low, high): (f64, f64)) -> Vec<GridMark> {
    if !(low.is_finite() && high.is_finite() && high > low && high - low < 100.0) {
        return Vec::new();
    }
    let between: &[f64] = if high - low > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let range = low.floor() as i32..=high.ceil() as i32;
    range
        .flat_map(|power| between.iter().map(move |factor| f64::from(power) + factor.log10()))
        .filter(|value| (low..=high).contains(value))
        .map(|value| GridMark { value, step_size: 1.0 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_of_distances_has_round_numbers() {
        let texts: Vec<String> = decades((-2.1, -0.2)).into_iter().map(power).collect();
        assert_eq!(texts, ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5"]);
        let texts: Vec<String> = decades((-3.2, 1.1)).into_iter().map(power).collect();
        assert_eq!(texts, ["0.001", "0.01", "0.1", "1", "10"]);
        assert!(decades((f64::NAN, 1.0)).is_empty() && decades((1.0, 1.0)).is_empty());
    }

    #[test]
    fn lines_begin_at_one_transition_and_hold_at_the_floor() {
        let line = [Some(0.1), None, Some(0.0)];
        let found = points(Measure::Distance, &line, LEAST);
        assert_eq!(found[0][0], 1.0);
        assert!((found[0][1] + 1.0).abs() < 1e-9 && (found[1][1] + 4.0).abs() < 1e-9);
        assert_eq!((found.len(), found[1][0]), (2, 3.0));
        let found = points(Measure::LogLikelihood, &[Some(-1e6), Some(3.0)], -31.0);
        assert_eq!(found, [[1.0, -31.0], [2.0, 3.0]]);
    }
}
