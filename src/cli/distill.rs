//! `foresight distill`: a student for a scene's Diffuser.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::train::{Report, print, stop_on_interrupt};
use crate::lab::data_set::located;
use crate::lab::train::{Budget, Orders, TrainOptions, distill, student_run_path};
use crate::lab::{Scene, open};

/// Distill a scene's Diffuser into a network that plans in one step.
///
/// The student learns where the chains of the trained Diffuser end, as the
/// scene's [distill] section says, and goes into the weights file beside it;
/// what is in there stays as it is. Then --set plan.sampler=one-step plans with
/// it.
#[derive(Args, Debug)]
pub struct Distill {
    /// A scene file, or the name of a shipped scene.
    scene: String,
    /// Train for this many minutes.
    #[arg(long, conflicts_with = "steps")]
    minutes: Option<f64>,
    /// Train until this many optimizer steps; the scene's own number if absent.
    #[arg(long)]
    steps: Option<usize>,
    /// Where the weights of both go; the scene's own weights file if absent.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Continue the run that lies beside the weights.
    #[arg(long)]
    resume: bool,
    /// Print one JSON object per event instead of a progress bar.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: super::DeviceArgument,
}

impl Distill {
    pub fn run(self) -> anyhow::Result<()> {
        let (scene, folder) = Scene::open(&self.scene)?;
        let Some(weights) = scene.model.weights().map(str::to_owned) else {
            bail!("{} names no weights to distill; train it first", self.scene);
        };
        let teacher = open::read_weights(&weights, folder.as_deref())?;
        let scene = located(&scene, folder.as_deref());
        let out = match (&self.out, folder) {
            (Some(out), _) => out.clone(),
            (None, Some(folder)) => folder.join(weights),
            (None, None) => bail!("say where the weights go with --out FILE"),
        };
        let budget = match (self.minutes, self.steps, &scene.distill) {
            (Some(minutes), _, _) => {
                let time = Duration::try_from_secs_f64(60.0 * minutes);
                Budget::Time(time.context("--minutes must be a positive number")?)
            }
            (None, Some(steps), _) => Budget::Steps(steps),
            // Without a section distilling says what is missing.
            (None, None, section) => Budget::Steps(section.as_ref().map_or(1, |s| s.steps)),
        };
        let choice = self.device.choose()?;
        let options = TrainOptions {
            resume: self.resume,
            run: student_run_path(&out),
            ..TrainOptions::beside(&out, &choice.name)
        };
        let orders = Arc::new(Orders::new(budget));
        stop_on_interrupt(&orders);
        let mut report = Report::new(self.json);
        let on_event = &mut |event| report.show(&event);
        let summary = distill(&scene, teacher, &choice.device, &options, &orders, on_event)?;
        report.finish();
        print(&summary, &choice.name, self.json);
        Ok(())
    }
}
