//! The plan on the stage: what was asked for, what came back, and where the
//! ball is.
//!
//! A drag moves the goal at every frame, faster than a plan is made, so several
//! requests may be out at once; the session answers the newest and skips those
//! in between.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::lab::Session;
use crate::plan::{Film, Rollout};

use super::rollouts::{duration_secs, state_at};
use super::transport::{CHAIN_SECS, Clock, Extent, Transport};

/// Most requests whose answers are awaited.
const MAX_FLIGHTS: usize = 32;
/// After this long without an answer, a request no longer holds back the next.
const PATIENCE_SECS: f64 = 2.0;
/// How fast the ball's picture catches up when a new plan takes over.
const SLIP_SECS: f32 = 0.12;
/// Guess of the latency of full and quick requests before any was seen.
const FIRST_LATENCY_SECS: [f32; 2] = [0.2, 0.06];
/// A latency beyond this is an accident, not something to plan for.
const MAX_LATENCY_SECS: f32 = 0.4;
/// Most points kept of the trail before the current plan.
const MAX_PAST: usize = 4000;

/// Where a plan starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The scene's start, at rest.
    Start,
    /// Where the ball is now.
    Ball,
    /// Where the last plan started.
    Same,
}

/// A plan somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Where it starts.
    pub origin: Origin,
    /// The smaller request, while something is being dragged.
    pub quick: bool,
    /// Show it condense out of noise.
    pub animate: bool,
}

impl Wish {
    /// From the start, shown from the first noise on.
    pub const REPLAY: Self = Self { origin: Origin::Start, quick: false, animate: true };

    /// A full request without a show.
    pub const fn full(origin: Origin) -> Self {
        Self { origin, quick: false, animate: false }
    }

    /// A small request without a show.
    pub const fn quick(origin: Origin) -> Self {
        Self { origin, quick: true, animate: false }
    }
}

/// A request that has no complete answer yet.
#[derive(Clone, Copy, Debug)]
struct Flight {
    id: u64,
    wish: Wish,
    sent_secs: f64,
    /// Time on the old rollout's clock at which the new plan starts.
    handoff_secs: f32,
}

/// See the module's documentation.
pub struct Live {
    wish: Option<Wish>,
    flights: VecDeque<Flight>,
    /// Answers to requests before this one come too late.
    oldest_id: u64,
    film: Option<Arc<Film>>,
    complete: Option<Arc<Film>>,
    rollout: Option<Arc<Rollout>>,
    /// State of the ball while there is no rollout.
    rest: Vec<f32>,
    past: Vec<[f32; 2]>,
    slip: [f32; 2],
    /// From request to rollout, for full and for quick requests.
    latency_secs: [f32; 2],
}

impl Default for Live {
    fn default() -> Self {
        Self {
            wish: None,
            flights: VecDeque::new(),
            oldest_id: 0,
            film: None,
            complete: None,
            rollout: None,
            rest: Vec::new(),
            past: Vec::new(),
            slip: [0.0; 2],
            latency_secs: FIRST_LATENCY_SECS,
        }
    }
}

impl Live {
    /// Ask for a plan. The newest wish wins, but a start from rest is not
    /// forgotten for one from the ball.
    pub fn want(&mut self, wish: Wish) {
        self.wish = Some(match self.wish {
            Some(old) if old.origin == Origin::Start && wish.origin != Origin::Start => {
                Wish { origin: Origin::Start, quick: wish.quick && old.quick, animate: old.animate }
            }
            _ => wish,
        });
    }

    /// The wish that waits.
    pub fn wished(&self) -> Option<Wish> {
        self.wish
    }

    /// The wish whose time has come; it is taken.
    pub fn due(&mut self, now_secs: f64) -> Option<Wish> {
        let wish = self.wish?;
        let is_out = self
            .flights
            .back()
            .is_some_and(|flight| (0.0..PATIENCE_SECS).contains(&(now_secs - flight.sent_secs)));
        // A slider under the mouse changes faster than plans are made: sent at
        // once, every change would cancel the plan for the one before.
        if wish.origin == Origin::Same && is_out {
            return None;
        }
        self.wish.take()
    }

    /// The state a plan for `wish` starts from, and when on the rollout's clock
    /// the ball will be there.
    pub fn origin_state(
        &self,
        wish: Wish,
        start: &[f32],
        transport: &Transport,
    ) -> (Vec<f32>, f32) {
        match (wish.origin, &self.rollout, &self.complete) {
            (Origin::Ball, Some(rollout), _) => {
                // By the time the plan is here, the ball will be there.
                let rolls = transport.playing && transport.clock == Clock::Environment;
                let latency = self.latency_secs[usize::from(wish.quick)];
                let lead = if rolls { latency * transport.speed } else { 0.0 };
                let at = transport.time_secs + lead;
                (state_at(rollout, at), at.min(duration_secs(rollout)))
            }
            (Origin::Same, _, Some(film)) => (film.request.start.clone(), 0.0),
            (Origin::Ball | Origin::Same, None, _) if !self.rest.is_empty() => {
                (self.rest.clone(), 0.0)
            }
            _ => (start.to_vec(), 0.0),
        }
    }

    /// The film of the plan that the ball follows at `secs` on the rollout's
    /// clock, and how many environment steps of that plan it has taken by then;
    /// 0 if it does not follow the newest plan.
    pub fn previous(&self, secs: f32) -> Option<(&Arc<Film>, f32)> {
        let film = self.complete.as_ref()?;
        let follows = self.rollout.as_ref().filter(|rollout| rollout.film_id == film.id);
        let Some(rollout) = follows else { return Some((film, 0.0)) };
        let step = secs / rollout.dt_secs.max(1e-6);
        let later = rollout.films.iter().take_while(|(begun, _)| *begun as f32 <= step + 1e-3);
        Some(match later.last() {
            Some((begun, later)) => (later, step - *begun as f32),
            None => (film, step),
        })
    }

    /// A request for `wish` left as `id`.
    pub fn sent(
        &mut self,
        id: u64,
        wish: Wish,
        request_start: &[f32],
        handoff_secs: f32,
        now_secs: f64,
        transport: &mut Transport,
    ) {
        self.flights.push_back(Flight { id, wish, sent_secs: now_secs, handoff_secs });
        if self.flights.len() > MAX_FLIGHTS {
            self.flights.pop_front();
        }
        if wish.origin == Origin::Start {
            self.oldest_id = id;
            self.rollout = None;
            self.past.clear();
            self.slip = [0.0; 2];
            self.rest = request_start.to_vec();
            transport.time_secs = 0.0;
        }
        if wish.animate {
            transport.replay();
        }
    }

    /// Take over what the session has computed since the last frame.
    pub fn take(&mut self, session: &Session, transport: &mut Transport, now_secs: f64) {
        if let Some(film) = session.film().filter(|film| film.id >= self.oldest_id) {
            self.take_film(film, transport);
        }
        let rollout = session.rollout().filter(|rollout| rollout.film_id >= self.oldest_id);
        if let Some(rollout) = rollout {
            self.take_rollout(rollout, transport, now_secs);
        }
    }

    fn take_film(&mut self, film: Arc<Film>, transport: &mut Transport) {
        if self.film.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, &film)) {
            return;
        }
        let flight = self.flights.iter().find(|flight| flight.id == film.id);
        let animate = flight.is_some_and(|flight| flight.wish.animate);
        let is_shown_growing = animate && !film.steps.is_empty();
        if !film.is_complete() && !is_shown_growing {
            return;
        }
        let was_at_end = self
            .film
            .as_ref()
            .is_none_or(|shown| transport.chain >= shown.total_steps as f32 - 1e-3);
        if film.is_complete() {
            self.complete = Some(film.clone());
        }
        if !animate && was_at_end {
            transport.chain = film.total_steps as f32;
        }
        transport.chain = transport.chain.min(film.total_steps as f32);
        self.film = Some(film);
    }

    fn take_rollout(&mut self, rollout: Arc<Rollout>, transport: &mut Transport, now_secs: f64) {
        let same = self.rollout.as_ref().is_some_and(|old| old.film_id == rollout.film_id);
        if same {
            self.rollout = Some(rollout);
            return;
        }
        // Only the plan on the stage may move the ball.
        if self.complete.as_ref().is_none_or(|film| film.id != rollout.film_id) {
            return;
        }
        let before = self.ball(transport);
        let flight = self.flights.iter().find(|flight| flight.id == rollout.film_id).copied();
        // What was asked before this will not be answered any more.
        self.flights.retain(|flight| flight.id > rollout.film_id);
        if let Some(flight) = flight.filter(|flight| flight.wish.origin == Origin::Ball) {
            self.learn_latency(flight, now_secs);
            self.hand_over(flight, transport);
        }
        transport.time_secs = transport.time_secs.min(duration_secs(&rollout));
        self.rollout = Some(rollout);
        self.slip = [0.0; 2];
        if let (Some(before), Some(after)) = (before, self.ball(transport)) {
            let wraps = self.rollout.as_ref().is_some_and(|new| new.view.wraps(before, after));
            if !wraps {
                self.slip = [before[0] - after[0], before[1] - after[1]];
            }
        }
    }

    fn learn_latency(&mut self, flight: Flight, now_secs: f64) {
        let seen = ((now_secs - flight.sent_secs) as f32).clamp(0.0, MAX_LATENCY_SECS);
        let known = &mut self.latency_secs[usize::from(flight.wish.quick)];
        *known += 0.2 * (seen - *known);
    }

    /// The clock goes on, counted from where the new plan starts.
    fn hand_over(&mut self, flight: Flight, transport: &mut Transport) {
        self.remember_past(transport.time_secs.min(flight.handoff_secs));
        let before_secs = transport.time_secs;
        transport.time_secs = (before_secs - flight.handoff_secs).max(0.0);
        let shift = before_secs - transport.time_secs;
        for waiting in &mut self.flights {
            waiting.handoff_secs -= shift;
        }
    }

    fn remember_past(&mut self, until_secs: f32) {
        if let Some(rollout) = &self.rollout {
            let steps = (until_secs / rollout.dt_secs.max(1e-6)) as usize;
            let states = rollout.states.iter().take(steps + 1);
            self.past.extend(states.filter_map(|state| Some([*state.first()?, *state.get(1)?])));
            let surplus = self.past.len().saturating_sub(MAX_PAST);
            self.past.drain(..surplus);
        }
    }

    /// Let real time pass for the ball's catching up. Returns whether it moves.
    pub fn settle(&mut self, dt_secs: f32) -> bool {
        let keep = (-dt_secs / SLIP_SECS).exp();
        self.slip = self.slip.map(|offset| offset * keep);
        let moves = self.slip.iter().any(|offset| offset.abs() > 2e-3);
        if !moves {
            self.slip = [0.0; 2];
        }
        moves
    }

    /// Where the ball is drawn.
    pub fn ball(&self, transport: &Transport) -> Option<[f32; 2]> {
        let state = match &self.rollout {
            Some(rollout) => state_at(rollout, transport.time_secs),
            None => self.rest.clone(),
        };
        Some([state.first()? + self.slip[0], state.get(1)? + self.slip[1]])
    }

    /// What there is to play.
    pub fn extent(&self) -> Extent {
        let (chain_steps, chain_ready) = match &self.film {
            Some(film) if film.is_complete() => (film.total_steps, film.total_steps as f32),
            Some(film) => (film.total_steps, film.steps.len().saturating_sub(1) as f32),
            None => (0, 0.0),
        };
        let (time_secs, dt_secs) = match &self.rollout {
            Some(rollout) => (duration_secs(rollout), rollout.dt_secs),
            None => (0.0, 0.01),
        };
        let is_growing = self.rollout.as_ref().is_some_and(|rollout| !rollout.finished);
        Extent {
            chain_steps,
            chain_ready,
            chain_secs: CHAIN_SECS,
            time_secs,
            dt_secs,
            is_growing,
            checkpoints: 0,
        }
    }

    /// The film on the stage; it may still be growing.
    pub fn film(&self) -> Option<&Arc<Film>> {
        self.film.as_ref()
    }

    /// The film of the plan that the ball follows at the clock: once it has
    /// left the first plan for another, that one's.
    pub fn followed(&self, transport: &Transport) -> Option<&Arc<Film>> {
        let film = self.film.as_ref()?;
        let later = self.rollout.as_ref().filter(|rollout| rollout.film_id == film.id);
        let later = later.and_then(|rollout| {
            let step = transport.time_secs / rollout.dt_secs.max(1e-6) + 1e-3;
            let begun = |(at, _): &&(usize, Arc<Film>)| *at as f32 <= step;
            rollout.films.iter().take_while(begun).last()
        });
        Some(later.map_or(film, |(_, film)| film))
    }

    /// The newest film with a chosen plan.
    pub fn complete(&self) -> Option<&Arc<Film>> {
        self.complete.as_ref()
    }

    /// The ball's way along the plan.
    pub fn rollout(&self) -> Option<&Arc<Rollout>> {
        self.rollout.as_ref()
    }

    /// Where the ball has been before the current plan.
    pub fn past(&self) -> &[[f32; 2]] {
        &self.past
    }

    /// Whether a plan is wanted or on its way.
    pub fn is_waiting(&self) -> bool {
        self.wish.is_some() || !self.flights.is_empty()
    }

    /// Another scene: nothing here belongs to it.
    pub fn clear(&mut self) {
        *self = Self { latency_secs: self.latency_secs, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::super::rollouts::testing::rollout;
    use super::*;

    #[test]
    fn a_start_from_rest_is_not_forgotten_for_a_later_wish() {
        let mut live = Live::default();
        live.want(Wish::REPLAY);
        live.want(Wish::quick(Origin::Ball));
        let wish = live.due(0.0).unwrap();
        assert_eq!((wish.origin, wish.animate), (Origin::Start, true));
        assert!(live.due(0.0).is_none());
    }

    #[test]
    fn a_change_of_settings_waits_for_the_plan_before_it_but_not_forever() {
        let mut live = Live::default();
        let mut transport = Transport::default();
        let wish = Wish::full(Origin::Same);
        live.sent(1, wish, &[0.0; 4], 0.0, 10.0, &mut transport);
        live.want(wish);
        assert!(live.due(10.1).is_none());
        assert!(live.due(10.0 + PATIENCE_SECS).is_some());
        live.want(Wish::quick(Origin::Ball));
        assert!(live.due(10.1).is_some(), "a drag does not wait");
    }

    #[test]
    fn the_ball_is_planned_from_where_it_will_be() {
        let mut live = Live { latency_secs: [9.0, 0.25], ..Live::default() };
        live.rollout = Some(Arc::new(rollout()));
        let mut transport = Transport { clock: Clock::Environment, ..Transport::default() };
        transport.time_secs = 0.25;
        let wish = Wish::quick(Origin::Ball);
        assert_eq!(live.origin_state(wish, &[9.0; 2], &transport), (vec![1.0, 2.0], 0.5));
        transport.playing = false;
        assert_eq!(live.origin_state(wish, &[9.0; 2], &transport), (vec![0.5, 1.0], 0.25));
    }
}
