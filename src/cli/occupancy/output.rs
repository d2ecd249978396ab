//! An answer as words, JSON, arrays or a picture.

use std::path::Path;

use anyhow::bail;
use serde_json::{Value, json};

use super::answer::Answer;
use crate::data::{self, NamedArray, Values};
use crate::env::EnvironmentSpec;
use crate::files::AtomicWriter;
use crate::lab::occupancy::{COMPARED_CELLS, OccupancyFrame};
use crate::lab::{Scene, picture};
use crate::model::gamma::GammaModel;
use crate::picture::Mode;

/// What --out asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Arrays,
    Picture,
    Drawing,
    Table,
    Film,
    Everything,
}

impl Form {
    /// The form of a file's ending, if the file can be written.
    pub(super) fn check(out: &Path) -> anyhow::Result<Self> {
        let form = match out.extension().and_then(|ending| ending.to_str()).unwrap_or_default() {
            "npz" => Self::Arrays,
            "png" => Self::Picture,
            "svg" => Self::Drawing,
            "csv" => Self::Table,
            "gif" => Self::Film,
            "json" => Self::Everything,
            _ => bail!("{} must end in .npz, .json, .csv, .png, .svg or .gif", out.display()),
        };
        drop(AtomicWriter::create(out)?);
        Ok(form)
    }
}

/// An answer with all that it came from.
pub(super) struct Report<'a> {
    pub name: String,
    pub scene: &'a Scene,
    pub spec: &'a EnvironmentSpec,
    pub preset: &'a str,
    pub policy: &'a str,
    pub weights: &'a str,
    pub device: &'a str,
    pub answer: &'a Answer,
}

impl Report<'_> {
    fn frame(&self) -> &OccupancyFrame {
        &self.answer.frame
    }

    /// The discount of the whole chain, absent for a single model step.
    fn long_discount(&self) -> Option<f32> {
        let settings = &self.frame().request.settings;
        (settings.steps > 1).then_some(settings.long_discount)
    }

    /// 1 / (1 - g) in steps and in seconds.
    fn horizon(&self) -> [f64; 2] {
        let discount = self.long_discount().unwrap_or(self.frame().request.settings.discount);
        let steps = 1.0 / (1.0 - exact(discount));
        [steps, steps * exact(self.spec.dt_secs)]
    }

    /// The keys that the command's help names.
    pub(super) fn summary(&self) -> Value {
        let (frame, answer) = (self.frame(), self.answer);
        let request = &frame.request;
        let [horizon_steps, horizon_secs] = self.horizon();
        let coordinates = self.spec.state.iter();
        let coordinates: Vec<Value> =
            coordinates.map(|one| json!({"name": one.name, "unit": one.unit})).collect();
        let moment = |index: usize| -> Vec<f64> {
            answer.moments.iter().map(|moments| moments[index]).collect()
        };
        json!({
            "scene": self.name,
            "weights": self.weights,
            "preset": self.preset,
            "policy": self.policy,
            "device": self.device,
            "seed": request.seed,
            "coordinates": coordinates,
            "state": all_exact(&request.state),
            "goal": all_exact(&request.goal),
            "action": request.action.as_deref().map(all_exact),
            "gamma": exact(request.settings.discount),
            "steps": request.settings.steps,
            "long_gamma": self.long_discount().map(exact),
            "horizon_steps": horizon_steps,
            "horizon_secs": horizon_secs,
            "chain_weights": frame.chain_weights,
            "n": answer.n(),
            "mean": moment(0),
            "std": moment(1),
            "value": frame.value,
            "cells": frame.grid.cells,
            "total_variation": frame.total_variation.map(exact),
            "exact_total_variation": frame.exact_total_variation.map(exact),
            "rollouts": frame.truth.is_some().then_some(frame.rollouts),
            "milliseconds": exact(frame.wall_ms),
        })
    }

    /// Print the summary for people.
    pub(super) fn show(&self) {
        let (frame, answer) = (self.frame(), self.answer);
        let request = &frame.request;
        let settings = &request.settings;
        println!("{}: policy {}, weights {}", self.name, self.policy, self.weights);
        let named = |values: &[f32]| -> String {
            let pairs = self.spec.state.iter().zip(values);
            let pairs: Vec<String> = pairs
                .map(|(dimension, value)| format!("{} {value} {}", dimension.name, dimension.unit))
                .collect();
            pairs.join(", ")
        };
        println!("from      {}", named(&request.state));
        if !request.goal.is_empty() {
            println!("towards   {}", join(&request.goal));
        }
        match &request.action {
            Some(action) => println!("action    {}", join(action)),
            None => println!("action    the policy's own"),
        }
        let [steps, secs] = self.horizon();
        match self.long_discount() {
            None => println!("γ         {}: {steps:.1} steps or {secs:.2} s", settings.discount),
            Some(long) => println!(
                "γ         {long} from {} model steps of {}: {steps:.1} steps or {secs:.2} s",
                settings.steps, settings.discount
            ),
        }
        println!("samples   {}, seed {}", answer.n(), request.seed);
        for (dimension, [mean, std]) in self.spec.state.iter().zip(&answer.moments) {
            println!("  {:<10}{mean:>9.4} ± {std:.4} {}", dimension.name, dimension.unit);
        }
        if let Some(value) = frame.value {
            let how = if settings.steps > 1 { "γ-MVE" } else { "from the samples" };
            println!("value     {value:.3} ({how}, the environment's reward)");
        }
        if let Some(off) = frame.total_variation {
            let (cells, n) = (COMPARED_CELLS, frame.rollouts);
            println!(
                "total variation {off:.3} to {n} real rollouts on about {cells} x {cells} cells"
            );
        }
        if let Some(off) = frame.exact_total_variation {
            println!("total variation {off:.3} to the exact occupancy of the tabular twin");
        }
        println!("{:.1} ms on {}", frame.wall_ms, self.device);
    }

    /// Write the form that --out asks for.
    pub(super) fn write(
        &self,
        form: Form,
        out: &Path,
        is_light: bool,
        model: &GammaModel,
    ) -> anyhow::Result<()> {
        let mode = if is_light { Mode::Light } else { Mode::Dark };
        let frame = self.frame();
        let bytes = match form {
            Form::Arrays => return Ok(self.write_arrays(out)?),
            Form::Picture => picture::field_png(&picture::occupancy(self.scene, frame)?, mode)?,
            Form::Drawing => picture::field_svg(&picture::occupancy(self.scene, frame)?, mode)?,
            Form::Table => picture::occupancy_csv(frame, &self.spec.state).into_bytes(),
            Form::Film => picture::discounts(self.scene, &frame.request, model, mode)?,
            Form::Everything => serde_json::to_vec_pretty(&self.everything())?,
        };
        Ok(crate::files::write_atomic(out, &bytes)?)
    }

    fn write_arrays(&self, out: &Path) -> Result<(), crate::files::FileError> {
        let (frame, answer) = (self.frame(), self.answer);
        let [x_edges, y_edges] = [0, 1].map(|axis| edges(frame, axis));
        let gamma = [exact(frame.request.settings.discount)];
        let n = answer.n() as u64;
        let cells = frame.grid.cells.map(|cells| cells as u64);
        let list = |name, values| NamedArray { name, shape: vec![len(&values)], values };
        let map = |name, values| NamedArray { name, shape: cells.to_vec(), values };
        let mut all = vec![NamedArray {
            name: "samples",
            shape: vec![n, frame.request.state.len() as u64],
            values: Values::Single(&answer.states),
        }];
        if !answer.log_density.is_empty() {
            all.push(list("log_density", Values::Single(&answer.log_density)));
        }
        all.push(list("weights", Values::Double(&frame.chain_weights)));
        all.push(map("density", Values::Single(&frame.model)));
        all.extend(frame.truth.as_ref().map(|truth| map("truth", Values::Single(truth))));
        all.extend(frame.exact.as_ref().map(|exact| map("exact", Values::Single(exact))));
        all.push(list("x_edges", Values::Double(&x_edges)));
        all.push(list("y_edges", Values::Double(&y_edges)));
        all.push(list("state", Values::Single(&frame.request.state)));
        all.push(NamedArray { name: "gamma", shape: Vec::new(), values: Values::Double(&gamma) });
        data::write_arrays(out, &all)
    }

    /// The summary with all arrays in it.
    fn everything(&self) -> Value {
        let (frame, answer) = (self.frame(), self.answer);
        let [_, columns] = frame.grid.cells;
        let dims = frame.request.state.len();
        let has_density = !answer.log_density.is_empty();
        let extra = json!({
            "samples": rows(&answer.states, dims),
            "log_density": has_density.then(|| all_exact(&answer.log_density)),
            "density": rows(&frame.model, columns),
            "truth": frame.truth.as_ref().map(|truth| rows(truth, columns)),
            "exact": frame.exact.as_ref().map(|exact| rows(exact, columns)),
            "x_edges": edges(frame, 0),
            "y_edges": edges(frame, 1),
            "scene_toml": self.scene.to_toml(),
        });
        let mut all = self.summary();
        if let (Some(all), Value::Object(extra)) = (all.as_object_mut(), extra) {
            all.extend(extra);
        }
        all
    }
}

/// The ends of all cells along a coordinate.
fn edges(frame: &OccupancyFrame, axis: usize) -> Vec<f64> {
    let grid = &frame.grid;
    let (low, high) = (f64::from(grid.low[axis]), f64::from(grid.high[axis]));
    let n = grid.cells[axis];
    (0..=n).map(|edge| low + (high - low) * edge as f64 / n as f64).collect()
}

fn len(values: &Values<'_>) -> u64 {
    match values {
        Values::Single(values) => values.len() as u64,
        Values::Double(values) => values.len() as u64,
        Values::Flags(values) => values.len() as u64,
    }
}

fn rows(values: &[f32], columns: usize) -> Vec<Vec<f64>> {
    values.chunks_exact(columns.max(1)).map(all_exact).collect()
}

fn all_exact(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| exact(*value)).collect()
}

/// The shortest decimal that names a number: 0.95 and not 0.949999988079071.
fn exact(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

fn join(values: &[f32]) -> String {
    let texts: Vec<String> = values.iter().map(f32::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_people_typed() {
        assert_eq!(exact(0.95), 0.95);
        assert_eq!(exact(-3.0e-7), -3.0e-7);
        assert!(exact(f32::NAN).is_nan() && exact(f32::INFINITY).is_infinite());
    }

    #[test]
    fn a_form_is_known_by_its_ending_and_needs_a_place() {
        let folder = tempfile::tempdir().unwrap();
        for (name, form) in [
            ("a.npz", Form::Arrays),
            ("a.png", Form::Picture),
            ("a.svg", Form::Drawing),
            ("a.csv", Form::Table),
            ("a.gif", Form::Film),
            ("a.json", Form::Everything),
        ] {
            assert_eq!(Form::check(&folder.path().join(name)).unwrap(), form);
            assert!(!folder.path().join(name).exists());
        }
        for name in ["a.pdf", "npz", "missing/a.npz"] {
            assert!(Form::check(&folder.path().join(name)).is_err(), "{name}");
        }
    }
}
