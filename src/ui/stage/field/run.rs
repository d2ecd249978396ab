//! The real policy at work from the source state, played back.

use std::sync::Arc;

use super::{goal, source};
use crate::lab::policy_run::{PolicyRun, RunRequest};
use crate::ui::app::App;
use crate::ui::transport::{Clock, Extent};

/// How long a run is, in seconds and at most in steps.
const SECS: f32 = 20.0;
const MAX_STEPS: usize = 2000;

/// The newest run.
#[derive(Default)]
pub struct Run {
    run: Option<Arc<PolicyRun>>,
    asked: Option<RunRequest>,
}

impl Run {
    /// What there is to play.
    pub fn extent(&self) -> Extent {
        let Some(run) = &self.run else { return Extent { dt_secs: 0.05, ..Extent::default() } };
        let steps = run.states.len().saturating_sub(1);
        Extent { time_secs: steps as f32 * run.dt_secs, dt_secs: run.dt_secs, ..Extent::default() }
    }

    /// The run that is played.
    pub fn current(&self) -> Option<&Arc<PolicyRun>> {
        self.run.as_ref()
    }
}

/// The run from the source that the stage shows.
fn wanted(app: &App) -> RunRequest {
    let dt_secs = app.place.spec.dt_secs.max(1e-3);
    RunRequest {
        state: source(app),
        goal: goal(app),
        action: app.field.action.clone(),
        policy: app.session.scene().occupancy.policy.clone(),
        steps: ((SECS / dt_secs) as usize).clamp(1, MAX_STEPS),
        seed: app.session.scene().stage.seed,
    }
}

/// Play or pause; from another source, run anew.
pub fn toggle(app: &mut App) {
    app.transport.clock = Clock::Environment;
    if app.transport.playing {
        app.transport.playing = false;
        return;
    }
    // The mouse moves on; the run's source must not.
    super::input::pin(app);
    let wanted = wanted(app);
    if app.field.run.asked.as_ref() == Some(&wanted) {
        let extent = app.extent();
        app.transport.toggle(&extent);
        return;
    }
    app.field.run = Run { run: None, asked: Some(wanted.clone()) };
    app.session.ask_run(wanted);
    app.transport.time_secs = 0.0;
    app.transport.playing = true;
}

/// Take over a run that was asked for, and drop one from another source.
pub fn take(app: &mut App) {
    app.transport.clock = Clock::Environment;
    let Some(asked) = &app.field.run.asked else {
        // Nothing was asked for, so nothing can play.
        app.transport.playing = false;
        return;
    };
    if *asked != wanted(app) {
        app.field.run = Run::default();
        app.transport.playing = false;
        app.transport.time_secs = 0.0;
        return;
    }
    if app.field.run.run.is_none() {
        let run = app.session.run();
        app.field.run.run = run.filter(|run| Some(&*run.request) == app.field.run.asked.as_ref());
    }
}

/// Where the policy is at the transport's time, and the step before it.
pub fn now(app: &App) -> Option<(&PolicyRun, usize)> {
    let run = app.field.run.run.as_ref()?;
    let step = (app.transport.time_secs / run.dt_secs.max(1e-6)) as usize;
    Some((run, step.min(run.states.len().saturating_sub(1))))
}
