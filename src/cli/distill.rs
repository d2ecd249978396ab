//! `foresight distill`: a student for a scene's Diffuser.

use anyhow::bail;
use clap::Args;

use super::train::{Driven, RunArguments};
use crate::lab::data_set::located;
use crate::lab::train::{TrainOptions, distill, student_run_path};
use crate::lab::{Scene, open};

/// Distill a scene's Diffuser into a network that plans in one step.
///
/// The student learns where the chains of the trained Diffuser end, as the
/// scene's [distill] section says, and goes into the weights file beside it;
/// what is in there stays as it is. Then --set plan.sampler=one-step plans with
/// it.
#[derive(Args, Debug)]
pub struct Distill {
    #[command(flatten)]
    run: RunArguments,
}

impl Distill {
    pub fn run(self) -> anyhow::Result<()> {
        let (scene, folder) = Scene::open(&self.run.scene)?;
        let Some(weights) = scene.model.weights().map(str::to_owned) else {
            bail!("{} names no weights to distill; train it first", self.run.scene);
        };
        let teacher = open::read_weights(&weights, folder.as_deref())?;
        let out = self.run.out(&scene, folder.as_deref())?;
        let scene = located(&scene, folder.as_deref());
        // Without a section distilling says what is missing.
        let steps = scene.distill.as_ref().map_or(1, |section| section.steps);
        let options = |device: &str| {
            Ok(TrainOptions {
                resume: self.run.resume,
                run: student_run_path(&out),
                ..TrainOptions::beside(&out, device)
            })
        };
        self.run.drive(steps, options, |driven| {
            let Driven { device, options, orders, on_event } = driven;
            distill(&scene, teacher, device, options, orders, on_event)
        })
    }
}
