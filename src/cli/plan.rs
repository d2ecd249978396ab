//! `foresight plan`: one plan, as numbers or a picture.

mod beam;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{DeviceArgument, Settings};
use crate::lab::open::{self, Opened, OpenedModel};
use crate::lab::{Scene, picture};
use crate::picture::Mode;
use crate::plan::{Film, Plan, PlanRequest, Pursuit, Rollout};

/// Plan from a start to a goal and write the result.
///
/// The ending of --out chooses the form: .json, .csv (one state a row), .png,
/// .svg or .gif (the denoising or the search, then the ball). Of a Trajectory
/// Transformer, .json and .csv hold the episode, .png and .svg its first search.
#[derive(Args, Debug)]
pub struct PlanCommand {
    /// A scene file, or the name of a shipped scene.
    scene: String,
    /// Where the ball starts, x,y; the scene's own start if absent.
    #[arg(long, value_parser = point, value_name = "X,Y", allow_hyphen_values = true)]
    start: Option<[f32; 2]>,
    /// Where it should go, x,y; the scene's own goal if absent.
    #[arg(long, value_parser = point, value_name = "X,Y", allow_hyphen_values = true)]
    goal: Option<[f32; 2]>,
    /// Candidates in all, spread over the scene's durations.
    #[arg(long)]
    samples: Option<usize>,
    /// Denoising steps.
    #[arg(long)]
    steps: Option<usize>,
    /// Seed of the noise; the scene's own if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the result goes; a summary is printed in any case.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Put every denoising step into the .json file.
    #[arg(long)]
    chain: bool,
    /// Also write every node of the first search, .json or .csv (Trajectory
    /// Transformer).
    #[arg(long, value_name = "PATH")]
    tree: Option<PathBuf>,
    /// Also write what the first plan's tokens attend to, .npz (Trajectory
    /// Transformer).
    #[arg(long, value_name = "PATH")]
    attention: Option<PathBuf>,
    /// Draw pictures on a light background.
    #[arg(long)]
    light: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    device: DeviceArgument,
}

impl PlanCommand {
    pub fn run(self) -> anyhow::Result<()> {
        let device = self.device.choose()?;
        let (mut scene, mut opened) = super::open_scene(&self.scene, &self.settings, &device)?;
        if let OpenedModel::Trajectory(_) = &opened.model {
            self.adjust(&mut scene)?;
            return self.search(&scene, &mut opened, &device.name);
        }
        // Another model is the better reason than whatever it lacks for a plan.
        opened.planner()?;
        if self.tree.is_some() || self.attention.is_some() {
            bail!(
                "--tree and --attention are for the Trajectory Transformer; {} denoises",
                self.scene
            );
        }
        self.adjust(&mut scene)?;
        let request = request(&scene, &mut opened)?;
        let film = opened
            .planner()?
            .plan(1, Arc::clone(&request), &mut |_| ControlFlow::Continue(()))?
            .context("the plan was cancelled")?;
        let plan = film.plan.clone().context("the planner drew no candidate")?;
        let task = Pursuit {
            film_id: film.id,
            plan: Arc::clone(&plan),
            request: &request,
            control: &scene.control,
        };
        let OpenedModel::Diffuser(planner) = &opened.model else {
            bail!("{} does not plan", self.scene);
        };
        let preset = planner.diffuser().config.preset.name();
        let rollout = planner
            .pursue(opened.environment.as_mut(), task, &mut |_| ControlFlow::Continue(()))?;
        let summary = self.summary(&film, &plan, &rollout, [preset, &opened.hash, &device.name]);
        if let Some(out) = &self.out {
            self.write(out, &scene, &film, &plan, &rollout, summary.clone())?;
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&summary)?);
        } else {
            self.show(&film, &plan, &rollout);
        }
        Ok(())
    }

    fn adjust(&self, scene: &mut Scene) -> anyhow::Result<()> {
        scene.stage.start = self.start.unwrap_or(scene.stage.start);
        scene.stage.goal = self.goal.unwrap_or(scene.stage.goal);
        scene.stage.seed = self.seed.unwrap_or(scene.stage.seed);
        if let Some(steps) = self.steps {
            scene.plan.denoising_steps = steps;
        }
        if let Some(samples) = self.samples {
            if !(1..=4096).contains(&samples) {
                bail!("{samples} samples; use 1 to 4096");
            }
            scene.plan.durations = samples.min(scene.plan.durations);
            scene.plan.candidates_per_duration = samples.div_ceil(scene.plan.durations);
        }
        Ok(scene.check()?)
    }

    fn summary(
        &self,
        film: &Film,
        plan: &Plan,
        rollout: &Rollout,
        [preset, weights, device]: [&str; 3],
    ) -> Value {
        json!({
            "scene": super::scene_name(&self.scene),
            "seed": film.request.seed,
            "preset": preset,
            "weights": weights,
            "device": device,
            "start": film.request.start,
            "goal": film.request.goal,
            "selection": film.request.settings.selection,
            "dt_secs": plan.dt_secs,
            "duration_steps": plan.duration_steps,
            "feasible": plan.feasible,
            "n_candidates": film.n_candidates(),
            "n_feasible": film.candidates.iter().filter(|c| c.feasible).count(),
            "plan_ms": film.wall_ms,
            "predicted_return": film
                .chosen
                .and_then(|chosen| film.candidates.get(chosen)?.predicted_return),
            "arrival_step": rollout.arrival_step,
            "reward": rollout.rewards.iter().sum::<f32>(),
        })
    }

    fn show(&self, film: &Film, plan: &Plan, rollout: &Rollout) {
        let feasible = film.candidates.iter().filter(|c| c.feasible).count();
        println!(
            "{} candidates in {:.0} ms, {feasible} feasible; the chosen one takes {:.2} s{}",
            film.n_candidates(),
            film.wall_ms,
            plan.duration_steps * plan.dt_secs,
            if plan.feasible { "" } else { " and is not feasible" },
        );
        if film.request.goal.is_empty() {
            let total: f32 = rollout.rewards.iter().sum();
            println!("the episode earns {total:.1} with {} plans", rollout.plans.len());
        }
        match rollout.arrival_step {
            _ if film.request.goal.is_empty() => {}
            Some(step) => println!("the ball arrives after {:.2} s", step as f32 * rollout.dt_secs),
            None => println!("the ball does not reach the goal within the episode"),
        }
        if let Some(out) = &self.out {
            println!("written to {}", out.display());
        }
    }

    fn write(
        &self,
        out: &Path,
        scene: &Scene,
        film: &Film,
        plan: &Plan,
        rollout: &Rollout,
        summary: Value,
    ) -> anyhow::Result<()> {
        let mode = if self.light { Mode::Light } else { Mode::Dark };
        let ending = out.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let bytes = match ending {
            "json" => {
                let value = self.full(scene, film, plan, rollout, summary);
                serde_json::to_vec_pretty(&value)?
            }
            "csv" => {
                let environment = scene.make_environment()?;
                picture::csv(plan, &environment.spec().state).into_bytes()
            }
            "png" => picture::png(&picture::still(scene, film, Some(rollout))?, mode)?,
            "svg" => picture::svg(&picture::still(scene, film, Some(rollout))?, mode)?,
            "gif" => picture::movie(scene, film, Some(rollout), mode)?,
            _ => bail!("{} must end in .json, .csv, .png, .svg or .gif", out.display()),
        };
        Ok(crate::files::write_atomic(out, &bytes)?)
    }

    /// The summary with everything in it.
    fn full(
        &self,
        scene: &Scene,
        film: &Film,
        plan: &Plan,
        rollout: &Rollout,
        mut summary: Value,
    ) -> Value {
        let last = film.steps.last();
        let candidates: Vec<Value> = film
            .candidates
            .iter()
            .enumerate()
            .map(|(i, candidate)| {
                let positions: Vec<[f32; 2]> = (0..film.waypoints)
                    .filter_map(|w| last.map(|step| film.position(&step.clean, i, w)))
                    .collect();
                json!({
                    "duration_steps": candidate.duration_steps,
                    "points_in_walls": candidate.points_in_walls,
                    "peak_speed": candidate.peak_speed,
                    "roughness": candidate.roughness,
                    "feasible": candidate.feasible,
                    "predicted_return": candidate.predicted_return,
                    "positions": positions,
                })
            })
            .collect();
        let extra = json!({
            "waypoints": plan.waypoints,
            "states": plan.states,
            "actions": plan.actions,
            "candidates": candidates,
            "chosen": film.chosen,
            "rollout": {"states": rollout.states, "rewards": rollout.rewards},
            "scene_toml": scene.to_toml(),
        });
        if let (Some(summary), Value::Object(extra)) = (summary.as_object_mut(), extra) {
            summary.extend(extra);
            if self.chain {
                let steps = film.steps.iter().map(|step| {
                    json!({
                        "diffusion_time": step.diffusion_time,
                        "noise_level": step.noise_level,
                        "noisy": &step.noisy[..],
                        "clean": &step.clean[..],
                    })
                });
                let shape = [film.n_candidates(), film.waypoints, film.dims];
                summary.insert("denoising_shape".into(), json!(shape));
                summary.insert("denoising".into(), steps.collect());
            }
        }
        summary
    }
}

/// The scene's stage as a request, with the environment put there.
fn request(scene: &Scene, opened: &mut Opened) -> anyhow::Result<Arc<PlanRequest>> {
    let request = open::stage_request(scene, opened.environment.spec());
    opened.environment.set_state(&request.start)?;
    opened.environment.set_goal(&request.goal)?;
    Ok(Arc::new(request))
}

/// `x,y`.
fn point(text: &str) -> Result<[f32; 2], String> {
    let numbers: Vec<f32> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    match numbers.as_slice() {
        [x, y] if x.is_finite() && y.is_finite() => Ok([*x, *y]),
        _ => Err(format!("\"{text}\" is not two numbers such as 7,9")),
    }
}
