//! `foresight plan` on a Trajectory Transformer's scene: search, walk, and
//! write the plan, the whole tree or the attention.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::PlanCommand;
use crate::data::{NamedArray, Values, write_arrays};
use crate::lab::Scene;
use crate::lab::beam::{self, AttentionRequest, Bins};
use crate::lab::open::{Opened, OpenedModel};
use crate::lab::picture::{self, Span, TreeShot};
use crate::picture::Mode;
use crate::plan::beam::drive::{Drive, DriveEvent, DriveRequest, SearchRecord, drive};

impl PlanCommand {
    /// Search from the scene's start and act to the end of the episode.
    pub(super) fn search(
        &self,
        scene: &Scene,
        opened: &mut Opened,
        device: &str,
    ) -> anyhow::Result<()> {
        let request = self.drive_request(scene, opened)?;
        let (environment, hash) = (opened.environment.as_mut(), opened.hash.clone());
        let OpenedModel::Trajectory(model) = &opened.model else {
            bail!("{} does not search", self.scene);
        };
        let go_on = &mut |_: DriveEvent| ControlFlow::Continue(());
        let drive = drive(environment, model, &request, None, go_on)?
            .context("the search was cancelled")?;
        let first = drive.searches.first().context("the episode has no step to plan for")?;
        let bins = beam::bins(model, environment.spec());
        let summary = json!({
            "scene": crate::cli::scene_name(&self.scene),
            "seed": request.seed,
            "preset": model.config.preset.name(),
            "weights": hash,
            "device": device,
            "start": request.start,
            "goal": request.goal,
            "beam": request.beam,
            "searches": drive.searches.len(),
            "plan_ms": first.wall_ms,
            "log_prob": first.plan.log_prob,
            "value": first.plan.value,
            "ends": first.plan.ends,
            "spread": first.tree.spread(&|dim, token| bins.center(dim, token)),
            "arrival_step": drive.arrival_step,
            "reward": drive.rewards.iter().sum::<f32>(),
            "steps": drive.rewards.len(),
            "dt_secs": drive.dt_secs,
        });
        if let Some(path) = &self.tree {
            let is_table = path.extension().is_some_and(|ending| ending == "csv");
            let bytes = match is_table {
                true => picture::tree_csv(first, &bins).into_bytes(),
                false => serde_json::to_vec_pretty(&tree_json(first, &bins))?,
            };
            crate::files::write_atomic(path, &bytes)?;
        }
        if let Some(path) = &self.attention {
            let tokens: Vec<u16> = first
                .tree
                .context
                .iter()
                .copied()
                .chain(first.tree.best_tokens().unwrap_or_default())
                .collect();
            let request = AttentionRequest { goal: first.goal.clone(), tokens: tokens.into() };
            write_attention(path, &beam::attention(1, &request.into(), model), &bins)?;
        }
        if let Some(out) = &self.out {
            self.write_drive(out, &drive, &summary, scene, &bins)?;
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&summary)?);
        } else {
            self.show_drive(&drive, first);
        }
        Ok(())
    }

    fn write_drive(
        &self,
        out: &Path,
        drive: &Drive,
        summary: &Value,
        scene: &Scene,
        bins: &Bins,
    ) -> anyhow::Result<()> {
        let ending = out.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let bytes = match ending {
            "json" => {
                let mut value = summary.clone();
                let searches: Vec<Value> = drive
                    .searches
                    .iter()
                    .map(|search| json!({"at_step": search.at_step, "plan": &*search.plan}))
                    .collect();
                if let Some(object) = value.as_object_mut() {
                    object.insert("plans".into(), searches.into());
                    object.insert("states".into(), json!(drive.states));
                    object.insert("actions".into(), json!(drive.actions));
                    object.insert("rewards".into(), json!(drive.rewards));
                    object.insert("scene_toml".into(), scene.to_toml().into());
                }
                serde_json::to_vec_pretty(&value)?
            }
            "csv" => csv(drive, scene)?.into_bytes(),
            "png" | "svg" | "gif" => {
                let mode = if self.light { Mode::Light } else { Mode::Dark };
                let shot = TreeShot::new(scene, drive, bins)?;
                match ending {
                    "png" => picture::png(&shot.frame(shot.first()), mode)?,
                    "svg" => picture::svg(&shot.frame(shot.first()), mode)?,
                    _ => picture::tree_movie(&shot, Span::Both, 0.0, mode)?,
                }
            }
            _ => bail!("{} must end in .json, .csv, .png, .svg or .gif", out.display()),
        };
        Ok(crate::files::write_atomic(out, &bytes)?)
    }

    /// Whether the result is drawn.
    fn is_picture(&self) -> bool {
        let ending = self.out.as_ref().and_then(|out| out.extension());
        ending.is_some_and(|ending| ["png", "svg", "gif"].iter().any(|known| ending == *known))
    }

    fn drive_request(&self, scene: &Scene, opened: &mut Opened) -> anyhow::Result<DriveRequest> {
        let environment = opened.environment.as_mut();
        let mut start = vec![0.0; environment.spec().state.len()];
        start[..2].copy_from_slice(&scene.stage.start);
        let has_goal = !environment.spec().goal_dims.is_empty();
        Ok(DriveRequest {
            start,
            goal: if has_goal { scene.stage.goal.to_vec() } else { Vec::new() },
            beam: scene.beam.clone(),
            control: scene.control.clone(),
            seed: scene.stage.seed,
            edits: Vec::new(),
            shows_pruned: self.tree.is_some() || self.is_picture(),
            max_steps: environment.spec().max_steps,
        })
    }

    fn show_drive(&self, drive: &Drive, first: &SearchRecord) {
        let plan = &first.plan;
        println!(
            "{} transitions planned in {:.0} ms from {} nodes, ln p {:.1}{}",
            plan.actions.len(),
            first.wall_ms,
            first.tree.nodes.len(),
            plan.log_prob,
            plan.value.map_or(String::new(), |value| format!(", value {value:.1}")),
        );
        let secs = |steps: usize| steps as f32 * drive.dt_secs;
        let total: f32 = drive.rewards.iter().sum();
        match drive.arrival_step {
            Some(step) => println!(
                "it arrives after {:.2} s and {} searches",
                secs(step),
                drive.searches.len()
            ),
            None => println!(
                "after {:.2} s and {} searches the return is {total:.1}",
                secs(drive.rewards.len()),
                drive.searches.len()
            ),
        }
        for path in [&self.out, &self.tree, &self.attention].into_iter().flatten() {
            println!("written to {}", path.display());
        }
    }
}

/// Every node of a search, in the order it made them.
fn tree_json(search: &SearchRecord, bins: &Bins) -> Value {
    let tree = &search.tree;
    let chosen: std::collections::BTreeSet<usize> =
        tree.best.map(|best| tree.path(best)).unwrap_or_default().into_iter().collect();
    let nodes = tree.nodes.iter().enumerate().map(|(index, node)| {
        let dim = tree.dim(node.depth as usize);
        let finite = |value: f32| value.is_finite().then_some(value);
        json!({
            "parent": (node.parent != crate::plan::beam::NONE).then_some(node.parent),
            "depth": node.depth,
            "dim": dim,
            "token": node.token,
            "center": (node.token != tree.layout.stop()).then(|| bins.center(dim, node.token)),
            "log_prob": finite(node.log_prob),
            "total": finite(node.total),
            "value": finite(node.value),
            "kept": node.kept,
            "chosen": chosen.contains(&index),
        })
    });
    json!({
        "dims": bins.names,
        "bins": tree.layout.bins,
        "context": &tree.context[..],
        "goal": &search.goal[..],
        "present": search.present,
        "plan": &*search.plan,
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

/// `attention` `[layers, heads, tokens, tokens]`, `tokens` and `dims` (-1 for
/// tokens of the goal).
fn write_attention(path: &Path, frame: &beam::AttentionFrame, bins: &Bins) -> anyhow::Result<()> {
    let d = bins.layout.per_transition();
    let goals = frame.request.goal.len();
    let tokens = frame.request.goal.iter().chain(frame.request.tokens.iter()).take(frame.n);
    let tokens: Vec<f32> = tokens.map(|token| f32::from(*token)).collect();
    let dims = (0..frame.n).map(|at| at.checked_sub(goals).map_or(-1.0, |at| (at % d) as f32));
    let dims: Vec<f32> = dims.collect();
    let n = frame.n as u64;
    let shape = vec![frame.layers as u64, frame.heads as u64, n, n];
    let arrays = [
        NamedArray { name: "attention", shape, values: Values::Single(&frame.weights) },
        NamedArray { name: "tokens", shape: vec![n], values: Values::Single(&tokens) },
        NamedArray { name: "dims", shape: vec![n], values: Values::Single(&dims) },
    ];
    write_arrays(path, &arrays)?;
    Ok(())
}

/// One environment step a row: time, state, action, reward.
fn csv(drive: &Drive, scene: &Scene) -> anyhow::Result<String> {
    let environment = scene.make_environment()?;
    let spec = environment.spec();
    let mut names = vec!["time_s".to_owned()];
    names.extend(spec.state.iter().map(|dimension| dimension.name.clone()));
    names.extend(spec.action.iter().map(|dimension| dimension.name.to_owned()));
    names.push("reward".into());
    let mut text = names.join(",") + "\n";
    for (step, action) in drive.actions.iter().enumerate() {
        let numbers = std::iter::once(step as f32 * drive.dt_secs)
            .chain(drive.states[step].iter().copied())
            .chain(action.iter().copied())
            .chain(std::iter::once(drive.rewards[step]));
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        text += &(numbers.join(",") + "\n");
    }
    Ok(text)
}
