//! The samplers: every way from noise to a plan, one row each.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::model::schedule::Schedule;
use crate::model::transition::Transition;

/// How noise becomes a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Deterministic, any number of steps (Song et al. 2021, eta = 0).
    Ddim,
    /// Deterministic, second order: DPM-Solver++ (2M) (Lu et al. 2022).
    #[serde(rename = "dpm-solver++")]
    DpmSolver,
    /// The distilled network, which jumps to the end of the chain (Song et al.
    /// 2023).
    OneStep,
    /// Ancestral sampling over every diffusion time (Ho et al. 2020), as in
    /// the thesis.
    Ddpm,
}

/// What menus, `--set` and scene files say of a sampler.
pub struct SamplerRow {
    /// Which one.
    pub sampler: Sampler,
    /// In scene files and for `--set`.
    pub id: &'static str,
    /// In menus.
    pub title: &'static str,
    /// One sentence for tooltips.
    pub help: &'static str,
    /// Numbers of steps that make a difference; others are held to them.
    pub steps: RangeInclusive<usize>,
    /// Whether it needs a distilled network among the weights.
    pub is_distilled: bool,
}

impl Sampler {
    /// Every sampler, in the order of menus.
    pub const ALL: &'static [SamplerRow] = &[
        SamplerRow {
            sampler: Sampler::Ddim,
            id: "ddim",
            title: "DDIM",
            help: "Deterministic, any number of steps, first order.",
            steps: 1..=1000,
            is_distilled: false,
        },
        SamplerRow {
            sampler: Sampler::DpmSolver,
            id: "dpm-solver++",
            title: "DPM-Solver++",
            help: "Deterministic, second order: every step remembers the one before.",
            steps: 1..=1000,
            is_distilled: false,
        },
        SamplerRow {
            sampler: Sampler::OneStep,
            id: "one-step",
            title: "Distilled",
            help: "A second network that learned where the chain ends: one step, or a few with fresh noise between them.",
            steps: 1..=4,
            is_distilled: true,
        },
        SamplerRow {
            sampler: Sampler::Ddpm,
            id: "ddpm",
            title: "DDPM",
            help: "Fresh noise at every diffusion time, as in the thesis; the number of steps is that of training.",
            steps: 1000..=1000,
            is_distilled: false,
        },
    ];

    /// Its row.
    pub fn row(self) -> &'static SamplerRow {
        // Every variant has a row; a test says so.
        Self::ALL.iter().find(|row| row.sampler == self).unwrap_or(&Self::ALL[0])
    }

    /// The number of steps it takes for `steps`.
    pub fn held(self, steps: usize) -> usize {
        let range = &self.row().steps;
        steps.clamp(*range.start(), *range.end())
    }

    /// The diffusion times it visits in `steps` steps, noise first. Every one
    /// is a forward.
    pub fn times(self, schedule: &Schedule, steps: usize) -> Vec<usize> {
        let steps = self.held(steps);
        match self {
            Sampler::Ddim | Sampler::Ddpm => schedule.subsequence(steps),
            Sampler::DpmSolver | Sampler::OneStep => schedule.trailing(steps),
        }
    }

    /// Its step from time `t` to `s`, after one that began at `before`.
    pub fn transition(
        self,
        schedule: &Schedule,
        t: usize,
        s: usize,
        before: Option<usize>,
    ) -> Transition {
        match self {
            Sampler::Ddim => schedule.ddim(t, s),
            Sampler::DpmSolver => schedule.dpm_solver(t, s, before),
            Sampler::OneStep => schedule.renoise(s),
            Sampler::Ddpm => schedule.ancestral(t),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sampler_has_a_row_and_scene_files_call_it_by_its_id() {
        for sampler in [Sampler::Ddim, Sampler::DpmSolver, Sampler::OneStep, Sampler::Ddpm] {
            let row = sampler.row();
            assert_eq!(row.sampler, sampler);
            assert_eq!(serde_json::to_value(sampler).unwrap(), row.id);
        }
        for (i, row) in Sampler::ALL.iter().enumerate() {
            assert!(Sampler::ALL[i + 1..].iter().all(|other| other.id != row.id), "{}", row.id);
        }
    }

    #[test]
    fn every_sampler_begins_in_noise_and_takes_as_many_steps_as_it_says() {
        let schedule = Schedule::cosine(64);
        for row in Sampler::ALL {
            for steps in [0, 1, 2, 5, 64, 9999] {
                let times = row.sampler.times(&schedule, steps);
                let held = steps.clamp(*row.steps.start(), *row.steps.end()).min(64);
                assert_eq!((times.len(), times[0]), (held, 63), "{} {steps}", row.id);
                assert!(times.windows(2).all(|pair| pair[0] > pair[1]), "{} {steps}", row.id);
            }
        }
    }
}
