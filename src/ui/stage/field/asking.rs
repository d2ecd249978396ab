//! What was asked and what came back.
//!
//! Every frame says what it would like to know; whatever differs from the last
//! question is asked. While something moves the question is small, and once it
//! rests the full one follows. Requests supersede, so there is no backlog.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use eframe::egui::Context;

use super::rewards::reward;
use super::{Map, discounts, goal, source};
use crate::env::EnvironmentConfig;
use crate::lab::Phase;
use crate::lab::occupancy::{OccupancyFrame, OccupancyRequest};
use crate::lab::scene::OccupancySettings;
use crate::lab::values::{ValueFrame, ValueRequest};
use crate::ui::app::App;

/// What has not changed for so long is at rest.
const REST_SECS: f64 = 0.12;
/// Cells along the longer side of a map that moves, and of one at rest.
const COARSE: usize = 40;
const FINE: usize = 96;
/// The same for value maps, which take samples for every cell.
const COARSE_VALUES: usize = 14;
const FINE_VALUES: usize = 36;
/// Most samples while something moves.
const MOVING_SAMPLES: usize = 512;
/// Samples per state of a value map that moves, and of one at rest.
const VALUE_SAMPLES: [usize; 2] = [24, 128];
/// Arrivals over so many seconds make the rate.
const RATE_SECS: f64 = 1.0;

/// Tells whether something moves.
#[derive(Debug)]
struct Pace<T> {
    last: Option<T>,
    changed_secs: f64,
}

impl<T> Default for Pace<T> {
    fn default() -> Self {
        Self { last: None, changed_secs: 0.0 }
    }
}

impl<T: PartialEq> Pace<T> {
    /// How long until what is `now` the case counts as resting; 0 if it does.
    fn rests_in(&mut self, now: T, now_secs: f64) -> f64 {
        if self.last.as_ref() != Some(&now) {
            self.last = Some(now);
            self.changed_secs = now_secs;
        }
        (REST_SECS - (now_secs - self.changed_secs)).max(0.0)
    }
}

/// Questions and answers.
#[derive(Default)]
pub struct Asking {
    occupancy_pace: Pace<(EnvironmentConfig, OccupancyRequest)>,
    value_pace: Pace<(EnvironmentConfig, ValueRequest)>,
    occupancy: Option<OccupancyRequest>,
    values: Option<ValueRequest>,
    frame: Option<Arc<OccupancyFrame>>,
    truth: Option<Arc<OccupancyFrame>>,
    value_frame: Option<Arc<ValueFrame>>,
    complete_values: Option<Arc<ValueFrame>>,
    arrivals: VecDeque<f64>,
    environment: Option<EnvironmentConfig>,
}

impl Asking {
    /// Ask again what is asked already: another model answers.
    pub(in crate::ui) fn forget(&mut self) {
        (self.occupancy, self.values) = (None, None);
    }

    /// The newest occupancy.
    pub fn frame(&self) -> Option<&Arc<OccupancyFrame>> {
        self.frame.as_ref()
    }

    /// The newest occupancy with a truth, and whether it answers the same
    /// question as the newest one.
    pub fn truth(&self) -> Option<(&Arc<OccupancyFrame>, bool)> {
        let truth = self.truth.as_ref()?;
        let is_same = self.frame.as_ref().is_some_and(|frame| {
            let (a, b) = (&truth.request, &frame.request);
            a.state == b.state
                && a.goal == b.goal
                && a.action == b.action
                && a.settings == b.settings
                && a.seed == b.seed
        });
        Some((truth, is_same))
    }

    /// The newest value map; it may be growing.
    pub fn values(&self) -> Option<&Arc<ValueFrame>> {
        self.value_frame.as_ref()
    }

    /// The newest complete value map.
    pub fn complete_values(&self) -> Option<&Arc<ValueFrame>> {
        self.complete_values.as_ref()
    }

    /// Maps a second, while they follow the mouse.
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = (self.arrivals.front()?, self.arrivals.back()?);
        let n = self.arrivals.len() - 1;
        (n >= 3 && last > first).then(|| n as f64 / (last - first))
    }

    /// What was last asked.
    pub fn asked(&self) -> Option<&OccupancyRequest> {
        self.occupancy.as_ref()
    }

    fn take_frame(&mut self, frame: Arc<OccupancyFrame>, now_secs: f64) {
        if self.frame.as_ref().is_some_and(|old| Arc::ptr_eq(old, &frame)) {
            return;
        }
        if frame.truth.is_none() {
            self.arrivals.push_back(now_secs);
            while self.arrivals.front().is_some_and(|first| now_secs - first > RATE_SECS) {
                self.arrivals.pop_front();
            }
        } else {
            self.truth = Some(frame.clone());
        }
        self.frame = Some(frame);
    }

    fn take_values(&mut self, frame: Arc<ValueFrame>) {
        if frame.done >= 1.0 {
            self.complete_values = Some(frame.clone());
        }
        self.value_frame = Some(frame);
    }

    fn take(&mut self, app: &crate::lab::Session, now_secs: f64) {
        match app.occupancy() {
            Some(frame) => self.take_frame(frame, now_secs),
            // Loading weights or another environment cleared it.
            None if self.frame.is_some() => *self = Self::default(),
            None => {}
        }
        match app.values() {
            Some(frame) => self.take_values(frame),
            None if self.value_frame.is_some() => *self = Self::default(),
            None => {}
        }
    }
}

/// Cells of a map with `most` along its longer side.
fn cells(app: &App, most: usize) -> [usize; 2] {
    let [x, y] = match app.place.spec.state.as_slice() {
        [x, y, ..] if x.unit == y.unit => [x.high - x.low, y.high - y.low],
        _ => [1.0, 1.0],
    };
    let longest = x.max(y).max(1e-6);
    [x, y].map(|side| ((most as f32 * side / longest).round() as usize).clamp(4, most))
}

/// The scene's settings, held to what its model was trained for.
pub fn settings(app: &App) -> OccupancySettings {
    let scene = app.session.scene();
    let mut settings = scene.occupancy.clone();
    let [low, high] = discounts(scene, &app.place.spec);
    settings.discount = settings.discount.clamp(low, high.max(low));
    settings.long_discount = settings.long_discount.max(settings.discount);
    settings
}

/// The occupancy that is wanted at rest.
pub fn occupancy(app: &App) -> OccupancyRequest {
    OccupancyRequest {
        state: source(app),
        goal: goal(app),
        action: app.field.action.clone(),
        settings: settings(app),
        cells: cells(app, FINE),
        seed: app.session.scene().stage.seed,
        is_drag: false,
    }
}

/// The value map that is wanted at rest.
fn values(app: &App) -> ValueRequest {
    let cells = cells(app, FINE_VALUES);
    let settings = settings(app);
    ValueRequest {
        discount: settings.discount,
        policy: settings.policy,
        goal: goal(app),
        cells,
        samples: VALUE_SAMPLES[1],
        reward: reward(app),
        seed: app.session.scene().stage.seed,
    }
}

/// Take what has come, and ask what is wanted.
pub fn pump(app: &mut App, ctx: &Context) {
    let now_secs = ctx.input(|input| input.time);
    let environment = app.session.scene().environment.clone();
    let App { session, field, .. } = app;
    field.asking.take(session, now_secs);
    if field.asking.environment.as_ref() != Some(&environment) {
        // The same question in another world is another question.
        field.asking.occupancy = None;
        field.asking.values = None;
        field.asking.environment = Some(environment.clone());
    }
    if session.status().phase == Phase::Failed {
        return;
    }
    let rests_in = match field.map {
        Map::Occupancy => ask_occupancy(app, environment, now_secs),
        Map::Value => ask_values(app, environment, now_secs),
    };
    if rests_in > 0.0 {
        ctx.request_repaint_after(Duration::from_secs_f64(rests_in + 1e-3));
    }
}

fn ask_occupancy(app: &mut App, environment: EnvironmentConfig, now_secs: f64) -> f64 {
    let mut request = occupancy(app);
    let coarse = cells(app, COARSE);
    let asking = &mut app.field.asking;
    let rests_in = asking.occupancy_pace.rests_in((environment, request.clone()), now_secs);
    if rests_in > 0.0 {
        request.cells = coarse;
        // Samples are only drawn for requests that also ask for the truth.
        request.is_drag = !app.field.as_samples;
        request.settings.samples = request.settings.samples.min(MOVING_SAMPLES);
    }
    if asking.occupancy.as_ref() != Some(&request) {
        // An occupancy stops a value map for good.
        if asking.value_frame.as_ref().is_none_or(|frame| frame.done < 1.0) {
            asking.values = None;
        }
        asking.occupancy = Some(request.clone());
        app.session.ask_occupancy(request);
    }
    rests_in
}

fn ask_values(app: &mut App, environment: EnvironmentConfig, now_secs: f64) -> f64 {
    let mut request = values(app);
    let coarse = cells(app, COARSE_VALUES);
    let asking = &mut app.field.asking;
    let rests_in = asking.value_pace.rests_in((environment, request.clone()), now_secs);
    if rests_in > 0.0 {
        request.cells = coarse;
        request.samples = VALUE_SAMPLES[0];
    }
    if asking.values.as_ref() != Some(&request) {
        asking.values = Some(request.clone());
        app.session.ask_values(request);
    }
    rests_in
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_moves_and_then_rests() {
        let mut pace = Pace::default();
        assert!(pace.rests_in(1, 10.0) > 0.0);
        assert!(pace.rests_in(1, 10.0 + REST_SECS / 2.0) > 0.0);
        assert!(pace.rests_in(1, 10.0 + REST_SECS + 0.01) <= 0.0);
        assert!(pace.rests_in(2, 11.0) > 0.0);
    }
}
