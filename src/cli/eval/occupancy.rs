//! Measuring a gamma-model scene.

use std::ops::ControlFlow;

use anyhow::{Context, bail};
use serde::Serialize;

use super::Eval;
use crate::eval::Estimate;
use crate::eval::gamma::{GammaEvalOptions, evaluate_gamma};
use crate::eval::occupancy::OccupancyReport;
use crate::lab::Scene;
use crate::lab::open::Opened;

/// Cells of the value map along each coordinate.
const VALUE_CELLS: usize = 51;
/// Model samples per state of the value map.
const VALUE_SAMPLES: usize = 1024;
/// Most sources an exact transport is solved for in reasonable time.
const MAX_SOURCES: usize = 10_000;

#[derive(Serialize)]
pub struct OccupancyRow {
    scene: String,
    discount: f32,
    sources: usize,
    samples: usize,
    policy: String,
    #[serde(flatten)]
    report: OccupancyReport,
    seed: u64,
    preset: &'static str,
    weights: String,
    device: String,
}

impl Eval {
    /// Measure the occupancies of one scene at its discount, every policy by
    /// itself.
    pub(super) fn occupancies(
        &self,
        name: &str,
        scene: &Scene,
        opened: &mut Opened,
        device: &str,
    ) -> anyhow::Result<Vec<OccupancyRow>> {
        if self.multi {
            bail!("--multi is for planners; {name} holds a \u{3b3}-model, whose goals always vary");
        }
        let crate::lab::open::OpenedModel::Gamma(model) = &opened.model else {
            bail!("{name} does not predict occupancies");
        };
        let policies = 0..model.config.policies.len();
        policies.map(|policy| self.occupancy(name, scene, opened, policy, device)).collect()
    }

    /// Measure the occupancy of one policy.
    fn occupancy(
        &self,
        name: &str,
        scene: &Scene,
        opened: &mut Opened,
        policy: usize,
        device: &str,
    ) -> anyhow::Result<OccupancyRow> {
        let crate::lab::open::OpenedModel::Gamma(model) = &opened.model else {
            bail!("{name} does not predict occupancies");
        };
        let options = GammaEvalOptions {
            sources: self.episodes.unwrap_or(64).min(MAX_SOURCES),
            samples: scene.occupancy.samples,
            discount: scene.occupancy.discount,
            policy,
            value_cells: VALUE_CELLS,
            value_samples: VALUE_SAMPLES,
            seed: self.seed,
        };
        let bar = crate::cli::progress_bar(1000, "evaluating", self.json);
        let report = evaluate_gamma(opened.environment.as_mut(), model, &options, &mut |share| {
            bar.set_position((1000.0 * share) as u64);
            ControlFlow::Continue(())
        })
        .with_context(|| format!("{name} cannot be evaluated"))?;
        bar.finish_and_clear();
        let row = OccupancyRow {
            scene: crate::cli::scene_name(name),
            discount: options.discount,
            sources: options.sources,
            samples: options.samples,
            policy: model.config.policies.get(policy).cloned().unwrap_or_default(),
            report,
            seed: self.seed,
            preset: model.config.preset.name(),
            weights: opened.hash.clone(),
            device: device.to_owned(),
        };
        if !self.json {
            row.show();
        }
        if self.record {
            let mut protocol = format!("\u{3b3} {}", row.discount);
            if model.config.policies.len() > 1 {
                protocol = format!("{protocol} {}", row.policy);
            }
            super::record(name, scene, &protocol, &row.line())?;
        }
        Ok(row)
    }
}

impl OccupancyRow {
    fn show(&self) {
        println!(
            "{} (policy {}, \u{3b3} {}, {} sources x {} samples, seed {}, {}, {})",
            self.scene,
            self.policy,
            self.discount,
            self.sources,
            self.samples,
            self.seed,
            self.preset,
            self.device
        );
        let line = |what: &str, estimate: Option<Estimate>| {
            if let Some(Estimate { mean, se, .. }) = estimate {
                println!("  {what:<46}{mean:>9.4} \u{b1} {se:.4}");
            }
        };
        let r = &self.report;
        line("negative log-likelihood per dimension, nats", r.nll_per_dim);
        line("transport to the truth, squared distance", r.emd);
        line("transport between two draws of the truth", r.emd_floor);
        line("total variation to the exact occupancy", r.total_variation);
        if let (Some(pearson), Some(rmse)) = (r.value_pearson, r.value_rmse_share) {
            println!("  {:<46}{pearson:>9.4}", "value map, Pearson r");
            println!("  {:<46}{:>9.2} % of the range", "value map, RMSE", 100.0 * rmse);
        }
    }

    /// One line for the weights' header.
    fn line(&self) -> String {
        let mut parts = Vec::new();
        let r = &self.report;
        let number = |estimate: Estimate| format!("{:.4} \u{b1} {:.4}", estimate.mean, estimate.se);
        if let (Some(emd), Some(floor)) = (r.emd, r.emd_floor) {
            parts.push(format!("EMD {} (floor {})", number(emd), number(floor)));
        }
        parts.extend(r.nll_per_dim.map(|nll| format!("NLL per dimension {}", number(nll))));
        parts.extend(r.total_variation.map(|tv| format!("total variation {}", number(tv))));
        if let (Some(pearson), Some(rmse)) = (r.value_pearson, r.value_rmse_share) {
            parts.push(format!("value r {pearson:.4}, RMSE {:.2} %", 100.0 * rmse));
        }
        format!("{} (n {} x {})", parts.join(", "), self.sources, self.samples)
    }
}
