//! One head of one sequence at work.

use std::ops::Range;

use multiversion::multiversion;

use super::CausalAttention;
use super::product::{Matrix, Onto, product};
use crate::nn::fused::cross_entropy::most;
use crate::nn::fused::dropout::Hashed;
use crate::nn::fused::gelu::exp;
use crate::nn::fused::layer_norm::{LANES, total};

/// Rows of scores held at once: more of them waste work above the diagonal,
/// fewer of them waste it on packing for the products.
pub(super) const BLOCK: usize = 48;

/// Who attends to whom, in terms of the columns that are kept.
pub struct Plan {
    /// The columns anybody attends to.
    pub(super) columns: Vec<u32>,
    /// Row i attends to kept columns `..goals` and `starts[i]..ends[i]`.
    goals: usize,
    starts: Vec<usize>,
    ends: Vec<usize>,
    /// Columns of a table of scores: those kept, in whole registers.
    pitch: usize,
    /// Numbers per head.
    pub(super) size: usize,
    /// 1 / sqrt(size).
    scale: f32,
}

/// Space for one head.
pub struct Head {
    /// Keys and values of the kept columns, and their gradients, `[kept,
    /// size]`.
    keys: Vec<f32>,
    values: Vec<f32>,
    keys_grad: Vec<f32>,
    values_grad: Vec<f32>,
    /// Of a block of rows, `[BLOCK, pitch]`.
    probabilities: Vec<f32>,
    dropped: Vec<f32>,
    scores_grad: Vec<f32>,
}

/// A block of rows of one head.
struct Block {
    batch: usize,
    head: usize,
    rows: Range<usize>,
    /// Kept columns its last row reaches.
    reach: usize,
}

impl Plan {
    pub(super) fn new(op: &CausalAttention) -> Self {
        let own_start = |row: usize| match row.checked_sub(op.goals) {
            Some(token) if op.markov => row - token % op.per_transition,
            _ => op.goals,
        };
        let mut kept_before = vec![0];
        let mut columns = Vec::new();
        for column in 0..op.time {
            // Its own row attends to a column if any row does.
            if op.attends(column, column) {
                columns.push(column as u32);
            }
            kept_before.push(columns.len());
        }
        let size = op.width / op.heads;
        Plan {
            pitch: columns.len().next_multiple_of(LANES),
            columns,
            goals: op.goals,
            starts: (0..op.time).map(|row| kept_before[own_start(row)]).collect(),
            ends: kept_before[1..].to_vec(),
            size,
            scale: 1.0 / (size as f32).sqrt(),
        }
    }
}

impl Head {
    pub(super) fn new(plan: &Plan) -> Self {
        let (rows, table) = (plan.columns.len() * plan.size, BLOCK * plan.pitch);
        Head {
            keys: vec![0.0; rows],
            values: vec![0.0; rows],
            keys_grad: vec![0.0; rows],
            values_grad: vec![0.0; rows],
            probabilities: vec![0.0; table],
            dropped: vec![0.0; table],
            scores_grad: vec![0.0; table],
        }
    }

    /// Attention of head `h` of sequence `b`.
    pub(super) fn forward(
        &mut self,
        op: &CausalAttention,
        plan: &Plan,
        [b, h]: [usize; 2],
        qkv: &[f32],
        output: &mut [f32],
    ) {
        let (size, pitch) = (plan.size, plan.pitch);
        self.load(op, plan, h, qkv);
        for start in (0..op.time).step_by(BLOCK) {
            let block = Block::new(op, plan, [b, h], start);
            if block.reach == 0 {
                continue;
            }
            self.attend(op, plan, &block, qkv);
            let weights = if op.dropout > 0.0 {
                drop_weights(op, plan, &block, &self.probabilities, &mut self.dropped);
                &self.dropped
            } else {
                &self.probabilities
            };
            let output = &mut output[start * op.width + h * size..];
            let shape = [block.rows.len(), block.reach, size];
            let (weights, values) =
                (Matrix::rows(weights, pitch), Matrix::rows(&self.values, size));
            product((output, op.width), Onto::Replace, shape, 1.0, weights, values);
        }
    }

    /// Gradients of what [`Head::forward`] reads, into a zero `qkv_grad`.
    pub(super) fn backward(
        &mut self,
        op: &CausalAttention,
        plan: &Plan,
        [b, h]: [usize; 2],
        [qkv, grad]: [&[f32]; 2],
        qkv_grad: &mut [f32],
    ) {
        let (size, width, stride) = (plan.size, op.width, 3 * op.width);
        self.load(op, plan, h, qkv);
        self.keys_grad.fill(0.0);
        self.values_grad.fill(0.0);
        for start in (0..op.time).step_by(BLOCK) {
            let block = Block::new(op, plan, [b, h], start);
            if block.reach > 0 {
                self.attend(op, plan, &block, qkv);
                self.block_grads(op, plan, &block, [qkv, grad], qkv_grad);
            }
        }
        let grads = self.keys_grad.chunks_exact(size).zip(self.values_grad.chunks_exact(size));
        for (column, (keys, values)) in plan.columns.iter().zip(grads) {
            let to = *column as usize * stride + width + h * size;
            qkv_grad[to..to + size].copy_from_slice(keys);
            qkv_grad[to + width..to + width + size].copy_from_slice(values);
        }
    }

    /// Copy the keys and values that anybody attends to.
    fn load(&mut self, op: &CausalAttention, plan: &Plan, head: usize, qkv: &[f32]) {
        let size = plan.size;
        let rows = self.keys.chunks_exact_mut(size).zip(self.values.chunks_exact_mut(size));
        for (column, (keys, values)) in plan.columns.iter().zip(rows) {
            let from = (*column as usize * 3 + 1) * op.width + head * size;
            keys.copy_from_slice(&qkv[from..from + size]);
            values.copy_from_slice(&qkv[from + op.width..from + op.width + size]);
        }
    }

    /// The probabilities of a block, 0 between what a row and the last row
    /// reaches.
    fn attend(&mut self, op: &CausalAttention, plan: &Plan, block: &Block, qkv: &[f32]) {
        let (size, pitch, stride) = (plan.size, plan.pitch, 3 * op.width);
        let queries = Matrix::rows(&qkv[block.rows.start * stride + block.head * size..], stride);
        let keys = Matrix::columns(&self.keys, size);
        let shape = [block.rows.len(), size, block.reach];
        let scores = (&mut self.probabilities[..], pitch);
        product(scores, Onto::Replace, shape, plan.scale, queries, keys);
        softmax(plan, block, &mut self.probabilities);
    }

    /// Adds to the gradients of keys and values; writes those of queries.
    fn block_grads(
        &mut self,
        op: &CausalAttention,
        plan: &Plan,
        block: &Block,
        [qkv, grad]: [&[f32]; 2],
        qkv_grad: &mut [f32],
    ) {
        let (size, pitch, stride) = (plan.size, plan.pitch, 3 * op.width);
        let (rows, reach) = (block.rows.len(), block.reach);
        let offset = block.rows.start * stride + block.head * size;
        let queries = Matrix::rows(&qkv[offset..], stride);
        let grads =
            Matrix::rows(&grad[block.rows.start * op.width + block.head * size..], op.width);
        let values = Matrix::columns(&self.values, size);
        let weights_grad = (&mut self.scores_grad[..], pitch);
        product(weights_grad, Onto::Replace, [rows, size, reach], 1.0, grads, values);
        let weights = if op.dropout > 0.0 {
            drop_weights(op, plan, block, &self.probabilities, &mut self.dropped);
            &self.dropped
        } else {
            &self.probabilities
        };

        let shape = [reach, rows, size];
        let across = Matrix::columns(weights, pitch);
        product((&mut self.values_grad, size), Onto::Add, shape, 1.0, across, grads);
        softmax_grad(plan, block, [&self.probabilities, weights], &mut self.scores_grad);
        let across = Matrix::columns(&self.scores_grad, pitch);
        product((&mut self.keys_grad, size), Onto::Add, shape, plan.scale, across, queries);
        let queries_grad = (&mut qkv_grad[offset..], stride);
        let along = Matrix::rows(&self.scores_grad, pitch);
        let keys = Matrix::rows(&self.keys, size);
        product(queries_grad, Onto::Replace, [rows, reach, size], plan.scale, along, keys);
    }
}

impl Block {
    fn new(op: &CausalAttention, plan: &Plan, [batch, head]: [usize; 2], start: usize) -> Self {
        let rows = start..op.time.min(start + BLOCK);
        Block { batch, head, reach: plan.ends[rows.end - 1], rows }
    }
}

/// Softmax of each row over what it attends to, 0 up to the block's reach.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn softmax(plan: &Plan, block: &Block, scores: &mut [f32]) {
    let pitch = plan.pitch;
    for (row, scores) in block.rows.clone().zip(scores.chunks_exact_mut(pitch)) {
        let end = plan.ends[row];
        let (goals, start) = (plan.goals.min(end), plan.starts[row].min(end));
        let wide = end.next_multiple_of(LANES);
        if goals == 0 && start == end {
            scores[..block.reach].fill(0.0);
            continue;
        }
        // Whole registers: e^-inf = 0 costs less than a loop for the rest.
        scores[goals..start].fill(f32::NEG_INFINITY);
        scores[end..wide].fill(f32::NEG_INFINITY);
        scores[wide.min(block.reach)..block.reach].fill(0.0);
        let scores = &mut scores[..wide];
        let most = most(scores);
        for score in scores.iter_mut() {
            *score = exp(*score - most);
        }
        let inverse = 1.0 / total([scores], |[value]| value);
        for score in scores.iter_mut() {
            *score *= inverse;
        }
    }
}

/// `dropped` = the probabilities, each times its dropout factor.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn drop_weights(
    op: &CausalAttention,
    plan: &Plan,
    block: &Block,
    probabilities: &[f32],
    dropped: &mut [f32],
) {
    let dropout = Hashed::new(op.dropout);
    let pitch = plan.pitch;
    let rows = probabilities.chunks_exact(pitch).zip(dropped.chunks_exact_mut(pitch));
    for (row, (probabilities, dropped)) in block.rows.clone().zip(rows) {
        let keys = op.dropout_keys(block.batch, block.head, row);
        let columns = &plan.columns[..block.reach];
        let numbers = dropped.iter_mut().zip(probabilities).zip(columns);
        for ((dropped, probability), column) in numbers {
            *dropped = probability * dropout.factor(keys, *column);
        }
    }
}

/// With the gradient of the dropped weights w = p z in `grad`, writes that of
/// the scores, `w grad - p sum(w grad)`: the factors z need not be known again.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
fn softmax_grad(plan: &Plan, block: &Block, [p, w]: [&[f32]; 2], grad: &mut [f32]) {
    let (pitch, reach) = (plan.pitch, block.reach);
    let tables = p.chunks_exact(pitch).zip(w.chunks_exact(pitch)).zip(grad.chunks_exact_mut(pitch));
    for ((p, w), grad) in tables.take(block.rows.len()) {
        let (p, w, grad) = (&p[..reach], &w[..reach], &mut grad[..reach]);
        let mean = total([w, grad], |[w, grad]| w * grad);
        for i in 0..reach {
            grad[i] = w[i] * grad[i] - p[i] * mean;
        }
    }
}
