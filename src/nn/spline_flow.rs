//! Conditional spline flows: densities over lines and circles that can be
//! sampled and evaluated exactly.
//!
//! Durkan et al. 2019. Each coupling transforms one coordinate by a spline
//! whose knots come from a perceptron that sees the other coordinates and the
//! condition. The base is standard logistic on lines and uniform on circles.
//! As released, every pair of couplings follows a [`super::mixer`], and knots
//! are normalized twice.

mod composed;

pub use composed::composed;

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, activation};

use super::fused::apply;
use super::fused::harmonics::Harmonics;
use super::fused::spline::{DERIVATIVE_SHIFT, Direction, Spline, Topology};
use super::init::Initializer;
use super::mixer::{Mixer, MixerConfig};
use super::mlp::Mlp;

/// Half the interval of a spline on a line, as in the thesis.
pub const LINE_BOUND: f32 = 10.0;

/// Sizes of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct SplineFlowConfig {
    /// What every coordinate lives on.
    pub coordinates: Vec<Topology>,
    /// From data to latent.
    pub couplings: Vec<CouplingConfig>,
    /// Bins per spline, K.
    pub bins: usize,
    /// Width of the conditioners' hidden layers.
    pub hidden: usize,
    /// Hidden layers of a conditioner.
    pub layers: usize,
    /// Numbers in a condition.
    pub condition: usize,
    /// Sines and cosines by which a conditioner sees a coordinate.
    pub harmonics: usize,
    /// Whether it has what the released flow adds: mixers, and bins and slopes
    /// that pass their softmax and softplus twice.
    pub as_released: bool,
}

/// Which coordinate a coupling transforms, and what it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouplingConfig {
    /// The coordinate it transforms.
    pub target: usize,
    /// The coordinates its knots depend on.
    pub given: Vec<usize>,
}

impl SplineFlowConfig {
    /// `n` couplings that take turns over all coordinates in blocks of two:
    /// a later block sees the earlier ones, never the other way, so that the
    /// first block's marginal density is exact.
    pub fn take_turns(coordinates: usize, n: usize) -> Vec<CouplingConfig> {
        let mut couplings = Vec::new();
        let starts: Vec<usize> = (0..coordinates).step_by(2).collect();
        // Data to latent starts with the last block, which must still see the
        // earlier blocks' data.
        for start in starts.into_iter().rev() {
            let block = start..(start + 2).min(coordinates);
            for turn in 0..n {
                let target = start + turn % block.len();
                let mates = block.clone().filter(|other| *other != target);
                couplings.push(CouplingConfig { target, given: (0..start).chain(mates).collect() });
            }
        }
        couplings
    }

    /// Where normalization and mixing stand: before every pair of couplings, over
    /// the lines of its block. Not over circles, where a scale or a sum with
    /// something else would tear the angle at its seam, and not over more than a
    /// block, whose marginal density would no longer be exact.
    fn mixers(&self) -> Vec<MixerConfig> {
        let mut turn = (usize::MAX, 0);
        let mut mixers = Vec::new();
        for (before, coupling) in self.couplings.iter().enumerate() {
            let block = coupling.target / 2;
            turn = if turn.0 == block { (block, turn.1 + 1) } else { (block, 0) };
            let coordinates = block * 2..(block * 2 + 2).min(self.coordinates.len());
            let coordinates: Vec<usize> =
                coordinates.filter(|index| self.coordinates[*index] == Topology::Line).collect();
            if self.as_released && turn.1 % 2 == 0 && !coordinates.is_empty() {
                mixers.push(MixerConfig { before, coordinates });
            }
        }
        mixers
    }

    /// How a conditioner sees a coordinate.
    fn features(&self, coordinate: usize, rows: usize) -> Harmonics {
        let waves = self.harmonics;
        match self.coordinates[coordinate] {
            // Data fills half the spline's interval; waves as long as it.
            Topology::Line => Harmonics {
                rows,
                waves,
                pitch: std::f32::consts::PI / LINE_BOUND,
                straight: 2.0 / LINE_BOUND,
            },
            Topology::Circle => Harmonics { rows, waves: waves.max(1), pitch: 1.0, straight: 0.0 },
        }
    }

    /// Random weights.
    pub fn init(&self, init: &mut Initializer) -> SplineFlow {
        let couplings = self.couplings.iter().map(|coupling| {
            let given: usize =
                coupling.given.iter().map(|given| self.features(*given, 0).columns()).sum();
            let outputs = self.coordinates[coupling.target].parameters(self.bins);
            Mlp::new(given + self.condition, [self.hidden, self.layers], outputs, init)
        });
        SplineFlow {
            conditioners: couplings.collect(),
            mixers: self.mixers().iter().map(|mixer| mixer.init(init)).collect(),
            config: self.clone(),
        }
    }
}

/// A conditional density over `coordinates`.
#[derive(Module, Debug)]
pub struct SplineFlow {
    conditioners: Vec<Mlp>,
    mixers: Vec<Mixer>,
    #[module(skip)]
    config: SplineFlowConfig,
}

impl SplineFlow {
    /// ln p(x | condition): x `[rows, coordinates]`, condition
    /// `[rows, condition]`, result `[rows, 1]`. Circles in `[-pi, pi)`.
    ///
    /// With fewer columns, a whole number of leading blocks of two, it is the
    /// marginal density of those coordinates: no earlier block sees a later
    /// one.
    pub fn log_density(&self, x: Tensor<2>, condition: Tensor<2>) -> Tensor<2> {
        let [rows, leading] = x.dims();
        let mut log_density = Tensor::zeros([rows, 1], &x.device());
        let mut x = self.split(x);
        let couplings = self.config.couplings.iter().zip(&self.conditioners).enumerate();
        for (index, (coupling, conditioner)) in couplings.filter(|(_, (c, _))| c.target < leading) {
            for mixer in self.mixers_before(index) {
                log_density = log_density + mixer.forward(&mut x);
            }
            let slope = self.pass(coupling, conditioner, &mut x, &condition, Direction::Forward);
            log_density = log_density + slope;
        }
        self.add_base(log_density, x)
    }

    /// From base draws `[rows, coordinates]` to data, with ln p of the result.
    pub fn sample(&self, base: Tensor<2>, condition: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let zeros = Tensor::zeros([base.dims()[0], 1], &base.device());
        let mut x = self.split(base);
        let mut log_density = self.add_base(zeros, x.clone());
        let couplings = self.config.couplings.iter().zip(&self.conditioners).enumerate();
        for (index, (coupling, conditioner)) in couplings.rev() {
            let slope = self.pass(coupling, conditioner, &mut x, &condition, Direction::Inverse);
            // The inverse's log-slope is the negative of the forward one.
            log_density = log_density - slope;
            for mixer in self.mixers_before(index) {
                log_density = log_density - mixer.inverse(&mut x);
            }
        }
        (Tensor::cat(x, 1), log_density)
    }

    /// Every mixer normalizes from now on what it sees of data `x`, as the
    /// released flow does at its first batch.
    pub fn fitted(mut self, x: Tensor<2>, condition: Tensor<2>) -> Self {
        let mut x = self.split(x);
        for index in 0..self.config.couplings.len() {
            let here = self.mixers.iter().position(|mixer| mixer.config().before == index);
            if let Some(at) = here {
                let mixer = self.mixers.remove(at).fitted(&x);
                mixer.forward(&mut x);
                self.mixers.insert(at, mixer);
            }
            let (coupling, conditioner) =
                (&self.config.couplings[index], &self.conditioners[index]);
            self.pass(coupling, conditioner, &mut x, &condition, Direction::Forward);
        }
        self
    }

    fn mixers_before(&self, coupling: usize) -> impl Iterator<Item = &Mixer> {
        self.mixers.iter().filter(move |mixer| mixer.config().before == coupling)
    }

    fn split(&self, x: Tensor<2>) -> Vec<Tensor<2>> {
        let [rows, n] = x.dims();
        (0..n).map(|i| x.clone().slice([0..rows, i..i + 1])).collect()
    }

    /// One coupling: transforms its target in place, returns ln |slope|.
    fn pass(
        &self,
        coupling: &CouplingConfig,
        conditioner: &Mlp,
        x: &mut [Tensor<2>],
        condition: &Tensor<2>,
        direction: Direction,
    ) -> Tensor<2> {
        let [rows, _] = condition.dims();
        let features = coupling.given.iter().map(|given| {
            let op = self.config.features(*given, rows);
            let x = &x[*given];
            apply(&op, &x.device(), [x.clone().into_dispatch()])
                .unwrap_or_else(|| harmonics_composed(&op, x))
        });
        let inputs: Vec<Tensor<2>> = features.chain([condition.clone()]).collect();
        let mut raw = conditioner.forward(Tensor::cat(inputs, 1));
        let topology = self.config.coordinates[coupling.target];
        let bound = bound(topology);
        if self.config.as_released {
            raw = normalized_once(raw, self.config.bins, bound, topology);
        }
        let op = Spline { rows, bins: self.config.bins, bound, topology, direction };
        let output = spline(op, x[coupling.target].clone(), raw);
        x[coupling.target] = output.clone().slice([0..rows, 0..1]);
        output.slice([0..rows, 1..2])
    }

    /// Adds ln of the base density at latents `z`.
    fn add_base(&self, log_density: Tensor<2>, z: Vec<Tensor<2>>) -> Tensor<2> {
        z.into_iter().zip(&self.config.coordinates).fold(log_density, |sum, (z, topology)| {
            match topology {
                Topology::Line => {
                    // The logistic density is even: -|z| never overflows.
                    let z = z.abs();
                    let tail = (z.clone().neg().exp() + 1.0).log();
                    sum - z - tail * 2.0
                }
                Topology::Circle => sum - std::f32::consts::TAU.ln(),
            }
        })
    }
}

/// [`Harmonics`] from burn's operations.
fn harmonics_composed(op: &Harmonics, x: &Tensor<2>) -> Tensor<2> {
    let mut features = Vec::with_capacity(op.columns());
    if op.straight != 0.0 {
        features.push(x.clone() * op.straight);
    }
    for k in 1..=op.waves {
        let phase = x.clone() * (op.pitch * k as f32);
        features.push(phase.clone().cos());
        features.push(phase.sin());
    }
    Tensor::cat(features, 1)
}

/// The first of two normalizations, as released: bins of 2 B softmax, slopes of
/// softplus. The spline normalizes what comes of it once more, so that a slope
/// at a knot is at least softplus(softplus(-inf)) = ln 2.
fn normalized_once(raw: Tensor<2>, bins: usize, bound: f32, topology: Topology) -> Tensor<2> {
    let [rows, columns] = raw.dims();
    let cut = |from: usize, to: usize| raw.clone().slice([0..rows, from..to]);
    let slopes = match topology {
        Topology::Line => columns,
        Topology::Circle => columns - 1,
    };
    let sizes = |from: usize| softmax(cut(from, from + bins), 1) * (2.0 * bound);
    // The spline adds the shift; the released one has none.
    let slopes_once = activation::softplus(cut(2 * bins, slopes), 1.0) - DERIVATIVE_SHIFT;
    let mut parts = vec![sizes(0), sizes(bins), slopes_once];
    if slopes < columns {
        parts.push(cut(slopes, columns));
    }
    Tensor::cat(parts, 1)
}

/// Half the interval of a coordinate's splines.
pub fn bound(topology: Topology) -> f32 {
    match topology {
        Topology::Line => LINE_BOUND,
        Topology::Circle => std::f32::consts::PI,
    }
}

/// `[rows, 2]`: the splined x and ln of the slope of the way gone.
fn spline(op: Spline, x: Tensor<2>, raw: Tensor<2>) -> Tensor<2> {
    let device = x.device();
    let inputs = [x.clone().into_dispatch(), raw.clone().into_dispatch()];
    apply(&op, &device, inputs).unwrap_or_else(|| composed(op, x, raw))
}

#[cfg(test)]
mod tests;
