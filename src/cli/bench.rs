//! `foresight bench`: medians of what people wait for.

mod frontier;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{DeviceArgument, Settings};
use crate::eval::quantile;
use crate::lab::SHIPPED;
use crate::lab::bench::{BenchRow, gamma_rows, network_rows, plan_rows, transformer_rows};
use crate::lab::device::{ChosenDevice, has_display};

/// Measure training, planning and the window on this machine.
///
/// The window rows need a display; where there is none but Xvfb is installed,
/// they are measured there.
///
/// With --frontier: the score of every sampler at several numbers of steps
/// against the time of a plan, planning again from the last plan and from
/// noise, and dragging.
#[derive(Args, Debug)]
pub struct Bench {
    /// Measure this scene's trade-off; the first shipped one if absent.
    #[arg(requires = "frontier")]
    scene: Option<String>,
    /// Measure the trade-off between score and planning time instead.
    #[arg(long)]
    frontier: bool,
    /// Episodes a point of the trade-off.
    #[arg(long, default_value_t = 100, requires = "frontier")]
    episodes: usize,
    /// Seed of resets and noise of the trade-off.
    #[arg(long, default_value_t = 0, requires = "frontier")]
    seed: u64,
    /// Only this part of the trade-off.
    #[arg(long, value_enum, requires = "frontier", conflicts_with = "record")]
    part: Option<frontier::Part>,
    /// Keep the trade-off beside the scene's weights, where the window looks.
    #[arg(long, requires = "frontier")]
    record: bool,
    /// Also write the trade-off, as JSON, to this file.
    #[arg(long, requires = "frontier")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Samples per row.
    #[arg(long, default_value_t = 15)]
    samples: usize,
    /// Leave the window closed.
    #[arg(long)]
    no_window: bool,
    /// Measure these alone; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Group>,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgument,
}

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// The window at rest, while dragging and while training.
    Window,
    /// Plans of the shipped Large scene.
    Plan,
    /// The Diffuser's network.
    Network,
    /// The γ-model.
    Gamma,
    /// The Trajectory Transformer.
    Transformer,
}

#[derive(Serialize)]
struct Table {
    device: String,
    results: Vec<BenchRow>,
}

/// What the window says of itself with `--probe`.
#[derive(Deserialize)]
struct Probe {
    first_frame_ms: f64,
    drag_latency_ms: Vec<f64>,
    frame_ms: Vec<f64>,
    peak_memory_mib: Option<f64>,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        if self.frontier {
            return self.measure_frontier();
        }
        let samples = self.samples.clamp(1, 1000);
        let device = self.device.choose()?;
        let mut results = Vec::new();
        // The window first: its memory should not hold ours.
        for (flag, names) in [("--probe", WINDOW), ("--probe-training", TRAINING)] {
            if !self.measures(Group::Window) {
                continue;
            }
            match self.window_rows(flag, names) {
                Ok(rows) => results.extend(rows),
                Err(error) => eprintln!("the window rows are left out: {error:#}"),
            }
        }
        let rounds = ROUNDS.min(samples);
        let measured: anyhow::Result<Vec<_>> =
            (0..rounds).map(|_| self.round(&device, samples.div_ceil(rounds))).collect();
        results.extend(middle(&measured?));
        let table = Table { device: device.name, results };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&table)?);
            return Ok(());
        }
        println!("{}", table.device);
        for BenchRow { name, median, unit, n } in &table.results {
            println!("  {name:<28}{median:>9.1} {unit:<4} n {n}");
        }
        Ok(())
    }

    /// Every row that needs no window, once.
    fn round(&self, device: &ChosenDevice, samples: usize) -> anyhow::Result<Vec<BenchRow>> {
        let mut results = Vec::new();
        if self.measures(Group::Plan) {
            let (scene, opened) = super::open_scene(SHIPPED[0].name, &self.settings, device)?;
            results.extend(plan_rows(&scene, opened.planner()?, samples));
        }
        if self.measures(Group::Network) {
            results.extend(network_rows(&device.device, samples));
        }
        if self.measures(Group::Gamma) {
            results.extend(gamma_rows(&device.device, samples)?);
        }
        if self.measures(Group::Transformer) {
            results.extend(transformer_rows(&device.device, samples)?);
        }
        Ok(results)
    }

    fn measures(&self, group: Group) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }

    fn window_rows(&self, flag: &str, names: RowNames) -> anyhow::Result<Vec<BenchRow>> {
        anyhow::ensure!(!self.no_window, "--no-window was given");
        let program = std::env::current_exe()?;
        let mut command = if has_display() {
            Command::new(program)
        } else {
            let mut command = Command::new("xvfb-run");
            command.args(["-a", "-s", "-screen 0 1440x900x24"]).arg(program);
            command
        };
        command.arg(flag);
        if flag == "--probe-training" {
            // Its data is collected in seconds.
            command.arg("maze2d-umaze-diffuser");
        }
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().context("no display, and xvfb-run is not installed")?;
        let probe: Probe = serde_json::from_slice(&output.stdout)
            .context("the window closed before it had measured itself")?;
        Ok(rows(&probe, names))
    }
}

/// Times the rows without a window are gone through: what disturbs a machine for
/// a while then falls on every row alike.
const ROUNDS: usize = 3;

/// One row of each name: the middle of the rounds' medians, and all samples.
fn middle(rounds: &[Vec<BenchRow>]) -> Vec<BenchRow> {
    let Some(first) = rounds.first() else { return Vec::new() };
    let merged = |row: &BenchRow| {
        let same = || rounds.iter().flatten().filter(|other| other.name == row.name);
        let medians: Vec<f64> = same().map(|other| other.median).collect();
        let median = quantile(&medians, 0.5).unwrap_or(row.median);
        BenchRow { median, n: same().map(|other| other.n).sum(), ..row.clone() }
    };
    first.iter().map(merged).collect()
}

/// What the rows of a measured window are called: start-up, drag latency,
/// frame time and memory; empty ones are left out.
type RowNames = [&'static str; 4];

const WINDOW: RowNames = ["first_frame", "drag_latency", "frame_time", "peak_memory"];
const TRAINING: RowNames =
    ["", "drag_latency_training", "frame_time_training", "peak_memory_training"];

fn rows(probe: &Probe, [first, drag, frame, most]: RowNames) -> Vec<BenchRow> {
    let row = |name: &'static str, values: &[f64], unit| {
        let median = quantile(values, 0.5).filter(|_| !name.is_empty())?;
        Some(BenchRow { name, median, unit, n: values.len() })
    };
    let memory = probe.peak_memory_mib.as_slice();
    [
        row(first, &[probe.first_frame_ms], "ms"),
        row(drag, &probe.drag_latency_ms, "ms"),
        row(frame, &probe.frame_ms, "ms"),
        row(most, memory, "MiB"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_was_disturbed_does_not_move_the_middle() {
        let row = |name, median| BenchRow { name, median, unit: "ms", n: 5 };
        let round = |a, b| vec![row("a", a), row("b", b)];
        let merged = middle(&[round(1.0, 7.0), round(90.0, 8.0), round(2.0, 9.0)]);
        let found: Vec<_> = merged.iter().map(|row| (row.name, row.median, row.n)).collect();
        assert_eq!(found, [("a", 2.0, 15), ("b", 8.0, 15)]);
        assert!(middle(&[]).is_empty());
    }
}
