//! A plan at any moment of its making and of its execution, as a drawing.

use super::chain::{Chain, mix};
use super::ground::Ground;
use crate::lab::{Scene, SceneError};
use crate::picture::{Drawing, Polyline, Speck, Strengths, Waypoint};
use crate::plan::{Film, Rollout, Via};

/// Radius of a maze's ball in meters.
pub(super) const BODY_RADIUS: f32 = 0.1;
/// Most candidates drawn.
const MAX_CANDIDATES: usize = 128;
/// Candidates step back behind the plan once the ball rolls.
const RECEDED: f32 = 0.62;
/// How visible a prediction is under the noise it was made from.
const FAINT: f32 = 0.14;

/// What is shown of a plan that is still being denoised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    /// The noisy plan x_t.
    Noisy,
    /// The clean plan predicted from it.
    Clean,
    /// x_t as points and the prediction as faint lines.
    #[default]
    Both,
}

/// Both clocks at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Position along the chain: `k` is before step `k`, the number of steps is
    /// the finished plan. Between whole numbers it is a mix of both.
    pub chain: f32,
    /// Seconds the ball has followed the plan.
    pub time_secs: f32,
}

impl Moment {
    /// Both clocks at their ends.
    pub const END: Self = Self { chain: f32::INFINITY, time_secs: f32::INFINITY };
}

/// A film and what came of it, ready to be drawn at any moment.
pub struct Shot<'a> {
    film: &'a Film,
    rollout: Option<&'a Rollout>,
    past: &'a [[f32; 2]],
    cloud: Cloud,
    max_specks: usize,
    ground: Ground,
    /// What is the same at every moment.
    base: Drawing,
}

impl<'a> Shot<'a> {
    /// A film of `scene`, and the way the ball took if it has.
    ///
    /// # Errors
    /// An environment that cannot be built.
    pub fn new(
        scene: &Scene,
        film: &'a Film,
        rollout: Option<&'a Rollout>,
    ) -> Result<Self, SceneError> {
        let spec = scene.make_environment()?.spec().clone();
        let ground = Ground::of(scene)?;
        let via =
            |via: &Via| Waypoint { position: ground.place(via.position), fraction: via.fraction };
        let has_goal = !spec.goal_dims.is_empty();
        let base = Drawing {
            bounds: ground.bounds,
            walls: ground.walls.clone(),
            start: Some(ground.place(scene.stage.start)),
            goal: has_goal.then(|| ground.place(scene.stage.goal)),
            goal_radius: ground.length(spec.goal_radius),
            body_radius: BODY_RADIUS,
            waypoints: scene.stage.via.iter().map(via).collect(),
            title: scene.title.clone(),
            caption: caption(scene, film, rollout),
            plan_secs: film.plan.as_ref().map(|plan| plan.duration_steps * plan.dt_secs),
            ..Drawing::default()
        };
        let (past, cloud, max_specks) = (&[][..], Cloud::default(), usize::MAX);
        Ok(Self { film, rollout, past, cloud, max_specks, ground, base })
    }

    /// Where the ball has been before it followed this plan.
    #[must_use]
    pub fn after(self, past: &'a [[f32; 2]]) -> Self {
        Self { past, ..self }
    }

    /// What to show of an unfinished plan.
    #[must_use]
    pub fn showing(self, cloud: Cloud) -> Self {
        Self { cloud, ..self }
    }

    /// Thin out the noise to so many points.
    #[must_use]
    pub fn with_at_most(self, max_specks: usize) -> Self {
        Self { max_specks, ..self }
    }

    /// The film.
    pub fn film(&self) -> &'a Film {
        self.film
    }

    /// The way the ball took.
    pub fn rollout(&self) -> Option<&'a Rollout> {
        self.rollout
    }

    /// The drawing of one moment.
    pub fn frame(&self, moment: Moment) -> Drawing {
        let end = self.film.total_steps as f32;
        let chain = moment.chain.clamp(0.0, end);
        let is_rolling = chain >= end && moment.time_secs > 0.0 && self.rollout.is_some();
        let states = Chain::at(self.film, chain, self.cloud != Cloud::Clean);
        let lines = Chain::at(self.film, chain, self.cloud == Cloud::Noisy);
        let amount = states.noise.clamp(0.0, 1.0).sqrt();
        // Curves come out of the cloud as its noise goes.
        let clarity = (1.0 - states.noise).clamp(0.0, 1.0).powf(1.5);
        let visible = match self.cloud {
            Cloud::Both => FAINT + (1.0 - FAINT) * clarity,
            Cloud::Noisy | Cloud::Clean => clarity,
        };
        let is_chosen = self.film.is_complete();
        Drawing {
            candidates: if visible < 0.02 { Vec::new() } else { self.candidates(&lines) },
            noise: if amount < 0.03 { Vec::new() } else { self.specks(&states) },
            chosen: self.chosen(),
            trail: self.trail(moment.time_secs),
            strengths: Strengths {
                candidates: visible * if is_rolling { RECEDED } else { 1.0 },
                noise: amount,
                // The chosen plan appears with the last denoising step.
                chosen: if is_chosen { (chain - (end - 1.0)).clamp(0.0, 1.0) } else { 0.0 },
            },
            agent: self.ball(moment.time_secs),
            status: self.status(chain, is_rolling, moment.time_secs),
            ..self.base.clone()
        }
    }

    fn candidates(&self, chain: &Chain<'_>) -> Vec<Polyline> {
        let film = self.film;
        if chain.from.is_empty() {
            return Vec::new();
        }
        let lines = |candidate: usize| {
            let points: Vec<_> =
                (0..film.waypoints).map(|w| chain.position(film, candidate, w)).collect();
            let feasible = film.candidates.get(candidate).is_none_or(|known| known.feasible);
            self.lines(&points, feasible)
        };
        self.shown(chain).flat_map(lines).collect()
    }

    /// A line of the map in the drawing; several where it goes around an angle.
    fn lines(&self, points: &[[f32; 2]], feasible: bool) -> Vec<Polyline> {
        points
            .chunk_by(|a, b| !self.film.view.wraps(*a, *b))
            .map(|line| Polyline {
                points: line.iter().map(|at| self.ground.place(*at)).collect(),
                feasible,
            })
            .collect()
    }

    fn specks(&self, chain: &Chain<'_>) -> Vec<Speck> {
        let film = self.film;
        let total = self.shown(chain).count() * film.waypoints;
        let stride = total.div_ceil(self.max_specks.max(1)).max(1);
        let last = film.waypoints.saturating_sub(1).max(1) as f32;
        self.shown(chain)
            .flat_map(|candidate| (0..film.waypoints).map(move |waypoint| (candidate, waypoint)))
            .step_by(stride)
            .map(|(candidate, waypoint)| Speck {
                position: self.ground.place(chain.position(film, candidate, waypoint)),
                time: waypoint as f32 / last,
            })
            .collect()
    }

    /// Candidates to draw: all that are there yet, or evenly spread ones.
    fn shown(&self, chain: &Chain<'_>) -> impl Iterator<Item = usize> + use<> {
        let n = self.film.n_candidates().min(self.film.n_in(chain.from));
        (0..n).step_by(n.div_ceil(MAX_CANDIDATES).max(1))
    }

    fn chosen(&self) -> Polyline {
        self.film.plan.as_ref().map_or_else(Polyline::default, |plan| Polyline {
            points: self.until_it_wraps(plan.states.iter()),
            feasible: plan.feasible,
        })
    }

    /// Places of states up to where an angle goes around: a drawing's line has
    /// one piece.
    fn until_it_wraps<'s>(&self, states: impl Iterator<Item = &'s Vec<f32>>) -> Vec<[f32; 2]> {
        let mut last = None;
        states
            .filter_map(|state| position(state))
            .take_while(|at| !last.replace(*at).is_some_and(|last| self.film.view.wraps(last, *at)))
            .map(|at| self.ground.place(at))
            .collect()
    }

    fn trail(&self, secs: f32) -> Vec<[f32; 2]> {
        let states = self.rollout.map_or(&[][..], |rollout| &rollout.states);
        let dt_secs = self.rollout.map_or(1.0, |rollout| rollout.dt_secs).max(1e-6);
        // A time beyond all others is the last state.
        let so_far = ((secs / dt_secs + 1e-3) as usize).saturating_add(1);
        let places: Vec<_> = self
            .past
            .iter()
            .copied()
            .chain(states.iter().take(so_far).filter_map(|state| position(state)))
            .collect();
        // Around an angle the newest piece is shown.
        let newest = places.chunk_by(|a, b| !self.film.view.wraps(*a, *b)).next_back();
        newest.unwrap_or_default().iter().map(|at| self.ground.place(*at)).collect()
    }

    fn ball(&self, secs: f32) -> Option<[f32; 2]> {
        self.ball_on_map(secs).map(|at| self.ground.place(at))
    }

    fn ball_on_map(&self, secs: f32) -> Option<[f32; 2]> {
        let Some(rollout) = self.rollout else { return position(&self.film.request.start) };
        let at = (secs / rollout.dt_secs.max(1e-6)).max(0.0);
        let neighbors = [0, 1].map(|next| rollout.states.get((at as usize).saturating_add(next)));
        match neighbors.map(|state| state.and_then(|state| position(state))) {
            [Some(a), Some(b)] if rollout.view.wraps(a, b) => Some(a),
            [Some(a), Some(b)] => Some(mix(a, b, at.fract())),
            _ => rollout.states.last().and_then(|state| position(state)),
        }
    }

    fn status(&self, chain: f32, is_rolling: bool, secs: f32) -> String {
        let end = self.film.total_steps;
        if chain < end as f32 {
            format!("denoising {:.0} / {end}", chain.floor())
        } else if is_rolling && secs.is_finite() {
            format!("{secs:.2} s")
        } else {
            String::new()
        }
    }
}

/// One line on what was asked and what came of it.
fn caption(scene: &Scene, film: &Film, rollout: Option<&Rollout>) -> String {
    let preset = scene.model.preset().name();
    let n = film.n_candidates();
    let mut parts = vec![format!("seed {}", film.request.seed), preset.to_owned()];
    match &film.plan {
        Some(plan) => {
            let feasible = film.candidates.iter().filter(|one| one.feasible).count();
            let chosen = film.chosen.and_then(|index| film.candidates.get(index));
            parts.push(match chosen.and_then(|chosen| chosen.predicted_return) {
                Some(value) => format!("{n} candidates, predicted return {value:.1}"),
                None => format!("{n} candidates, {feasible} feasible"),
            });
            let secs = plan.duration_steps * plan.dt_secs;
            parts.push(format!("plan of {secs:.2} s"));
            parts.push(format!("planned in {:.0} ms", film.wall_ms));
        }
        None => parts.push(format!("{n} candidates")),
    }
    if let Some(rollout) = rollout.filter(|rollout| rollout.film_id == film.id) {
        match rollout.arrival_step {
            Some(step) => {
                parts.push(format!("arrives after {:.2} s", step as f32 * rollout.dt_secs));
            }
            None if film.request.goal.is_empty() => {
                let total: f32 = rollout.rewards.iter().sum();
                parts.push(format!("return {total:.1}"));
            }
            None if rollout.finished => parts.push("does not arrive".to_owned()),
            None => {}
        }
    }
    parts.join(" · ")
}

fn position(state: &[f32]) -> Option<[f32; 2]> {
    Some([*state.first()?, *state.get(1)?])
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lab::SHIPPED;
    use crate::plan::{Candidate, DenoisingStep, Plan, PlanRequest};

    pub(in crate::lab::picture) fn scene() -> Scene {
        Scene::parse(SHIPPED[0].text).unwrap()
    }

    /// Two candidates of three waypoints `x, y` in two steps.
    pub(in crate::lab::picture) fn film() -> Film {
        let step = |noise_level: f32, shift: f32| {
            let clean: Vec<f32> = (0..12).map(|i| 1.0 + 0.1 * i as f32).collect();
            let noisy: Vec<f32> = clean.iter().map(|value| value + shift).collect();
            let (noisy, clean) = (noisy.into(), clean.into());
            Arc::new(DenoisingStep { diffusion_time: 0, noise_level, noisy, clean })
        };
        let candidate = |feasible| Candidate {
            duration_steps: 20.0,
            points_in_walls: 0,
            peak_speed: 1.0,
            roughness: 0.0,
            feasible,
            predicted_return: None,
        };
        let states = vec![vec![1.0, 1.1], vec![1.2, 1.3], vec![1.4, 1.5]];
        let scene = scene();
        let request = PlanRequest {
            start: vec![3.0, 1.0, 0.0, 0.0],
            goal: vec![1.0, 1.0],
            via: Vec::new(),
            settings: scene.plan,
            seed: 5,
            near_duration: None,
            previous: None,
        };
        Film {
            id: 3,
            request: Arc::new(request),
            waypoints: 3,
            dims: 2,
            observation_offset: 0,
            view: crate::env::StateView::default(),
            durations: [20.0, 20.0].into(),
            steps: vec![step(1.0, 1.0), step(0.6, 0.5)],
            total_steps: 2,
            candidates: vec![candidate(true), candidate(false)],
            chosen: Some(0),
            plan: Some(Arc::new(Plan {
                waypoints: states.clone(),
                states,
                actions: None,
                dt_secs: 0.01,
                duration_steps: 20.0,
                feasible: true,
            })),
            wall_ms: 12.0,
        }
    }

    /// A second along y, arriving after 0.3 s.
    pub(in crate::lab::picture) fn rollout() -> Rollout {
        Rollout {
            film_id: 3,
            states: (0..=100).map(|i| vec![1.0, 1.0 + 0.01 * i as f32, 0.0, 0.0]).collect(),
            targets: Vec::new(),
            rewards: Vec::new(),
            plans: Vec::new(),
            films: Vec::new(),
            arrival_step: Some(30),
            contact_steps: 0,
            dt_secs: 0.01,
            view: crate::env::StateView::default(),
            finished: true,
        }
    }

    fn near(a: [f32; 2], b: [f32; 2]) -> bool {
        (a[0] - b[0]).abs() < 1e-5 && (a[1] - b[1]).abs() < 1e-5
    }

    #[test]
    fn at_the_end_there_is_no_noise_and_the_ball_has_arrived() {
        let (film, rollout) = (film(), rollout());
        let shot = Shot::new(&scene(), &film, Some(&rollout)).unwrap().after(&[[2.0, 2.0]]);
        let drawing = shot.frame(Moment::END);
        assert!(drawing.noise.is_empty() && drawing.status.is_empty());
        assert_eq!(drawing.strengths.chosen, 1.0);
        let feasible: Vec<bool> = drawing.candidates.iter().map(|one| one.feasible).collect();
        assert_eq!(feasible, [true, false]);
        assert!(near(drawing.candidates[1].points[0], [1.6, 1.7]));
        assert!(near(drawing.agent.unwrap(), [1.0, 2.0]));
        assert_eq!((drawing.trail.len(), drawing.trail[0]), (102, [2.0, 2.0]));
        assert_eq!(
            drawing.caption,
            "seed 5 · quick · 2 candidates, 1 feasible · plan of 0.20 s · planned in 12 ms · \
             arrives after 0.30 s"
        );
    }

    #[test]
    fn between_steps_the_noise_is_a_mix() {
        let film = film();
        let shot = Shot::new(&scene(), &film, None).unwrap();
        let drawing = shot.frame(Moment { chain: 0.5, time_secs: 0.0 });
        assert_eq!(drawing.status, "denoising 0 / 2");
        assert_eq!(drawing.strengths.chosen, 0.0);
        assert!(near(drawing.noise[0].position, [1.75, 1.85]));
        assert_eq!(drawing.noise.iter().map(|speck| speck.time).fold(0.0, f32::max), 1.0);
        // The prediction has no noise in it.
        assert!(near(drawing.candidates[0].points[0], [1.0, 1.1]));
        let noisy = shot.showing(Cloud::Noisy).frame(Moment { chain: 1.5, time_secs: 0.0 });
        assert!(near(noisy.candidates[0].points[0], [1.25, 1.35]));
        assert!(near(noisy.agent.unwrap(), [3.0, 1.0]));
    }

    #[test]
    fn on_the_way_the_ball_is_between_two_states_and_noise_can_be_thinned() {
        let (film, rollout) = (film(), rollout());
        let shot = Shot::new(&scene(), &film, Some(&rollout)).unwrap().with_at_most(2);
        let drawing = shot.frame(Moment { chain: 2.0, time_secs: 0.205 });
        assert!(near(drawing.agent.unwrap(), [1.0, 1.205]));
        assert_eq!((drawing.trail.len(), drawing.status.as_str()), (21, "0.20 s"));
        assert!(drawing.strengths.candidates < 1.0);
        assert_eq!(shot.frame(Moment { chain: 0.0, time_secs: 0.0 }).noise.len(), 2);
    }

    #[test]
    fn an_unfinished_film_and_an_empty_one_can_be_drawn() {
        let mut film = film();
        film.plan = None;
        film.candidates.clear();
        film.steps.truncate(1);
        let drawing = Shot::new(&scene(), &film, None).unwrap().frame(Moment::END);
        assert_eq!((drawing.noise.len(), drawing.strengths.chosen), (6, 0.0));
        film.steps.clear();
        let drawing = Shot::new(&scene(), &film, None).unwrap().frame(Moment::END);
        assert!(drawing.candidates.is_empty());
    }
}
