//! `foresight collect`: a data set in D4RL's arrays.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::data;
use crate::lab::Scene;
use crate::model::ModelNumbers;

/// Collect the episodes a Diffuser learns from, by its policies or the
/// environment's own behavior, and write them as .npz.
///
/// A scene with `file = "THAT.npz"` under [data] then learns from them; a
/// Diffuser takes the very same steps as if it had collected them itself. A
/// Trajectory Transformer without a file collects paths of several policies.
#[derive(Args, Debug)]
pub struct Collect {
    /// A scene file, or the name of a shipped scene.
    scene: String,
    /// Where the arrays go.
    #[arg(long)]
    out: PathBuf,
    /// Environment steps; the scene's own number if absent.
    #[arg(long)]
    transitions: Option<usize>,
    /// Seed; the scene's own if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Collect {
    pub fn run(self) -> anyhow::Result<()> {
        let (mut scene, _) = Scene::open(&self.scene)?;
        // What is collected here is not what a file holds.
        scene.data.file = None;
        scene.data.transitions = self.transitions.unwrap_or(scene.data.transitions);
        scene.data.seed = self.seed.unwrap_or(scene.data.seed);
        scene.check()?;
        // An output that cannot be written should not cost the collecting.
        drop(crate::files::AtomicWriter::create(&self.out)?);
        let mut environment = scene.make_environment()?;
        let started = Instant::now();
        let bar = super::progress_bar(scene.data.transitions as u64, "collecting", self.json);
        let policies = match scene.model.resolve(environment.spec())? {
            ModelNumbers::Diffuser(config) => config.policies,
            _ => Vec::new(),
        };
        let on_collected = &mut |done| {
            bar.set_position(done as u64);
            ControlFlow::Continue(())
        };
        let episodes =
            data::collect_episodes(environment.as_mut(), &policies, &scene.data, on_collected)?;
        bar.finish_and_clear();
        data::write_npz(&self.out, &episodes)?;
        let secs = started.elapsed().as_secs_f64();
        let arrivals = episodes.timeouts.iter().filter(|ends| **ends).count();
        if self.json {
            let line = json!({
                "out": self.out, "transitions": episodes.len(), "trips": arrivals,
                "seed": scene.data.seed, "wall_secs": secs,
            });
            println!("{line}");
        } else {
            let (n, out) = (episodes.len(), self.out.display());
            println!("{n} transitions over {arrivals} trips in {secs:.1} s: {out}");
        }
        Ok(())
    }
}
