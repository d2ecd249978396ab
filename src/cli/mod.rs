//! The command line: one file per subcommand.

mod bench;
mod collect;
mod distill;
mod doctor;
mod dream;
mod eval;
mod occupancy;
mod plan;
mod train;
mod window;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};

use crate::lab::device::prepare::{self, Progress};
use crate::lab::device::{self, ChosenDevice, DeviceChoice, DeviceError};
use crate::lab::open::{self, Opened};
use crate::lab::{Scene, knobs};

/// Plan with generative models: open a live maze, train, plan, evaluate.
///
/// SCENE is a .toml file or the name of a shipped scene, such as
/// maze2d-large-diffuser.
#[derive(Parser, Debug)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    window: window::Window,
}

#[derive(Subcommand, Debug)]
enum Command {
    Collect(collect::Collect),
    Train(train::Train),
    Distill(distill::Distill),
    Plan(plan::PlanCommand),
    Occupancy(occupancy::Occupancy),
    Eval(eval::Eval),
    Dream(dream::DreamCommand),
    Doctor(doctor::Doctor),
    Bench(bench::Bench),
}

/// Run the program; the exit code is non-zero after any error.
pub fn run(started: Instant) -> ExitCode {
    start_log();
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::Collect(command)) => command.run(),
        Some(Command::Train(command)) => command.run(),
        Some(Command::Distill(command)) => command.run(),
        Some(Command::Plan(command)) => command.run(),
        Some(Command::Occupancy(command)) => command.run(),
        Some(Command::Eval(command)) => command.run(),
        Some(Command::Dream(command)) => command.run(),
        Some(Command::Doctor(command)) => command.run(),
        Some(Command::Bench(command)) => command.run(),
        None => arguments.window.run(started),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Log to standard error what `FORESIGHT_LOG` asks for, else errors.
fn start_log() {
    /// rfd calls it an error that a machine has no file dialog; the window asks
    /// for a typed path instead and says so.
    const USUAL: &str = "error,rfd=off";
    let filter = tracing_subscriber::EnvFilter::try_from_env("FORESIGHT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(USUAL));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// `--device`, shared by the commands that compute.
#[derive(Args, Debug)]
struct DeviceArgument {
    /// Where to compute; auto takes a GPU only if it is right and faster.
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
}

impl DeviceArgument {
    fn choose(&self) -> anyhow::Result<ChosenDevice> {
        Ok(device::choose(self.device)?)
    }
}

/// `--set`, shared by the commands that plan.
#[derive(Args, Debug)]
struct Settings {
    /// Change a setting of the scene, such as plan.denoising_steps=8; may be
    /// given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Plan with these weights instead of the scene's.
    #[arg(long)]
    weights: Option<PathBuf>,
}

impl Settings {
    fn apply(&self, scene: &mut Scene) -> anyhow::Result<()> {
        for assignment in &self.set {
            knobs::set_from_text(scene, assignment).map_err(anyhow::Error::msg)?;
        }
        if let Some(weights) = &self.weights {
            // Relative to where the person stands, not to the scene file.
            let weights = std::path::absolute(weights)?;
            scene.model.set_weights(Some(weights.display().to_string()));
        }
        Ok(())
    }
}

/// A scene with its settings, opened on a device.
fn open_scene(
    name: &str,
    settings: &Settings,
    device: &ChosenDevice,
) -> anyhow::Result<(Scene, Opened)> {
    let (mut scene, folder) = Scene::open(name)?;
    settings.apply(&mut scene)?;
    if device.is_gpu() {
        prepare(&scene, folder.as_deref(), device)?;
    }
    let opened = open::open(&scene, folder.as_deref(), &device.device)?;
    Ok((scene, opened))
}

/// Let a GPU compile its programs and compare its numbers with the CPU's, and
/// say so on standard error: it takes seconds to minutes.
fn prepare(scene: &Scene, folder: Option<&Path>, device: &ChosenDevice) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut say = |progress: &Progress| {
        eprintln!("preparing the GPU: {progress}");
        ControlFlow::Continue(())
    };
    prepare::prepare(scene, folder, device, false, &mut say)
        .map_err(|error| DeviceError::NoGpu(error.to_string()))?;
    eprintln!("the GPU is prepared after {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}

/// File stem of a scene argument, for results.
fn scene_name(argument: &str) -> String {
    let path = std::path::Path::new(argument);
    path.file_stem().map_or_else(|| argument.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// A progress bar on standard error, hidden where JSON is printed.
fn progress_bar(length: u64, what: &'static str, hidden: bool) -> indicatif::ProgressBar {
    if hidden {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(length).with_prefix(what);
    let template = "{prefix:11} {wide_bar} {pos} of {len}  {eta} left";
    match indicatif::ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
