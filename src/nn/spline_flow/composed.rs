//! The spline from burn's own operations.

use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, activation};

use crate::nn::fused::spline::{DERIVATIVE_SHIFT, Direction, FLOOR, Spline, Topology};

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
    // One sum for all six: burn's fusion of several sums with what comes after
    // them gives wrong numbers on wgpu (measured with burn 0.22.1).
    let knots = Tensor::stack::<3>(
        vec![
            lefts,
            bottoms,
            widths,
            heights,
            derivatives.clone().slice([0..rows, 0..k]),
            derivatives.slice([0..rows, 1..k + 1]),
        ],
        1,
    );
    let picked = (knots * hit.unsqueeze_dim::<3>(1)).sum_dim(2).reshape([rows, 6]);
    let bin = std::array::from_fn(|knot| picked.clone().slice([0..rows, knot..knot + 1]));
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
