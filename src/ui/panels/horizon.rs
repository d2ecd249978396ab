//! Figure 3.2 of Janner's thesis, live: when the steps of a chain look, how
//! their mixture becomes the long discount's law, and how many steps it takes.

use eframe::egui::{Color32, Ui};
use egui_plot::{Bar, BarChart, Line, Plot};

use super::controls;
use super::plot::{Axis, grid, line, plot, thinned};
use crate::lab::scene::OccupancySettings;
use crate::plan::horizon::{Reweighting, TimeDistributions, steps_for_mass};
use crate::ui::app::App;
use crate::ui::stage::field::asking;
use crate::ui::theme::{self, Colors};
use crate::ui::widgets::{fact, muted};

/// Heights of the plots.
const LAWS_HEIGHT: f32 = 132.0;
const WEIGHTS_HEIGHT: f32 = 84.0;
/// Most points in a line, and most lines of single steps.
const MAX_POINTS: usize = 110;
const MAX_LAWS: usize = 8;
/// The plot ends where the target's law has so little left, or here.
const REST: f64 = 0.03;
const MAX_TIME: usize = 400;
/// Share of the mixture that counts as all of it.
const MASS: f64 = 0.95;

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    controls::knob(app, ui, "occupancy.discount");
    controls::knob(app, ui, "occupancy.long_discount");
    controls::knob(app, ui, "occupancy.steps");
    let settings = asking::settings(app);
    let dt_secs = f64::from(app.place.spec.dt_secs);
    match figures(&settings) {
        Ok(figures) => {
            value(app, ui, &settings);
            draw(ui, &figures, dt_secs);
        }
        Err(message) => {
            ui.label(muted(ui, message));
        }
    }
}

/// What the source state is worth, from the chain and a value for its tail.
fn value(app: &App, ui: &mut Ui, settings: &OccupancySettings) {
    let frame = app.field.asking.truth().map(|(frame, _)| frame);
    let found = frame.and_then(|frame| frame.value);
    let text = found.map_or_else(|| "-".into(), |value| format!("{value:.2}"));
    let (name, help) = match settings.steps {
        0 | 1 => {
            ("V of the source", "1/(1-γ) times the mean reward of the samples (Equation 3.6).")
        }
        _ => (
            "V of the source, γ-MVE",
            "Weighted rewards along the chain, and the same model's value at the long discount for \
             the tail (Theorem 2). It needs a long discount that the weights were trained for.",
        ),
    };
    fact(ui, name, text).on_hover_text(help);
}

/// Everything the section shows.
struct Figures {
    target: f64,
    laws: TimeDistributions,
    mixture: Reweighting,
    needed: usize,
}

fn figures(settings: &OccupancySettings) -> Result<Figures, String> {
    // Shortest decimal form: 0.95 is not 0.949999988.
    let exact = |value: f32| value.to_string().parse::<f64>().unwrap_or(f64::from(value));
    let (gamma, target) = (exact(settings.discount), exact(settings.long_discount));
    let steps = settings.steps.max(1);
    let shown = if target > 0.0 { (REST.ln() / target.ln()).ceil() as usize } else { 1 };
    let last = shown.clamp(6, MAX_TIME);
    let text = |error: crate::plan::horizon::HorizonError| error.to_string();
    Ok(Figures {
        target,
        laws: TimeDistributions::new(gamma, target, steps, last).map_err(text)?,
        mixture: Reweighting::new(gamma, target, steps).map_err(text)?,
        needed: steps_for_mass(gamma, target, MASS).map_err(text)?,
    })
}

fn draw(ui: &mut Ui, figures: &Figures, dt_secs: f64) {
    let n = figures.mixture.weights().len();
    let long = 1.0 / (1.0 - figures.target);
    fact(ui, "long mean horizon", format!("{long:.1} steps, {:.2} s", long * dt_secs));
    fact(ui, "steps for 95 % of the mass", figures.needed.to_string())
        .on_hover_text("The fewest model steps whose weights hold 95 % of the mixture.");
    let tail = figures.mixture.tail();
    fact(ui, "beyond the last step", format!("{:.1} %", 100.0 * tail))
        .on_hover_text("1 - Σ α_n: what a terminal value stands for; the map leaves it out.");
    laws(ui, figures, n);
    weights(ui, figures, n);
    if n == 1 {
        ui.label(muted(
            ui,
            "One step asks the model directly. Chain more to reach the long discount.",
        ));
    } else {
        ui.label(muted(ui, "solid: mixture, dashed: target, colors: steps 1 to n"));
    }
}

fn still<'a>(id: &'a str, height: f32, [x, y]: [Axis<'a>; 2], colors: Colors) -> Plot<'a> {
    plot(id, [height, 30.0], x, y, colors).include_x(0.0).include_y(0.0)
}

fn laws(ui: &mut Ui, figures: &Figures, n: usize) {
    let colors = Colors::of(ui.ctx());
    let axes = [Axis::new("t (steps)", 4.0), Axis::new("p(t)", 3.0)];
    still("time laws", LAWS_HEIGHT, axes, colors).show(ui, |plot| {
        let stride = n.div_ceil(MAX_LAWS).max(1);
        for (index, masses) in figures.laws.steps.iter().enumerate().step_by(stride) {
            let share = index as f32 / (n.saturating_sub(1).max(1)) as f32;
            let weight = figures.mixture.weights().get(index).copied().unwrap_or(0.0);
            let scaled: Vec<f64> = masses.iter().map(|mass| mass * weight).collect();
            let name = format!("step {}", index + 1);
            plot.line(law(&name, &scaled, theme::time(share), 1.2, false));
        }
        plot.line(law("mixture", &figures.laws.mixture, colors.accent(), 2.2, false));
        plot.line(law("target", &figures.laws.target, colors.ink(), 1.2, true));
    });
}

fn weights(ui: &mut Ui, figures: &Figures, n: usize) {
    let bars: Vec<Bar> = figures
        .mixture
        .weights()
        .iter()
        .enumerate()
        .map(|(index, &weight)| {
            let share = index as f32 / (n.saturating_sub(1).max(1)) as f32;
            Bar::new((index + 1) as f64, weight).width(0.7).fill(theme::time(share))
        })
        .collect();
    let axes = [Axis::new("n (model steps)", 4.0), Axis::new("weight α_n", 3.0)];
    still("step weights", WEIGHTS_HEIGHT, axes, Colors::of(ui.ctx()))
        .include_x(0.5)
        .include_x(n as f64 + 0.5)
        .x_grid_spacer(|input| {
            let mut marks = grid(input, 4.0);
            marks.retain(|mark| mark.step_size >= 1.0 || mark.value.fract() == 0.0);
            // Steps are whole.
            marks.iter_mut().for_each(|mark| mark.step_size = mark.step_size.max(1.0));
            marks
        })
        .show(ui, |plot| plot.bar_chart(BarChart::new("weights", bars).allow_hover(false)));
}

/// A law over `t = 1, 2, ...`, thinned to what a small plot can show.
fn law(name: &str, law: &[f64], ink: Color32, width: f32, dashed: bool) -> Line<'static> {
    let points = law.iter().enumerate().map(|(index, &mass)| [(index + 1) as f64, mass]);
    line(name, thinned(points.collect(), MAX_POINTS), ink, width, dashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(discount: f32, long_discount: f32, steps: usize) -> Figures {
        let settings =
            OccupancySettings { discount, long_discount, steps, samples: 1, policy: None };
        figures(&settings).unwrap()
    }

    #[test]
    fn a_single_step_model_needs_299_steps_and_a_model_of_the_target_one() {
        assert_eq!(of(0.0, 0.99, 3).needed, 299);
        assert_eq!(of(0.99, 0.99, 3).needed, 1);
    }

    #[test]
    fn the_plot_reaches_to_where_little_is_left_and_no_farther() {
        let figures = of(0.8, 0.95, 4);
        let left = 0.95_f64.powi(figures.laws.target.len() as i32);
        assert!(left <= REST && left > REST * 0.9);
        assert_eq!(of(0.8, 0.999, 2).laws.target.len(), MAX_TIME);
        assert_eq!(of(0.0, 0.0, 1).laws.target.len(), 6);
    }
}
