//! Conditional spline flows: densities over lines and circles that can be
//! sampled and evaluated exactly.
//!
//! Durkan et al. 2019. Each coupling transforms one coordinate by a spline
//! whose knots come from a perceptron that sees the other coordinates and the
//! condition. The base is standard logistic on lines and uniform on circles.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, activation};

use super::fused::apply;
use super::fused::spline::{DERIVATIVE_SHIFT, Direction, FLOOR, Spline, Topology};
use super::init::Initializer;
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

    fn features(&self, coordinate: usize) -> usize {
        match self.coordinates[coordinate] {
            Topology::Line => 1 + 2 * self.harmonics,
            Topology::Circle => 2 * self.harmonics.max(1),
        }
    }

    /// Random weights.
    pub fn init(&self, init: &mut Initializer) -> SplineFlow {
        let couplings = self.couplings.iter().map(|coupling| {
            let given: usize = coupling.given.iter().map(|given| self.features(*given)).sum();
            let outputs = self.coordinates[coupling.target].parameters(self.bins);
            Mlp::new(given + self.condition, [self.hidden, self.layers], outputs, init)
        });
        SplineFlow { conditioners: couplings.collect(), config: self.clone() }
    }
}

/// A conditional density over `coordinates`.
#[derive(Module, Debug)]
pub struct SplineFlow {
    conditioners: Vec<Mlp>,
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
        let couplings = self.config.couplings.iter().zip(&self.conditioners);
        for (coupling, conditioner) in couplings.filter(|(c, _)| c.target < leading) {
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
        for (coupling, conditioner) in self.config.couplings.iter().zip(&self.conditioners).rev() {
            let slope = self.pass(coupling, conditioner, &mut x, &condition, Direction::Inverse);
            // The inverse's log-slope is the negative of the forward one.
            log_density = log_density - slope;
        }
        (Tensor::cat(x, 1), log_density)
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
        let mut inputs: Vec<Tensor<2>> = Vec::new();
        for given in &coupling.given {
            self.push_features(*given, &x[*given], &mut inputs);
        }
        inputs.push(condition.clone());
        let raw = conditioner.forward(Tensor::cat(inputs, 1));
        let [rows, _] = raw.dims();
        let topology = self.config.coordinates[coupling.target];
        let bound = bound(topology);
        let op = Spline { rows, bins: self.config.bins, bound, topology, direction };
        let output = spline(op, x[coupling.target].clone(), raw);
        x[coupling.target] = output.clone().slice([0..rows, 0..1]);
        output.slice([0..rows, 1..2])
    }

    fn push_features(&self, coordinate: usize, x: &Tensor<2>, features: &mut Vec<Tensor<2>>) {
        let base = match self.config.coordinates[coordinate] {
            Topology::Line => {
                // Data fills half the spline's interval; waves as long as it.
                features.push(x.clone() * (2.0 / LINE_BOUND));
                x.clone() * (std::f32::consts::PI / LINE_BOUND)
            }
            Topology::Circle => x.clone(),
        };
        let harmonics = match self.config.coordinates[coordinate] {
            Topology::Line => self.config.harmonics,
            Topology::Circle => self.config.harmonics.max(1),
        };
        for k in 1..=harmonics {
            let phase = base.clone() * k as f32;
            features.push(phase.clone().cos());
            features.push(phase.sin());
        }
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

/// The same from burn's own operations, for devices without the fused one.
pub fn composed(op: Spline, x: Tensor<2>, raw: Tensor<2>) -> Tensor<2> {
    let (k, rows) = (op.bins, op.rows);
    let cut = |from: usize, to: usize| raw.clone().slice([0..rows, from..to]);
    let ones = Tensor::<2>::ones([rows, 1], &x.device());
    let inner = |from: usize, to: usize| {
        activation::softplus(cut(from, to) + DERIVATIVE_SHIFT, 1.0) + FLOOR
    };
    let (derivatives, rotation) = match op.topology {
        Topology::Line => {
            let inner = inner(2 * k, 3 * k - 1);
            (Tensor::cat(vec![ones.clone(), inner, ones.clone()], 1), ones * 0.0)
        }
        Topology::Circle => {
            let all = inner(2 * k, 3 * k);
            let first = all.clone().slice([0..rows, 0..1]);
            (Tensor::cat(vec![all, first], 1), cut(3 * k, 3 * k + 1))
        }
    };
    let (widths, lefts) = bins(op, cut(0, k));
    let (heights, bottoms) = bins(op, cut(k, 2 * k));
    let at = match (op.topology, op.direction) {
        (Topology::Circle, Direction::Forward) => wrap(x.clone() + rotation.clone(), op.bound),
        (Topology::Circle, Direction::Inverse) => wrap(x.clone(), op.bound),
        (Topology::Line, _) => x.clone().clamp(-op.bound, op.bound),
    };
    let edges = match op.direction {
        Direction::Forward => (lefts.clone(), widths.clone()),
        Direction::Inverse => (bottoms.clone(), heights.clone()),
    };
    let hit = one_hot(op, at.clone(), edges.0);
    let pick = |values: Tensor<2>| (values * hit.clone()).sum_dim(1);
    let bin = [
        pick(lefts),
        pick(bottoms),
        pick(widths),
        pick(heights),
        pick(derivatives.clone().slice([0..rows, 0..k])),
        pick(derivatives.slice([0..rows, 1..k + 1])),
    ];
    let (moved, log_slope) = match op.direction {
        Direction::Forward => composed_forward(at, &bin),
        Direction::Inverse => {
            let x = composed_inverse(at, &bin);
            let (_, log_slope) = composed_forward(x.clone(), &bin);
            (x, log_slope.neg())
        }
    };
    match op.topology {
        Topology::Line => {
            let outside = x.clone().abs().greater_equal_elem(op.bound);
            let moved = moved.mask_where(outside.clone(), x);
            Tensor::cat(vec![moved, log_slope.mask_fill(outside, 0.0)], 1)
        }
        Topology::Circle if op.direction == Direction::Inverse => {
            Tensor::cat(vec![wrap(moved - rotation, op.bound), log_slope], 1)
        }
        Topology::Circle => Tensor::cat(vec![moved, log_slope], 1),
    }
}

/// Bin sizes and left edges, `[rows, bins]` each.
fn bins(op: Spline, raw: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let free = 1.0 - FLOOR * op.bins as f32;
    let sizes = (softmax(raw, 1) * free + FLOOR) * (2.0 * op.bound);
    let lefts = sizes.clone().cumsum(1) - sizes.clone() - op.bound;
    (sizes, lefts)
}

/// 1 at the bin each row's point lies in, `[rows, bins]`.
fn one_hot(op: Spline, at: Tensor<2>, lefts: Tensor<2>) -> Tensor<2> {
    let reached = at.repeat_dim(1, op.bins).greater_equal(lefts).float();
    let rows = op.rows;
    // The first bin is always reached, and the last one reached is the bin.
    let first = Tensor::ones([rows, 1], &reached.device());
    let later = reached.slice([0..rows, 1..op.bins]);
    let zero = Tensor::zeros([rows, 1], &later.device());
    let here = Tensor::cat(vec![first, later.clone()], 1);
    here - Tensor::cat(vec![later, zero], 1)
}

fn wrap(x: Tensor<2>, bound: f32) -> Tensor<2> {
    // Whole turns carry no gradient.
    let turns = ((x.clone().detach() + bound) / (2.0 * bound)).floor();
    x - turns * (2.0 * bound)
}

fn composed_forward(x: Tensor<2>, bin: &[Tensor<2>; 6]) -> (Tensor<2>, Tensor<2>) {
    let [left, bottom, width, height, d0, d1] = bin.clone();
    let s = height.clone() / width.clone();
    let xi = ((x - left) / width).clamp(0.0, 1.0);
    let rest = xi.clone().neg() + 1.0;
    let t = xi.clone() * rest.clone();
    let bend = d0.clone() + d1.clone() - s.clone() * 2.0;
    let below = s.clone() + bend * t.clone();
    let top = s.clone() * xi.clone().square() + d0.clone() * t.clone();
    let slope = d1 * xi.square() + s.clone() * t * 2.0 + d0 * rest.square();
    let log_slope = s.log() * 2.0 + slope.log() - below.clone().log() * 2.0;
    (bottom + height * top / below, log_slope)
}

fn composed_inverse(y: Tensor<2>, bin: &[Tensor<2>; 6]) -> Tensor<2> {
    let [left, bottom, width, height, d0, d1] = bin.clone();
    let s = height.clone() / width.clone();
    let up = y - bottom;
    let bend = up.clone() * (d0.clone() + d1 - s.clone() * 2.0);
    let a = height.clone() * (s.clone() - d0.clone()) + bend.clone();
    let b = height * d0 - bend;
    let c = (s * up).neg();
    let root = (b.clone().square() - a * c.clone() * 4.0).clamp_min(0.0).sqrt();
    let xi = (c * 2.0 / (b.neg() - root)).clamp(0.0, 1.0);
    left + xi * width
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::rng::Rng;

    fn flow(coordinates: Vec<Topology>, spread: f32, device: &Device) -> SplineFlow {
        let config = SplineFlowConfig {
            couplings: SplineFlowConfig::take_turns(coordinates.len(), 4),
            coordinates,
            bins: 8,
            hidden: 16,
            layers: 2,
            condition: 3,
            harmonics: 2,
        };
        let mut init = Initializer::new(5, device);
        let flow = config.init(&mut init);
        // Far from the identity, or nothing would be tested.
        crate::nn::weights::import(
            flow.clone(),
            crate::nn::weights::export(&flow)
                .unwrap()
                .into_iter()
                .map(|(name, mut tensor)| {
                    for value in &mut tensor.values {
                        *value *= spread;
                    }
                    (name, tensor)
                })
                .collect(),
        )
        .unwrap()
    }

    fn tensor(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
        let rows = values.len() / columns;
        Tensor::from_data(TensorData::new(values, [rows, columns]), device)
    }

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    /// Latents: logistic on lines, uniform on circles.
    fn base(coordinates: &[Topology], rows: usize) -> Vec<f32> {
        let mut rng = Rng::stream(1, "base");
        let mut base = Vec::new();
        for _ in 0..rows {
            for topology in coordinates {
                base.push(match topology {
                    Topology::Line => {
                        let u = rng.uniform(1e-6, 1.0 - 1e-6);
                        (u / (1.0 - u)).ln() as f32
                    }
                    Topology::Circle => {
                        rng.uniform(-std::f64::consts::PI, std::f64::consts::PI) as f32
                    }
                });
            }
        }
        base
    }

    #[test]
    fn what_is_sampled_has_the_density_it_came_with() {
        let device = Device::flex();
        for coordinates in [
            vec![Topology::Line, Topology::Line],
            vec![Topology::Circle, Topology::Line],
            vec![Topology::Line; 4],
        ] {
            let flow = flow(coordinates.clone(), 4.0, &device);
            let n = coordinates.len();
            let latents = tensor(base(&coordinates, 300), n, &device);
            let condition = tensor(Rng::stream(2, "condition").normals(900), 3, &device);
            let (x, log_density) = flow.sample(latents, condition.clone());
            let again = flow.log_density(x, condition);
            for (a, b) in values(log_density).iter().zip(values(again)) {
                assert!((a - b).abs() < 2e-2 * (1.0 + a.abs()), "{a} {b} over {n}");
            }
        }
    }

    #[test]
    fn leading_coordinates_have_the_marginal_of_the_whole_density() {
        let device = Device::flex();
        let flow = flow(vec![Topology::Line; 4], 4.0, &device);
        let condition = |rows: usize| tensor([0.3, -1.0, 0.7].repeat(rows), 3, &device);
        // The other two coordinates integrated out on a grid.
        let (cells, reach) = (300, 16.0_f32);
        let step = 2.0 * reach / cells as f32;
        let mut points = Vec::new();
        for i in 0..cells * cells {
            let at = |j: usize| (j as f32 + 0.5) * step - reach;
            points.extend([0.4, -0.9, at(i / cells), at(i % cells)]);
        }
        let whole = flow.log_density(tensor(points, 4, &device), condition(cells * cells));
        let summed: f64 =
            values(whole).iter().map(|l| f64::from(l.exp()) * f64::from(step * step)).sum();
        let marginal = values(flow.log_density(tensor(vec![0.4, -0.9], 2, &device), condition(1)));
        assert!((summed.ln() - f64::from(marginal[0])).abs() < 0.02, "{summed} {marginal:?}");
    }

    #[test]
    fn a_density_over_two_coordinates_integrates_to_one() {
        let device = Device::flex();
        let flow = flow(vec![Topology::Circle, Topology::Line], 4.0, &device);
        let (cells_x, cells_y, reach) = (160, 320, 16.0_f32);
        let mut points = Vec::new();
        for i in 0..cells_x {
            for j in 0..cells_y {
                let share = (i as f32 + 0.5) / cells_x as f32;
                points.push(std::f32::consts::TAU * share - std::f32::consts::PI);
                points.push(reach * (2.0 * (j as f32 + 0.5) / cells_y as f32 - 1.0));
            }
        }
        let rows = cells_x * cells_y;
        let condition = tensor([0.3, -1.0, 0.7].repeat(rows), 3, &device);
        let density = values(flow.log_density(tensor(points, 2, &device), condition));
        let cell = f64::from(std::f32::consts::TAU / cells_x as f32)
            * f64::from(2.0 * reach / cells_y as f32);
        let mass: f64 = density.iter().map(|l| f64::from(l.exp()) * cell).sum();
        assert!((mass - 1.0).abs() < 5e-3, "the density integrates to {mass}");
    }

    #[test]
    fn the_log_determinant_is_that_of_the_numeric_jacobian() {
        let device = Device::flex();
        let coordinates = vec![Topology::Circle, Topology::Line];
        let flow = flow(coordinates.clone(), 4.0, &device);
        let condition = || tensor(vec![0.3, -1.0, 0.7], 3, &device);
        let step = 2e-3_f32;
        for latents in base(&coordinates, 40).chunks(2) {
            let sample = |dx: f32, dy: f32| {
                let base = tensor(vec![latents[0] + dx, latents[1] + dy], 2, &device);
                let (x, log_density) = flow.sample(base, condition());
                (values(x), values(log_density)[0])
            };
            let turn = |a: f32| {
                (a + std::f32::consts::PI).rem_euclid(std::f32::consts::TAU) - std::f32::consts::PI
            };
            let column = |(up, _): (Vec<f32>, f32), (down, _): (Vec<f32>, f32)| {
                [turn(up[0] - down[0]) / (2.0 * step), (up[1] - down[1]) / (2.0 * step)]
            };
            let a = column(sample(step, 0.0), sample(-step, 0.0));
            let b = column(sample(0.0, step), sample(0.0, -step));
            let determinant = (a[0] * b[1] - a[1] * b[0]).abs().ln();
            let z = latents[1].abs();
            let log_base = -z - 2.0 * (-z).exp().ln_1p() - std::f32::consts::TAU.ln();
            let expected = log_base - determinant;
            let (_, found) = sample(0.0, 0.0);
            assert!((expected - found).abs() < 0.08, "{expected} {found} at {latents:?}");
        }
    }

    #[test]
    fn the_composed_spline_equals_the_fused_one_and_so_do_their_gradients() {
        let device = Device::flex().autodiff();
        let rows = 200;
        for topology in [Topology::Line, Topology::Circle] {
            for direction in [Direction::Forward, Direction::Inverse] {
                let (bins, bound) = (8, bound(topology));
                let op = Spline { rows, bins, bound, topology, direction };
                let mut rng = Rng::stream(9, "composed");
                let x: Vec<f32> =
                    (0..rows).map(|_| rng.uniform(-1.2, 1.2) as f32 * bound).collect();
                let x = tensor(x, 1, &device).require_grad();
                let raw = rng.normals(rows * topology.parameters(bins));
                let raw = tensor(raw, topology.parameters(bins), &device).require_grad();
                let weights = tensor(rng.normals(2 * rows), 2, &device);
                let run = |output: Tensor<2>| {
                    let grads = (output.clone() * weights.clone()).sum().backward();
                    let grads = [x.grad(&grads), raw.grad(&grads)].map(|g| values(g.unwrap()));
                    (values(output.inner()), grads)
                };
                let (fused, fused_grads) = run(spline(op, x.clone(), raw.clone()));
                let (plain, plain_grads) = run(composed(op, x.clone(), raw.clone()));
                let off = |a: &[f32], b: &[f32]| {
                    a.iter()
                        .zip(b)
                        .filter(|(a, b)| (*a - *b).abs() > 2e-3 * (1.0 + b.abs()))
                        .count()
                };
                assert_eq!(off(&fused, &plain), 0, "{topology:?} {direction:?}");
                if direction == Direction::Forward {
                    for (fused, plain) in fused_grads.iter().zip(&plain_grads) {
                        // A point on a knot may fall into either bin.
                        assert!(off(fused, plain) <= fused.len() / 200, "{topology:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn couplings_take_turns_and_later_blocks_see_earlier_ones() {
        let two = SplineFlowConfig::take_turns(2, 6);
        assert_eq!(two.len(), 6);
        assert!(two.iter().all(|c| c.given == vec![1 - c.target]));
        let four = SplineFlowConfig::take_turns(4, 2);
        assert_eq!(four[0], CouplingConfig { target: 2, given: vec![0, 1, 3] });
        assert_eq!(four[3], CouplingConfig { target: 1, given: vec![0] });
    }
}
