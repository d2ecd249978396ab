//! Episodes of the data set as a layer on any stage, and the hands that record
//! another one.

use std::sync::Arc;

use eframe::egui::{CursorIcon, Painter, Pos2, Response, Stroke, Ui};

use super::camera::Camera;
use super::cloud;
use super::field::paint;
use super::field::pane::Pane;
use super::things;
use crate::env::EnvironmentSpec;
use crate::lab::branches::lines;
use crate::lab::episodes::EpisodesFrame;
use crate::picture::Rgba;
use crate::ui::app::App;
use crate::ui::layers::{Batch, Points, Renderer, Ribbons};
use crate::ui::theme::Colors;

/// First buffer slot.
const SLOT: u64 = 600;
/// Slots that one map takes.
const SLOTS: u64 = 3;
/// Episodes in the faint layer.
const FAINT: usize = 48;
const FAINT_ALPHA: f32 = 0.18;
const FAINT_WIDTH: f32 = 1.0;
const PICKED_WIDTH: f32 = 2.4;
const RECORDED_WIDTH: f32 = 3.0;

/// Curves, made again only when what they show changes.
#[derive(Default)]
struct Layer<K> {
    key: Option<K>,
    generation: u64,
    ribbons: Arc<Ribbons>,
}

impl<K: PartialEq> Layer<K> {
    fn update(&mut self, key: K, make: impl FnOnce() -> Ribbons) {
        if self.key.as_ref() != Some(&key) {
            self.ribbons = Arc::new(make());
            self.generation += 1;
            self.key = Some(key);
        }
    }
}

/// What is drawn of episodes.
#[derive(Default)]
pub struct Drawing {
    faint: Layer<(u64, bool)>,
    picked: Layer<(u64, usize, bool)>,
    recorded: Layer<(usize, usize, bool)>,
}

/// A map on the screen.
#[derive(Clone, Copy)]
pub enum Map<'a> {
    /// Through the maze's camera.
    Camera(&'a Camera),
    /// Of the first two state coordinates.
    Pane(&'a Pane),
}

impl Map<'_> {
    fn screen(self, world: [f32; 2]) -> Pos2 {
        match self {
            Self::Camera(camera) => camera.screen_from_world(world),
            Self::Pane(pane) => pane.screen_from_world(world),
        }
    }

    /// Screen points per unit.
    fn scale(self) -> f32 {
        match self {
            Self::Camera(camera) => camera.scale,
            Self::Pane(pane) => pane.scale(),
        }
    }

    /// The place under the pointer.
    pub fn world(self, at: Pos2) -> [f32; 2] {
        match self {
            Self::Camera(camera) => camera.world_from_screen(at),
            Self::Pane(pane) => pane.world_from_screen(at),
        }
    }

    fn draw(self, painter: &Painter, batch: Batch, ppp: f32, by: Renderer) {
        match self {
            Self::Camera(camera) => {
                let mut shapes = Vec::new();
                cloud::draw(&mut shapes, batch, camera, ppp, 1.0, by);
                painter.extend(shapes);
            }
            Self::Pane(pane) => paint::draw(painter, batch, pane, ppp, 1.0, by),
        }
    }
}

/// Draw a faint sample of all episodes onto the map called `index`: what
/// everything else stands on.
pub fn ground(app: &mut App, ui: &Ui, painter: &Painter, map: Map<'_>, index: usize) {
    let colors = Colors::of(ui.ctx());
    let (ppp, renderer) = (ui.pixels_per_point(), app.renderer());
    let App { data, place, .. } = app;
    let Some(frame) = data.frame().filter(|frame| !data.is_hidden && !frame.episodes.is_empty())
    else {
        return;
    };
    let faint = &mut data.drawing.faint;
    faint.update((frame.id, colors.is_dark()), || sample(&frame, &place.spec, colors));
    let points = Points::Ribbons(faint.ribbons.clone());
    let slot = SLOT + SLOTS * index as u64;
    map.draw(painter, Batch { slot, generation: faint.generation, points }, ppp, renderer);
}

/// Draw the picked episode and the recorded one onto the map called `index`.
pub fn show(app: &mut App, ui: &Ui, painter: &Painter, map: Map<'_>, index: usize) {
    let colors = Colors::of(ui.ctx());
    let (ppp, renderer) = (ui.pixels_per_point(), app.renderer());
    let first = SLOT + SLOTS * index as u64;
    let is_dark = colors.is_dark();
    let App { data, place, .. } = app;
    let spec = &place.spec;
    let draw = |slot: u64, generation: u64, ribbons: &Arc<Ribbons>| {
        if !ribbons.points().is_empty() {
            let points = Points::Ribbons(ribbons.clone());
            map.draw(painter, Batch { slot: first + slot, generation, points }, ppp, renderer);
        }
    };
    if let Some(frame) = data.frame().filter(|_| !data.is_hidden)
        && let (Some(picked), Some(episode)) = (data.selected, data.episode(&frame))
    {
        let layer = &mut data.drawing.picked;
        layer.update((frame.id, picked, is_dark), || {
            curve(&episode.states, spec, colors.palette().accent, PICKED_WIDTH)
        });
        draw(1, layer.generation, &layer.ribbons);
        marks(painter, map, &episode.states, data.step, colors);
    }
    let recorded = data.recorder.as_ref().map(|recorder| recorder.states());
    let finished = data.finished.as_ref().map(|shown| shown.states.as_slice());
    if let Some(states) = recorded.or(finished) {
        let layer = &mut data.drawing.recorded;
        // Two recordings may be equally long.
        let key = (states.len(), states.as_ptr() as usize, is_dark);
        layer.update(key, || curve(states, spec, colors.palette().trail, RECORDED_WIDTH));
        draw(2, layer.generation, &layer.ribbons);
    }
    if let Some([x, y, ..]) = data.agent() {
        things::agent(painter, map.screen([*x, *y]), place.body_radius(), map.scale(), colors);
    }
}

/// A sample of all episodes, evenly.
fn sample(frame: &EpisodesFrame, spec: &EnvironmentSpec, colors: Colors) -> Ribbons {
    let stride = frame.episodes.len().div_ceil(FAINT).max(1);
    let ink = colors.palette().muted_ink.with_alpha(FAINT_ALPHA);
    let mut ribbons = Ribbons::default();
    for episode in frame.episodes.iter().step_by(stride) {
        add(&mut ribbons, &episode.states, spec, ink, FAINT_WIDTH);
    }
    ribbons
}

fn curve(states: &[Vec<f32>], spec: &EnvironmentSpec, ink: Rgba, width: f32) -> Ribbons {
    let mut ribbons = Ribbons::default();
    add(&mut ribbons, states, spec, ink.with_alpha(0.95), width);
    ribbons
}

fn add(ribbons: &mut Ribbons, states: &[Vec<f32>], spec: &EnvironmentSpec, ink: Rgba, width: f32) {
    let places: Vec<[f32; 2]> = states.iter().filter_map(|state| place_of(state)).collect();
    for line in lines(&places, spec) {
        ribbons.line(line.into_iter().map(|at| (at, ink.to_array(), width)));
    }
}

fn place_of(state: &[f32]) -> Option<[f32; 2]> {
    Some([*state.first()?, *state.get(1)?])
}

/// Where the picked episode starts and where it is at `step`.
fn marks(painter: &Painter, map: Map<'_>, states: &[Vec<f32>], step: usize, colors: Colors) {
    let at = |index: usize| {
        let state = states.get(index).or(states.last())?;
        place_of(state).map(|place| map.screen(place))
    };
    if let Some(start) = at(0) {
        painter.circle_stroke(start, 4.0, Stroke::new(2.0, colors.accent()));
    }
    if let Some(now) = at(step) {
        painter.circle_filled(now, 7.0, colors.chosen_halo());
        painter.circle_filled(now, 5.5, colors.accent());
    }
}

/// Let the pointer lead the agent that is recorded, to the place that `world`
/// says it points at. True while recording: then nothing else may be moved.
pub fn lead(
    app: &mut App,
    ui: &Ui,
    response: &Response,
    world: impl Fn(Pos2) -> Option<[f32; 2]>,
) -> bool {
    if app.stage.is_mirror {
        return false;
    }
    let Some(recorder) = &mut app.data.recorder else { return false };
    if response.hovered() {
        ui.ctx().set_cursor_icon(CursorIcon::Crosshair);
    }
    let is_down =
        response.is_pointer_button_down_on() && ui.input(|input| input.pointer.primary_down());
    if is_down
        && let Some(at) = response.interact_pointer_pos()
        && let Some(place) = world(at)
    {
        let secs = ui.input(|input| input.unstable_dt).min(0.1);
        recorder.advance(secs, place);
        ui.ctx().request_repaint();
    }
    true
}
