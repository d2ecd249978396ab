//! One planning request from noise to a chosen plan.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::PlanError;
use super::candidates::{duration_grid, passes, select};
use super::denoise::device::OnDevice;
use super::denoise::host::{Answer, OnHost};
use super::denoise::{Beginning, OnStep, denoise};
use super::film::{DurationSearch, Film, PlanRequest, PlanSettings};
use super::guide::Guide;
use super::warm::WarmSamples;
use crate::env::{Environment, EnvironmentSpec, StateView, Workspace};
use crate::model::buckets::Buckets;
use crate::model::diffuser::{Diffuser, Which};
use crate::model::inpainting::Inpainting;
use crate::rng::Rng;

/// Rounds sampled after the second while no candidate passes. Each costs as
/// much as the second; almost no request needs one.
const MORE_ROUNDS: usize = 3;

/// A chain before it is known where it runs.
struct ChainOf<'a> {
    known: &'a Inpainting,
    waypoints: usize,
    durations: &'a [f32],
    beginning: Beginning,
    rng: &'a mut Rng,
    on_step: &'a mut OnStep<'a>,
}

/// Plans with a Diffuser in one environment.
pub struct Planner {
    pub(super) diffuser: Diffuser,
    pub(super) workspace: Arc<dyn Workspace>,
    pub(super) spec: EnvironmentSpec,
    pub(super) view: StateView,
}

impl Planner {
    /// Plans in an environment with `workspace` and `spec`.
    pub fn new(diffuser: Diffuser, workspace: Arc<dyn Workspace>, spec: EnvironmentSpec) -> Self {
        let view = StateView::of(&spec);
        Self { diffuser, workspace, spec, view }
    }

    /// The same with other batch sizes than its device's own.
    #[must_use]
    pub fn with_buckets(mut self, buckets: Buckets) -> Self {
        self.diffuser = self.diffuser.with_buckets(buckets);
        self
    }

    /// The model.
    pub fn diffuser(&self) -> &Diffuser {
        &self.diffuser
    }

    /// How the environment's observations show its states.
    pub fn view(&self) -> &StateView {
        &self.view
    }

    /// The environment it plans in.
    pub fn spec(&self) -> &EnvironmentSpec {
        &self.spec
    }

    /// Plan in a changed environment.
    pub fn set_environment(&mut self, environment: &dyn Environment) {
        self.workspace = environment.workspace();
        self.spec = environment.spec().clone();
        self.view = StateView::of(&self.spec);
    }

    /// Carry out `request`. `on_step` sees the film after every denoising step
    /// and may stop it; then the answer is `None`.
    ///
    /// With [`DurationSearch::Refine`] one scout at each duration finds the
    /// shortest that passes, and all other candidates crowd around it; the
    /// film holds both.
    ///
    /// A warm request, one with [`PlanRequest::previous`], noises those plans
    /// and takes the last `warm_steps` steps with them. If none of its
    /// candidates passes, the request is carried out from pure noise, unless it
    /// is made by the clock: then the least bad one does until the next, and
    /// no plan costs more than its `warm_steps`.
    ///
    /// # Errors
    /// A request of the wrong size or with NaN, or a failing model.
    pub fn plan(
        &self,
        id: u64,
        request: Arc<PlanRequest>,
        on_step: &mut dyn FnMut(&Film) -> ControlFlow<()>,
    ) -> Result<Option<Film>, PlanError> {
        let started = Instant::now();
        self.check(&request)?;
        let Some((film, is_warm)) = self.attempt(id, &request, started, on_step)? else {
            return Ok(None);
        };
        let by_the_clock = request.near_duration.is_some()
            && request.previous.as_ref().is_some_and(|previous| !previous.explores);
        if !is_warm || by_the_clock || self.has_passed(&film) {
            return Ok(Some(film));
        }
        let cold = Arc::new(PlanRequest { previous: None, ..(*request).clone() });
        Ok(self.attempt(id, &cold, started, on_step)?.map(|(film, _)| film))
    }

    /// A film and whether earlier plans were a part of it.
    fn attempt(
        &self,
        id: u64,
        request: &Arc<PlanRequest>,
        started: Instant,
        on_step: &mut dyn FnMut(&Film) -> ControlFlow<()>,
    ) -> Result<Option<(Film, bool)>, PlanError> {
        let shape = self.shape(request);
        let settings = &request.settings;
        let n_times = self.times(request).len();
        let is_warm = shape.warm.is_some();
        let mut film = Film {
            id,
            request: Arc::clone(request),
            waypoints: shape.waypoints,
            dims: self.diffuser.config.dims(),
            observation_offset: self.diffuser.config.action_dim,
            view: self.view.clone(),
            durations: Arc::from([]),
            steps: Vec::new(),
            total_steps: match shape.durations.is_empty() {
                true => settings.warm_steps.min(n_times),
                false => n_times,
            },
            candidates: Vec::new(),
            chosen: None,
            plan: None,
            wall_ms: 0.0,
        };
        let mut rng = match &request.previous {
            // What explores draws other noise every time.
            Some(previous) if is_warm => {
                Rng::stream(request.seed, &format!("fresh noise {}", previous.generation))
            }
            _ => Rng::stream(request.seed, "plan noise"),
        };
        let mut on_step = |film: &mut Film| {
            film.wall_ms = started.elapsed().as_secs_f32() * 1e3;
            on_step(film)
        };
        if !self.sample(&mut film, &shape.durations, shape.warm, &mut rng, &mut on_step)? {
            return Ok(None);
        }
        self.judge(&mut film)?;
        let rounds = if is_warm { 0..0 } else { 0..MORE_ROUNDS + 1 };
        for round in rounds {
            let Some(durations) = self.next_round(&film, round) else { break };
            if !self.sample(&mut film, &durations, None, &mut rng, &mut on_step)? {
                return Ok(None);
            }
            self.judge(&mut film)?;
        }
        film.chosen = select(&film.candidates, settings.selection, settings.speed_limit);
        film.plan = film.chosen.and_then(|chosen| self.extract(&film, chosen)).map(Arc::new);
        film.wall_ms = started.elapsed().as_secs_f32() * 1e3;
        Ok(Some((film, is_warm)))
    }

    /// Denoise one sample per duration and the earlier plans in `warm`, and add
    /// them to the film; whether it ran to the end.
    fn sample(
        &self,
        film: &mut Film,
        fresh: &[f32],
        warm: Option<WarmSamples>,
        rng: &mut Rng,
        on_step: &mut dyn FnMut(&mut Film) -> ControlFlow<()>,
    ) -> Result<bool, PlanError> {
        let request = Arc::clone(&film.request);
        let settings = &request.settings;
        let waypoints = film.waypoints;
        let earlier = std::mem::take(&mut film.steps);
        let noise = rng.normals(fresh.len() * waypoints * film.dims);
        let (joined, joining) = warm.map(|warm| self.joining(&request, warm)).unzip();
        let durations: Vec<f32> =
            fresh.iter().copied().chain(joined.into_iter().flatten()).collect();
        film.durations = film.durations.iter().chain(&durations).copied().collect();
        let known = self.known(&request, waypoints);
        let chain = ChainOf {
            known: &known,
            waypoints,
            durations: &durations,
            beginning: Beginning { noise, joining },
            rng,
            on_step: &mut |step| {
                let before = earlier.get(film.steps.len());
                film.steps.push(Arc::new(self.publish(&step, before)));
                on_step(film)
            },
        };
        self.run(settings, chain)
    }

    /// Run a chain where the model is; whether it ran to the end.
    fn run(&self, settings: &PlanSettings, chain: ChainOf) -> Result<bool, PlanError> {
        let ChainOf { known, waypoints, durations, beginning, rng, on_step } = chain;
        let diffuser = &self.diffuser;
        let which = match settings.sampler.row().is_distilled {
            true => Which::Student,
            false => Which::Teacher,
        };
        let (dims, first) = (diffuser.config.dims(), diffuser.config.action_dim);
        let shares = settings.guide.shares(waypoints, dims, first);
        let guide = diffuser.guide().map(|_| Guide { settings: &settings.guide });
        let sampler = (settings.sampler, settings.denoising_steps);
        let schedule = &diffuser.schedule;
        if !diffuser.is_on_host() {
            let plans = (waypoints, durations);
            let mut chain = OnDevice::new(diffuser, which, plans, known, shares, on_step)?;
            return Ok(denoise(schedule, sampler, beginning, rng, guide, &mut chain)?.is_some());
        }
        let mut gradient = |x: &[f32], t: usize| match diffuser.guide() {
            Some(guide) => {
                let mut slopes = guide.gradient(x, waypoints, t)?;
                slopes.iter_mut().zip(shares.iter().cycle()).for_each(|(slope, s)| *slope *= s);
                Ok(slopes)
            }
            None => Ok(vec![0.0; x.len()]),
        };
        let mut denoiser = |x: &[f32], t: usize| {
            // Earlier plans come last and join late.
            let n = x.len() / (waypoints * dims).max(1);
            diffuser.predict(which, x, waypoints, t, &durations[..n.min(durations.len())])
        };
        let gradient = Some(&mut gradient as &mut Answer);
        let mut chain = OnHost { known, denoiser: &mut denoiser, gradient, on_step };
        Ok(denoise(schedule, sampler, beginning, rng, guide, &mut chain)?.is_some())
    }

    /// The durations of another round: around the shortest scout that passes,
    /// or, while none does, over the longer half of the range; `None` when
    /// enough was sampled.
    fn next_round(&self, film: &Film, round: usize) -> Option<Vec<f32>> {
        let settings = &film.request.settings;
        let may_search = settings.search == DurationSearch::Refine
            && film.request.near_duration.is_none()
            && self.diffuser.config.takes_duration();
        let n = settings.candidates_per_duration.saturating_sub(1) * settings.durations;
        if !may_search || n == 0 {
            return None;
        }
        let best = select(&film.candidates, settings.selection, settings.speed_limit)?;
        let best = film.candidates[best];
        let [min, max] = self.diffuser.config.duration_range();
        if !passes(&best, settings.selection, settings.speed_limit) {
            return Some(duration_grid([(min * max).sqrt(), max], n));
        }
        // The next shorter scout failed, if only by bad luck: search down to
        // the one below it.
        let ratio = (max / min).powf(1.0 / (settings.durations.max(2) - 1) as f32);
        let near = best.duration_steps;
        (round == 0)
            .then(|| duration_grid([(near / ratio.powi(2)).max(min), near * ratio.sqrt()], n))
    }

    fn check(&self, request: &PlanRequest) -> Result<(), PlanError> {
        let refuse = |message: String| Err(PlanError::Request(message));
        if request.start.len() != self.spec.state.len() {
            let n = self.spec.state.len();
            return refuse(format!("the start has {} numbers; it needs {n}", request.start.len()));
        }
        if request.goal.len() != self.spec.goal_dims.len() {
            let n = self.spec.goal_dims.len();
            return refuse(format!("the goal has {} numbers; it needs {n}", request.goal.len()));
        }
        let via = request.via.iter().flat_map(|via| via.position);
        if !request.start.iter().chain(&request.goal).copied().chain(via).all(f32::is_finite) {
            return refuse("the start, goal or a waypoint is not a number".into());
        }
        Ok(())
    }

    /// Start, goal and waypoints as one inpainting mask.
    fn known(&self, request: &PlanRequest, waypoints: usize) -> Inpainting {
        let config = &self.diffuser.config;
        let normal = |values: &[f32]| -> Vec<f32> {
            let dims = config.action_dim..;
            dims.zip(values)
                .map(|(dim, value)| self.diffuser.normalizer.normalize_one(dim, *value))
                .collect()
        };
        // The goal at rest, for models that fix the whole last state.
        let mut last = vec![0.0; self.spec.observation.len()];
        for (dim, value) in self.spec.goal_dims.iter().zip(&request.goal) {
            last[*dim] = *value;
        }
        let first = self.view.observe(&request.start);
        let mut known = config.endpoints(waypoints, &normal(&first), &normal(&last));
        // Without a goal a place on the map is no leading part of a state.
        for via in request.via.iter().filter(|_| !self.spec.goal_dims.is_empty()) {
            let at = (via.fraction.clamp(0.0, 1.0) * (waypoints - 1) as f32).round() as usize;
            // The endpoints belong to start and goal.
            let at = at.clamp(1, waypoints - 2);
            known.fix(at, config.action_dim, &normal(&via.position));
        }
        known
    }
}
