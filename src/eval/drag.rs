//! What plans are like while a goal is dragged: a mouse goes along a line, the
//! goal to the nearest free place, and every move makes the smaller request
//! that the window makes.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::goal_reaching::PlanTimes;
use super::statistics::Estimate;
use crate::env::Environment;
use crate::plan::{
    Film, Plan, PlanError, PlanRequest, PlanSettings, Planner, Previous, guess_duration,
};
use crate::rng::Rng;

/// How to drag.
#[derive(Clone, Copy, Debug)]
pub struct DragOptions {
    /// Independent drags, each from another start and along another line.
    pub drags: usize,
    /// Most mouse moves in one drag.
    pub moves: usize,
    /// Length of a mouse move, environment units.
    pub stride: f32,
    /// Seed of starts, lines and noise.
    pub seed: u64,
}

/// The measurements of one way to plan under a drag. Means are taken within
/// every drag first: `n` counts drags.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DragEvaluation {
    /// Drags.
    pub drags: usize,
    /// Mouse moves in all.
    pub moves: usize,
    /// Share of moves whose chosen plan stays in free space and within the
    /// speed limit.
    pub feasible: Option<Estimate>,
    /// Its duration as a multiple of what a full request from pure noise finds,
    /// where both are feasible.
    pub duration_ratio: Option<Estimate>,
    /// Mean distance between waypoints of the same number in successive chosen
    /// plans, environment units.
    pub jump: Option<Estimate>,
    /// Time of a plan in milliseconds.
    pub plan_ms: PlanTimes,
}

/// One way to plan, along one drag.
#[derive(Default)]
struct Track {
    last: Option<Film>,
    feasible: Vec<f64>,
    ratios: Vec<f64>,
    jumps: Vec<f64>,
}

/// The sums of one way over all drags.
#[derive(Default)]
struct Sums {
    moves: usize,
    feasible: Vec<f64>,
    ratios: Vec<f64>,
    jumps: Vec<f64>,
    plan_ms: Vec<f64>,
}

/// Drag the goal with each of `settings` at once, so that all see the same
/// moves and the same machine; one answer for each. `on_drag` hears how many
/// drags are done and may stop early, which keeps those that are.
///
/// # Errors
/// A failing model or a request the planner refuses.
pub fn evaluate_drags(
    environment: &mut dyn Environment,
    planner: &Planner,
    settings: &[PlanSettings],
    options: &DragOptions,
    on_drag: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Vec<DragEvaluation>, PlanError> {
    let mut sums: Vec<Sums> = settings.iter().map(|_| Sums::default()).collect();
    let mut done = 0;
    for index in 0..options.drags {
        let mut rng = Rng::stream(options.seed, &format!("drag {index}"));
        drag(environment, planner, settings, options, &mut rng, &mut sums)?;
        done = index + 1;
        if on_drag(done).is_break() {
            break;
        }
    }
    Ok(sums.iter().map(|sums| sums.evaluation(done)).collect())
}

impl Sums {
    fn evaluation(&self, drags: usize) -> DragEvaluation {
        let of = |values: &[f64]| Estimate::of(values.iter().copied());
        DragEvaluation {
            drags,
            moves: self.moves,
            feasible: of(&self.feasible),
            duration_ratio: of(&self.ratios),
            jump: of(&self.jumps),
            plan_ms: PlanTimes::of(self.plan_ms.iter().copied()),
        }
    }

    fn add(&mut self, track: &Track) {
        let mean = |values: &[f64]| Estimate::of(values.iter().copied()).map(|e| e.mean);
        self.moves += track.feasible.len();
        self.feasible.extend(mean(&track.feasible));
        self.ratios.extend(mean(&track.ratios));
        self.jumps.extend(mean(&track.jumps));
    }
}

fn drag(
    environment: &mut dyn Environment,
    planner: &Planner,
    settings: &[PlanSettings],
    options: &DragOptions,
    rng: &mut Rng,
    sums: &mut [Sums],
) -> Result<(), PlanError> {
    environment.reset(rng);
    let workspace = environment.workspace();
    let mut start = environment.state();
    start.iter_mut().skip(2).for_each(|velocity| *velocity = 0.0);
    let [from, to] = [(); 2].map(|()| {
        environment.randomize_goal(rng);
        environment.goal()
    });
    let ([x0, y0, ..], [x1, y1, ..]) = (from.as_slice(), to.as_slice()) else { return Ok(()) };
    let here = [start[0], start[1]];
    let seed = rng.below(usize::MAX) as u64;
    let request = |goal: [f32; 2], settings: &PlanSettings| PlanRequest {
        start: start.clone(),
        goal: goal.to_vec(),
        via: Vec::new(),
        settings: settings.clone(),
        seed,
        near_duration: None,
        previous: None,
    };
    let plan = |request: PlanRequest| {
        planner.plan(0, Arc::new(request), &mut |_| ControlFlow::Continue(()))
    };
    let length = (x1 - x0).hypot(y1 - y0);
    let moves =
        ((length / options.stride.max(1e-3)).ceil() as usize).clamp(1, options.moves.max(1));
    let Some(reference) = settings.first() else { return Ok(()) };
    let first = plan(request([*x0, *y0], reference))?;
    let mut tracks: Vec<Track> =
        settings.iter().map(|_| Track { last: first.clone(), ..Track::default() }).collect();
    for step in 1..=moves {
        let along = step as f32 * options.stride / length.max(1e-3);
        let mouse = [x0 + (x1 - x0) * along.min(1.0), y0 + (y1 - y0) * along.min(1.0)];
        let Some(goal) = workspace.nearest_free(mouse) else { continue };
        if !workspace.connected(here, goal) {
            continue;
        }
        let best = plan(request(goal, reference))?.and_then(|film| film.plan);
        for ((settings, track), sums) in settings.iter().zip(&mut tracks).zip(sums.iter_mut()) {
            let last = track.last.take();
            let quick = PlanRequest {
                near_duration: Some(guess_duration(&*workspace, here, goal, last.as_ref())),
                previous: last
                    .as_ref()
                    .filter(|_| settings.warm_steps > 0)
                    .and_then(|film| Previous::of_film(film, 0.0))
                    .map(Arc::new),
                ..request(goal, settings)
            };
            let Some(film) = plan(quick)? else { continue };
            sums.plan_ms.push(f64::from(film.wall_ms));
            track.take(&film, last.as_ref(), best.as_deref());
            track.last = Some(film);
        }
    }
    tracks.iter().zip(sums).for_each(|(track, sums)| sums.add(track));
    Ok(())
}

impl Track {
    fn take(&mut self, film: &Film, last: Option<&Film>, best: Option<&Plan>) {
        let Some(plan) = film.plan.as_deref() else { return };
        self.feasible.push(f64::from(u8::from(plan.feasible)));
        if let Some(best) = best.filter(|best| best.feasible && plan.feasible) {
            self.ratios.push(f64::from(plan.duration_steps / best.duration_steps.max(1e-6)));
        }
        if let Some(last) = last.and_then(|film| film.plan.as_deref()) {
            self.jumps.extend(distance(last, plan));
        }
    }
}

/// Mean distance between waypoints of the same number; `None` for plans of
/// different lengths.
fn distance(a: &Plan, b: &Plan) -> Option<f64> {
    let apart = |(a, b): (&Vec<f32>, &Vec<f32>)| match (a.as_slice(), b.as_slice()) {
        ([ax, ay, ..], [bx, by, ..]) => f64::from((ax - bx).hypot(ay - by)),
        _ => f64::NAN,
    };
    (a.waypoints.len() == b.waypoints.len() && !a.waypoints.is_empty()).then(|| {
        a.waypoints.iter().zip(&b.waypoints).map(apart).sum::<f64>() / a.waypoints.len() as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(offset: f32) -> Plan {
        let states: Vec<Vec<f32>> = (0..4).map(|i| vec![i as f32, offset]).collect();
        Plan {
            waypoints: states.clone(),
            states,
            actions: None,
            dt_secs: 0.1,
            duration_steps: 30.0,
            feasible: true,
        }
    }

    #[test]
    fn the_distance_of_two_plans_is_that_of_their_waypoints_on_average() {
        assert_eq!(distance(&plan(0.0), &plan(0.0)), Some(0.0));
        assert_eq!(distance(&plan(0.0), &plan(-2.5)), Some(2.5));
        let mut short = plan(0.0);
        short.waypoints.pop();
        assert_eq!(distance(&plan(0.0), &short), None);
    }
}
