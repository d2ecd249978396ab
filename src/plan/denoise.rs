//! From noise to plans: every sampler over any denoiser, wherever the plans
//! are.
//!
//! The loop knows the order of things and the numbers that depend on the time;
//! a [`Chain`] does the arithmetic. On the host it runs on plain slices, a few
//! thousand multiplications between two forwards. On another device plans stay
//! there from noise to the end, see [`device`].

pub mod device;
pub mod host;
mod reads;

use std::ops::ControlFlow;

use super::guide::Guide;
use super::sampler::Sampler;
use crate::model::ModelError;
use crate::model::schedule::Schedule;
use crate::model::transition::Transition;
use crate::rng::Rng;

/// One step as it happens: diffusion time, x_t and the predicted clean plans.
pub struct Step<'a> {
    /// Diffusion time t.
    pub t: usize,
    /// x_t with known entries in place.
    pub noisy: &'a [f32],
    /// The prediction with known entries in place.
    pub clean: &'a [f32],
}

/// Sees every step and may stop the chain.
pub type OnStep<'a> = dyn FnMut(Step) -> ControlFlow<()> + 'a;

/// Where a chain begins.
#[derive(Default)]
pub struct Beginning {
    /// Pure noise, normalized plans of one shape; empty if none starts there.
    pub noise: Vec<f32>,
    /// Plans of the same shape that join for the last steps.
    pub joining: Option<Joining>,
}

/// Noisy plans that join a chain.
pub struct Joining {
    /// Steps they take.
    pub steps: usize,
    /// x_t at the time the first of those steps begins at.
    pub noisy: Vec<f32>,
}

/// What is done with plans, `[plans, waypoints, dims]`, normalized, where they
/// are.
pub trait Chain {
    /// Plans there.
    type Plans;

    /// Plans from the host, after those that are there already.
    fn join(&self, plans: Option<Self::Plans>, more: Vec<f32>) -> Self::Plans;

    /// Overwrite what is known.
    fn fix(&self, plans: Self::Plans) -> Self::Plans;

    /// The clean plans for noisy ones at diffusion time `t`.
    ///
    /// # Errors
    /// A failing model.
    fn predict(&mut self, noisy: &Self::Plans, t: usize) -> Result<Self::Plans, ModelError>;

    /// Move plans at time `t` along the gradient of their return, times `rate`.
    ///
    /// # Errors
    /// A failing model.
    fn climb(&mut self, plans: Self::Plans, t: usize, rate: f32)
    -> Result<Self::Plans, ModelError>;

    /// A step of the chain, all but its fresh noise, see [`Transition::apply`].
    fn advance(
        &self,
        transition: &Transition,
        noisy: Self::Plans,
        clean: &Self::Plans,
        before: Option<Self::Plans>,
    ) -> Self::Plans;

    /// Add `deviation` times noise from `rng`, drawn plan after plan.
    fn shake(&self, plans: Self::Plans, deviation: f32, rng: &mut Rng) -> Self::Plans;

    /// Show a step, now or as soon as its numbers have arrived; whether to go
    /// on.
    ///
    /// # Errors
    /// A lost device.
    fn show(
        &mut self,
        t: usize,
        noisy: &Self::Plans,
        clean: &Self::Plans,
    ) -> Result<ControlFlow<()>, ModelError>;

    /// Show what was not shown yet.
    ///
    /// # Errors
    /// A lost device.
    fn finish(&mut self) -> Result<ControlFlow<()>, ModelError> {
        Ok(ControlFlow::Continue(()))
    }
}

/// x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.
pub fn noised(schedule: &Schedule, t: usize, clean: &[f32], eps: &[f32]) -> Vec<f32> {
    let (signal, noise) = schedule.levels(t);
    clean.iter().zip(eps).map(|(clean, eps)| signal * clean + noise * eps).collect()
}

/// Denoise plans from their beginning in `steps` steps, as many as the sampler
/// takes of them, and let `guide` move them on the way. Steps before anything
/// has begun are left out. `None` if nothing begins or the chain is stopped.
///
/// # Errors
/// Whatever the model returns.
pub fn denoise<C: Chain>(
    schedule: &Schedule,
    (sampler, steps): (Sampler, usize),
    Beginning { noise, mut joining }: Beginning,
    rng: &mut Rng,
    guide: Option<Guide>,
    chain: &mut C,
) -> Result<Option<C::Plans>, ModelError> {
    let times = sampler.times(schedule, steps);
    let mut plans = (!noise.is_empty()).then(|| chain.join(None, noise));
    // The clean plans of the step before, and its time.
    let mut before: Option<(usize, C::Plans)> = None;
    for (index, t) in times.iter().copied().enumerate() {
        if let Some(joining) = joining.take_if(|joining| index + joining.steps >= times.len()) {
            plans = Some(chain.join(plans, joining.noisy));
        }
        let Some(noisy) = plans.take() else { continue };
        let mut x = chain.fix(noisy);
        let next = times.get(index + 1).copied();
        let variance = schedule.variance(t, next);
        if let Some(guide) = guide {
            x = guide.at_noisy((t, variance), chain, x)?;
        }
        let clean = chain.predict(&x, t)?;
        let clean = chain.fix(clean);
        if chain.show(t, &x, &clean)?.is_break() {
            return Ok(None);
        }
        let Some(next) = next else {
            return Ok(chain.finish()?.is_continue().then_some(clean));
        };
        let (earlier, before_that) = before.take().unzip();
        let transition = sampler.transition(schedule, t, next, earlier);
        x = chain.advance(&transition, x, &clean, before_that);
        before = Some((t, clean));
        if let Some(guide) = guide {
            x = guide.at_mean((t, next, variance), chain, x)?;
        }
        if transition.fresh > 0.0 {
            x = chain.shake(x, transition.fresh, rng);
        }
        plans = Some(x);
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
