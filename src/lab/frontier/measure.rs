//! Measuring the trade-off: episodes for the scores, and plans of all points in
//! turn for the times, so that a machine that is busy for a while is busy for
//! all of them.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{
    DragPoint, FORMAT, Frontier, Measure, Point, REPLAN_EVERY, by_the_clock, compare, weights_id,
};
use crate::env::Environment;
use crate::eval::returns::evaluate_returns;
use crate::eval::{DragOptions, Estimate, EvalOptions, evaluate, evaluate_drags, quantile};
use crate::lab::open::{OpenError, Opened};
use crate::lab::scene::Scene;
use crate::plan::{Plan, PlanError, PlanRequest, PlanSettings, Planner, Previous, Replan, Sampler};
use crate::rng::Rng;

/// Numbers of steps tried with every sampler.
const STEPS: [usize; 7] = [1, 2, 3, 4, 5, 8, 16];
/// Steps of a plan that a warm start takes some of, and how many: enough that
/// one of them is a small part.
const WARM_OF: usize = 20;
const WARM: [usize; 6] = [1, 2, 3, 5, 10, 20];
/// Plans of every point that are timed.
const TIMED: usize = 9;
/// Drags a way, and moves in one at most.
const DRAGS: usize = 24;
const MOVES: usize = 30;
/// Length of a mouse move as a part of the map's longer side.
const MOVE_LENGTH: f32 = 1.0 / 50.0;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Every sampler at several numbers of steps.
    pub samplers: bool,
    /// Planning again from noise and from the last plan.
    pub replanning: bool,
    /// Dragging.
    pub drags: bool,
}

impl Parts {
    /// Everything.
    pub const ALL: Self = Self { samplers: true, replanning: true, drags: true };
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct MeasureOptions {
    /// Name of the scene for the record.
    pub name: String,
    /// What it is measured on, for the record.
    pub machine: String,
    /// Episodes a point.
    pub episodes: usize,
    /// Seed of resets and noise.
    pub seed: u64,
    /// Which tables.
    pub parts: Parts,
    /// Episodes at a time. More are faster and change no number but times,
    /// which the tables take alone.
    pub at_once: usize,
}

/// Hears the part that is done, 0 to 1, and what is known so far; a break ends
/// the work and keeps that.
pub type OnProgress<'a> = dyn FnMut(f64, &Frontier) -> ControlFlow<()> + 'a;

/// Measure a scene's trade-off.
///
/// # Errors
/// A scene of another model, a failing model or a request the planner refuses.
pub fn measure(
    scene: &Scene,
    opened: &mut Opened,
    options: &MeasureOptions,
    on_progress: &mut OnProgress,
) -> Result<Frontier, MeasureError> {
    let weights = weights_id(opened.header.as_ref());
    opened.planner()?;
    let spec = opened.environment.spec().clone();
    let frontier = Frontier {
        format: FORMAT,
        scene: options.name.clone(),
        weights,
        machine: options.machine.clone(),
        seed: options.seed,
        episodes: options.episodes,
        measure: match (spec.goal_dims.is_empty(), spec.reference_scores.is_some()) {
            (true, _) => Measure::Return,
            (false, true) => Measure::Score,
            (false, false) => Measure::Reached,
        },
        points: Vec::new(),
        replan_every: match scene.control.replan {
            Replan::EveryNSteps => scene.control.replan_every,
            Replan::Never | Replan::OnDeviation => REPLAN_EVERY,
        },
        replanning: Vec::new(),
        drags: Vec::new(),
    };
    let environments = (0..options.at_once.max(1)).map(|_| scene.make_environment());
    let environments = environments.collect::<Result<_, _>>().map_err(OpenError::from)?;
    let scores = Vec::new();
    let mut work =
        Work { scene, opened, environments, options, frontier, scores, done: 0.0, total: 1.0 };
    work.run(on_progress)?;
    Ok(work.frontier)
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Another model.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Planning failed.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

struct Work<'a> {
    scene: &'a Scene,
    opened: &'a mut Opened,
    environments: Vec<Box<dyn Environment>>,
    options: &'a MeasureOptions,
    frontier: Frontier,
    /// Of every point of the table that is measured, one score per episode.
    scores: Vec<Vec<f64>>,
    /// Forwards done and in all, roughly: they take nearly all of the time.
    done: f64,
    total: f64,
}

/// A way to plan that is to be measured.
#[derive(Clone, Copy)]
struct Way {
    sampler: Sampler,
    steps: usize,
    warm_steps: usize,
    forwards: usize,
}

impl Work<'_> {
    fn run(&mut self, on_progress: &mut OnProgress) -> Result<(), MeasureError> {
        let parts = self.options.parts;
        let samplers = if parts.samplers { self.sampler_ways()? } else { Vec::new() };
        let replans = if parts.replanning { self.replan_ways()? } else { Vec::new() };
        let has_drags = parts.drags && !self.frontier.measure.eq(&Measure::Return);
        let episodes = self.options.episodes as f64;
        let cost = |ways: &[Way]| ways.iter().map(|way| way.forwards as f64 + 1.0).sum::<f64>();
        let drag_cost = if has_drags { 40.0 * episodes } else { 0.0 };
        self.total = episodes * (cost(&samplers) + cost(&replans)) + drag_cost;
        for (ways, replans) in [(samplers, false), (replans, true)] {
            self.scores.clear();
            for way in ways {
                if self.point(way, replans, on_progress)?.is_break() {
                    return Ok(());
                }
            }
            self.time(replans)?;
            if on_progress(self.done / self.total, &self.frontier).is_break() {
                return Ok(());
            }
        }
        if has_drags {
            self.drags(on_progress)?;
        }
        Ok(())
    }

    /// Every sampler at every number of steps that makes a difference. A sampler
    /// whose network the weights lack is left out.
    fn sampler_ways(&self) -> Result<Vec<Way>, MeasureError> {
        let mut ways: Vec<Way> = Vec::new();
        for sampler in Sampler::ALL.iter().map(|row| row.sampler) {
            for steps in STEPS {
                let forwards = self.forwards(sampler, steps)?;
                let known =
                    ways.iter().any(|way| way.sampler == sampler && way.forwards == forwards);
                let way = Way { sampler, steps: forwards, warm_steps: 0, forwards };
                if !known && self.can(way)? {
                    ways.push(way);
                }
            }
        }
        Ok(ways)
    }

    fn replan_ways(&self) -> Result<Vec<Way>, MeasureError> {
        let sampler = self.scene.plan.sampler;
        let most = self.forwards(sampler, WARM_OF)?;
        let mut ways = Vec::new();
        for k in WARM {
            let forwards = self.forwards(sampler, k)?;
            if forwards == k {
                ways.push(Way { sampler, steps: k, warm_steps: 0, forwards });
            }
            if k <= most {
                ways.push(Way { sampler, steps: WARM_OF, warm_steps: k, forwards: k });
            }
        }
        Ok(ways)
    }

    fn forwards(&self, sampler: Sampler, steps: usize) -> Result<usize, MeasureError> {
        let schedule = &self.opened.planner()?.diffuser().schedule;
        Ok(sampler.times(schedule, steps).len())
    }

    /// Whether the model can plan this way.
    fn can(&self, way: Way) -> Result<bool, MeasureError> {
        let settings = PlanSettings {
            candidates_per_duration: 1,
            durations: 1,
            drag_candidates: 1,
            ..self.settings(way)
        };
        let request = Arc::new(PlanRequest { settings, ..self.request(way, 0) });
        let mut stop_at_once = |_: &_| ControlFlow::Break(());
        Ok(self.opened.planner()?.plan(0, request, &mut stop_at_once).is_ok())
    }

    fn settings(&self, way: Way) -> PlanSettings {
        PlanSettings {
            sampler: way.sampler,
            denoising_steps: way.steps,
            warm_steps: way.warm_steps,
            ..self.scene.plan.clone()
        }
    }

    /// The scene's own question.
    fn request(&self, way: Way, seed: u64) -> PlanRequest {
        let spec = self.opened.environment.spec();
        let stage = &self.scene.stage;
        let mut start = vec![0.0; spec.state.len()];
        start.iter_mut().zip(stage.start).for_each(|(slot, value)| *slot = value);
        PlanRequest {
            start,
            goal: stage.goal.iter().copied().take(spec.goal_dims.len()).collect(),
            via: Vec::new(),
            settings: self.settings(way),
            seed,
            near_duration: None,
            previous: None,
        }
    }

    /// The score of one way.
    fn point(
        &mut self,
        way: Way,
        replans: bool,
        on_progress: &mut OnProgress,
    ) -> Result<ControlFlow<()>, MeasureError> {
        let control = &self.scene.control;
        let options = EvalOptions {
            episodes: self.options.episodes,
            multi: self.frontier.measure != Measure::Score,
            seed: self.options.seed,
            settings: self.settings(way),
            control: match replans {
                true => by_the_clock(control, self.frontier.replan_every),
                false => control.clone(),
            },
            blind: false,
        };
        let each = way.forwards as f64 + 1.0;
        let (before, total, frontier) = (self.done, self.total, &self.frontier);
        let mut broken = false;
        let mut on_episode = |done: usize| {
            let flow = on_progress((before + each * done as f64) / total, frontier);
            broken = flow.is_break();
            flow
        };
        let planner = self.opened.planner()?;
        let environments = &mut self.environments;
        let (scores, times) = match frontier.measure {
            Measure::Return => {
                let found = evaluate_returns(environments, planner, &options, &mut on_episode)?;
                (found.returns, found.plan_ms)
            }
            Measure::Score => {
                let found = evaluate(environments, planner, &options, &mut on_episode)?;
                (found.scores, found.plan_ms)
            }
            Measure::Reached => {
                let found = evaluate(environments, planner, &options, &mut on_episode)?;
                let percent = |reached: bool| if reached { 100.0 } else { 0.0 };
                (found.reached.into_iter().map(percent).collect(), found.plan_ms)
            }
        };
        if broken {
            return Ok(ControlFlow::Break(()));
        }
        self.done += each * self.options.episodes as f64;
        if let Some(score) = Estimate::of(scores.iter().copied()) {
            let Way { sampler, steps, warm_steps, forwards } = way;
            // Until the times are taken again, all in turn.
            let (plan_ms, timed) = (times.p50, times.n);
            let behind = None;
            let point =
                Point { sampler, steps, warm_steps, forwards, score, behind, plan_ms, timed };
            let table = self.frontier.table_mut(replans);
            table.push(point);
            self.scores.push(scores);
            compare(table, &self.scores);
        }
        Ok(on_progress(self.done / self.total, &self.frontier))
    }

    /// The times of a table's plans, all in turn.
    fn time(&mut self, replans: bool) -> Result<(), MeasureError> {
        let points = self.frontier.table(replans).to_vec();
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); points.len()];
        let planner = self.opened.planner()?;
        // Where the plans that are made again come from.
        let every = self.frontier.replan_every;
        let first = match (replans, points.first()) {
            (true, Some(point)) => planner
                .plan(0, Arc::new(self.request(way_of(point), 0)), &mut go_on)?
                .and_then(|film| film.plan),
            _ => None,
        };
        // Once for warming up.
        for round in 0..=TIMED {
            for (point, times) in points.iter().zip(&mut times) {
                let mut request = self.request(way_of(point), round as u64);
                if let Some(first) = &first {
                    again(&mut request, first, every, planner);
                }
                let film = planner.plan(0, Arc::new(request), &mut go_on)?;
                times.extend(film.filter(|_| round > 0).map(|film| f64::from(film.wall_ms)));
            }
        }
        let table = self.frontier.table_mut(replans);
        for (point, times) in table.iter_mut().zip(times) {
            if let Some(median) = quantile(&times, 0.5) {
                (point.plan_ms, point.timed) = (median, times.len());
            }
        }
        Ok(())
    }

    fn drags(&mut self, on_progress: &mut OnProgress) -> Result<(), MeasureError> {
        let steps = self.forwards(self.scene.plan.sampler, self.scene.plan.denoising_steps)?;
        let ways: Vec<usize> = (0..=steps.min(8)).collect();
        let settings: Vec<PlanSettings> = ways
            .iter()
            .map(|warm_steps| PlanSettings { warm_steps: *warm_steps, ..self.scene.plan.clone() })
            .collect();
        let [x0, y0, x1, y1] = self.opened.environment.workspace().bounds();
        let options = DragOptions {
            drags: DRAGS.min(self.options.episodes.max(1)),
            moves: MOVES,
            stride: MOVE_LENGTH * (x1 - x0).max(y1 - y0),
            seed: self.options.seed,
        };
        let (before, total, frontier) = (self.done, self.total, &self.frontier);
        let Opened { environment, model, .. } = &mut *self.opened;
        let crate::lab::open::OpenedModel::Diffuser(planner) = model else { return Ok(()) };
        let environment: &mut dyn Environment = environment.as_mut();
        let found = evaluate_drags(environment, planner, &settings, &options, &mut |done| {
            let part = done as f64 / options.drags as f64;
            on_progress((before + part * (total - before)) / total, frontier)
        })?;
        let points = ways.into_iter().zip(found);
        self.frontier.drags =
            points.map(|(warm_steps, drag)| DragPoint { warm_steps, drag }).collect();
        self.done = self.total;
        Ok(())
    }
}

fn go_on(_: &crate::plan::Film) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn way_of(point: &Point) -> Way {
    let Point { sampler, steps, warm_steps, forwards, .. } = *point;
    Way { sampler, steps, warm_steps, forwards }
}

/// Make a request one to plan again, `every` steps after `plan`.
fn again(request: &mut PlanRequest, plan: &Plan, every: usize, planner: &Planner) {
    let elapsed = (every as f32).min(0.5 * plan.duration_steps);
    if let Some(state) = plan.states.get(elapsed as usize) {
        request.start.clone_from(state);
    }
    if !request.goal.is_empty() {
        request.near_duration = Some(plan.duration_steps - elapsed);
    }
    if request.settings.warm_steps > 0 {
        request.previous = Previous::of_plan(plan, planner.view(), elapsed).map(Arc::new);
    }
    // Another plan every time, as in an episode.
    request.seed = Rng::stream(request.seed, "again").below(1_000_000) as u64;
}
