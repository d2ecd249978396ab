//! `foresight train`: weights from a scene file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use burn::tensor::Device;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::lab::Scene;
use crate::lab::data_set::located;
use crate::lab::train::{
    Budget, Metric, Orders, TrainError, TrainEvent, TrainOptions, TrainSummary, clock, train,
};

/// What every run of an optimizer can be told.
#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// A scene file, or the name of a shipped scene.
    pub scene: String,
    /// Train for this many minutes.
    #[arg(long, conflicts_with = "steps")]
    minutes: Option<f64>,
    /// Train until this many optimizer steps; the scene's own number if absent.
    #[arg(long)]
    steps: Option<usize>,
    /// Where the weights go; the scene's own weights file if absent.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Continue the run that lies beside the weights.
    #[arg(long)]
    pub resume: bool,
    /// Print one JSON object per event instead of a progress bar.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: super::DeviceArgument,
}

impl RunArguments {
    /// Where the weights of `scene`, opened from `folder`, go.
    pub fn out(&self, scene: &Scene, folder: Option<&Path>) -> anyhow::Result<PathBuf> {
        match (&self.out, scene.model.weights(), folder) {
            (Some(out), _, _) => Ok(out.clone()),
            (None, Some(weights), Some(folder)) => Ok(folder.join(weights)),
            (None, _, _) => bail!("say where the weights go with --out FILE"),
        }
    }

    fn budget(&self, steps: usize) -> anyhow::Result<Budget> {
        let Some(minutes) = self.minutes else {
            return Ok(Budget::Steps(self.steps.unwrap_or(steps)));
        };
        let time = Duration::try_from_secs_f64(60.0 * minutes);
        Ok(Budget::Time(time.context("--minutes must be a positive number")?))
    }

    /// Drive a run with the options that `options` makes of the device's name,
    /// for `steps` unless told otherwise; Ctrl+C stops it.
    pub fn drive(
        &self,
        steps: usize,
        options: impl FnOnce(&str) -> anyhow::Result<TrainOptions>,
        run: impl FnOnce(Driven) -> Result<TrainSummary, TrainError>,
    ) -> anyhow::Result<()> {
        let budget = self.budget(steps)?;
        let choice = self.device.choose()?;
        let options = options(&choice.name)?;
        let orders = Arc::new(Orders::new(budget));
        stop_on_interrupt(&orders);
        let mut report = Report::new(self.json);
        let on_event = &mut |event| report.show(&event);
        let device = &choice.device;
        let summary = run(Driven { device, options: &options, orders: &orders, on_event })?;
        report.finish();
        print(&summary, &choice.name, self.json);
        Ok(())
    }
}

/// What a run is given.
pub(super) struct Driven<'a> {
    pub device: &'a Device,
    pub options: &'a TrainOptions,
    pub orders: &'a Orders,
    pub on_event: &'a mut dyn FnMut(TrainEvent),
}

/// Train a scene's model and write its weights.
#[derive(Args, Debug)]
pub struct Train {
    #[command(flatten)]
    run: RunArguments,
    /// Least seconds between two checkpoints; the time grows with the run.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    checkpoint_every: f64,
}

impl Train {
    pub fn run(self) -> anyhow::Result<()> {
        let (scene, folder) = Scene::open(&self.run.scene)?;
        let scene = located(&scene, folder.as_deref());
        let out = self.run.out(&scene, folder.as_deref())?;
        let options = |device: &str| {
            Ok(TrainOptions {
                resume: self.run.resume,
                save_every: Duration::try_from_secs_f64(self.checkpoint_every)
                    .context("--checkpoint-every must not be negative")?,
                ..TrainOptions::beside(&out, device)
            })
        };
        self.run.drive(scene.train.steps, options, |driven| {
            let Driven { device, options, orders, on_event } = driven;
            train(&scene, device, options, orders, on_event)
        })
    }
}

/// How a run ended.
fn print(summary: &TrainSummary, device: &str, as_json: bool) {
    let line = json!({
        "weights": summary.weights, "steps": summary.steps, "loss": summary.loss,
        "wall_secs": summary.wall.as_secs_f64(), "stopped": summary.stopped, "device": device,
    });
    if as_json {
        println!("{line}");
    } else {
        println!(
            "{} steps in {:.0} s on {device}, loss {:.5}: {}",
            summary.steps,
            summary.wall.as_secs_f64(),
            summary.loss,
            summary.weights.display()
        );
    }
}

/// The first Ctrl+C stops the run; the second one kills the process as usual.
fn stop_on_interrupt(orders: &Arc<Orders>) {
    let orders = Arc::clone(orders);
    // Without the handler Ctrl+C still ends the run, only without a last save.
    let _ = ctrlc::set_handler(move || {
        if orders.is_stopped() {
            std::process::exit(130);
        }
        orders.stop();
        eprintln!("stopping after this step; press Ctrl+C again to quit at once");
    });
}

pub(super) struct Report {
    json: bool,
    bar: ProgressBar,
    /// Since when a GPU gets ready for its first step.
    preparing: Option<Instant>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(1000) };
        let template = "{prefix:11} {wide_bar} {percent:>3} %  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { json, bar, preparing: None }
    }

    pub(super) fn show(&mut self, event: &TrainEvent) {
        if self.json {
            match event {
                TrainEvent::Preparing => self.prepare(),
                TrainEvent::Training { .. } => self.prepared(),
                _ => {}
            }
            if let Some(line) = as_json(event) {
                println!("{line}");
            }
            return;
        }
        match event {
            TrainEvent::Collecting { done, total } => {
                self.bar.set_prefix("collecting");
                self.bar.set_position((1000 * done / (*total).max(1)) as u64);
                self.bar.set_message(format!("{done} of {total} transitions"));
            }
            TrainEvent::Preparing => self.prepare(),
            TrainEvent::Training { metric, progress, remaining } => {
                self.prepared();
                let Metric { step, loss, steps_per_sec, .. } = metric;
                self.bar.set_prefix("training");
                self.bar.set_position((1000.0 * progress).min(1000.0) as u64);
                self.bar.set_message(format!(
                    "step {step}  loss {loss:.5}  {steps_per_sec:.1} step/s  {} left",
                    clock(*remaining)
                ));
            }
            TrainEvent::Warning(why) => self.bar.println(why),
            _ => {}
        }
    }

    /// A GPU compiles its programs, and there is no step to count meanwhile.
    fn prepare(&mut self) {
        self.preparing = Some(Instant::now());
        self.say("preparing the GPU: it compiles and times its programs in the first step");
    }

    fn prepared(&mut self) {
        if let Some(since) = self.preparing.take() {
            let secs = since.elapsed().as_secs_f32();
            self.say(&format!("the GPU is prepared after {secs:.1} s"));
        }
    }

    /// A line on standard error, above the bar.
    fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn as_json(event: &TrainEvent) -> Option<serde_json::Value> {
    Some(match event {
        TrainEvent::Collecting { done, total } => {
            json!({"event": "collecting", "done": done, "total": total})
        }
        TrainEvent::Training { metric, progress, remaining } => {
            let mut line = json!(metric);
            line["event"] = json!("training");
            line["progress"] = json!(progress);
            line["remaining_secs"] = json!(remaining.as_secs_f64());
            line
        }
        TrainEvent::Saved(manifest) => json!({"event": "saved", "checkpoint": manifest.newest()}),
        TrainEvent::Warning(why) => json!({"event": "warning", "why": why}),
        _ => return None,
    })
}
