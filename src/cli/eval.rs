//! `foresight eval`: scores with n and standard error.

mod beam;
mod occupancy;
mod returns;

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::{DeviceArgument, Settings};
use crate::env::Environment;
use crate::eval::{Estimate, EvalOptions, Evaluation, PlanTimes, evaluate};
use crate::lab::open::OpenedModel;
use crate::lab::{Checkpoint, Scene, checkpoint};
use crate::plan::Selection;

/// Measure scenes over independent episodes.
///
/// The score is D4RL-normalized: 100 (R - low) / (high - low), with R the
/// number of steps within 0.5 of the goal. Picking a plan by default reads the
/// map, which published planners do not; the score without it stands beside.
/// Episodes run on all processor cores, one on each; planning times are those
/// of the first tenth, which run one after another.
#[derive(Args, Debug)]
pub struct Eval {
    /// Scene files, or names of shipped scenes.
    #[arg(required = true)]
    scenes: Vec<String>,
    /// Independent episodes (100 if absent), or source states of a
    /// γ-model (64).
    #[arg(long)]
    episodes: Option<usize>,
    /// Draw a new goal for every episode (Multi2D).
    #[arg(long)]
    multi: bool,
    /// Seed of resets, goals and noise.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write the measured score into the header of the scene's weights file.
    #[arg(long)]
    record: bool,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
    /// Also write the results, as JSON, to this file.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    device: DeviceArgument,
}

#[derive(Serialize)]
struct Results {
    results: Vec<serde_json::Value>,
}

#[derive(Serialize)]
struct Row {
    scene: String,
    multi: bool,
    #[serde(flatten)]
    evaluation: Evaluation,
    selection: Selection,
    seed: u64,
    preset: &'static str,
    weights: String,
    device: String,
}

impl Eval {
    pub fn run(self) -> anyhow::Result<()> {
        let episodes = self.episodes.unwrap_or(100);
        if !(1..=1_000_000).contains(&episodes) {
            bail!("{episodes} episodes; use 1 to 1000000");
        }
        let device = self.device.choose()?;
        let mut results = Vec::new();
        for name in &self.scenes {
            let (scene, mut opened) = super::open_scene(name, &self.settings, &device)
                .with_context(|| format!("{name} cannot be evaluated"))?;
            let planner = match &opened.model {
                OpenedModel::Diffuser(planner) => planner,
                OpenedModel::Gamma(_) => {
                    for row in self.occupancies(name, &scene, &mut opened, &device.name)? {
                        results.push(serde_json::to_value(row)?);
                    }
                    continue;
                }
                OpenedModel::Trajectory(_) => {
                    let row = self.beam(name, &scene, &opened, &device.name)?;
                    results.push(serde_json::to_value(row)?);
                    continue;
                }
            };
            if opened.environment.spec().goal_dims.is_empty() {
                let row = self.returns(name, &scene, &opened, &device)?;
                results.push(serde_json::to_value(row)?);
                continue;
            }
            // There is one benchmark goal in mazes alone.
            let multi = self.multi || scene.environment.reference_scores.is_none();
            let options = EvalOptions {
                episodes,
                multi,
                seed: self.seed,
                settings: scene.plan.clone(),
                control: scene.control.clone(),
                blind: true,
            };
            let mut environments = environments(&scene, !device.is_gpu())?;
            let bar = super::progress_bar(episodes as u64, "evaluating", self.json);
            let evaluation = evaluate(&mut environments, planner, &options, &mut |done| {
                bar.set_position(done as u64);
                ControlFlow::Continue(())
            })?;
            bar.finish_and_clear();
            let row = Row {
                scene: super::scene_name(name),
                multi,
                evaluation,
                selection: scene.plan.selection,
                seed: self.seed,
                preset: planner.diffuser().config.preset.name(),
                weights: opened.hash,
                device: device.name.clone(),
            };
            if !self.json {
                show(&row);
            }
            if self.record {
                let protocol = match (multi, row.evaluation.score.is_some()) {
                    (_, false) => "Random goals",
                    (true, true) => "Multi2D",
                    (false, true) => "Maze2D",
                };
                record(name, &scene, protocol, &score_line(name, &row)?)?;
            }
            results.push(serde_json::to_value(row)?);
        }
        let text = serde_json::to_string_pretty(&Results { results })?;
        if let Some(out) = &self.out {
            crate::files::write_atomic(out, text.as_bytes())?;
        }
        if self.json {
            println!("{text}");
        }
        Ok(())
    }
}

/// An environment for every episode that runs at a time: one per thread where
/// episodes run on the processor, and one where they would wait for a GPU.
fn environments(scene: &Scene, on_cpu: bool) -> anyhow::Result<Vec<Box<dyn Environment>>> {
    let at_a_time = if on_cpu { rayon::current_num_threads() } else { 1 };
    (0..at_a_time).map(|_| Ok(scene.make_environment()?)).collect()
}

/// The score for the weights' header.
fn score_line(name: &str, row: &Row) -> anyhow::Result<String> {
    let Some(reached) = row.evaluation.reach_rate else {
        bail!("{name} has no episode to record");
    };
    let score = row.evaluation.score.map(|score| format!("{:.1} ± {:.1}, ", score.mean, score.se));
    // Where there is a score, that carries the error.
    let error = match score {
        Some(_) => String::new(),
        None => format!("± {:.1} ", 100.0 * reached.se),
    };
    Ok(format!(
        "{}reached {:.1} {error}% (n {}, {})",
        score.unwrap_or_default(),
        100.0 * reached.mean,
        row.evaluation.episodes,
        match row.selection {
            Selection::ReadsMap => "selection reads the map",
            Selection::Blind => "blind selection",
            Selection::Return => "selection by predicted return",
        }
    ))
}

/// One line per protocol in the header of the weights file.
fn record(name: &str, scene: &Scene, protocol: &str, line: &str) -> anyhow::Result<()> {
    let (_, folder) = Scene::open(name)?;
    let (Some(folder), Some(weights)) = (folder, scene.model.weights()) else {
        bail!("--record needs a scene file with a weights file beside it");
    };
    let line = format!("{protocol} {line}");
    let path = folder.join(weights);
    let mut checkpoint = Checkpoint::read(&path)?;
    // What the distilled network scores is said of it.
    let header = &mut checkpoint.header;
    let provenance = match scene.plan.sampler.row().is_distilled {
        true => header.newest_mut(),
        false => &mut header.provenance,
    };
    let earlier = provenance.evaluation.take().unwrap_or_default();
    let prefix = format!("{protocol} ");
    let kept = earlier.lines().filter(|line| !line.starts_with(&prefix));
    let lines: Vec<&str> = kept.chain([line.as_str()]).collect();
    provenance.evaluation = Some(lines.join("\n"));
    checkpoint::write(&path, &checkpoint.header, &checkpoint.weights)?;
    Ok(())
}

fn show(row: &Row) {
    let e = &row.evaluation;
    let task = if row.multi { "a new goal every episode" } else { "the benchmark's goal" };
    println!(
        "{} ({task}, n {}, seed {}, {}, {})",
        row.scene, e.episodes, row.seed, row.preset, row.device
    );
    let line = |what: &str, estimate: Option<Estimate>, factor: f64, unit: &str| {
        if let Some(Estimate { mean, se, .. }) = estimate {
            println!("  {what:<34}{:>8.1} ± {:.1}{unit}", factor * mean, factor * se);
        }
    };
    let picked = match row.selection {
        Selection::ReadsMap => "score (selection reads the map)",
        Selection::Blind => "score (selection is blind)",
        Selection::Return => "score (selection by return)",
    };
    line(picked, e.score, 1.0, "");
    line("score without looking at the map", e.score_blind, 1.0, "");
    line("reached", e.reach_rate, 100.0, " %");
    line("reached without the map", e.reach_rate_blind, 100.0, " %");
    line("chosen plan feasible", e.feasible_rate, 100.0, " %");
    line("chosen plan through a wall", e.collision_rate, 100.0, " %");
    line("steps touching a wall", e.contact_share, 100.0, " %");
    line("arrival", e.arrival_steps, 1.0, " steps");
    println!("  {:<34}{}", "planning", times(&e.plan_ms));
}

/// Planning times in words.
fn times(PlanTimes { p50, p95, n }: &PlanTimes) -> String {
    format!("{p50:>8.0} ms median, {p95:.0} ms at the 95th percentile (n {n})")
}
