//! A chain that stays on the model's device from noise to the end.
//!
//! Noise goes up, and every step comes down to be shown, but the next one does
//! not wait for that: while a step is on its way the device computes its
//! successor. Noise comes from the host's streams, so that a seed gives the
//! same plan on every device.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use burn::tensor::{Bool, Tensor, TensorData};

use super::reads::Reads;
use super::{Chain, OnStep, Step};
use crate::model::ModelError;
use crate::model::diffuser::{Diffuser, Which};
use crate::model::guide::ReturnGuide;
use crate::model::inpainting::Inpainting;
use crate::model::reading::Pending;
use crate::model::transition::Transition;
use crate::rng::Rng;

/// Steps that are computed before the oldest has arrived. With one the device
/// is busy while a step travels; with more a plan that nobody wants any longer
/// would take longer to stop.
const AHEAD: usize = 1;

/// Plans on a device. Rows after `n` are there to fill the batch.
#[derive(Clone)]
pub struct Batch {
    n: usize,
    rows: Tensor<3>,
}

/// Plans as tensors, and a Diffuser.
pub struct OnDevice<'a> {
    diffuser: &'a Diffuser,
    which: Which,
    waypoints: usize,
    durations: &'a [f32],
    /// Where entries are known, and what they are; `[1, waypoints, dims]`.
    known: (Tensor<3, Bool>, Tensor<3>),
    /// The predictor, and how much of its gradient each entry feels.
    guide: Option<(&'a ReturnGuide, Tensor<3>)>,
    reads: Reads,
    /// Times of the steps that are on their way.
    coming: VecDeque<usize>,
    on_step: &'a mut OnStep<'a>,
}

impl<'a> OnDevice<'a> {
    /// A chain of plans with the `durations` given, of which `known` is known;
    /// `shares` is how much of the gradient each entry of a plan feels.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(
        diffuser: &'a Diffuser,
        which: Which,
        (waypoints, durations): (usize, &'a [f32]),
        known: &Inpainting,
        shares: Vec<f32>,
        on_step: &'a mut OnStep<'a>,
    ) -> Result<Self, ModelError> {
        let device = diffuser.device();
        let shape = [1, waypoints, diffuser.config.dims()];
        let mut mask = vec![false; waypoints * diffuser.config.dims()];
        known.entries().for_each(|entry| mask[entry] = true);
        let mut values = vec![0.0; mask.len()];
        known.apply(&mut values);
        let values = Tensor::from_data(TensorData::new(values, shape), device);
        let mask = Tensor::from_data(TensorData::new(mask, shape), device);
        let share = |guide| (guide, Tensor::from_data(TensorData::new(shares, shape), device));
        let guide = diffuser.guide().map(share);
        let known = (mask, values);
        let (reads, coming) = (Reads::begin()?, VecDeque::new());
        Ok(Self { diffuser, which, waypoints, durations, known, guide, reads, coming, on_step })
    }

    fn upload(&self, n: usize, rows: Vec<f32>) -> Batch {
        Batch { n, rows: self.diffuser.upload(rows, self.waypoints) }
    }

    fn size(&self) -> usize {
        self.waypoints * self.diffuser.config.dims()
    }

    /// Hand the oldest step on.
    fn arrived(&mut self) -> Result<ControlFlow<()>, ModelError> {
        let Some(t) = self.coming.pop_front() else { return Ok(ControlFlow::Continue(())) };
        let numbers = self.reads.next()?;
        let (noisy, clean) = numbers.split_at(numbers.len() / 2);
        Ok((self.on_step)(Step { t, noisy, clean }))
    }
}

impl Chain for OnDevice<'_> {
    type Plans = Batch;

    fn join(&self, plans: Option<Batch>, more: Vec<f32>) -> Batch {
        let m = more.len() / self.size().max(1);
        let Some(Batch { n, rows }) = plans else { return self.upload(m, more) };
        let missing = self.diffuser.buckets().size(n + m) - n;
        let mut more = more;
        // Rows like the last: nothing overflows that did not before.
        let last = more[(m.max(1) - 1) * self.size()..].to_vec();
        more.extend(last.repeat(missing - m));
        let shape = [missing, self.waypoints, self.diffuser.config.dims()];
        let more = Tensor::from_data(TensorData::new(more, shape), self.diffuser.device());
        Batch { n: n + m, rows: Tensor::cat(vec![rows.narrow(0, 0, n), more], 0) }
    }

    fn fix(&self, Batch { n, rows }: Batch) -> Batch {
        let (mask, values) = self.known.clone();
        let shape = rows.dims();
        Batch { n, rows: rows.mask_where(mask.expand(shape), values.expand(shape)) }
    }

    fn predict(&mut self, noisy: &Batch, t: usize) -> Result<Batch, ModelError> {
        // Plans that join late have the last durations.
        let durations = &self.durations[..noisy.n.min(self.durations.len())];
        let rows = self.diffuser.predict_there(self.which, noisy.rows.clone(), t, durations)?;
        Ok(Batch { n: noisy.n, rows })
    }

    fn climb(&mut self, plans: Batch, t: usize, rate: f32) -> Result<Batch, ModelError> {
        let Some((guide, shares)) = &self.guide else { return Ok(plans) };
        let slopes = guide.slopes(plans.rows.clone(), t)?;
        Ok(Batch { n: plans.n, rows: plans.rows + slopes * shares.clone() * rate })
    }

    fn advance(
        &self,
        transition: &Transition,
        noisy: Batch,
        clean: &Batch,
        before: Option<Batch>,
    ) -> Batch {
        let Batch { n, rows } = noisy;
        let mut sum = rows * transition.noisy + clean.rows.clone() * transition.clean;
        if transition.before != 0.0 {
            let before = before.map_or(clean.rows.clone(), |before| match before.n < n {
                false => before.rows,
                true => {
                    let [all, ..] = clean.rows.dims();
                    let joined = clean.rows.clone().narrow(0, before.n, all - before.n);
                    Tensor::cat(vec![before.rows.narrow(0, 0, before.n), joined], 0)
                }
            });
            sum = sum + before * transition.before;
        }
        Batch { n, rows: sum }
    }

    fn shake(&self, Batch { n, rows }: Batch, deviation: f32, rng: &mut Rng) -> Batch {
        let noise = self.upload(n, rng.normals(n * self.size()));
        Batch { n, rows: rows + noise.rows * deviation }
    }

    fn show(
        &mut self,
        t: usize,
        noisy: &Batch,
        clean: &Batch,
    ) -> Result<ControlFlow<()>, ModelError> {
        let both = [noisy, clean].map(|plans| plans.rows.clone().narrow(0, 0, plans.n));
        self.reads.send(Pending::of(Tensor::cat(both.to_vec(), 0))?)?;
        self.coming.push_back(t);
        if self.coming.len() > AHEAD { self.arrived() } else { Ok(ControlFlow::Continue(())) }
    }

    fn finish(&mut self) -> Result<ControlFlow<()>, ModelError> {
        while !self.coming.is_empty() {
            if self.arrived()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests;
