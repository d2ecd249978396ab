//! Measuring a Trajectory Transformer's scene.

use std::ops::ControlFlow;

use anyhow::{Context, bail};
use serde::Serialize;

use super::{Eval, environments, record, times};
use crate::eval::Estimate;
use crate::eval::beam::{BeamEvalOptions, BeamEvaluation, evaluate_beam};
use crate::lab::Scene;
use crate::lab::open::{Opened, OpenedModel};
use crate::plan::beam::BeamSettings;

#[derive(Serialize)]
pub struct BeamRow {
    scene: String,
    multi: bool,
    #[serde(flatten)]
    evaluation: BeamEvaluation,
    beam: BeamSettings,
    seed: u64,
    preset: &'static str,
    weights: String,
    device: String,
}

impl Eval {
    /// Measure one scene. Where starts and goals are free, every episode draws
    /// its own.
    pub(super) fn beam(
        &self,
        name: &str,
        scene: &Scene,
        opened: &Opened,
        device: &str,
    ) -> anyhow::Result<BeamRow> {
        let OpenedModel::Trajectory(model) = &opened.model else {
            bail!("{name} does not search");
        };
        // There is one benchmark goal in mazes alone.
        let multi = self.multi || scene.environment.reference_scores.is_none();
        let options = BeamEvalOptions {
            episodes: self.episodes.unwrap_or(100),
            multi,
            seed: self.seed,
            beam: scene.beam.clone(),
            control: scene.control.clone(),
        };
        let bar = crate::cli::progress_bar(options.episodes as u64, "evaluating", self.json);
        // Searches run on the processor whatever the device.
        let mut environments = environments(scene, true)?;
        let evaluation = evaluate_beam(&mut environments, model, &options, &mut |done| {
            bar.set_position(done as u64);
            ControlFlow::Continue(())
        })
        .with_context(|| format!("{name} cannot be evaluated"))?;
        bar.finish_and_clear();
        let row = BeamRow {
            scene: crate::cli::scene_name(name),
            multi,
            evaluation,
            beam: options.beam,
            seed: self.seed,
            preset: model.config.preset.name(),
            weights: opened.hash.clone(),
            device: device.to_owned(),
        };
        if !self.json {
            row.show();
        }
        if self.record {
            let protocol = if multi { "Random goals" } else { "The benchmark's goal" };
            let protocol = if model.config.layout.goals > 0 { protocol } else { "Return" };
            record(name, scene, protocol, &row.line())?;
        }
        Ok(row)
    }
}

impl BeamRow {
    /// For the weights' header.
    fn line(&self) -> String {
        let e = &self.evaluation;
        let n = e.episodes;
        match (e.reach_rate, e.total_reward) {
            (Some(reached), _) => format!(
                "reached {:.1} ± {:.1} % (n {n}, {})",
                100.0 * reached.mean,
                100.0 * reached.se,
                self.beam.describe()
            ),
            (None, Some(total)) => {
                format!("{:.1} ± {:.1} (n {n}, {})", total.mean, total.se, self.beam.describe())
            }
            (None, None) => format!("nothing to record (n {n})"),
        }
    }

    fn show(&self) {
        let e = &self.evaluation;
        println!(
            "{} ({}, n {}, seed {}, {}, {})",
            self.scene,
            self.beam.describe(),
            e.episodes,
            self.seed,
            self.preset,
            self.device
        );
        let line = |what: &str, estimate: Option<Estimate>, factor: f64, unit: &str| {
            if let Some(Estimate { mean, se, .. }) = estimate {
                println!("  {what:<34}{:>8.1} ± {:.1}{unit}", factor * mean, factor * se);
            }
        };
        line("reached", e.reach_rate, 100.0, " %");
        line("arrival", e.arrival_steps, 1.0, " steps");
        line("return", e.total_reward, 1.0, "");
        for other in &e.returns_of_data {
            line(&format!("return of {}", other.policy), Some(other.total_reward), 1.0, "");
        }
        line("ln p of a planned token", e.log_prob_per_token, 1.0, "");
        if let Some(Estimate { mean, se, .. }) = e.spread {
            println!("  {:<34}{mean:>8.3} ± {se:.3}", "width of the beam");
        }
        println!("  {:<34}{}", "one search", times(&e.plan_ms));
    }
}
