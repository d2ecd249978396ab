//! From noise to plans: every sampler over any denoiser, on the host.
//!
//! The arithmetic between two forwards is a few thousand multiplications, so
//! it runs on plain slices: every step can be published without a read-back,
//! and the same noise gives the same plan on every device.

use std::ops::ControlFlow;

use super::guide::Guide;
use super::sampler::Sampler;
use crate::model::ModelError;
use crate::model::inpainting::Inpainting;
use crate::model::schedule::Schedule;
use crate::rng::Rng;

/// The clean plans for noisy ones at diffusion time t, same shape.
pub type Denoiser<'a> = dyn FnMut(&[f32], usize) -> Result<Vec<f32>, ModelError> + 'a;

/// One step as it happens: diffusion time, x_t and the predicted clean plans.
pub struct Step<'a> {
    /// Diffusion time t.
    pub t: usize,
    /// x_t with known entries in place.
    pub noisy: &'a [f32],
    /// The prediction with known entries in place.
    pub clean: &'a [f32],
}

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

/// x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.
pub fn noised(schedule: &Schedule, t: usize, clean: &[f32], eps: &[f32]) -> Vec<f32> {
    let (signal, noise) = schedule.levels(t);
    clean.iter().zip(eps).map(|(clean, eps)| signal * clean + noise * eps).collect()
}

/// Denoise plans from their beginning in `steps` steps, as many as the sampler
/// takes of them, and let `guide` move them on the way. Steps before anything
/// has begun are left out.
/// `on_step` sees every step and may stop the chain; then the answer is `None`.
///
/// # Errors
/// Whatever the denoiser or the guide returns.
#[expect(clippy::too_many_arguments, reason = "the parts of a sampler, each used once")]
pub fn denoise(
    schedule: &Schedule,
    (sampler, steps): (Sampler, usize),
    known: &Inpainting,
    Beginning { noise: mut x, mut joining }: Beginning,
    noise: &mut Rng,
    denoiser: &mut Denoiser,
    mut guide: Option<Guide>,
    on_step: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Option<Vec<f32>>, ModelError> {
    let times = sampler.times(schedule, steps);
    // The clean plans of the step before, and its time.
    let mut before: Option<(usize, Vec<f32>)> = None;
    for (index, t) in times.iter().copied().enumerate() {
        if let Some(joining) = joining.take_if(|joining| index + joining.steps >= times.len()) {
            x.extend(joining.noisy);
        }
        if x.is_empty() {
            continue;
        }
        known.apply(&mut x);
        let next = times.get(index + 1).copied();
        let variance = schedule.variance(t, next);
        if let Some(guide) = &mut guide {
            guide.at_noisy((t, variance), known, &mut x)?;
        }
        let mut clean = denoiser(&x, t)?;
        known.apply(&mut clean);
        if on_step(Step { t, noisy: &x, clean: &clean }).is_break() {
            return Ok(None);
        }
        let Some(next) = next else { return Ok(Some(clean)) };
        match sampler {
            Sampler::Ddim => schedule.ddim(t, next, &mut x, &clean),
            Sampler::DpmSolver => {
                let before = before.as_ref().map(|(r, clean)| (*r, clean.as_slice()));
                dpm_solver(schedule, (t, next), &mut x, &clean, before);
            }
            Sampler::OneStep => renoise(schedule, next, &mut x, &clean, noise),
            Sampler::Ddpm => ddpm_mean(schedule, t, &mut x, &clean),
        }
        before = Some((t, clean));
        if let Some(guide) = &mut guide {
            guide.at_mean((t, next, variance), &mut x)?;
        }
        if sampler == Sampler::Ddpm {
            let deviation = variance.sqrt() as f32;
            for x in &mut x {
                *x += deviation * noise.normal();
            }
        }
    }
    known.apply(&mut x);
    Ok(Some(x))
}

/// One step of DPM-Solver++ (2M) from t to s (Lu et al. 2022, Algorithm 2, in
/// the data prediction): the exact solution of the diffusion ODE over the
/// half-log-SNR lambda = ln(signal / noise), for a clean plan that goes on along
/// the line through those of the last two steps,
///
///   x_s = noise_s / noise_t x_t - signal_s (e^{-h} - 1) D
///   D   = (1 + 1 / 2r) x_0(t) - 1 / 2r x_0(before)
///
/// with h = lambda_s - lambda_t and r the last step's length over h. The first
/// step has no step before it and is DDIM's. The last one, which ends the chain
/// on its own clean plan, is of first order, too.
fn dpm_solver(
    schedule: &Schedule,
    (t, s): (usize, usize),
    x: &mut [f32],
    clean: &[f32],
    before: Option<(usize, &[f32])>,
) {
    let Some((earlier, before)) = before else { return schedule.ddim(t, s, x, clean) };
    let h = schedule.half_log_snr(s) - schedule.half_log_snr(t);
    let last = schedule.half_log_snr(t) - schedule.half_log_snr(earlier);
    let slope = (h / (2.0 * last)) as f32;
    let keep = ((1.0 - schedule.abar(s)) / (1.0 - schedule.abar(t))).sqrt() as f32;
    let take = (-schedule.abar(s).sqrt() * (-h).exp_m1()) as f32;
    let n = before.len().min(x.len()).min(clean.len());
    let (x, joined) = x.split_at_mut(n);
    for ((x, clean), before) in x.iter_mut().zip(clean).zip(before) {
        *x = keep * *x + take * (clean + slope * (clean - before));
    }
    // Plans that have just joined have no step before this one.
    schedule.ddim(t, s, joined, &clean[n..]);
}

/// Fresh noise of time s on the clean plans (Song et al. 2023, Algorithm 1).
fn renoise(schedule: &Schedule, s: usize, x: &mut [f32], clean: &[f32], noise: &mut Rng) {
    let (signal, level) = schedule.levels(s);
    for (x, clean) in x.iter_mut().zip(clean) {
        *x = signal * clean + level * noise.normal();
    }
}

/// The mean of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, equation 7).
fn ddpm_mean(schedule: &Schedule, t: usize, x: &mut [f32], clean: &[f32]) {
    let posterior = schedule.posterior(t);
    let (a, b) = (posterior.clean as f32, posterior.noisy as f32);
    for (x, clean) in x.iter_mut().zip(clean) {
        *x = a * clean + b * *x;
    }
}

#[cfg(test)]
mod tests;
