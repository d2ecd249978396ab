//! From noise to plans: DDPM and DDIM over any denoiser, on the host.
//!
//! The arithmetic between two forwards is a few thousand multiplications, so
//! it runs on plain slices: every step can be published without a read-back,
//! and the same noise gives the same plan on every device.

use std::ops::ControlFlow;

use super::film::Sampler;
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

/// Denoise `x`, normalized plans of one shape, with `steps` DDIM steps (eta =
/// 0) or over all times with DDPM. `on_step` sees every step and may stop the
/// chain; then the answer is `None`.
///
/// # Errors
/// Whatever the denoiser returns.
pub fn denoise(
    schedule: &Schedule,
    (sampler, steps): (Sampler, usize),
    known: &Inpainting,
    mut x: Vec<f32>,
    noise: &mut Rng,
    denoiser: &mut Denoiser,
    on_step: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Option<Vec<f32>>, ModelError> {
    let times = times(schedule, sampler, steps);
    for (index, t) in times.iter().copied().enumerate() {
        known.apply(&mut x);
        let mut clean = denoiser(&x, t)?;
        known.apply(&mut clean);
        if on_step(Step { t, noisy: &x, clean: &clean }).is_break() {
            return Ok(None);
        }
        match (times.get(index + 1), sampler) {
            (None, _) => return Ok(Some(clean)),
            (Some(next), Sampler::Ddim) => ddim(schedule, t, *next, &mut x, &clean),
            (Some(_), Sampler::Ddpm) => ddpm(schedule, t, &mut x, &clean, noise),
        }
    }
    known.apply(&mut x);
    Ok(Some(x))
}

/// The diffusion times a chain visits.
pub fn times(schedule: &Schedule, sampler: Sampler, steps: usize) -> Vec<usize> {
    match sampler {
        Sampler::Ddim => schedule.subsequence(steps),
        Sampler::Ddpm => schedule.subsequence(schedule.len()),
    }
}

/// x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s) eps with the eps that x_t and x_0
/// imply (Song et al. 2021, equation 12 with sigma = 0).
fn ddim(schedule: &Schedule, t: usize, s: usize, x: &mut [f32], clean: &[f32]) {
    let (signal, noise) = schedule.levels(t);
    let (next_signal, next_noise) = schedule.levels(s);
    for (x, clean) in x.iter_mut().zip(clean) {
        let eps = (*x - signal * clean) / noise;
        *x = next_signal * clean + next_noise * eps;
    }
}

/// One draw from q(x_{t-1} | x_t, x_0) (Ho et al. 2020, equation 7).
fn ddpm(schedule: &Schedule, t: usize, x: &mut [f32], clean: &[f32], rng: &mut Rng) {
    let posterior = schedule.posterior(t);
    let (a, b) = (posterior.clean as f32, posterior.noisy as f32);
    let deviation = posterior.variance.sqrt() as f32;
    for (x, clean) in x.iter_mut().zip(clean) {
        *x = a * clean + b * *x + deviation * rng.normal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plans that are all equal to one number: the optimal denoiser knows it.
    fn run(sampler: Sampler, steps: usize) -> (Vec<f32>, Vec<usize>) {
        let schedule = Schedule::cosine(64);
        let mut known = Inpainting::new(4, 1);
        known.fix(0, 0, &[0.9]);
        let mut rng = Rng::stream(1, "test");
        let x = rng.normals(8);
        let mut seen = Vec::new();
        let plans = denoise(
            &schedule,
            (sampler, steps),
            &known,
            x,
            &mut rng,
            &mut |x, _| Ok(vec![0.25; x.len()]),
            &mut |step| {
                assert_eq!((step.noisy[0], step.clean[4]), (0.9, 0.9));
                seen.push(step.t);
                ControlFlow::Continue(())
            },
        );
        (plans.unwrap().unwrap(), seen)
    }

    #[test]
    fn both_samplers_end_on_the_denoisers_plan_with_known_entries_kept() {
        for (sampler, steps, expected) in [(Sampler::Ddim, 5, 5), (Sampler::Ddpm, 5, 64)] {
            let (plans, seen) = run(sampler, steps);
            assert_eq!(plans, [0.9, 0.25, 0.25, 0.25, 0.9, 0.25, 0.25, 0.25]);
            assert_eq!(seen.len(), expected);
        }
    }

    #[test]
    fn ddim_recovers_the_data_along_its_exact_trajectory() {
        // With x_t = signal x_0 + noise eps for one fixed eps, every DDIM step
        // stays on that line.
        let schedule = Schedule::cosine(64);
        let (clean, eps) = (0.4_f32, -1.3_f32);
        let at = |t| {
            let (signal, noise) = schedule.levels(t);
            signal * clean + noise * eps
        };
        let mut x = [at(60)];
        ddim(&schedule, 60, 17, &mut x, &[clean]);
        assert!((x[0] - at(17)).abs() < 1e-5);
    }

    #[test]
    fn a_stopped_chain_returns_nothing() {
        let schedule = Schedule::cosine(8);
        let mut rng = Rng::stream(1, "test");
        let stopped = denoise(
            &schedule,
            (Sampler::Ddim, 4),
            &Inpainting::new(2, 1),
            vec![0.0; 2],
            &mut rng,
            &mut |x, _| Ok(x.to_vec()),
            &mut |_| ControlFlow::Break(()),
        );
        assert_eq!(stopped.unwrap(), None);
    }
}
