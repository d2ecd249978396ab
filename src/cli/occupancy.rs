//! `foresight occupancy`: where a policy will be, as numbers, arrays or a
//! picture.

mod answer;
mod output;
mod question;

use std::path::PathBuf;

use clap::Args;

use super::{DeviceArgument, Settings};
use crate::lab::open::{OpenError, OpenedModel};
use answer::Answer;
use output::{Form, Report};

/// Sample where a γ-model says its policy will be, discounted over the future.
///
/// The ending of --out chooses the form.
///
/// Densities are means over the cells of a map of the first two coordinates.
///
/// .npz: `samples` [samples, state], `log_density` [samples] (not from a GAN),
/// `weights` [model steps], `density` [x cells, y cells], `truth` the same
/// (with --truth), `exact` (with --truth where there is a tabular twin),
/// `x_edges`, `y_edges`, `state`, `gamma`. With --steps, the
/// samples of the first model step come first, then those of the second, and so
/// on, equally many of each; a step's samples share its weight, and each
/// log-density is that of one model step.
///
/// .png, .svg: the density as a heat map, the truth beside it.
///
/// .csv: one cell a row: its middle, `model`, `truth` and `exact` as in .npz.
///
/// .gif: the density as the discount grows over all that the weights know.
///
/// .json: the summary, and all of the arrays.
///
/// The summary, printed with --json, has the keys scene, weights, preset,
/// policy, device, seed, coordinates, state, goal, action (null for the
/// policy's own), gamma, steps, long_gamma (null without --steps),
/// value (of the source state, by γ-MVE with --steps; null beyond the
/// trained discounts), horizon_steps and horizon_secs (of the longer discount),
/// chain_weights, n,
/// mean, std (both circular for angles), cells, total_variation and rollouts
/// (null without --truth), exact_total_variation (null without a twin),
/// milliseconds (of samples and one density a cell).
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Occupancy {
    /// A scene file, or the name of a shipped scene.
    scene: String,
    /// Where the policy stands, one number per state coordinate; the scene's
    /// start if absent.
    #[arg(long, value_parser = numbers, value_name = "X,Y,...", allow_hyphen_values = true)]
    state: Option<Numbers>,
    /// Where the policy is heading; the scene's own goal if absent.
    #[arg(long, value_parser = numbers, value_name = "X,Y", allow_hyphen_values = true)]
    goal: Option<Numbers>,
    /// First action, each number from -1 to 1; the policy's own if absent.
    #[arg(long, value_parser = numbers, value_name = "A,...", allow_hyphen_values = true)]
    action: Option<Numbers>,
    /// Whose future, where the model knows several policies; the scene's own
    /// choice if absent.
    #[arg(long)]
    policy: Option<String>,
    /// Discount of a model step; the scene's own if absent.
    #[arg(long, allow_hyphen_values = true)]
    gamma: Option<f32>,
    /// Model steps to chain, which reach the discount of --long-gamma.
    #[arg(long)]
    steps: Option<usize>,
    /// Discount that the chained steps are weighted for, at least γ.
    #[arg(long, allow_hyphen_values = true)]
    long_gamma: Option<f32>,
    /// Samples, of every model step; the scene's own number if absent.
    #[arg(long)]
    samples: Option<usize>,
    /// Cells of the map along each coordinate.
    #[arg(long, default_value_t = 64)]
    cells: usize,
    /// Seed of samples and rollouts; the scene's own if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Compare with real rollouts of the policy.
    #[arg(long)]
    truth: bool,
    /// Where the result goes; a summary is printed in any case.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Draw the picture on a light background.
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

impl Occupancy {
    pub fn run(self) -> anyhow::Result<()> {
        // An output that cannot be written should not cost the computing.
        let form = self.out.as_deref().map(Form::check).transpose()?;
        let device = self.device.choose()?;
        let (mut scene, opened) = super::open_scene(&self.scene, &self.settings, &device)?;
        let mut environment = opened.environment;
        let model = match opened.model {
            OpenedModel::Gamma(model) => model,
            other => {
                return Err(OpenError::OtherModel("a γ-model", other.with_article()).into());
            }
        };
        self.adjust(&mut scene)?;
        let request = self.request(&scene, environment.as_mut(), &model)?;
        let answer = Answer::new(
            request,
            environment.as_mut(),
            &model,
            self.truth.then_some(&scene.environment),
        )?;
        let report = Report {
            name: super::scene_name(&self.scene),
            scene: &scene,
            spec: environment.spec(),
            preset: model.config.preset.name(),
            policy: model.config.policies.get(answer.policy).map_or("", String::as_str),
            weights: &opened.hash,
            device: &device.name,
            answer: &answer,
        };
        if let (Some(form), Some(out)) = (form, &self.out) {
            report.write(form, out, self.light, &model)?;
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report.summary())?);
        } else {
            report.show();
            if let Some(out) = &self.out {
                println!("written to {}", out.display());
            }
        }
        Ok(())
    }
}

/// A list of numbers on the command line.
#[derive(Clone, Debug)]
struct Numbers(Vec<f32>);

/// `a,b,...`.
fn numbers(text: &str) -> Result<Numbers, String> {
    let parsed: Result<Vec<f32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match parsed {
        Ok(numbers) if numbers.iter().all(|number| number.is_finite()) => Ok(Numbers(numbers)),
        _ => Err(format!("\"{text}\" is not a list of finite numbers such as 0.5,-1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_are_read_and_others_named() {
        assert_eq!(numbers(" 1, -2.5,3e-1").unwrap().0, [1.0, -2.5, 0.3]);
        for text in ["", "1,", "a,b", "nan,1", "1,inf", "1e99", "1;2"] {
            assert!(numbers(text).unwrap_err().contains(text), "{text}");
        }
    }
}
