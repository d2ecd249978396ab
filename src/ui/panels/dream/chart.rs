//! Errors against the horizon: distances on a logarithmic scale, likelihoods
//! on a linear one.

use eframe::egui::Ui;
use egui_plot::{GridMark, Plot, VLine};

use super::{Measure, Who};
use crate::lab::dream::DreamCurves;
use crate::ui::panels::plot::{Axis, line, plot};
use crate::ui::theme::Colors;

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
    let response = chart(measure, colors).show(ui, |plot| {
        for who in Who::ALL {
            let Some(curve) = who.curve(curves) else { continue };
            let points = points(measure, &measure.line(curve), floor);
            let is_oracle = who == Who::Oracle;
            let width = if is_oracle { 1.2 } else { 2.0 };
            plot.line(line(who.name(), points, who.ink(colors), width, is_oracle));
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

fn chart<'a>(measure: Measure, colors: Colors) -> Plot<'a> {
    let (is_distance, y_name) = match measure {
        Measure::Distance => (true, "distance (std. dev.)"),
        Measure::LogLikelihood => (false, "ln p (nats)"),
    };
    let x = Axis::new("transitions", 5.0);
    let mut y = Axis::new(y_name, 4.0);
    if is_distance {
        y.text = power;
    }
    let plot = plot(("dream", y_name), [HEIGHT, 34.0], x, y, colors).include_x(0.0);
    if is_distance { plot.y_grid_spacer(|input| decades(input.bounds)) } else { plot }
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
