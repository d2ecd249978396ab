use super::*;
use crate::rng::Rng;

fn op(heads: usize, width: usize) -> CausalAttention {
    CausalAttention {
        batch: 2,
        time: 23,
        heads,
        width,
        goals: 2,
        per_transition: 4,
        hidden_dim: Some(3),
        markov: false,
        dropout: 0.0,
        seed: 5,
    }
}

/// Head sizes below, at and above a register; one block and several, the last
/// one cut; every mask.
fn variants() -> Vec<CausalAttention> {
    vec![
        op(2, 6),
        CausalAttention { goals: 0, time: 60, hidden_dim: None, ..op(1, 16) },
        CausalAttention { dropout: 0.3, ..op(2, 10) },
        CausalAttention { batch: 1, time: 103, dropout: 0.1, ..op(1, 33) },
        CausalAttention { markov: true, ..op(2, 8) },
        CausalAttention { batch: 1, markov: true, goals: 0, time: 99, dropout: 0.2, ..op(1, 5) },
        CausalAttention { time: 1, goals: 0, batch: 3, ..op(1, 20) },
        CausalAttention { time: 3, goals: 3, ..op(1, 4) },
    ]
}

fn draw(op: &CausalAttention) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Rng::stream(8, "attention");
    let rows = op.batch * op.time;
    (rng.normals(rows * 3 * op.width), rng.normals(rows * op.width))
}

/// One sequence after another on one thread's space.
fn forward(op: &CausalAttention, qkv: &[f32]) -> Vec<f32> {
    let plan = op.plan();
    let mut head = op.space(&plan);
    let mut output = vec![f32::NAN; qkv.len() / 3];
    let sequences = qkv.chunks(3 * op.time * op.width).zip(output.chunks_mut(op.time * op.width));
    for (at, (qkv, output)) in sequences.enumerate() {
        Inner::forward(op, (&plan, &mut head, at), qkv, output);
    }
    output
}

fn backward(op: &CausalAttention, qkv: &[f32], upstream: &[f32]) -> Vec<f32> {
    let plan = op.plan();
    let mut head = op.space(&plan);
    let mut grad = vec![f32::NAN; qkv.len()];
    let length = op.time * op.width;
    let sequences = qkv.chunks(3 * length).zip(upstream.chunks(length));
    for (at, ((qkv, upstream), grad)) in sequences.zip(grad.chunks_mut(3 * length)).enumerate() {
        Inner::backward(op, (&plan, &mut head, at), qkv, &mut [], upstream, grad);
    }
    grad
}

/// By the definition, in straight loops.
fn exact(op: &CausalAttention, qkv: &[f64]) -> Vec<f64> {
    let size = op.width / op.heads;
    let mut output = vec![0.0; op.batch * op.time * op.width];
    for b in 0..op.batch {
        for h in 0..op.heads {
            let part = |which: usize, row: usize| {
                let start = ((b * op.time + row) * 3 + which) * op.width + h * size;
                &qkv[start..start + size]
            };
            for row in 0..op.time {
                let columns: Vec<usize> = (0..=row).filter(|c| op.attends(row, *c)).collect();
                let weight = |c: usize| {
                    let dot: f64 = part(0, row).iter().zip(part(1, c)).map(|(q, k)| q * k).sum();
                    (dot / (size as f64).sqrt()).exp()
                };
                let weights: Vec<f64> = columns.iter().map(|c| weight(*c)).collect();
                let sum: f64 = weights.iter().sum();
                for (c, weight) in columns.iter().zip(&weights) {
                    let factor = if op.dropout > 0.0 {
                        f64::from(op.dropout_factor(b, h, row, *c))
                    } else {
                        1.0
                    };
                    let start = (b * op.time + row) * op.width + h * size;
                    for (out, v) in output[start..start + size].iter_mut().zip(part(2, *c)) {
                        *out += weight / sum * factor * v;
                    }
                }
            }
        }
    }
    output
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

#[test]
fn the_output_is_that_of_straight_loops_over_the_mask() {
    for op in variants() {
        let (qkv, _) = draw(&op);
        let output = forward(&op, &qkv);
        for (value, expected) in output.iter().zip(exact(&op, &double(&qkv))) {
            assert!((f64::from(*value) - expected).abs() < 3e-6, "{value} {expected} in {op:?}");
        }
    }
}

#[test]
fn gradients_are_those_of_the_difference_quotients() {
    for op in variants() {
        let (qkv, upstream) = draw(&op);
        let grad = backward(&op, &qkv, &upstream);
        let inputs = double(&qkv);
        for at in (0..qkv.len()).step_by(1 + qkv.len() / 100) {
            let total = |by: f64| -> f64 {
                let mut inputs = inputs.clone();
                inputs[at] += by;
                exact(&op, &inputs).iter().zip(&upstream).map(|(y, g)| y * f64::from(*g)).sum()
            };
            let numeric = (total(1e-4) - total(-1e-4)) / 2e-4;
            let error = (f64::from(grad[at]) - numeric).abs();
            assert!(error < 1e-5, "{at}: {} but {numeric} in {op:?}", grad[at]);
        }
    }
}

#[test]
fn the_mask_is_causal_without_hidden_columns_and_markov_keeps_one_transition() {
    let free = op(1, 4);
    let rows = |op: &CausalAttention, row: usize| -> Vec<usize> {
        (0..op.time).filter(|column| op.attends(row, *column)).collect()
    };
    assert_eq!(rows(&free, 0), [0]);
    assert_eq!(rows(&free, 1), [0, 1]);
    // The return tokens stand at 5, 9, 13, ...: not even they see themselves.
    assert_eq!(rows(&free, 5), [0, 1, 2, 3, 4]);
    assert_eq!(rows(&free, 11), [0, 1, 2, 3, 4, 6, 7, 8, 10, 11]);
    let markov = CausalAttention { markov: true, ..free };
    assert_eq!(rows(&markov, 1), [0, 1]);
    assert_eq!(rows(&markov, 5), [0, 1, 2, 3, 4]);
    assert_eq!(rows(&markov, 11), [0, 1, 10, 11]);
}

#[test]
fn what_nobody_attends_to_changes_nothing_and_has_no_gradient() {
    let op = CausalAttention { dropout: 0.1, ..op(2, 8) };
    let (mut qkv, upstream) = draw(&op);
    let (output, grad) = (forward(&op, &qkv), backward(&op, &qkv, &upstream));
    for (row, numbers) in qkv.chunks_mut(3 * op.width).enumerate() {
        if !op.attends(row % op.time, row % op.time) {
            numbers[op.width..].fill(f32::NAN);
            let grad = &grad[row * 3 * op.width..(row + 1) * 3 * op.width];
            assert!(grad[op.width..].iter().all(|g| *g == 0.0), "row {row}");
            assert!(grad[..op.width].iter().any(|g| *g != 0.0), "row {row}");
        }
    }
    assert_eq!(forward(&op, &qkv), output);
    assert_eq!(backward(&op, &qkv, &upstream), grad);
}

#[test]
fn a_later_row_changes_no_earlier_output() {
    let op = CausalAttention { batch: 1, ..op(2, 8) };
    let (qkv, _) = draw(&op);
    let output = forward(&op, &qkv);
    for row in 0..op.time {
        let mut changed = qkv.clone();
        changed[row * 3 * op.width..].iter_mut().for_each(|x| *x += 1.0);
        let changed = forward(&op, &changed);
        assert_eq!(changed[..row * op.width], output[..row * op.width]);
        assert_ne!(changed[row * op.width..], output[row * op.width..]);
    }
}

#[test]
fn rows_that_attend_to_nothing_give_zeros_and_take_no_gradient() {
    for markov in [false, true] {
        let op = CausalAttention {
            goals: 0,
            per_transition: 1,
            hidden_dim: Some(0),
            markov,
            ..op(1, 4)
        };
        let (qkv, upstream) = draw(&op);
        assert!(forward(&op, &qkv).iter().all(|y| *y == 0.0));
        assert!(backward(&op, &qkv, &upstream).iter().all(|g| *g == 0.0));
    }
    // The first transition starts with a hidden token.
    let op = CausalAttention { goals: 0, hidden_dim: Some(0), ..op(1, 4) };
    for op in [op, CausalAttention { markov: true, ..op }] {
        let (qkv, upstream) = draw(&op);
        assert!(forward(&op, &qkv)[..4].iter().all(|y| *y == 0.0));
        assert!(backward(&op, &qkv, &upstream)[..12].iter().all(|g| *g == 0.0));
    }
}

#[test]
fn dropout_keeps_the_mean_and_differs_by_every_coordinate() {
    let p = 0.15;
    let op = CausalAttention { dropout: p, ..op(4, 8) };
    let (mut sum, mut n) = (0.0, 0.0);
    let mut by_column = vec![0.0; 50];
    for (batch, head, row) in (0..20 * 4 * 50).map(|i| (i / 200, i / 50 % 4, i % 50)) {
        for (column, sum_of_column) in by_column.iter_mut().enumerate() {
            let factor = f64::from(op.dropout_factor(batch, head, row, column));
            assert!(factor == 0.0 || (factor - 1.0 / 0.85).abs() < 1e-6);
            sum += factor;
            *sum_of_column += factor;
            n += 1.0;
        }
    }
    // Standard deviation of one factor: sqrt(p / (1 - p)) = 0.42.
    assert!((sum / n - 1.0).abs() < 5.0 * 0.42 / n.sqrt(), "mean {}", sum / n);
    for sum in by_column {
        assert!((sum / 4000.0 - 1.0).abs() < 5.0 * 0.42 / 4000.0_f64.sqrt(), "{sum}");
    }
    let mask = |op: CausalAttention, [b, h, r, c]: [usize; 4]| -> Vec<bool> {
        (0..400).map(|i| op.dropout_factor(b, h, r + i / 20, c + i % 20) > 0.0).collect()
    };
    let here = mask(op, [0; 4]);
    let reseeded = CausalAttention { seed: op.seed + 1, ..op };
    for other in [
        mask(reseeded, [0; 4]),
        mask(op, [1, 0, 0, 0]),
        mask(op, [0, 1, 0, 0]),
        mask(op, [0, 0, 1, 0]),
        mask(op, [0, 0, 0, 1]),
    ] {
        // Independent masks agree with probability p^2 + (1 - p)^2 = 0.745.
        let same = here.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!((260..340).contains(&same), "{same} of 400 agree");
    }
}

#[test]
fn a_seed_repeats_its_output_and_dropping_nothing_needs_none() {
    let op = CausalAttention { dropout: 0.4, ..op(2, 8) };
    let (qkv, upstream) = draw(&op);
    assert_eq!(forward(&op, &qkv), forward(&op, &qkv));
    assert_eq!(backward(&op, &qkv, &upstream), backward(&op, &qkv, &upstream));
    assert_ne!(forward(&op, &qkv), forward(&CausalAttention { seed: 6, ..op }, &qkv));
    let off = CausalAttention { dropout: 0.0, ..op };
    assert_eq!(forward(&off, &qkv), forward(&CausalAttention { seed: 6, ..off }, &qkv));
}

#[test]
fn large_scores_do_not_overflow() {
    let op = CausalAttention { dropout: 0.1, ..op(2, 8) };
    let (qkv, upstream) = draw(&op);
    let qkv: Vec<f32> = qkv.iter().map(|x| 1e8 * x).collect();
    assert!(forward(&op, &qkv).iter().all(|y| y.is_finite()));
    assert!(backward(&op, &qkv, &upstream).iter().all(|g| g.is_finite()));
}
