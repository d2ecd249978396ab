//! The first episode on a small map: the truth as a broad band, dreams as lines
//! over it, sampled dreams faint behind them, and where all are at the picked
//! horizon.

use std::sync::Arc;

use eframe::egui::{
    Align2, Color32, FontId, Painter, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, vec2,
};

use super::Who;
use crate::env::EnvironmentSpec;
use crate::lab::branches::lines;
use crate::lab::dream::{DreamtStates, Pictured};
use crate::picture::Rgba;
use crate::ui::app::App;
use crate::ui::layers::{Batch, Points, Ribbons};
use crate::ui::stage::field::pane::Pane;
use crate::ui::stage::field::{axes, paint};
use crate::ui::stage::{tree, walls};
use crate::ui::theme::{Colors, SMALL};

/// The buffers of the lines, in the inspector and on the stage.
const SLOT: u64 = 420;
const STAGE_SLOT: u64 = 421;
/// Sampled dreams that are drawn of each model.
const SHOWN: usize = 16;
const SAMPLE_WIDTH: f32 = 1.0;
const SAMPLE_ALPHA: f32 = 0.16;
const LINE_WIDTH: f32 = 1.8;
/// Width of the band of the truth in points.
pub const TRUTH_WIDTH: f32 = 5.0;
const TRUTH_ALPHA: f32 = 0.34;
/// Height over width of a map whose coordinates have different units.
const FREE_ASPECT: f32 = 0.7;
/// Half the thickness of walls with round ends, in world units.
const CAPSULE_RADIUS: f32 = 0.03;

/// The lines, made again only when they change.
#[derive(Default)]
pub struct Drawing {
    known: Option<(Arc<Pictured>, bool)>,
    generation: u64,
    ribbons: Arc<Ribbons>,
}

impl Drawing {
    fn update(&mut self, picture: &Arc<Pictured>, spec: &EnvironmentSpec, colors: Colors) {
        let is_dark = colors.is_dark();
        let is_known = self.known.as_ref();
        if is_known.is_some_and(|(known, dark)| Arc::ptr_eq(known, picture) && *dark == is_dark) {
            return;
        }
        self.ribbons = Arc::new(ribbons(picture, spec, colors));
        self.generation += 1;
        self.known = Some((picture.clone(), is_dark));
    }
}

/// The color of the band of the truth.
pub fn truth_ink(colors: Colors) -> Color32 {
    colors.truth().gamma_multiply(TRUTH_ALPHA)
}

/// Show the map, with marks at `at` transitions.
pub fn show(drawing: &mut Drawing, app: &App, ui: &mut Ui, picture: &Arc<Pictured>, at: usize) {
    let Some(stage) = tree::pane(app) else { return };
    let units = [0, 1].map(|axis| app.place.spec.state.get(axis).map(|d| d.unit.as_str()));
    let aspect = if units[0] == units[1] {
        (stage.plot.height() / stage.plot.width().max(1.0)).clamp(0.4, 1.1)
    } else {
        FREE_ASPECT
    };
    let width = ui.available_width().floor();
    let (rect, response) = ui.allocate_exact_size(vec2(width, width * aspect), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, "Map of the dream"));
    if !ui.is_rect_visible(rect) {
        return;
    }
    let colors = Colors::of(ui.ctx());
    let pane = Pane { rect, plot: rect, ..stage };
    let painter = ui.painter_at(rect);
    ground(app, &painter, &pane, colors);
    drawing.update(picture, &app.place.spec, colors);
    let points = Points::Ribbons(drawing.ribbons.clone());
    let batch = Batch { slot: SLOT, generation: drawing.generation, points };
    paint::draw(&painter, batch, &pane, ui.pixels_per_point(), 1.0, app.renderer());
    marks(&painter, &pane, picture, at, colors);
    names(app, &painter, &pane, colors);
    painter.rect_stroke(rect, 4.0, Stroke::new(1.0, colors.line()), StrokeKind::Inside);
    response.on_hover_text(
        "Broad: the truth. Lines: likeliest dreams. Faint lines and dots: sampled dreams.",
    );
}

/// Draw the dream over the map on the stage.
pub fn large(
    drawing: &mut Drawing,
    app: &App,
    painter: &Painter,
    pane: &Pane,
    picture: &Arc<Pictured>,
    at: usize,
) {
    let colors = Colors::of(painter.ctx());
    drawing.update(picture, &app.place.spec, colors);
    let points = Points::Ribbons(drawing.ribbons.clone());
    let batch = Batch { slot: STAGE_SLOT, generation: drawing.generation, points };
    paint::draw(painter, batch, pane, painter.pixels_per_point(), 1.0, app.renderer());
    marks(painter, pane, picture, at, colors);
}

fn ground(app: &App, painter: &Painter, pane: &Pane, colors: Colors) {
    painter.rect_filled(pane.plot, 4.0, colors.floor());
    if pane.is_rows {
        painter.extend(walls::flat(&app.place.layout, &pane.camera(), colors));
    }
    let radius = CAPSULE_RADIUS * pane.scale();
    for ends in &app.place.capsules {
        let [from, to] = ends.map(|end| pane.screen_from_world(end));
        painter.line_segment([from, to], Stroke::new(2.0 * radius, colors.wall()));
        for end in [from, to] {
            painter.circle_filled(end, radius, colors.wall());
        }
    }
}

/// The names of the coordinates along the map's edges.
fn names(app: &App, painter: &Painter, pane: &Pane, colors: Colors) {
    let [x, y, ..] = app.place.spec.state.as_slice() else { return };
    let (across, up) = if pane.is_rows { (y, x) } else { (x, y) };
    let (font, ink) = (FontId::proportional(SMALL), colors.muted_ink());
    let inner = pane.plot.shrink(5.0);
    let (right, left) = (inner.right_bottom(), inner.left_top());
    painter.text(right, Align2::RIGHT_BOTTOM, axes::label(across), font.clone(), ink);
    painter.text(left, Align2::LEFT_TOP, axes::label(up), font, ink);
}

/// Dreams and whose they are, the most important last.
fn dreams(picture: &Pictured) -> Vec<(Who, &DreamtStates)> {
    let ensemble = picture.ensemble.iter().map(|dreamt| (Who::Ensemble, dreamt));
    let own = [(Who::Markovian, &picture.markovian), (Who::Transformer, &picture.transformer)];
    ensemble.chain(own).collect()
}

fn place_of(state: &[f32]) -> Option<[f32; 2]> {
    Some([*state.first()?, *state.get(1)?])
}

fn ribbons(picture: &Pictured, spec: &EnvironmentSpec, colors: Colors) -> Ribbons {
    let mut ribbons = Ribbons::default();
    let mut add = |states: &[Vec<f32>], ink: Rgba, width: f32| {
        let places: Vec<[f32; 2]> = states.iter().filter_map(|state| place_of(state)).collect();
        for line in lines(&places, spec) {
            ribbons.line(line.into_iter().map(|at| (at, ink.to_array(), width)));
        }
    };
    add(&picture.truth, rgba(colors.truth()).with_alpha(TRUTH_ALPHA), TRUTH_WIDTH);
    // Samples of the short context would hide those of the long one.
    for (who, dreamt) in dreams(picture).into_iter().filter(|(who, _)| *who != Who::Markovian) {
        let ink = rgba(who.ink(colors)).with_alpha(SAMPLE_ALPHA);
        dreamt.samples.iter().take(SHOWN).for_each(|states| add(states, ink, SAMPLE_WIDTH));
    }
    for (who, dreamt) in dreams(picture) {
        add(&dreamt.point, rgba(who.ink(colors)).with_alpha(0.95), LINE_WIDTH);
    }
    ribbons
}

fn rgba(ink: Color32) -> Rgba {
    let [r, g, b, a] = ink.to_srgba_unmultiplied();
    Rgba { r, g, b, a }
}

/// Where everything is after `at` transitions.
fn marks(painter: &Painter, pane: &Pane, picture: &Pictured, at: usize, colors: Colors) {
    let place = |states: &[Vec<f32>]| {
        states.get(at).and_then(|state| place_of(state)).map(|world| pane.screen_from_world(world))
    };
    for (who, dreamt) in dreams(picture).into_iter().filter(|(who, _)| *who != Who::Markovian) {
        let ink = who.ink(colors).gamma_multiply(0.6);
        for center in dreamt.samples.iter().filter_map(|states| place(states)) {
            painter.circle_filled(center, 1.8, ink);
        }
    }
    if let Some(start) = picture.truth.first().and_then(|state| place_of(state)) {
        let start = pane.screen_from_world(start);
        painter.circle_stroke(start, 4.0, Stroke::new(2.0, colors.start()));
    }
    if let Some(center) = place(&picture.truth) {
        painter.circle_filled(center, 6.0, colors.chosen_halo());
        painter.circle_filled(center, 5.0, colors.truth());
    }
    for (who, dreamt) in dreams(picture) {
        if let Some(center) = place(&dreamt.point) {
            mark(painter, Rect::from_center_size(center, vec2(6.0, 6.0)), who.ink(colors), colors);
        }
    }
}

fn mark(painter: &Painter, rect: Rect, ink: Color32, colors: Colors) {
    painter.circle_filled(rect.center(), rect.width() / 2.0 + 1.0, colors.chosen_halo());
    painter.circle_filled(rect.center(), rect.width() / 2.0, ink);
}
