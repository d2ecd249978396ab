//! Sparse matrices by rows, and the linear equations of discounted chains.

/// A matrix in compressed rows.
pub(super) struct SparseRows {
    starts: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f64>,
}

impl SparseRows {
    /// A matrix without any row yet.
    pub(super) fn new() -> Self {
        Self { starts: vec![0], columns: Vec::new(), weights: Vec::new() }
    }

    /// Append a row; entries of one column add up.
    pub(super) fn push(&mut self, mut entries: Vec<(usize, f64)>) {
        entries.sort_unstable_by_key(|&(column, _)| column);
        let first = self.columns.len();
        for (column, weight) in entries {
            let column = column as u32;
            if self.columns.len() > first && self.columns.last() == Some(&column) {
                if let Some(last) = self.weights.last_mut() {
                    *last += weight;
                }
            } else if weight != 0.0 {
                self.columns.push(column);
                self.weights.push(weight);
            }
        }
        self.starts.push(self.columns.len());
    }

    /// Number of rows.
    pub(super) fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of entries.
    pub(super) fn n_entries(&self) -> usize {
        self.columns.len()
    }

    /// Columns and weights of a row.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.starts[row]..self.starts[row + 1];
        let columns = self.columns[range.clone()].iter().map(|&column| column as usize);
        columns.zip(self.weights[range].iter().copied())
    }

    /// `A x`.
    pub(super) fn times(&self, x: &[f64]) -> Vec<f64> {
        (0..self.n_rows())
            .map(|row| self.row(row).map(|(column, weight)| weight * x[column]).sum())
            .collect()
    }

    /// `x A`, for a square matrix.
    pub(super) fn times_from_left(&self, x: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.n_rows()];
        for (row, &mass) in x.iter().enumerate().filter(|(_, mass)| **mass != 0.0) {
            for (column, weight) in self.row(row) {
                product[column] += mass * weight;
            }
        }
        product
    }
}

/// The solution of `x = b + gamma A x` for `gamma` below 1 and a stochastic
/// `A`, given as a function, to a residual of `tolerance` times `sum |b|` in
/// the sum norm.
///
/// Van der Vorst's BiCGSTAB does most of it in tens of products. It may break
/// down, so `x <- b + gamma A x` has the last word: that shrinks the residual
/// by `gamma` every time, so `ln(tolerance) / ln(gamma)` rounds suffice from
/// anywhere.
pub(super) fn discounted_fixed_point(
    times: &dyn Fn(&[f64]) -> Vec<f64>,
    b: &[f64],
    gamma: f64,
    tolerance: f64,
) -> Vec<f64> {
    let scale = sum_norm(b);
    if scale == 0.0 {
        return b.to_vec();
    }
    let target = tolerance * scale;
    let residual = |x: &[f64]| -> Vec<f64> {
        let product = times(x);
        x.iter().zip(b).zip(product).map(|((x, b), product)| b + gamma * product - x).collect()
    };
    let mut x = krylov(times, b, gamma, 0.1 * target);
    let mut r = residual(&x);
    if sum_norm(&r).is_nan() || sum_norm(&r) > scale {
        x = b.to_vec();
        r = residual(&x);
    }
    // At least one round: the residual of x + r is known to be smaller, and no
    // entry keeps the sign of Krylov rounding.
    let rounds = if gamma > 0.0 { (tolerance.ln() / gamma.ln()).ceil() as usize + 2 } else { 1 };
    for _ in 0..rounds.max(1) {
        add_scaled(&mut x, 1.0, &r);
        r = residual(&x);
        if sum_norm(&r) <= target {
            break;
        }
    }
    x
}

/// BiCGSTAB on `(I - gamma A) x = b`, until the recursive residual is below
/// `target` or it makes no more headway.
fn krylov(times: &dyn Fn(&[f64]) -> Vec<f64>, b: &[f64], gamma: f64, target: f64) -> Vec<f64> {
    let operator = |x: &[f64]| -> Vec<f64> {
        times(x).into_iter().zip(x).map(|(product, x)| x - gamma * product).collect()
    };
    let n = b.len();
    let mut x = vec![0.0; n];
    let mut r = b.to_vec();
    let shadow = b.to_vec();
    let (mut rho, mut p) = (dot(&shadow, &r), r.clone());
    for _ in 0..500 {
        let v = operator(&p);
        let alpha = rho / dot(&shadow, &v);
        let mut s = r.clone();
        add_scaled(&mut s, -alpha, &v);
        let t = operator(&s);
        let omega = dot(&t, &s) / dot(&t, &t);
        if !(alpha.is_finite() && omega.is_finite()) || omega == 0.0 {
            // A residual of exactly zero ends here as well.
            if alpha.is_finite() {
                add_scaled(&mut x, alpha, &p);
            }
            break;
        }
        add_scaled(&mut x, alpha, &p);
        add_scaled(&mut x, omega, &s);
        r = s;
        add_scaled(&mut r, -omega, &t);
        if sum_norm(&r) <= target {
            break;
        }
        let next = dot(&shadow, &r);
        let beta = (next / rho) * (alpha / omega);
        if !beta.is_finite() || beta == 0.0 {
            break;
        }
        rho = next;
        for ((p, r), v) in p.iter_mut().zip(&r).zip(&v) {
            *p = r + beta * (*p - omega * v);
        }
    }
    x
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sum_norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value.abs()).sum()
}

fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

/// The inverse of an `n x n` matrix, row by row, by Gauss and Jordan with row
/// pivots; `None` if it is singular.
pub(super) fn inverse(mut matrix: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    let mut inverse = vec![0.0; n * n];
    for diagonal in inverse.iter_mut().step_by(n + 1) {
        *diagonal = 1.0;
    }
    for step in 0..n {
        let size = |row: &usize| matrix[row * n + step].abs();
        let pivot = (step..n).max_by(|a, b| size(a).total_cmp(&size(b)))?;
        let value = matrix[pivot * n + step];
        if value == 0.0 || !value.is_finite() {
            return None;
        }
        for side in [&mut matrix, &mut inverse] {
            for column in 0..n {
                side.swap(step * n + column, pivot * n + column);
                side[step * n + column] /= value;
            }
        }
        for row in (0..n).filter(|&row| row != step) {
            let factor = matrix[row * n + step];
            if factor != 0.0 {
                for side in [&mut matrix, &mut inverse] {
                    subtract_row(side, n, row, step, factor);
                }
            }
        }
    }
    Some(inverse)
}

/// `matrix[row] -= factor * matrix[from]`, for two different rows.
fn subtract_row(matrix: &mut [f64], n: usize, row: usize, from: usize, factor: f64) {
    let (above, below) = matrix.split_at_mut(row.max(from) * n);
    let low = row.min(from) * n;
    let (low, high) = (&mut above[low..low + n], &mut below[..n]);
    let (to, source) = if row < from { (low, high) } else { (high, low) };
    add_scaled(to, -factor, source);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// A random stochastic matrix with a few entries a row.
    fn stochastic(n: usize, entries: usize, seed: u64) -> SparseRows {
        let mut rng = Rng::stream(seed, "stochastic");
        let mut matrix = SparseRows::new();
        for _ in 0..n {
            let row: Vec<_> = (0..entries).map(|_| (rng.below(n), rng.uniform(0.0, 1.0))).collect();
            let total: f64 = row.iter().map(|entry| entry.1).sum();
            matrix.push(row.into_iter().map(|(column, weight)| (column, weight / total)).collect());
        }
        matrix
    }

    #[test]
    fn entries_of_one_column_add_up() {
        let mut matrix = SparseRows::new();
        matrix.push(vec![(1, 0.25), (0, 0.5), (1, 0.25)]);
        matrix.push(Vec::new());
        assert_eq!(matrix.row(0).collect::<Vec<_>>(), [(0, 0.5), (1, 0.5)]);
        assert_eq!((matrix.n_rows(), matrix.n_entries()), (2, 2));
        assert_eq!(matrix.times(&[2.0, 4.0]), [3.0, 0.0]);
        assert_eq!(matrix.times_from_left(&[2.0, 4.0]), [1.0, 1.0]);
    }

    #[test]
    fn the_fixed_point_is_that_of_plain_iteration() {
        for (gamma, seed) in [(0.0, 0), (0.5, 1), (0.9, 2), (0.99, 3), (0.999, 4)] {
            let matrix = stochastic(60, 4, seed);
            let mut rng = Rng::stream(seed, "b");
            let b: Vec<_> = (0..60).map(|_| rng.uniform(-1.0, 1.0)).collect();
            let solved = discounted_fixed_point(&|x| matrix.times(x), &b, gamma, 1e-13);
            let mut plain = b.clone();
            for _ in 0..40_000 {
                let product = matrix.times(&plain);
                plain = b.iter().zip(product).map(|(b, product)| b + gamma * product).collect();
            }
            let scale = plain.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
            for (solved, plain) in solved.iter().zip(&plain) {
                assert!((solved - plain).abs() < 1e-10 * scale, "{gamma}: {solved} and {plain}");
            }
        }
    }

    #[test]
    fn a_cycle_on_which_krylov_steps_break_down_is_solved_too() {
        let mut matrix = SparseRows::new();
        for row in 0..4 {
            matrix.push(vec![((row + 1) % 4, 1.0)]);
        }
        let b = [1.0, 0.0, 0.0, 0.0];
        let solved = discounted_fixed_point(&|x| matrix.times_from_left(x), &b, 0.9, 1e-12);
        for (step, mass) in solved.iter().enumerate() {
            let expected = 0.9_f64.powi(step as i32) / (1.0 - 0.9_f64.powi(4));
            assert!((mass - expected).abs() < 1e-10, "{step}: {mass}, not {expected}");
        }
    }

    #[test]
    fn an_inverse_times_its_matrix_is_the_identity() {
        let n = 40;
        let mut rng = Rng::stream(5, "dense");
        let matrix: Vec<_> = (0..n * n).map(|_| rng.uniform(-1.0, 1.0)).collect();
        let inverse = super::inverse(matrix.clone(), n).unwrap();
        for row in 0..n {
            for column in 0..n {
                let product: f64 =
                    (0..n).map(|k| matrix[row * n + k] * inverse[k * n + column]).sum();
                let expected = if row == column { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-9, "{row} {column}: {product}");
            }
        }
        assert_eq!(super::inverse(vec![1.0, 2.0, 2.0, 4.0], 2), None);
    }
}
