//! The loop of a run.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;

use super::folder::RunFolder;
use super::metric::is_spike;
use super::orders::Order;
use super::{
    Budget, Metric, Orders, Rest, Series, TrainError, TrainEvent, TrainOptions, TrainSummary,
};
use crate::lab::bench::memory_mib;
use crate::lab::checkpoint::{self, Checkpoint, CheckpointError, Header};
use crate::lab::data_set;
use crate::lab::scene::Scene;
use crate::model::ModelError;
use crate::model::learner::Learner;
use crate::model::reading::read_one;

/// Longest time between two checkpoints; up to it the time grows with the run,
/// so that a short run has many and a long one few to write.
const SAVE_AT_LAST: Duration = Duration::from_secs(60);
/// Part of the run between two checkpoints.
const SAVE_SHARE: f64 = 1.0 / 40.0;
/// Most steps between two reports: a GPU must not run ahead for ever.
const MOST_STEPS: usize = 200;

type OnEvent<'a> = &'a mut dyn FnMut(TrainEvent);

pub(super) struct Run<'a> {
    learner: Box<dyn Learner>,
    header: Header,
    folder: RunFolder,
    options: &'a TrainOptions,
    orders: &'a Orders,
    series: Series,
    /// Working time before `started`.
    spent: Duration,
    /// Since when it works without a rest.
    started: Instant,
    reported: Instant,
    saved: Instant,
    shown: Instant,
    /// Losses since the last report.
    sum: Option<Tensor<1>>,
    steps: usize,
    /// What went wrong; nothing is saved until that is settled.
    trouble: Option<Trouble>,
}

struct Trouble {
    advice: String,
    /// Whether the weights themselves are of no use any more.
    is_fatal: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        learner: Box<dyn Learner>,
        header: Header,
        folder: RunFolder,
        options: &'a TrainOptions,
        orders: &'a Orders,
        spent: Duration,
        series: Series,
    ) -> Self {
        let now = Instant::now();
        Self {
            learner,
            header,
            folder,
            options,
            orders,
            series,
            spent,
            started: now,
            reported: now,
            saved: now,
            shown: now,
            sum: None,
            steps: 0,
            trouble: None,
        }
    }

    pub(super) fn drive(
        mut self,
        scene: &Scene,
        on_event: OnEvent,
    ) -> Result<TrainSummary, TrainError> {
        let mut scene = scene.clone();
        if self.folder.manifest().latest.is_none() {
            // The untrained weights: what training starts from can be seen.
            self.save(false, on_event)?;
        }
        self.show(on_event)?;
        loop {
            match self.orders.next(self.progress() >= 1.0) {
                Order::Step => self.step(on_event)?,
                Order::Wait if self.is_over() => break,
                Order::Wait => self.rest(on_event)?,
                Order::Stop => break,
                Order::Tune(tuned) => self.tune(&mut scene, *tuned, on_event)?,
                Order::Keep => {
                    self.save(true, on_event)?;
                }
                Order::GoBack(id) => self.go_back(id, on_event)?,
            }
        }
        self.report(on_event)?;
        self.save(false, on_event)?;
        Ok(TrainSummary {
            steps: self.learner.step(),
            wall: self.wall(),
            loss: self.header.newest().loss,
            weights: self.options.weights(),
            stopped: self.progress() < 1.0,
        })
    }

    /// Whether nobody is going to give more orders.
    fn is_over(&self) -> bool {
        !self.options.waits && !self.orders.is_paused()
    }

    fn step(&mut self, on_event: OnEvent) -> Result<(), TrainError> {
        let started = Instant::now();
        let is_due = self.steps + 1 >= MOST_STEPS
            || self.reported.elapsed() >= self.options.report_every
            || matches!(self.orders.budget(), Budget::Steps(steps) if self.learner.step() + 1 >= steps);
        if is_due {
            self.learner.optimizer().watch();
        }
        let loss = self.learner.train_step(self.progress())?;
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
        self.steps += 1;
        if is_due {
            self.report(on_event)?;
        }
        if self.trouble.is_none() {
            let wall = self.wall().mul_f64(SAVE_SHARE);
            let least = self.options.save_every;
            if self.saved.elapsed() > wall.clamp(least, SAVE_AT_LAST.max(least)) {
                self.report(on_event)?;
                self.save(false, on_event)?;
            }
            if self.options.show_every.is_some_and(|every| self.shown.elapsed() > every) {
                self.show(on_event)?;
            }
        }
        let pace = self.orders.pace();
        let idle = started.elapsed().mul_f32(1.0 / pace - 1.0);
        let until = Instant::now() + idle.min(Duration::from_secs(1));
        while pace < 1.0 && Instant::now() < until && !self.orders.is_stopped() {
            let left = until.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
        Ok(())
    }

    /// Read the losses since the last report and judge them.
    fn report(&mut self, on_event: OnEvent) -> Result<(), TrainError> {
        let Some(sum) = self.sum.take() else { return Ok(()) };
        let steps = std::mem::take(&mut self.steps);
        let loss = read_one(sum)? / steps as f32;
        let secs = std::mem::replace(&mut self.reported, Instant::now()).elapsed().as_secs_f64();
        let step = self.learner.step();
        if !loss.is_finite() {
            let error = ModelError::Diverged { step };
            return self.halt(error, true, on_event);
        }
        if is_spike(self.series.lines(), loss) {
            let error = ModelError::Spiked { step, loss };
            self.halt(error, false, on_event)?;
        }
        let metric = Metric {
            step,
            branch: self.folder.manifest().branch,
            secs: self.wall().as_secs_f64(),
            loss,
            held_out: None,
            gradient_norm: self.learner.optimizer().take_norm(),
            learning_rate: self.learner.learning_rate_at(self.progress()),
            steps_per_sec: steps as f64 / secs.max(1e-9),
            memory_mib: memory_mib(),
        };
        self.header.newest_mut().loss = loss;
        self.record(metric, on_event)
    }

    fn record(&mut self, metric: Metric, on_event: OnEvent) -> Result<(), TrainError> {
        self.folder.log(&metric)?;
        self.series.push(metric);
        let (progress, remaining) = (self.progress(), self.remaining(metric.steps_per_sec));
        on_event(TrainEvent::Training { metric, progress, remaining });
        Ok(())
    }

    /// Stop stepping until somebody says how to go on; without anybody, only
    /// what is of no use any more ends the run.
    fn halt(
        &mut self,
        error: ModelError,
        is_fatal: bool,
        on_event: OnEvent,
    ) -> Result<(), TrainError> {
        if !self.options.waits {
            if is_fatal {
                return Err(error.into());
            }
            on_event(TrainEvent::Warning(error.to_string()));
            return Ok(());
        }
        self.trouble = Some(Trouble { advice: error.to_string(), is_fatal });
        self.orders.pause();
        Ok(())
    }

    /// Wait for other orders; nothing is lost if none comes.
    fn rest(&mut self, on_event: OnEvent) -> Result<(), TrainError> {
        self.report(on_event)?;
        let why = match &self.trouble {
            Some(trouble) => Rest::Trouble(trouble.advice.clone()),
            None if self.orders.is_paused() => Rest::Asked,
            None => Rest::Spent,
        };
        if self.trouble.is_none() {
            self.save(false, on_event)?;
            if self.options.show_every.is_some() {
                self.show(on_event)?;
            }
        }
        self.spent = self.wall();
        on_event(TrainEvent::Resting(why));
        let order = loop {
            match self.orders.next(self.spent_share(self.spent) >= 1.0) {
                Order::Wait => self.orders.wait(),
                order => break order,
            }
        };
        self.started = Instant::now();
        self.reported = self.started;
        let trouble = self.trouble.take();
        match order {
            Order::Step if trouble.is_some_and(|trouble| trouble.is_fatal) => {
                // Weights that are no numbers cannot go on.
                match self.folder.manifest().latest {
                    Some(latest) => self.go_back(latest, on_event),
                    None => Err(ModelError::Diverged { step: self.learner.step() }.into()),
                }
            }
            Order::Stop => {
                self.orders.stop();
                Ok(())
            }
            Order::Tune(scene) => {
                self.orders.tune(*scene);
                Ok(())
            }
            Order::GoBack(id) => self.go_back(id, on_event),
            Order::Keep => {
                self.orders.keep();
                Ok(())
            }
            Order::Step | Order::Wait => Ok(()),
        }
    }

    fn tune(
        &mut self,
        scene: &mut Scene,
        tuned: Scene,
        on_event: OnEvent,
    ) -> Result<(), TrainError> {
        if self.header.student.is_some() {
            on_event(TrainEvent::Warning("a distillation takes no changes on its way".into()));
            return Ok(());
        }
        let spec = tuned.make_environment()?;
        let numbers = tuned.model.resolve(spec.spec())?;
        if !self.header.model.continues_as(&numbers) {
            on_event(TrainEvent::Warning("that change needs a new run".into()));
            return Ok(());
        }
        // From here on the weights are of another mixture.
        if self.saved.elapsed() > self.options.save_every && self.trouble.is_none() {
            self.report(on_event)?;
            self.save(false, on_event)?;
        }
        self.learner.tune(&numbers);
        self.header.model.take_live(&numbers);
        self.header.provenance.scene_hash = data_set::training_hash(&tuned, None)?;
        *scene = tuned;
        self.folder.write_scene(scene)?;
        Ok(())
    }

    fn go_back(&mut self, id: u64, on_event: OnEvent) -> Result<(), TrainError> {
        if self.trouble.is_none() {
            self.report(on_event)?;
            self.save(true, on_event)?;
        }
        let (header, state) = match self.folder.go_back(id) {
            Ok(found) => found,
            // A damaged file must not end the run that it belongs to.
            Err(error) => {
                on_event(TrainEvent::Warning(error.to_string()));
                return Ok(());
            }
        };
        self.trouble = None;
        (self.sum, self.steps) = (None, 0);
        let wall = header.newest().wall_secs.max(0.0);
        self.spent = Duration::try_from_secs_f64(wall).unwrap_or_default();
        self.started = Instant::now();
        self.reported = self.started;
        self.header.newest_mut().loss = header.newest().loss;
        self.learner.restore(state)?;
        on_event(TrainEvent::WentBack(self.learner.step()));
        on_event(TrainEvent::Saved(Box::new(self.folder.manifest().clone())));
        self.show(on_event)
    }

    fn wall(&self) -> Duration {
        self.spent + self.started.elapsed()
    }

    fn progress(&self) -> f64 {
        self.spent_share(self.wall())
    }

    fn spent_share(&self, wall: Duration) -> f64 {
        match self.orders.budget() {
            Budget::Steps(steps) => self.learner.step() as f64 / steps.max(1) as f64,
            Budget::Time(limit) => wall.as_secs_f64() / limit.as_secs_f64().max(1e-9),
        }
    }

    fn remaining(&self, steps_per_sec: f64) -> Duration {
        match self.orders.budget() {
            Budget::Steps(steps) => {
                let left = steps.saturating_sub(self.learner.step()) as f64;
                Duration::try_from_secs_f64(left / steps_per_sec).unwrap_or(Duration::MAX)
            }
            Budget::Time(limit) => limit.saturating_sub(self.wall()),
        }
    }

    /// Publish a checkpoint, unless this very step is published already.
    fn save(&mut self, is_kept: bool, on_event: OnEvent) -> Result<(), TrainError> {
        if self.trouble.is_some() {
            return Ok(());
        }
        self.saved = Instant::now();
        let manifest = self.folder.manifest();
        let is_new = manifest.newest().is_none_or(|entry| {
            entry.step != self.learner.step() || entry.branch != manifest.branch
        });
        if is_new || is_kept {
            let wall_secs = self.wall().as_secs_f64();
            let provenance = self.header.newest_mut();
            (provenance.steps, provenance.wall_secs) = (self.learner.step(), wall_secs);
            let held_out = self.learner.held_out_loss()?.filter(|loss| loss.is_finite());
            if let (Some(held_out), Some(last)) = (held_out, self.series.lines().last().copied()) {
                self.record(Metric { held_out: Some(held_out), ..last }, on_event)?;
            }
            let state = self.learner.state()?;
            self.folder.publish(&self.header, &state, held_out, is_kept)?;
            on_event(TrainEvent::Saved(Box::new(self.folder.manifest().clone())));
        }
        self.copy_out()
    }

    /// The weights where the scene looks for them.
    fn copy_out(&self) -> Result<(), TrainError> {
        let Some(out) = &self.options.out else { return Ok(()) };
        let weights = self.learner.average()?;
        checkpoint::write(out, &self.header, &weights).map_err(CheckpointError::into)
    }

    fn show(&mut self, on_event: OnEvent) -> Result<(), TrainError> {
        self.shown = Instant::now();
        if self.options.show_every.is_none() {
            return Ok(());
        }
        let mut header = self.header.clone();
        let provenance = header.newest_mut();
        provenance.steps = self.learner.step();
        provenance.wall_secs = self.wall().as_secs_f64();
        let hash = format!("step {}", self.learner.step());
        let weights = self.learner.average()?;
        on_event(TrainEvent::Weights(Box::new(Checkpoint { header, weights, hash })));
        Ok(())
    }
}
