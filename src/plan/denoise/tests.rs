//! Samplers against what is known of them, and chains that begin late.

use super::super::guide::{GuideMethod, GuideSettings, GuideWeight};
use super::host::OnHost;
use super::*;
use crate::model::inpainting::Inpainting;

/// Plans that are all equal to one number: the optimal denoiser knows it.
fn run(sampler: Sampler, steps: usize) -> (Vec<f32>, Vec<usize>) {
    let schedule = Schedule::cosine(64);
    let mut known = Inpainting::new(4, 1);
    known.fix(0, 0, &[0.9]);
    let mut rng = Rng::stream(1, "test");
    let x = rng.normals(8);
    let mut seen = Vec::new();
    let mut chain = OnHost {
        known: &known,
        denoiser: &mut |x, _| Ok(vec![0.25; x.len()]),
        gradient: None,
        on_step: &mut |step| {
            assert_eq!((step.noisy[0], step.clean[4]), (0.9, 0.9));
            seen.push(step.t);
            ControlFlow::Continue(())
        },
    };
    let beginning = Beginning { noise: x, joining: None };
    let plans = denoise(&schedule, (sampler, steps), beginning, &mut rng, None, &mut chain);
    (plans.unwrap().unwrap(), seen)
}

#[test]
fn every_sampler_ends_on_the_denoisers_plan_with_known_entries_kept() {
    for (sampler, steps, expected) in [
        (Sampler::Ddim, 5, 5),
        (Sampler::DpmSolver, 5, 5),
        (Sampler::OneStep, 3, 3),
        (Sampler::Ddpm, 5, 64),
    ] {
        let (plans, seen) = run(sampler, steps);
        assert_eq!(plans, [0.9, 0.25, 0.25, 0.25, 0.9, 0.25, 0.25, 0.25]);
        assert_eq!(seen.len(), expected);
    }
}

/// Follow the solver over `steps` steps that are even in lambda, from time
/// 3800 to 200 of 4000.
fn solve(schedule: &Schedule, steps: usize, first: f32, denoiser: fn(f32, f32, f32) -> f32) -> f32 {
    let ends = [3800, 200].map(|t| schedule.half_log_snr(t));
    let nearest = |lambda: f64| {
        let distance = |t: usize| (schedule.half_log_snr(t) - lambda).abs();
        (200..=3800).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap()
    };
    let times: Vec<usize> = (0..=steps)
        .map(|i| nearest(ends[0] + (ends[1] - ends[0]) * i as f64 / steps as f64))
        .collect();
    let (mut x, mut before) = ([first], None);
    for pair in times.windows(2) {
        let (signal, noise) = schedule.levels(pair[0]);
        let clean = [denoiser(x[0], signal, noise)];
        let (earlier, clean_before) = before.unzip();
        let step = Sampler::DpmSolver.transition(schedule, pair[0], pair[1], earlier);
        step.apply(&mut x, &clean, clean_before.as_ref().map(|clean: &[f32; 1]| &clean[..]));
        before = Some((pair[0], clean));
    }
    x[0]
}

/// By which power of two errors fall where steps double.
fn orders(errors: &[f32]) -> Vec<f32> {
    errors.windows(2).map(|pair| (pair[0] / pair[1]).log2()).collect()
}

#[test]
fn the_solver_is_of_second_order_where_the_answer_is_known_in_closed_form() {
    // Data from N(m, s^2): the optimal denoiser is linear, and x keeps its
    // place in standard deviations along the whole chain.
    const MEAN: f32 = 0.3;
    const DEVIATION: f32 = 0.5;
    let schedule = Schedule::cosine(4000);
    let spread = |t: usize| {
        let (signal, noise) = schedule.levels(t);
        ((signal * DEVIATION).powi(2) + noise * noise).sqrt()
    };
    let first = 1.1;
    let place = (first - schedule.levels(3800).0 * MEAN) / spread(3800);
    let exact = schedule.levels(200).0 * MEAN + place * spread(200);
    let denoiser = |x: f32, signal: f32, noise: f32| {
        let gain = signal * DEVIATION * DEVIATION / ((signal * DEVIATION).powi(2) + noise * noise);
        MEAN + gain * (x - signal * MEAN)
    };
    let errors = [16, 32, 64, 128].map(|n| (solve(&schedule, n, first, denoiser) - exact).abs());
    let orders = orders(&errors);
    assert!(orders.iter().all(|order| (1.7..2.3).contains(order)), "{orders:?} {errors:?}");
    assert!(errors[3] < 1e-4, "{errors:?}");
}

#[test]
fn the_solver_agrees_with_a_fine_ddim_chain_to_second_order() {
    // Data at -1 and 1: the optimal denoiser is a hyperbolic tangent.
    let schedule = Schedule::cosine(4000);
    let denoiser = |x: f32, signal: f32, noise: f32| (signal * x / (noise * noise)).tanh();
    let first = 0.4;
    // In f64: 3600 steps of rounding would be seen.
    let mut fine = f64::from(first);
    for t in (201..=3800).rev() {
        let [signal, noise] = [schedule.abar(t).sqrt(), (1.0 - schedule.abar(t)).sqrt()];
        let clean = (signal * fine / (noise * noise)).tanh();
        let (next, level) = (schedule.abar(t - 1).sqrt(), (1.0 - schedule.abar(t - 1)).sqrt());
        fine = next * clean + level * (fine - signal * clean) / noise;
    }
    let errors =
        [8, 16, 32].map(|n| (f64::from(solve(&schedule, n, first, denoiser)) - fine).abs() as f32);
    let orders = orders(&errors);
    assert!(orders.iter().all(|order| (1.5..3.2).contains(order)), "{orders:?} {errors:?}");
}

#[test]
fn a_chain_of_one_forward_is_the_same_for_ddim_and_the_solver() {
    assert_eq!(run(Sampler::Ddim, 1), run(Sampler::DpmSolver, 1));
}

#[test]
fn the_distilled_sampler_draws_fresh_noise_and_only_between_forwards() {
    let chain = |steps: usize, seed: u64| {
        let schedule = Schedule::cosine(64);
        let mut seen = Vec::new();
        let mut chain = OnHost {
            known: &Inpainting::new(2, 1),
            denoiser: &mut |x, _| Ok(x.iter().map(|x| 0.5 * x).collect()),
            gradient: None,
            on_step: &mut |step| {
                seen.push((step.noisy.to_vec(), step.clean.to_vec()));
                ControlFlow::Continue(())
            },
        };
        let beginning = Beginning { noise: vec![0.5, -0.5], joining: None };
        let mut rng = Rng::stream(seed, "test");
        denoise(&schedule, (Sampler::OneStep, steps), beginning, &mut rng, None, &mut chain)
            .unwrap();
        seen
    };
    assert_eq!(chain(1, 1), chain(1, 2));
    let (one, other) = (chain(2, 1), chain(2, 2));
    assert_eq!(one[0], other[0]);
    assert_ne!(one[1].0, other[1].0);
    // Noise of the second time on the first clean plan.
    let (signal, level) = Schedule::cosine(64).levels(31);
    let mut rng = Rng::stream(1, "test");
    for (x, clean) in one[1].0.iter().zip(&one[0].1) {
        assert!((x - signal * clean - level * rng.normal()).abs() < 1e-6);
    }
}

/// Warm-start `plan` for `steps` of eight steps, beside `fresh` plans from
/// noise; the result and the batch of every forward with its time.
fn warm(
    plan: &[f32],
    steps: usize,
    fresh: usize,
    denoiser: impl Fn(&[f32]) -> Vec<f32>,
) -> (Vec<f32>, Vec<(usize, usize)>) {
    let schedule = Schedule::cosine(64);
    let times = Sampler::Ddim.times(&schedule, 8);
    let mut rng = Rng::stream(5, "test");
    let eps = rng.normals(plan.len());
    let noisy = noised(&schedule, times[8 - steps], plan, &eps);
    let noise = rng.normals(fresh * plan.len());
    let mut seen = Vec::new();
    let mut chain = OnHost {
        known: &Inpainting::new(plan.len(), 1),
        denoiser: &mut |x, t| {
            seen.push((x.len() / plan.len(), t));
            Ok(denoiser(x))
        },
        gradient: None,
        on_step: &mut |_| ControlFlow::Continue(()),
    };
    let beginning = Beginning { noise, joining: Some(Joining { steps, noisy }) };
    let plans = denoise(&schedule, (Sampler::Ddim, 8), beginning, &mut rng, None, &mut chain);
    (plans.unwrap().unwrap(), seen)
}

#[test]
fn a_perfect_denoiser_gives_the_earlier_plan_back_in_as_many_forwards_as_steps() {
    let plan = [0.3, -0.8, 0.1];
    for steps in 1..=8 {
        let (plans, seen) = warm(&plan, steps, 0, |_| plan.to_vec());
        assert_eq!(plans, plan);
        assert_eq!(seen.len(), steps, "{seen:?}");
        assert_eq!(seen.last(), Some(&(1, 0)));
    }
}

#[test]
fn hardly_any_noise_leaves_a_plan_where_a_denoiser_that_changes_little_has_it() {
    // The last step begins at the lowest noise level; what the denoiser is
    // shown there is the plan itself up to that noise.
    let plan = [0.3, -0.8, 0.1];
    let (plans, _) = warm(&plan, 1, 0, <[f32]>::to_vec);
    let level = Schedule::cosine(64).levels(0).1;
    for (found, given) in plans.iter().zip(plan) {
        assert!((found - given).abs() < 4.0 * level, "{plans:?}");
    }
}

#[test]
fn earlier_plans_join_fresh_ones_for_the_last_steps_and_leave_them_as_they_were() {
    let plan = [0.3, -0.8];
    let half = |x: &[f32]| x.iter().map(|x| 0.5 * x).collect::<Vec<f32>>();
    let (plans, seen) = warm(&plan, 2, 3, half);
    let batches: Vec<usize> = seen.iter().map(|(batch, _)| *batch).collect();
    assert_eq!(batches, [3, 3, 3, 3, 3, 3, 4, 4]);
    let (alone, _) = warm(&plan, 2, 0, half);
    assert_eq!(plans[6..], alone);
}

#[test]
fn a_stopped_chain_returns_nothing() {
    let schedule = Schedule::cosine(8);
    let mut rng = Rng::stream(1, "test");
    let mut chain = OnHost {
        known: &Inpainting::new(2, 1),
        denoiser: &mut |x, _| Ok(x.to_vec()),
        gradient: None,
        on_step: &mut |_| ControlFlow::Break(()),
    };
    let beginning = Beginning { noise: vec![0.0; 2], joining: None };
    let stopped = denoise(&schedule, (Sampler::Ddim, 4), beginning, &mut rng, None, &mut chain);
    assert_eq!(stopped.unwrap(), None);
}

/// Plans of a denoiser that knows nothing, pulled upwards by a guide.
fn pulled(sampler: Sampler, settings: &GuideSettings) -> Vec<f32> {
    let schedule = Schedule::cosine(20);
    let mut known = Inpainting::new(3, 1);
    known.fix(0, 0, &[0.9]);
    let mut rng = Rng::stream(3, "test");
    let x = rng.normals(6);
    let mut chain = OnHost {
        known: &known,
        // Half of what it sees: what a guide did remains visible.
        denoiser: &mut |x, _| Ok(x.iter().map(|x| 0.5 * x).collect()),
        gradient: Some(&mut |x, _| Ok(vec![1.0; x.len()])),
        on_step: &mut |_| ControlFlow::Continue(()),
    };
    let beginning = Beginning { noise: x, joining: None };
    let guide = Some(Guide { settings });
    let plans = denoise(&schedule, (sampler, 6), beginning, &mut rng, guide, &mut chain);
    plans.unwrap().unwrap()
}

#[test]
fn a_guide_of_scale_zero_changes_no_bit_and_others_pull_along_their_gradient() {
    for sampler in [Sampler::Ddim, Sampler::Ddpm] {
        for method in [GuideMethod::Mean, GuideMethod::Noisy] {
            for weight in [GuideWeight::Variance, GuideWeight::Deviation, GuideWeight::One] {
                let settings =
                    |scale| GuideSettings { scale, method, weight, ..GuideSettings::default() };
                let still = pulled(sampler, &settings(0.0));
                let gone = pulled(sampler, &GuideSettings { stop_below: 99, ..settings(1.0) });
                assert_eq!(still, gone);
                let up = pulled(sampler, &settings(0.3));
                let down = pulled(sampler, &settings(-0.3));
                assert_eq!((up[0], up[3]), (0.9, 0.9), "known entries stay");
                for at in [1, 2, 4, 5] {
                    assert!(up[at] > still[at] && still[at] > down[at], "{up:?} {still:?}");
                }
            }
        }
    }
}

#[test]
fn the_thesis_adds_the_scaled_variance_times_the_gradient_to_the_mean() {
    let schedule = Schedule::cosine(20);
    let settings = GuideSettings { scale: 0.7, ..GuideSettings::default() };
    let mut asked = Vec::new();
    let mut chain = OnHost {
        known: &Inpainting::new(2, 1),
        denoiser: &mut |x, _| Ok(x.to_vec()),
        gradient: Some(&mut |x, t| {
            asked.push((x.to_vec(), t));
            Ok(vec![2.0; x.len()])
        }),
        on_step: &mut |_| ControlFlow::Continue(()),
    };
    let guide = Guide { settings: &settings };
    let variance = schedule.posterior(9).variance;
    let at = (9, 8, schedule.variance(9, Some(8)));
    let mean = guide.at_mean(at, &mut chain, vec![0.1, -0.2]).unwrap();
    let moved = (0.7 * variance * 2.0) as f32;
    assert!((mean[0] - 0.1 - moved).abs() < 1e-6 && (mean[1] + 0.2 - moved).abs() < 1e-6);
    // J is asked about the mean itself, at its own noise level.
    assert_eq!(asked, [(vec![0.1, -0.2], 8)]);
}
