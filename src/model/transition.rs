//! One step of a denoising chain, whichever the sampler, as a sum with numbers
//! that depend on the times alone: the same on slices and on a device.

use super::schedule::Schedule;

/// The step from x_t to x_s with the clean plans x_0 predicted at t,
///
///   x_s = noisy x_t + clean x_0 + before x_0(before) + fresh eps
///
/// where x_0(before) are the clean plans of the step before, and eps is drawn
/// anew.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transition {
    /// Weight of the noisy plans.
    pub noisy: f32,
    /// Weight of the clean plans.
    pub clean: f32,
    /// Weight of the clean plans of the step before.
    pub before: f32,
    /// Deviation of the fresh noise.
    pub fresh: f32,
}

impl Transition {
    /// Take `x` from time t to s, all but the fresh noise. Plans after the end
    /// of `before` have just joined: the clean plans of a step before are taken
    /// to be those of this one, which is the sampler's first step.
    pub fn apply(&self, x: &mut [f32], clean: &[f32], before: Option<&[f32]>) {
        let before = before.unwrap_or_default();
        let n = before.len().min(x.len()).min(clean.len());
        let (x, joined) = x.split_at_mut(n);
        for ((x, clean), before) in x.iter_mut().zip(clean).zip(before) {
            *x = self.noisy * *x + self.clean * clean + self.before * before;
        }
        let both = self.clean + self.before;
        for (x, clean) in joined.iter_mut().zip(&clean[n..]) {
            *x = self.noisy * *x + both * clean;
        }
    }
}

impl Schedule {
    /// Along the noise that x_t and its clean plans both imply (DDIM; Song et
    /// al. 2021, equation 12 with sigma = 0):
    /// x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s) eps.
    pub fn ddim(&self, t: usize, s: usize) -> Transition {
        let keep = self.noise_ratio(t, s);
        let clean = self.abar(s).sqrt() - keep * self.abar(t).sqrt();
        Transition { noisy: keep as f32, clean: clean as f32, ..Transition::default() }
    }

    /// One step of DPM-Solver++ (2M) (Lu et al. 2022, Algorithm 2, in the data
    /// prediction): the exact solution of the diffusion ODE over the
    /// half-log-SNR lambda = ln(signal / noise), for a clean plan that goes on
    /// along the line through those of the last two steps,
    ///
    ///   x_s = noise_s / noise_t x_t - signal_s (e^{-h} - 1) D
    ///   D   = (1 + 1 / 2r) x_0(t) - 1 / 2r x_0(before)
    ///
    /// with h = lambda_s - lambda_t and r the last step's length over h. The
    /// first step has no step `before` it and is DDIM's.
    pub fn dpm_solver(&self, t: usize, s: usize, before: Option<usize>) -> Transition {
        let Some(before) = before else { return self.ddim(t, s) };
        let h = self.half_log_snr(s) - self.half_log_snr(t);
        let last = self.half_log_snr(t) - self.half_log_snr(before);
        let slope = h / (2.0 * last);
        let take = -self.abar(s).sqrt() * (-h).exp_m1();
        Transition {
            noisy: self.noise_ratio(t, s) as f32,
            clean: (take * (1.0 + slope)) as f32,
            before: (-take * slope) as f32,
            fresh: 0.0,
        }
    }

    /// Fresh noise of time s on the clean plans (Song et al. 2023, Algorithm 1).
    pub fn renoise(&self, s: usize) -> Transition {
        let (signal, noise) = self.levels(s);
        Transition { clean: signal, fresh: noise, ..Transition::default() }
    }

    /// A draw of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, equation 7).
    pub fn ancestral(&self, t: usize) -> Transition {
        let posterior = self.posterior(t);
        Transition {
            noisy: posterior.noisy as f32,
            clean: posterior.clean as f32,
            before: 0.0,
            fresh: posterior.variance.sqrt() as f32,
        }
    }

    /// sqrt(1 - abar_s) / sqrt(1 - abar_t).
    fn noise_ratio(&self, t: usize, s: usize) -> f64 {
        ((1.0 - self.abar(s)) / (1.0 - self.abar(t))).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ddim_keeps_the_noise_and_the_clean_plan_and_changes_only_their_shares() {
        let schedule = Schedule::cosine(64);
        for (t, s) in [(63, 62), (63, 0), (31, 4), (1, 0)] {
            let [(signal, noise), (next_signal, next_noise)] =
                [t, s].map(|time| schedule.levels(time));
            let (clean, eps) = ([0.3, -0.8], [1.2, -0.4]);
            let mut x = [0, 1].map(|i: usize| signal * clean[i] + noise * eps[i]);
            schedule.ddim(t, s).apply(&mut x, &clean, None);
            for i in 0..2 {
                let expected = next_signal * clean[i] + next_noise * eps[i];
                assert!((x[i] - expected).abs() < 1e-5, "{t} {s}: {x:?}");
            }
        }
    }

    #[test]
    fn the_solver_is_ddim_for_one_step_and_exact_where_nothing_changes() {
        let schedule = Schedule::cosine(64);
        assert_eq!(schedule.dpm_solver(63, 31, None), schedule.ddim(63, 31));
        // A clean plan that stays the same: both are exact, whatever the step.
        let (mut ours, mut theirs) = ([0.7, -0.2], [0.7, -0.2]);
        let clean = [0.1, 0.2];
        schedule.dpm_solver(31, 4, Some(63)).apply(&mut ours, &clean, Some(&clean));
        schedule.ddim(31, 4).apply(&mut theirs, &clean, None);
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-6), "{ours:?} {theirs:?}");
    }

    #[test]
    fn plans_that_have_just_joined_take_the_samplers_first_step() {
        let schedule = Schedule::cosine(64);
        let (mut both, mut alone) = ([0.3, 0.9], [0.9]);
        schedule.dpm_solver(31, 4, Some(63)).apply(&mut both, &[0.1, 0.5], Some(&[0.2]));
        schedule.ddim(31, 4).apply(&mut alone, &[0.5], None);
        assert!((both[1] - alone[0]).abs() < 1e-6, "{both:?} {alone:?}");
        assert!((both[0] - 0.3).abs() > 1e-3);
    }
}
