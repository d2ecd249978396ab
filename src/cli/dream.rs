//! `foresight dream`: how errors compound in long predictions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::env;
use crate::eval::dream::Curve;
use crate::lab::device;
use crate::lab::dream::{Bedroom, DreamCurves, DreamFrame, DreamRequest, DreamStage, dream};
use crate::model::ensemble::EnsembleConfig;

/// Horizons of the table, in transitions.
const SHOWN: [usize; 5] = [1, 10, 25, 50, 100];

/// Roll a Trajectory Transformer ahead with given actions, beside the truth and
/// beside a probabilistic ensemble that learns from the same data (half a
/// minute), and print how their errors grow.
///
/// Distances are root mean squares over coordinates, in standard deviations of
/// the data; two unrelated states are about 1.4 apart. ln p is that of the true
/// state. "1 transition" is the same Transformer with a context of one; the
/// oracle is the best its bins allow.
#[derive(Args, Debug)]
pub struct DreamCommand {
    /// A scene file, or the name of a shipped scene.
    scene: String,
    /// Episodes, each from a start as the data have them.
    #[arg(long, default_value_t = 20)]
    episodes: usize,
    /// Transitions to predict.
    #[arg(long, default_value_t = 100)]
    horizon: usize,
    /// Sampled dreams per episode and model, for ln p and spreads.
    #[arg(long, default_value_t = 32)]
    samples: usize,
    /// Optimizer steps of the ensemble.
    #[arg(long, default_value_t = EnsembleConfig::default().steps)]
    ensemble_steps: usize,
    /// Seed of episodes and samples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write every horizon to this .json or .csv file.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: super::Settings,
}

impl DreamCommand {
    pub fn run(self) -> anyhow::Result<()> {
        let ending = self.out.as_deref().map(ending).transpose()?;
        // The model searches and dreams on the host; the ensemble is too small
        // for a GPU.
        let device = device::cpu("dreams run on the host");
        let (scene, mut opened) = super::open_scene(&self.scene, &self.settings, &device)?;
        let model = opened.trajectory().map(|model| &model.config)?;
        let (preset, stride) = (model.preset.name(), model.stride);
        let folder = crate::lab::Scene::folder(&self.scene);
        let request = Arc::new(self.request(scene.beam.context));
        let origin = opened.header.as_ref().map_or(&scene.environment, |h| &h.environment);
        let mut origin = env::make(origin)?;
        let frame = {
            let (environment, model) = (&mut opened.environment, &opened.model);
            let crate::lab::open::OpenedModel::Trajectory(model) = model else {
                bail!("{} holds no Trajectory Transformer", self.scene);
            };
            let bedroom = Bedroom {
                scene: &scene,
                folder: folder.as_deref(),
                environment: environment.as_mut(),
                origin: origin.as_mut(),
                model,
                trained: None,
            };
            let mut progress = Progress::new(self.json);
            let on_frame = &mut |frame: &DreamFrame| progress.show(frame);
            let (frame, _) = dream(bedroom, 1, &request, on_frame, &|| false)
                .with_context(|| format!("{} cannot be dreamt of", self.scene))?;
            progress.bar.finish_and_clear();
            frame
        };
        let curves = frame.curves.context("there is no episode")?;
        let summary = json!({
            "scene": super::scene_name(&self.scene),
            "seed": self.seed,
            "episodes": curves.episodes,
            "horizon": self.horizon,
            "samples": self.samples,
            "context": request.context,
            "stride": stride,
            "preset": preset,
            "weights": opened.hash,
            "ensemble_steps": self.ensemble_steps,
            "curves": &*curves,
        });
        if let (Some(out), Some(ending)) = (&self.out, ending) {
            let bytes = match ending {
                Ending::Json => serde_json::to_vec_pretty(&summary)?,
                Ending::Csv => csv(&curves).into_bytes(),
            };
            crate::files::write_atomic(out, &bytes)?;
        }
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&summary)?),
            false => self.show(&summary, &curves),
        }
        Ok(())
    }

    fn request(&self, context: usize) -> DreamRequest {
        DreamRequest {
            from: None,
            horizon: self.horizon,
            episodes: self.episodes,
            samples: self.samples,
            context,
            seed: self.seed,
            ensemble: EnsembleConfig { steps: self.ensemble_steps, ..EnsembleConfig::default() },
        }
    }

    fn show(&self, summary: &Value, curves: &DreamCurves) {
        println!(
            "{} (n {}, seed {}, {} samples, weights {})",
            super::scene_name(&self.scene),
            curves.episodes,
            self.seed,
            self.samples,
            summary["weights"].as_str().unwrap_or("-"),
        );
        let rows = rows(curves);
        table("distance to the truth: mean ± standard error (median)", &rows, &distance);
        table("ln p of the true state: mean ± standard error (median)", &rows, &log_likelihood);
        if let Some(out) = &self.out {
            println!("written to {}", out.display());
        }
    }
}

/// What a file's ending asks for.
#[derive(Clone, Copy)]
enum Ending {
    Json,
    Csv,
}

fn ending(out: &Path) -> anyhow::Result<Ending> {
    match out.extension().and_then(|ending| ending.to_str()) {
        Some("json") => Ok(Ending::Json),
        Some("csv") => Ok(Ending::Csv),
        _ => bail!("{} must end in .json or .csv", out.display()),
    }
}

/// Every model with its curve.
fn rows(curves: &DreamCurves) -> Vec<(&'static str, &Curve)> {
    let ensemble = curves.ensemble.iter().map(|curve| ("ensemble", curve));
    [("transformer", &curves.transformer), ("1 transition", &curves.markovian)]
        .into_iter()
        .chain(ensemble)
        .chain([("oracle", &curves.oracle)])
        .collect()
}

fn table(title: &str, rows: &[(&str, &Curve)], cell: &dyn Fn(&Curve, usize) -> Option<String>) {
    println!("\n{title}\n{:>12}{}", "transitions", {
        rows.iter().map(|(name, _)| format!("  {name:>22}")).collect::<String>()
    });
    let last = rows.first().map_or(0, |(_, curve)| curve.distance.len());
    for h in SHOWN.into_iter().filter(|h| *h <= last) {
        let cells = rows.iter().map(|(_, curve)| cell(curve, h - 1).unwrap_or_else(|| "-".into()));
        println!("{h:>12}{}", cells.map(|cell| format!("  {cell:>22}")).collect::<String>());
    }
}

fn distance(curve: &Curve, index: usize) -> Option<String> {
    let (mean, median) = (curve.distance.get(index)?, curve.median_distance.get(index)?);
    Some(format!("{:.3} ± {:.3} ({median:.3})", mean.mean, mean.se))
}

fn log_likelihood(curve: &Curve, index: usize) -> Option<String> {
    let mean = curve.log_likelihood.get(index)?.as_ref()?;
    let median = curve.median_log_likelihood.get(index)?.as_ref()?;
    Some(format!("{:.1} ± {:.1} ({median:.1})", mean.mean, mean.se))
}

/// One model and horizon a row.
fn csv(curves: &DreamCurves) -> String {
    let mut text = "model,transitions,distance_mean,distance_se,distance_median,n,\
                    log_likelihood_mean,log_likelihood_se,log_likelihood_median,\
                    log_likelihood_n,spread_mean\n"
        .to_owned();
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for (name, curve) in rows(curves) {
        for (index, distance) in curve.distance.iter().enumerate() {
            let density = curve.log_likelihood.get(index).copied().flatten();
            let median = curve.median_log_likelihood.get(index).copied().flatten();
            let spread = curve.spread.get(index).copied().flatten();
            let cells = [
                name.to_owned(),
                (index + 1).to_string(),
                distance.mean.to_string(),
                distance.se.to_string(),
                number(curve.median_distance.get(index).copied()),
                distance.n.to_string(),
                number(density.map(|estimate| estimate.mean)),
                number(density.map(|estimate| estimate.se)),
                number(median),
                density.map_or(0, |estimate| estimate.n).to_string(),
                number(spread.map(|estimate| estimate.mean)),
            ];
            text += &(cells.join(",") + "\n");
        }
    }
    text
}

struct Progress {
    bar: indicatif::ProgressBar,
    what: &'static str,
    is_hidden: bool,
}

impl Progress {
    fn new(is_hidden: bool) -> Self {
        Self { bar: indicatif::ProgressBar::hidden(), what: "", is_hidden }
    }

    fn show(&mut self, frame: &DreamFrame) {
        let (what, done, total) = match &frame.stage {
            DreamStage::Collecting { done, total } => ("collecting", *done, *total),
            DreamStage::Training { step, steps, .. } => ("ensemble", *step, *steps),
            DreamStage::Averaging { done, total } => ("dreaming", *done, *total),
            _ => return,
        };
        if what != self.what {
            self.bar.finish_and_clear();
            self.bar = super::progress_bar(total as u64, what, self.is_hidden);
            self.what = what;
        }
        self.bar.set_position(done as u64);
    }
}
