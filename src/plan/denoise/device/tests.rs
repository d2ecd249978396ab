//! Chains on a device against chains on the host, with the CPU as the device.

use burn::tensor::Device;

use super::super::host::OnHost;
use super::super::{Beginning, Joining, denoise};
use super::*;
use crate::data::Duration;
use crate::data::LimitsNormalizer;
use crate::model::buckets::Buckets;
use crate::model::diffuser::{DiffuserConfig, Parametrization, Preset};
use crate::model::guide::{GuideConfig, ReturnGuide};
use crate::plan::guide::{Guide, GuideMethod, GuideSettings};
use crate::plan::sampler::Sampler;

const WAYPOINTS: usize = 8;
const DIMS: usize = 3;

fn diffuser(parametrization: Parametrization, buckets: Buckets) -> Diffuser {
    let device = Device::flex();
    let config = DiffuserConfig {
        preset: Preset::Quick,
        observation_dim: 2,
        action_dim: 1,
        goal_dims: 2,
        fixes_final_state: false,
        waypoints: WAYPOINTS,
        duration: Duration::Fixed { steps: 16.0 },
        width: 16,
        multipliers: vec![1, 2],
        diffusion_steps: 20,
        parametrization,
        clip: true,
        batch: 2,
        accumulate: 1,
        learning_rate: 1e-3,
        decay_learning_rate: false,
        ema_decay: 0.9,
        ema_every: 1,
        ema_start: 0,
        policies: Vec::new(),
        guide: None,
    };
    let init = |seed| config.network().init(seed, &device);
    let guide = GuideConfig { discount: 0.9, width: 16 };
    let guide = ReturnGuide::random(&config, &guide, 3, &device.clone().autodiff());
    let normalizer = LimitsNormalizer::new(vec![-1.0; DIMS], vec![1.0; DIMS]).unwrap();
    let (network, student) = (init(1), init(2));
    Diffuser::new(config.clone(), normalizer, network, device.clone())
        .with_student(Some(student))
        .with_guide(Some(guide))
        .with_buckets(buckets)
}

/// What a chain is asked for beside its sampler.
#[derive(Clone, Copy)]
struct Asked<'a> {
    sampler: Sampler,
    fresh: usize,
    joining: usize,
    guide: Option<&'a GuideSettings>,
    /// Stop after so many steps.
    stop: usize,
}

/// Every step's time, noisy and clean plans, and whether the chain ended.
type Seen = (Vec<(usize, Vec<f32>, Vec<f32>)>, bool);

fn beginning(asked: &Asked, rng: &mut Rng) -> Beginning {
    let size = WAYPOINTS * DIMS;
    let noise = rng.normals(asked.fresh * size);
    let noisy = rng.normals(asked.joining * size);
    let joining = (asked.joining > 0).then_some(Joining { steps: 2, noisy });
    Beginning { noise, joining }
}

fn run(diffuser: &Diffuser, asked: Asked, on_device: bool) -> Seen {
    let mut rng = Rng::stream(7, "chain");
    let beginning = beginning(&asked, &mut rng);
    let durations = vec![16.0; asked.fresh + asked.joining];
    let mut known = Inpainting::new(WAYPOINTS, DIMS);
    known.fix(0, 1, &[0.3, -0.6]);
    known.fix(WAYPOINTS - 1, 1, &[0.9, 0.1]);
    let settings = asked.guide.cloned().unwrap_or_default();
    let shares = settings.shares(WAYPOINTS, DIMS, 1);
    let guide = asked.guide.map(|settings| Guide { settings });
    let which = match asked.sampler {
        Sampler::OneStep => Which::Student,
        _ => Which::Teacher,
    };
    let mut seen = Vec::new();
    let on_step = &mut |step: Step| {
        seen.push((step.t, step.noisy.to_vec(), step.clean.to_vec()));
        if seen.len() == asked.stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let (schedule, sampler) = (&diffuser.schedule, (asked.sampler, 5));
    let ended = if on_device {
        let plans = (WAYPOINTS, &durations[..]);
        let mut chain = OnDevice::new(diffuser, which, plans, &known, shares, on_step).unwrap();
        let found = denoise(schedule, sampler, beginning, &mut rng, guide, &mut chain).unwrap();
        found.is_some()
    } else {
        let mut chain = OnHost {
            known: &known,
            denoiser: &mut |x, t| {
                let n = x.len() / (WAYPOINTS * DIMS);
                diffuser.predict(which, x, WAYPOINTS, t, &durations[..n])
            },
            gradient: Some(&mut |x, t| {
                let slopes = diffuser.guide().unwrap().gradient(x, WAYPOINTS, t)?;
                Ok(slopes.iter().zip(shares.iter().cycle()).map(|(g, share)| g * share).collect())
            }),
            on_step,
        };
        let found = denoise(schedule, sampler, beginning, &mut rng, guide, &mut chain).unwrap();
        found.is_some()
    };
    (seen, ended)
}

fn assert_near(diffuser: &Diffuser, here: &Seen, there: &Seen, what: &str) {
    assert_eq!((here.0.len(), here.1), (there.0.len(), there.1), "{what}");
    for ((t, noisy, clean), (s, noisy_there, clean_there)) in here.0.iter().zip(&there.0) {
        assert_eq!((t, noisy.len(), clean.len()), (s, noisy_there.len(), clean_there.len()));
        // Layers round otherwise here and there. At the first times a clean plan
        // is a small difference of large numbers where noise is predicted, and
        // what it is off by then stays in the chain.
        let bound = match diffuser.config.parametrization {
            Parametrization::Clean => 1e-4,
            Parametrization::Noise => 1e-3,
        };
        for (a, b) in noisy.iter().chain(clean).zip(noisy_there.iter().chain(clean_there)) {
            assert!((a - b).abs() < bound * (1.0 + a.abs()), "{what} at {t}: {a} and {b}");
        }
    }
}

const NEVER: usize = usize::MAX;

#[test]
fn every_sampler_takes_the_same_steps_on_a_device_as_on_the_host() {
    for parametrization in [Parametrization::Clean, Parametrization::Noise] {
        for buckets in [Buckets::Exact, Buckets::Filled] {
            let diffuser = diffuser(parametrization, buckets);
            for row in Sampler::ALL {
                for (fresh, joining) in [(3, 0), (0, 4), (3, 2), (15, 5)] {
                    let sampler = row.sampler;
                    let asked = Asked { sampler, fresh, joining, guide: None, stop: NEVER };
                    let [here, there] = [false, true].map(|there| run(&diffuser, asked, there));
                    assert!(here.1 && !here.0.is_empty());
                    let what = format!("{} {fresh} {joining} {buckets:?}", row.id);
                    assert_near(&diffuser, &here, &there, &what);
                }
            }
        }
    }
}

#[test]
fn a_guide_pulls_plans_on_a_device_where_it_pulls_them_on_the_host() {
    let diffuser = diffuser(Parametrization::Clean, Buckets::Filled);
    for method in [GuideMethod::Mean, GuideMethod::Noisy] {
        let settings = GuideSettings { scale: 5.0, method, ramp: 4, ..GuideSettings::default() };
        let asked =
            |guide| Asked { sampler: Sampler::Ddpm, fresh: 3, joining: 2, guide, stop: NEVER };
        let [here, there] =
            [false, true].map(|there| run(&diffuser, asked(Some(&settings)), there));
        assert_near(&diffuser, &here, &there, &format!("{method:?}"));
        let without = run(&diffuser, asked(None), true);
        let last = |seen: &Seen| seen.0.last().map(|(_, noisy, _)| noisy.clone()).unwrap();
        let moved = last(&there).iter().zip(last(&without)).any(|(a, b)| (a - b).abs() > 1e-3);
        assert!(moved, "the guide does nothing");
    }
}

#[test]
fn a_chain_on_a_device_stops_where_the_step_that_is_seen_says_so() {
    let diffuser = diffuser(Parametrization::Clean, Buckets::Filled);
    for stop in 1..=5 {
        let asked = Asked { sampler: Sampler::Ddim, fresh: 2, joining: 0, guide: None, stop };
        let [here, there] = [false, true].map(|there| run(&diffuser, asked, there));
        assert_eq!((there.0.len(), there.1), (stop, false));
        assert_near(&diffuser, &here, &there, "stopped");
    }
}
