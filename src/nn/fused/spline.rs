//! Monotone rational-quadratic splines with their log-derivative in one pass.
//!
//! Durkan et al. 2019, "Neural Spline Flows": on bin k with width w, height h,
//! slope s = h / w, knot derivatives d0 and d1 and xi = (x - x_k) / w,
//!
//! ```text
//! y   = y_k + h (s xi^2 + d0 xi (1 - xi)) / (s + (d1 + d0 - 2 s) xi (1 - xi))
//! y'  = s^2 (d1 xi^2 + 2 s xi (1 - xi) + d0 (1 - xi)^2) / (s + ...)^2
//! ```
//!
//! On a line the interval is `[-bound, bound]`, the outer derivatives are 1 and
//! the tails the identity. On a circle (Rezende et al. 2020, "Normalizing Flows
//! on Tori and Spheres") the ends are one point: the outer derivatives are one
//! free number, and a learned rotation comes before the spline.

use multiversion::multiversion;
use rayon::prelude::*;

use super::HostOp;
use super::cross_entropy::most;
use super::gelu::exp;
use super::layer_norm::total;

/// Smallest bin as a share of the interval, and smallest knot derivative. A
/// tenth of the customary 1e-3: a gap between two places where the policy may
/// go costs at least one bin of mass, and 0.1 % of it far from the truth was a
/// quarter of the squared transport distance.
pub const FLOOR: f32 = 1e-4;
/// Most bins a spline may have.
pub const MAX_BINS: usize = 64;
/// Rows a thread takes at once.
const CHUNK: usize = 128;

/// What the spline maps onto itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// The real line: identity outside the interval.
    Line,
    /// The circle `[-bound, bound)`.
    Circle,
}

/// Which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From data to latent; has a gradient.
    Forward,
    /// From latent to data; its gradient is zero, for sampling only.
    Inverse,
}

/// One spline per row. Inputs: x `[rows, 1]`, raw parameters
/// `[rows, parameters]`; output `[rows, 2]`: y and ln |dy/dx| (of the way
/// gone).
#[derive(Clone, Copy, Debug)]
pub struct Spline {
    /// Number of splines.
    pub rows: usize,
    /// Bins K.
    pub bins: usize,
    /// Half the length of the interval.
    pub bound: f32,
    /// Line or circle.
    pub topology: Topology,
    /// Which way.
    pub direction: Direction,
}

impl Topology {
    /// Numbers that describe one spline of `bins`: K widths, K heights, then
    /// K - 1 inner derivatives (line), or K derivatives and a rotation
    /// (circle).
    pub fn parameters(self, bins: usize) -> usize {
        match self {
            Topology::Line => 3 * bins - 1,
            Topology::Circle => 3 * bins + 1,
        }
    }
}

/// `softplus(x + DERIVATIVE_SHIFT) + FLOOR` is 1 at x = 0, so that raw zeros
/// are the identity: ln(e^(1 - FLOOR) - 1).
pub const DERIVATIVE_SHIFT: f32 = 0.541_166_65;

#[inline(always)]
fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `x` brought into `[-bound, bound)`.
#[inline(always)]
fn wrap(x: f32, bound: f32) -> f32 {
    let turns = ((x + bound) / (2.0 * bound)).floor();
    (x - 2.0 * bound * turns).clamp(-bound, bound)
}

/// A row's knots; chunks of rows write over the same ones.
struct Knots {
    share_x: [f32; MAX_BINS],
    share_y: [f32; MAX_BINS],
    x: [f32; MAX_BINS + 1],
    y: [f32; MAX_BINS + 1],
}

impl Knots {
    fn new() -> Self {
        Knots {
            share_x: [0.0; MAX_BINS],
            share_y: [0.0; MAX_BINS],
            x: [0.0; MAX_BINS + 1],
            y: [0.0; MAX_BINS + 1],
        }
    }
}

/// The bin a point lies in.
#[derive(Clone, Copy)]
struct Bin {
    index: usize,
    x: f32,
    y: f32,
    width: f32,
    height: f32,
    d0: f32,
    d1: f32,
}

impl Spline {
    #[inline(always)]
    fn fill(&self, raw: &[f32], knots: &mut Knots) {
        let k = self.bins;
        self.edges(&raw[..k], &mut knots.share_x[..k], &mut knots.x[..=k]);
        self.edges(&raw[k..2 * k], &mut knots.share_y[..k], &mut knots.y[..=k]);
    }

    /// Softmax of `raw`, and the edges of bins of those shares.
    #[inline(always)]
    fn edges(&self, raw: &[f32], shares: &mut [f32], edges: &mut [f32]) {
        let k = raw.len();
        let most = most(raw);
        for (share, value) in shares.iter_mut().zip(raw) {
            *share = exp(*value - most);
        }
        let inverse = 1.0 / total([shares], |[share]| share);
        let free = 1.0 - FLOOR * k as f32;
        let mut edge = -self.bound;
        edges[0] = edge;
        for (share, end) in shares.iter_mut().zip(&mut edges[1..]) {
            *share *= inverse;
            edge += 2.0 * self.bound * (FLOOR + free * *share);
            *end = edge;
        }
        edges[k] = self.bound;
    }

    /// Where the raw derivative of knot `knot` lies; `None` where it is fixed.
    #[inline(always)]
    fn derivative_index(&self, knot: usize) -> Option<usize> {
        let k = self.bins;
        match self.topology {
            Topology::Line if knot == 0 || knot == k => None,
            Topology::Line => Some(2 * k + knot - 1),
            Topology::Circle => Some(2 * k + knot % k),
        }
    }

    #[inline(always)]
    fn derivative(&self, raw: &[f32], knot: usize) -> f32 {
        self.derivative_index(knot)
            .map_or(1.0, |index| FLOOR + softplus(raw[index] + DERIVATIVE_SHIFT))
    }

    /// The bin of `value` among `edges` (those of x or of y).
    #[inline(always)]
    fn bin(&self, raw: &[f32], knots: &Knots, edges: &[f32], value: f32) -> Bin {
        let mut index = 0;
        while index + 1 < self.bins && value >= edges[index + 1] {
            index += 1;
        }
        Bin {
            index,
            x: knots.x[index],
            y: knots.y[index],
            width: knots.x[index + 1] - knots.x[index],
            height: knots.y[index + 1] - knots.y[index],
            d0: self.derivative(raw, index),
            d1: self.derivative(raw, index + 1),
        }
    }

    /// The circle's rotation; 0 on the line.
    #[inline(always)]
    fn rotation(&self, raw: &[f32]) -> f32 {
        match self.topology {
            Topology::Line => 0.0,
            Topology::Circle => raw[3 * self.bins],
        }
    }

    #[inline(always)]
    fn forward_row(&self, x: f32, raw: &[f32], knots: &mut Knots) -> [f32; 2] {
        let x = match self.topology {
            Topology::Line if x.abs() >= self.bound => return [x, 0.0],
            Topology::Line => x,
            Topology::Circle => wrap(x + self.rotation(raw), self.bound),
        };
        self.fill(raw, knots);
        let bin = self.bin(raw, knots, &knots.x, x);
        let (y, log_slope) = bin.forward(x);
        [y, log_slope]
    }

    #[inline(always)]
    fn inverse_row(&self, y: f32, raw: &[f32], knots: &mut Knots) -> [f32; 2] {
        if self.topology == Topology::Line && y.abs() >= self.bound {
            return [y, 0.0];
        }
        let y = match self.topology {
            Topology::Line => y,
            Topology::Circle => wrap(y, self.bound),
        };
        self.fill(raw, knots);
        let bin = self.bin(raw, knots, &knots.y, y);
        let x = bin.inverse(y);
        let (_, log_slope) = bin.forward(x);
        match self.topology {
            Topology::Line => [x, -log_slope],
            Topology::Circle => [wrap(x - self.rotation(raw), self.bound), -log_slope],
        }
    }

    /// Gradients of one row; writes those of the raw parameters.
    #[inline(always)]
    fn backward_row(
        &self,
        (x, raw): (f32, &[f32]),
        [gy, gl]: [f32; 2],
        knots: &mut Knots,
        grad: &mut [f32],
    ) -> f32 {
        let k = self.bins;
        let x = match self.topology {
            Topology::Line if x.abs() >= self.bound => return gy,
            Topology::Line => x,
            Topology::Circle => wrap(x + self.rotation(raw), self.bound),
        };
        self.fill(raw, knots);
        let bin = self.bin(raw, knots, &knots.x, x);
        let g = bin.backward(x, gy, gl);
        self.edge_grads(&knots.share_x, bin.index, g.x_knot, g.width, &mut grad[..k]);
        self.edge_grads(&knots.share_y, bin.index, gy, g.height, &mut grad[k..2 * k]);
        for (knot, g) in [(bin.index, g.d0), (bin.index + 1, g.d1)] {
            if let Some(index) = self.derivative_index(knot) {
                grad[index] += g * sigmoid(raw[index] + DERIVATIVE_SHIFT);
            }
        }
        if self.topology == Topology::Circle {
            grad[3 * k] = g.x;
        }
        g.x
    }

    /// Through cumulative sum and softmax: the left edge moves with every bin
    /// before it.
    #[inline(always)]
    fn edge_grads(&self, shares: &[f32], bin: usize, left: f32, size: f32, grad: &mut [f32]) {
        let scale = 2.0 * self.bound * (1.0 - FLOOR * self.bins as f32);
        let by_share = |j: usize| match j.cmp(&bin) {
            std::cmp::Ordering::Less => left * scale,
            std::cmp::Ordering::Equal => size * scale,
            std::cmp::Ordering::Greater => 0.0,
        };
        let mean: f32 = (0..=bin).map(|j| shares[j] * by_share(j)).sum();
        for (j, grad) in grad.iter_mut().enumerate() {
            *grad = shares[j] * (by_share(j) - mean);
        }
    }
}

/// Gradients with respect to what describes a bin.
struct BinGrad {
    x: f32,
    x_knot: f32,
    width: f32,
    height: f32,
    d0: f32,
    d1: f32,
}

impl Bin {
    /// y and ln dy/dx.
    #[inline(always)]
    fn forward(&self, x: f32) -> (f32, f32) {
        let s = self.height / self.width;
        let xi = ((x - self.x) / self.width).clamp(0.0, 1.0);
        let t = xi * (1.0 - xi);
        let denominator = s + (self.d0 + self.d1 - 2.0 * s) * t;
        let y = self.y + self.height * (s * xi * xi + self.d0 * t) / denominator;
        let rest = 1.0 - xi;
        let slope = self.d1 * xi * xi + 2.0 * s * t + self.d0 * rest * rest;
        let ratio = s / denominator;
        (y, (ratio * ratio * slope).ln())
    }

    /// The x of a y: the stable root of a quadratic.
    #[inline(always)]
    fn inverse(&self, y: f32) -> f32 {
        let s = self.height / self.width;
        let up = (y - self.y).clamp(0.0, self.height);
        let bend = up * (self.d0 + self.d1 - 2.0 * s);
        let a = self.height * (s - self.d0) + bend;
        let b = self.height * self.d0 - bend;
        let c = -s * up;
        let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
        let xi = (2.0 * c / (-b - root)).clamp(0.0, 1.0);
        self.x + xi * self.width
    }

    #[inline(always)]
    fn backward(&self, x: f32, gy: f32, gl: f32) -> BinGrad {
        let (w, h, d0, d1) = (self.width, self.height, self.d0, self.d1);
        let s = h / w;
        let inside = (0.0..=1.0).contains(&((x - self.x) / w));
        let xi = ((x - self.x) / w).clamp(0.0, 1.0);
        let (rest, t) = (1.0 - xi, xi * (1.0 - xi));
        let top = s * xi * xi + d0 * t;
        let bend = d0 + d1 - 2.0 * s;
        let below = s + bend * t;
        let slope = d1 * xi * xi + 2.0 * s * t + d0 * rest * rest;

        // Reverse mode through y = y_k + h top / below and
        // l = 2 ln s + ln slope - 2 ln below.
        let g_top = gy * h / below;
        let g_below = -(gy * h * top / below + 2.0 * gl) / below;
        let g_slope = gl / slope;
        let g_s = 2.0 * gl / s + g_top * xi * xi + g_below * (1.0 - 2.0 * t) + g_slope * 2.0 * t;
        let g_t = g_top * d0 + g_below * bend + g_slope * 2.0 * s;
        let mut g_xi =
            g_top * 2.0 * s * xi + g_slope * 2.0 * (d1 * xi - d0 * rest) + g_t * (1.0 - 2.0 * xi);
        if !inside {
            g_xi = 0.0;
        }
        BinGrad {
            x: g_xi / w,
            x_knot: -g_xi / w,
            width: -g_xi * xi / w - g_s * s / w,
            height: gy * top / below + g_s / w,
            d0: g_top * t + g_below * t + g_slope * rest * rest,
            d1: g_below * t + g_slope * xi * xi,
        }
    }
}

/// A chunk of rows.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn pass(op: &Spline, x: &[f32], raw: &[f32], output: &mut [f32]) {
    let width = op.topology.parameters(op.bins);
    let mut knots = Knots::new();
    let rows = output.chunks_exact_mut(2).zip(x).zip(raw.chunks_exact(width));
    for ((output, x), raw) in rows {
        output.copy_from_slice(&match op.direction {
            Direction::Forward => op.forward_row(*x, raw, &mut knots),
            Direction::Inverse => op.inverse_row(*x, raw, &mut knots),
        });
    }
}

/// Gradients of a chunk of rows.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn pass_back(op: &Spline, [x, raw, grad]: [&[f32]; 3], dx: &mut [f32], draw: &mut [f32]) {
    let width = op.topology.parameters(op.bins);
    let mut knots = Knots::new();
    let inputs = x.iter().zip(raw.chunks_exact(width)).zip(grad.chunks_exact(2));
    let rows = dx.iter_mut().zip(draw.chunks_exact_mut(width)).zip(inputs);
    for ((dx, draw), ((x, raw), grad)) in rows {
        *dx = op.backward_row((*x, raw), [grad[0], grad[1]], &mut knots, draw);
    }
}

impl HostOp<2> for Spline {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.rows, 2]
    }

    fn forward(&self, [x, raw]: [&[f32]; 2]) -> Vec<f32> {
        let width = self.topology.parameters(self.bins);
        let mut output = vec![0.0; 2 * self.rows];
        output
            .par_chunks_mut(2 * CHUNK)
            .zip(x.par_chunks(CHUNK))
            .zip(raw.par_chunks(width * CHUNK))
            .for_each(|((output, x), raw)| pass(self, x, raw, output));
        output
    }

    fn backward(&self, [x, raw]: [&[f32]; 2], grad: &[f32]) -> [Vec<f32>; 2] {
        let width = self.topology.parameters(self.bins);
        let (mut dx, mut draw) = (vec![0.0; x.len()], vec![0.0; raw.len()]);
        if self.direction == Direction::Inverse {
            return [dx, draw];
        }
        dx.par_chunks_mut(CHUNK)
            .zip(draw.par_chunks_mut(width * CHUNK))
            .zip(x.par_chunks(CHUNK))
            .zip(raw.par_chunks(width * CHUNK))
            .zip(grad.par_chunks(2 * CHUNK))
            .for_each(|((((dx, draw), x), raw), grad)| {
                pass_back(self, [x, raw, grad], dx, draw);
            });
        [dx, draw]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn spline(topology: Topology, direction: Direction, rows: usize) -> Spline {
        Spline { rows, bins: 7, bound: 3.0, topology, direction }
    }

    fn draw(topology: Topology, rows: usize, reach: f64) -> (Vec<f32>, Vec<f32>) {
        let mut rng = Rng::stream(3, "splines");
        let x = (0..rows).map(|_| rng.uniform(-reach, reach) as f32).collect();
        let raw = rng.normals(rows * topology.parameters(7));
        (x, raw)
    }

    #[test]
    fn raw_zeros_are_the_identity() {
        for topology in [Topology::Line, Topology::Circle] {
            let (x, raw) = draw(topology, 50, 2.9);
            let op = spline(topology, Direction::Forward, 50);
            let y = op.forward([&x, &vec![0.0; raw.len()]]);
            for (x, y) in x.iter().zip(y.chunks(2)) {
                assert!((x - y[0]).abs() < 1e-5 && y[1].abs() < 1e-5, "{x} {y:?}");
            }
        }
    }

    #[test]
    fn the_inverse_undoes_the_spline_inside_and_outside_the_interval() {
        for (topology, reach) in [(Topology::Line, 5.0), (Topology::Circle, 2.999)] {
            let (x, raw) = draw(topology, 400, reach);
            let forth = spline(topology, Direction::Forward, 400).forward([&x, &raw]);
            let y: Vec<f32> = forth.chunks(2).map(|row| row[0]).collect();
            let back = spline(topology, Direction::Inverse, 400).forward([&y, &raw]);
            for ((x, forth), back) in x.iter().zip(forth.chunks(2)).zip(back.chunks(2)) {
                assert!((x - back[0]).abs() < 2e-4, "{x} came back as {}", back[0]);
                assert!((forth[1] + back[1]).abs() < 2e-3, "{forth:?} {back:?}");
            }
        }
    }

    #[test]
    fn the_log_derivative_is_that_of_the_difference_quotient() {
        for topology in [Topology::Line, Topology::Circle] {
            let (x, raw) = draw(topology, 200, 2.8);
            let op = spline(topology, Direction::Forward, 200);
            let (n, step) = (topology.parameters(7), 1e-3);
            let moved = |by: f32| {
                let x: Vec<f32> = x.iter().map(|x| x + by).collect();
                op.forward([&x, &raw])
            };
            let (up, down, here) = (moved(step), moved(-step), moved(0.0));
            let mut checked = 0;
            for row in 0..200 {
                let rise = up[2 * row] - down[2 * row];
                // Not where the circle's seam lies between.
                if rise > 0.0 {
                    let slope = (rise / (2.0 * step)).ln();
                    assert!((slope - here[2 * row + 1]).abs() < 0.05, "{n} {row}");
                    checked += 1;
                }
            }
            assert!(checked > 190);
        }
    }

    #[test]
    fn a_circle_has_no_seam() {
        let (_, raw) = draw(Topology::Circle, 20, 1.0);
        let op = spline(Topology::Circle, Direction::Forward, 20);
        let at = |x: f32| op.forward([&[x; 20], &raw]);
        for (left, right) in at(-3.0 + 1e-5).chunks(2).zip(at(3.0 - 1e-5).chunks(2)) {
            assert!(wrap(left[0] - right[0], 3.0).abs() < 1e-2, "{left:?} {right:?}");
            assert!((left[1] - right[1]).abs() < 1e-2, "{left:?} {right:?}");
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        for topology in [Topology::Line, Topology::Circle] {
            let (x, raw) = draw(topology, 30, 2.5);
            let op = spline(topology, Direction::Forward, 30);
            let n = topology.parameters(7);
            let mut rng = Rng::stream(5, "weights");
            let weights = rng.normals(60);
            let total = |x: &[f32], raw: &[f32]| -> f64 {
                let y = op.forward([x, raw]);
                y.iter().zip(&weights).map(|(y, w)| f64::from(y * w)).sum()
            };
            let [dx, draw] = op.backward([&x, &raw], &weights);
            let step = 2e-3_f32;
            let mut wrong = 0;
            let mut compare = |analytic: f32, up: f64, down: f64| {
                let numeric = ((up - down) / (2.0 * f64::from(step))) as f32;
                // Second derivatives jump where a knot lies between.
                if (analytic - numeric).abs() > 0.02 * (1.0 + numeric.abs()) {
                    wrong += 1;
                }
            };
            for row in 0..30 {
                let mut x = x.clone();
                x[row] += step;
                let up = total(&x, &raw);
                x[row] -= 2.0 * step;
                compare(dx[row], up, total(&x, &raw));
                for p in 0..n {
                    let (mut raw, at) = (raw.clone(), row * n + p);
                    raw[at] += step;
                    let up = total(&x_of(&x, row, step), &raw);
                    raw[at] -= 2.0 * step;
                    compare(draw[at], up, total(&x_of(&x, row, step), &raw));
                }
            }
            assert!(wrong <= 8, "{wrong} of {} gradients differ on a {topology:?}", 30 * (n + 1));
        }
    }

    /// `x` with its moved row put back.
    fn x_of(moved: &[f32], row: usize, step: f32) -> Vec<f32> {
        let mut x = moved.to_vec();
        x[row] += step;
        x
    }
}
