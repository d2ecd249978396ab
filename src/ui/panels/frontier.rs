//! How good plans are against how long they take: every sampler at several
//! numbers of steps, and planning again from noise and from the last plan. A
//! click on a point plans that way.

use std::sync::Arc;

use eframe::egui::{self, Color32, DragValue, Pos2, ProgressBar, Ui};
use egui_plot::{
    GridInput, GridMark, LineStyle, MarkerShape, PlotPoint, PlotPoints, PlotUi, Points,
};

use super::plot::{Axis, line, plot};
use crate::lab::frontier::keeper::{MeasureFrame, MeasureStage};
use crate::lab::frontier::{Frontier, Point, fewest, on_frontier};
use crate::plan::Sampler;
use crate::ui::app::{App, Proposal};
use crate::ui::history::EditTag;
use crate::ui::live::{Origin, Wish};
use crate::ui::theme::{Colors, GRID, SMALL, number, small};
use crate::ui::widgets::{fact, muted};

/// What the section is for.
pub const HELP: &str = "What following plans scores against the time of a plan, for every sampler and number of steps. A click on a point plans that way.";
/// Height of the plot.
const HEIGHT: f32 = 168.0;
/// How near to a point the pointer counts as on it, in screen points.
const NEAR: f32 = 12.0;
/// Most episodes a point when measuring here.
const MAX_EPISODES: usize = 1000;

/// How the trade-off is looked at.
#[derive(Clone, Debug)]
pub struct FrontierView {
    /// Planning again all the time, instead of every sampler.
    pub replans: bool,
    /// Steps on the horizontal axis, instead of time.
    pub by_steps: bool,
    /// Episodes a point when measuring.
    pub episodes: usize,
    /// Where the points of the shown table were painted last.
    pub hits: Vec<Pos2>,
}

impl Default for FrontierView {
    fn default() -> Self {
        Self { replans: false, by_steps: false, episodes: 50, hits: Vec::new() }
    }
}

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    let measured = app.session.measured_frontier();
    let stored = app.session.stored_frontier();
    let grown = measured.as_ref().and_then(|frame| frame.frontier.clone());
    let is_measured = grown.is_some();
    let frontier = grown.or_else(|| stored.as_ref()?.found.clone());
    match &frontier {
        Some(frontier) => {
            tabs(app, ui);
            chart(app, ui, frontier);
            let open = stored.map(|stored| stored.weights.clone()).unwrap_or_default();
            origin(ui, frontier, &open, is_measured);
        }
        None => {
            let text = "No measurement of these weights yet. Measure runs episodes in the background; planning goes first.";
            ui.label(muted(ui, text));
        }
    }
    measuring(app, ui, measured);
}

fn tabs(app: &mut App, ui: &mut Ui) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        for (replans, label, help) in [
            (false, "Samplers", "Every sampler, followed as the scene says"),
            (true, "Replanning", "Planning again all the time: from noise, and from the last plan"),
        ] {
            let selected = app.frontier.replans == replans;
            if ui.selectable_label(selected, small(label)).on_hover_text(help).clicked() {
                app.frontier.replans = replans;
            }
        }
        let right = egui::Layout::right_to_left(egui::Align::Center);
        ui.with_layout(right, |ui| {
            for (by_steps, label, help) in [
                (true, "steps", "Forward passes of a plan on the horizontal axis"),
                (false, "time", "Median time of a plan on the horizontal axis"),
            ] {
                let selected = app.frontier.by_steps == by_steps;
                if ui.selectable_label(selected, small(label)).on_hover_text(help).clicked() {
                    app.frontier.by_steps = by_steps;
                }
            }
        });
    });
}

/// A line of the plot: points of one color, by sampler or by warm and cold.
fn series(point: &Point, replans: bool) -> (usize, String) {
    if replans {
        return match point.warm_steps {
            0 => (0, "from noise".into()),
            _ => (1, format!("from the last plan, {} steps", point.steps)),
        };
    }
    let known = Sampler::ALL.iter().position(|row| row.sampler == point.sampler);
    let index = known.unwrap_or(0);
    (index, point.sampler.row().title.to_owned())
}

/// A point in words.
fn words(frontier: &Frontier, point: &Point) -> String {
    let Point { score, plan_ms, .. } = point;
    let steps = match point.warm_steps {
        0 => format!("{} {} steps", point.sampler.row().title, point.steps),
        warm => format!("{} {warm} of {} steps", point.sampler.row().title, point.steps),
    };
    let measure = frontier.measure.title();
    let behind = point.behind.filter(|behind| behind.mean < 0.0);
    let behind = behind.map_or(String::new(), |behind| {
        format!(", {:.1} ± {:.1} to the best, episode by episode", behind.mean, behind.se)
    });
    format!(
        "{steps}: {measure} {:.1} ± {:.1} (n {}){behind}, {plan_ms:.1} ms",
        score.mean, score.se, score.n
    )
}

fn chart(app: &mut App, ui: &mut Ui, frontier: &Frontier) {
    let colors = Colors::of(ui.ctx());
    let replans = app.frontier.replans;
    let table = frontier.table(replans);
    app.frontier.hits.clear();
    if table.is_empty() {
        ui.label(muted(ui, "Nothing of this was measured yet."));
        return;
    }
    let by_steps = app.frontier.by_steps;
    let at = |point: &Point| {
        let x = if by_steps { point.forwards as f64 } else { point.plan_ms.max(1e-3) };
        [x.log10(), point.score.mean]
    };
    let now = table.iter().position(|point| point.is_of(app.session.scene(), replans));
    let x = Axis { text: power, ..Axis::new(if by_steps { "steps" } else { "ms a plan" }, 4.0) };
    let y = Axis::new(frontier.measure.title(), 4.0);
    let response = plot("frontier", [HEIGHT, 30.0], x, y, colors)
        .x_grid_spacer(decades)
        .set_margin_fraction(egui::vec2(0.06, 0.1))
        .show(ui, |plot| paint(plot, table, replans, &at, now, colors));
    let transform = response.transform;
    app.frontier.hits = table
        .iter()
        .map(|point| {
            let [x, y] = at(point);
            transform.position_from_point(&PlotPoint::new(x, y))
        })
        .collect();
    let pointer = response.response.hover_pos();
    let hovered = pointer.and_then(|pointer| {
        let distance = |index: &usize| app.frontier.hits[*index].distance(pointer);
        let nearest = (0..table.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        (distance(&nearest) < NEAR).then_some(nearest)
    });
    if let Some(point) = hovered.and_then(|index| table.get(index)) {
        ui.ctx().set_cursor_icon(egui::CursorIcon::PointingHand);
        if response.response.clicked() {
            choose(app, frontier, point);
        }
        response.response.on_hover_text_at_pointer(words(frontier, point));
    }
    legend(ui, table, replans, colors);
    best(app, ui, frontier);
}

fn paint(
    plot: &mut PlotUi<'_>,
    table: &[Point],
    replans: bool,
    at: &dyn Fn(&Point) -> [f64; 2],
    now: Option<usize>,
    colors: Colors,
) {
    let mut edge: Vec<[f64; 2]> = table
        .iter()
        .zip(on_frontier(table))
        .filter(|(_, is_best)| *is_best)
        .map(|(point, _)| at(point))
        .collect();
    edge.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let edge = line("frontier", edge, colors.muted_ink(), 1.2, false);
    plot.line(edge.style(LineStyle::Dotted { spacing: 4.0 }));
    let mut drawn: Vec<usize> = Vec::new();
    for point in table {
        let (index, name) = series(point, replans);
        let ink = colors.category(index);
        if !drawn.contains(&index) {
            drawn.push(index);
            let of = |other: &&Point| series(other, replans).0 == index;
            let mut points: Vec<[f64; 2]> = table.iter().filter(of).map(at).collect();
            points.sort_by(|a, b| a[0].total_cmp(&b[0]));
            plot.line(line(name.clone(), points.clone(), ink.gamma_multiply(0.5), 1.2, false));
            let dots = Points::new(name.clone(), PlotPoints::new(points));
            plot.points(dots.color(ink).radius(3.2).allow_hover(false));
        }
        let [x, y] = at(point);
        let bar = vec![[x, y - point.score.se], [x, y + point.score.se]];
        plot.line(line(format!("{name} error"), bar, ink, 1.0, false));
    }
    if let Some(point) = now.and_then(|now| table.get(now)) {
        let ring = Points::new("now", PlotPoints::new(vec![at(point)]));
        let ring = ring.shape(MarkerShape::Circle).filled(false);
        plot.points(ring.color(colors.ink()).radius(6.5).allow_hover(false));
    }
}

fn legend(ui: &mut Ui, table: &[Point], replans: bool, colors: Colors) {
    let mut names: Vec<(usize, String)> = Vec::new();
    for point in table {
        let row = series(point, replans);
        if !names.contains(&row) {
            names.push(row);
        }
    }
    ui.horizontal_wrapped(|ui| {
        for (index, name) in names {
            swatch(ui, colors.category(index));
            ui.label(muted(ui, name));
        }
    });
}

fn swatch(ui: &mut Ui, ink: Color32) {
    let (rect, _) = ui.allocate_exact_size(egui::vec2(10.0, 8.0), egui::Sense::hover());
    ui.painter().circle_filled(rect.center(), 3.2, ink);
}

/// The points that no other beats, to pick by name, the fewest steps marked.
fn best(app: &mut App, ui: &mut Ui, frontier: &Frontier) {
    let replans = app.frontier.replans;
    let table = frontier.table(replans);
    let few = fewest(table);
    let mut rows: Vec<usize> =
        on_frontier(table).iter().enumerate().filter_map(|(i, best)| best.then_some(i)).collect();
    rows.extend(few.filter(|few| !rows.contains(few)));
    rows.sort_by(|a, b| table[*a].plan_ms.total_cmp(&table[*b].plan_ms));
    for index in rows {
        let Some(point) = table.get(index) else { continue };
        let is_now = point.is_of(app.session.scene(), replans);
        ui.horizontal(|ui| {
            let label = ui.selectable_label(is_now, small(short(point)));
            if label.on_hover_text("Plan this way.").clicked() {
                choose(app, frontier, point);
            }
            let right = egui::Layout::right_to_left(egui::Align::Center);
            ui.with_layout(right, |ui| {
                let score = point.score;
                let text =
                    format!("{:.1} ± {:.1}  {:>5.1} ms", score.mean, score.se, point.plan_ms);
                ui.label(number(text).size(SMALL));
            });
        });
    }
    // A line of its own: beside a long name it would not fit.
    if let Some(point) = few.and_then(|few| table.get(few)) {
        let tip = "The fewest steps whose score is within 2 % of the best.";
        fact(ui, "fewest within 2 %", short(point)).on_hover_text(tip);
    }
}

/// A way to plan, as short as it goes.
fn short(point: &Point) -> String {
    match point.warm_steps {
        0 => format!("{} {}", point.sampler.row().title, point.steps),
        warm => format!("{warm} of {} steps", point.steps),
    }
}

/// Plan the way of a point from now on.
fn choose(app: &mut App, frontier: &Frontier, point: &Point) {
    let mut scene = app.session.scene().clone();
    let every = app.frontier.replans.then_some(frontier.replan_every);
    point.apply(&mut scene, every);
    let wish = Wish::full(Origin::Same);
    app.propose(Proposal::Edit(EditTag::Frontier, Box::new(scene), Some(wish)));
}

/// What was measured, on what, and whether it is these weights.
fn origin(ui: &mut Ui, frontier: &Frontier, open: &str, is_measured: bool) {
    if frontier.weights != open {
        let text = format!(
            "Measured with other weights ({}); these are {open}. Measure tells how these do.",
            frontier.weights
        );
        ui.label(small(text).color(Colors::of(ui.ctx()).warning()));
    }
    let from = if is_measured { "measured here" } else { "recorded" };
    let every = frontier.replan_every;
    let tip = format!(
        "{}, seed {}. Replanning: a plan every {every} steps.",
        frontier.machine, frontier.seed
    );
    fact(ui, "episodes a point", format!("{} ({from})", frontier.episodes)).on_hover_text(tip);
}

fn measuring(app: &mut App, ui: &mut Ui, frame: Option<Arc<MeasureFrame>>) {
    ui.add_space(GRID / 2.0);
    let stage = frame.map(|frame| frame.stage.clone());
    if let Some(MeasureStage::Running(part)) = stage {
        ui.horizontal(|ui| {
            let tip = "Break off; what was measured stays.";
            if ui.button(small("Stop measuring")).on_hover_text(tip).clicked() {
                app.session.stop_measuring();
            }
            let percent = format!("{:.0} %", 100.0 * part);
            ui.add(ProgressBar::new(part as f32).text(number(percent).size(SMALL)));
        });
        return;
    }
    ui.horizontal(|ui| {
        let tip = "Run episodes with every sampler in the background, with the weights shown. Plans and training go on; the times are those of a machine in use.";
        if ui.button(small("Measure")).on_hover_text(tip).clicked() {
            app.session.measure_frontier(app.frontier.episodes);
        }
        let drag = DragValue::new(&mut app.frontier.episodes).range(1..=MAX_EPISODES).speed(1.0);
        ui.name_inputs("Episodes a point", |ui| ui.add(drag));
        ui.label(muted(ui, "episodes a point"));
    });
    match stage {
        Some(MeasureStage::Failed(why)) => {
            ui.label(small(why).color(Colors::of(ui.ctx()).error()));
        }
        Some(MeasureStage::Stopped) => {
            ui.label(muted(ui, "Stopped before everything was measured."));
        }
        _ => {}
    }
}

/// A mark on a logarithmic axis.
fn power(mark: GridMark) -> String {
    super::controls::compact(10_f64.powf(mark.value))
}

/// Marks at 1, 2 and 5 times powers of ten; over more than two decades at
/// powers of ten alone.
fn decades(input: GridInput) -> Vec<GridMark> {
    let (low, high) = input.bounds;
    if !(low.is_finite() && high.is_finite()) || high - low > 12.0 {
        return Vec::new();
    }
    let factors: &[f64] = if high - low > 2.2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    (low.floor() as i32..=high.ceil() as i32)
        .flat_map(|decade| factors.iter().map(move |factor| f64::from(decade) + factor.log10()))
        .filter(|value| (low..=high).contains(value))
        .map(|value| GridMark { value, step_size: 1.0 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_a_logarithmic_axis_are_round() {
        let marks = |bounds| {
            let marks = decades(GridInput { bounds, base_step_size: 1.0 });
            marks.into_iter().map(power).collect::<Vec<_>>()
        };
        assert_eq!(marks((0.9, 2.1)), ["10", "20", "50", "100"]);
        assert_eq!(marks((0.0, 3.0)), ["1", "10", "100", "1000"]);
    }
}
