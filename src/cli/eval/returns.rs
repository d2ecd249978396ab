//! Measuring a Diffuser's scene where no goal ends an episode.

use std::ops::ControlFlow;

use anyhow::{Context, bail};
use serde::Serialize;

use super::{Eval, environments, record, times};
use crate::eval::returns::{ReturnEvaluation, evaluate_returns};
use crate::eval::{Estimate, EvalOptions};
use crate::lab::Scene;
use crate::lab::device::ChosenDevice;
use crate::lab::open::{Opened, OpenedModel};
use crate::plan::{ControlSettings, PlanSettings, Replan};

#[derive(Serialize)]
pub struct ReturnRow {
    scene: String,
    #[serde(flatten)]
    evaluation: ReturnEvaluation,
    plan: PlanSettings,
    control: ControlSettings,
    seed: u64,
    preset: &'static str,
    weights: String,
    device: String,
}

impl Eval {
    /// Measure one scene.
    pub(super) fn returns(
        &self,
        name: &str,
        scene: &Scene,
        opened: &Opened,
        device: &ChosenDevice,
    ) -> anyhow::Result<ReturnRow> {
        let OpenedModel::Diffuser(planner) = &opened.model else {
            bail!("{name} does not denoise");
        };
        let options = EvalOptions {
            episodes: self.episodes.unwrap_or(100),
            multi: false,
            seed: self.seed,
            settings: scene.plan.clone(),
            control: scene.control.clone(),
            blind: true,
        };
        let bar = crate::cli::progress_bar(options.episodes as u64, "evaluating", self.json);
        let mut environments = environments(scene, !device.is_gpu())?;
        let evaluation = evaluate_returns(&mut environments, planner, &options, &mut |done| {
            bar.set_position(done as u64);
            ControlFlow::Continue(())
        })
        .with_context(|| format!("{name} cannot be evaluated"))?;
        bar.finish_and_clear();
        let row = ReturnRow {
            scene: crate::cli::scene_name(name),
            evaluation,
            plan: options.settings,
            control: options.control,
            seed: self.seed,
            preset: planner.diffuser().config.preset.name(),
            weights: opened.hash.clone(),
            device: device.name.clone(),
        };
        if !self.json {
            row.show();
        }
        if self.record {
            record(name, scene, "Return", &row.line()?)?;
        }
        Ok(row)
    }
}

impl ReturnRow {
    fn sampling(&self) -> String {
        let every = match self.control.replan {
            Replan::EveryNSteps => format!("a plan every {} steps", self.control.replan_every),
            Replan::Never | Replan::OnDeviation => "plans one after another".to_owned(),
        };
        format!("guide scale {}, {every}", self.plan.guide.scale)
    }

    /// For the weights' header.
    fn line(&self) -> anyhow::Result<String> {
        let total = self.evaluation.total_reward.context("there is no episode to record")?;
        let n = self.evaluation.episodes;
        Ok(format!("{:.1} ± {:.1} (n {n}, {})", total.mean, total.se, self.sampling()))
    }

    fn show(&self) {
        let e = &self.evaluation;
        println!(
            "{} ({}, n {}, seed {}, {}, {})",
            self.scene,
            self.sampling(),
            e.episodes,
            self.seed,
            self.preset,
            self.device
        );
        let line = |what: &str, estimate: Option<Estimate>| {
            if let Some(Estimate { mean, se, .. }) = estimate {
                println!("  {what:<34}{mean:>8.1} ± {se:.1}");
            }
        };
        line("return", e.total_reward);
        for other in &e.returns_of_data {
            line(&format!("return of {}", other.policy), Some(other.total_reward));
        }
        line("predicted of the first plan", e.predicted);
        line("earned over its horizon", e.realized);
        println!("  {:<34}{}", "planning", times(&e.plan_ms));
    }
}
