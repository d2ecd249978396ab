//! What stands before every pair of couplings in the released gamma-models: a
//! normalization of each coordinate whose start depends on data (ActNorm), and
//! an invertible 1x1 convolution (Kingma and Dhariwal 2018), here a matrix over
//! a few coordinates.
//!
//!   z = (x e^s + t) W,    W = P L (U + diag d)
//!   ln |det dz/dx| = sum s + sum ln |d|
//!
//! P permutes and stays as it is; L is lower triangular with ones on its
//! diagonal, U strictly upper triangular; at the start P L (U + diag d) is a
//! random orthogonal matrix.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::init::Initializer;

/// Least standard deviation that the normalization divides by.
const LEAST_SPREAD: f32 = 1e-4;

/// Which coordinates are mixed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixerConfig {
    /// The coupling it stands before, on the way from data to latent.
    pub before: usize,
    /// The coordinates it mixes.
    pub coordinates: Vec<usize>,
}

/// ActNorm and an invertible matrix over some coordinates.
#[derive(Module, Debug)]
pub struct Mixer {
    log_scale: Param<Tensor<1>>,
    shift: Param<Tensor<1>>,
    /// P, no gradient.
    permutation: Param<Tensor<2>>,
    /// L below its diagonal; the rest is not used.
    lower: Param<Tensor<2>>,
    /// U above its diagonal; the rest is not used.
    upper: Param<Tensor<2>>,
    /// d.
    diagonal: Param<Tensor<1>>,
    #[module(skip)]
    config: MixerConfig,
}

impl MixerConfig {
    /// No normalization yet, and a random orthogonal matrix.
    pub fn init(&self, init: &mut Initializer) -> Mixer {
        let n = self.coordinates.len();
        let matrix = orthogonal(init.normals(n * n), n);
        let Factors { permutation, lower, upper, diagonal } = factors(matrix, n);
        Mixer {
            log_scale: init.zeros([n]),
            shift: init.zeros([n]),
            permutation: init.given(permutation, [n, n]),
            lower: init.given(lower, [n, n]),
            upper: init.given(upper, [n, n]),
            diagonal: init.given(diagonal, [n]),
            config: self.clone(),
        }
    }
}

impl Mixer {
    /// Which coordinates it mixes, and where.
    pub fn config(&self) -> &MixerConfig {
        &self.config
    }

    /// From data to latent: changes its columns of `x`, `[rows, 1]` each, and
    /// returns ln |det|, `[1, 1]`.
    pub fn forward(&self, x: &mut [Tensor<2>]) -> Tensor<2> {
        let normal = self.gather(x) * self.scale() + self.shift.val().unsqueeze();
        self.scatter(normal.matmul(self.matrix()), x);
        let log_diagonal = self.diagonal.val().abs().log().sum();
        (self.log_scale.val().sum() + log_diagonal).reshape([1, 1])
    }

    /// From latent to data: undoes [`Mixer::forward`] and returns ln |det| of
    /// the way back, `[1, 1]`.
    pub fn inverse(&self, z: &mut [Tensor<2>]) -> Tensor<2> {
        let normal = self.gather(z).matmul(self.inverse_matrix());
        self.scatter((normal - self.shift.val().unsqueeze()) / self.scale(), z);
        let log_diagonal = self.diagonal.val().abs().log().sum();
        (self.log_scale.val().sum() + log_diagonal).neg().reshape([1, 1])
    }

    /// Normalize `x` to mean 0 and deviation 1 from now on.
    pub fn fitted(self, x: &[Tensor<2>]) -> Self {
        let x = self.gather(x).inner();
        let [rows, n] = x.dims();
        let mean = x.clone().mean_dim(0);
        // As PyTorch's std: over one less than the rows.
        let variance =
            (x - mean.clone()).square().sum_dim(0) / rows.saturating_sub(1).max(1) as f32;
        let spread = variance.sqrt().clamp_min(LEAST_SPREAD);
        let log_scale = spread.clone().log().neg().reshape([n]);
        let shift = (mean / spread).neg().reshape([n]);
        Self { log_scale: put(self.log_scale, log_scale), shift: put(self.shift, shift), ..self }
    }

    fn gather(&self, x: &[Tensor<2>]) -> Tensor<2> {
        Tensor::cat(self.config.coordinates.iter().map(|index| x[*index].clone()).collect(), 1)
    }

    fn scatter(&self, mixed: Tensor<2>, x: &mut [Tensor<2>]) {
        let [rows, _] = mixed.dims();
        for (column, index) in self.config.coordinates.iter().enumerate() {
            x[*index] = mixed.clone().slice([0..rows, column..column + 1]);
        }
    }

    /// e^s, `[1, coordinates]`.
    fn scale(&self) -> Tensor<2> {
        self.log_scale.val().exp().unsqueeze()
    }

    /// L without its diagonal and U.
    fn triangles(&self) -> [Tensor<2>; 2] {
        [self.lower.val().tril(-1), self.upper.val().triu(1)]
    }

    /// P, the identity, and diag d.
    fn fixed(&self) -> [Tensor<2>; 3] {
        let permutation = self.permutation.val().detach();
        let identity = Tensor::eye(self.config.coordinates.len(), &permutation.device());
        let diagonal = identity.clone() * self.diagonal.val().unsqueeze();
        [permutation, identity, diagonal]
    }

    /// W.
    fn matrix(&self) -> Tensor<2> {
        let [lower, upper] = self.triangles();
        let [permutation, identity, diagonal] = self.fixed();
        permutation.matmul(lower + identity).matmul(upper + diagonal)
    }

    /// W^-1. With N a strictly triangular n x n matrix, (1 + N)^-1 is the sum
    /// of (-N)^k over k < n.
    fn inverse_matrix(&self) -> Tensor<2> {
        let [lower, upper] = self.triangles();
        let [permutation, identity, _] = self.fixed();
        let n = self.config.coordinates.len();
        let undone = |triangle: Tensor<2>| {
            let mut power = identity.clone();
            let mut sum = identity.clone();
            for _ in 1..n {
                power = power.matmul(triangle.clone()).neg();
                sum = sum + power.clone();
            }
            sum
        };
        // U + diag d = diag d (1 + diag(1/d) U): rows over d.
        let reciprocal = self.diagonal.val().recip();
        let rows = upper * reciprocal.clone().reshape([n, 1]);
        let above = undone(rows).matmul(identity.clone() * reciprocal.unsqueeze());
        above.matmul(undone(lower)).matmul(permutation.transpose())
    }
}

/// Another value of a parameter, tracked as before.
fn put(param: Param<Tensor<1>>, value: Tensor<1>) -> Param<Tensor<1>> {
    param.map(|old| {
        let tensor = Tensor::from_data(value.into_data(), &old.device());
        if old.is_require_grad() { tensor.require_grad() } else { tensor }
    })
}

/// The rows of `normals`, `[n, n]`, made orthonormal (Gram-Schmidt): uniform
/// over rotations and reflections.
fn orthogonal(normals: Vec<f32>, n: usize) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
    for (index, drawn) in normals.chunks_exact(n.max(1)).enumerate() {
        let mut row: Vec<f64> = drawn.iter().map(|value| f64::from(*value)).collect();
        for other in &rows {
            let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
        }
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        if length < 1e-6 {
            // Drawn nearly parallel to the others, once in a million.
            row = (0..n).map(|column| if column == index { 1.0 } else { 0.0 }).collect();
        } else {
            row.iter_mut().for_each(|value| *value /= length);
        }
        rows.push(row);
    }
    rows.concat()
}

/// P, L, U and d of one matrix, `[n, n]` and `[n]`.
struct Factors {
    permutation: Vec<f32>,
    lower: Vec<f32>,
    upper: Vec<f32>,
    diagonal: Vec<f32>,
}

/// LU with row exchanges: matrix = P L (U + diag d).
fn factors(mut a: Vec<f64>, n: usize) -> Factors {
    let mut order: Vec<usize> = (0..n).collect();
    let mut lower = vec![0.0; n * n];
    for column in 0..n {
        let largest = (column..n)
            .max_by(|i, j| a[i * n + column].abs().total_cmp(&a[j * n + column].abs()))
            .unwrap_or(column);
        order.swap(column, largest);
        for k in 0..n {
            a.swap(column * n + k, largest * n + k);
            lower.swap(column * n + k, largest * n + k);
        }
        for row in column + 1..n {
            let share = a[row * n + column] / a[column * n + column];
            lower[row * n + column] = share;
            for k in column..n {
                a[row * n + k] -= share * a[column * n + k];
            }
        }
    }
    let mut permutation = vec![0.0; n * n];
    for (row, from) in order.into_iter().enumerate() {
        permutation[from * n + row] = 1.0;
    }
    let above = |index: usize| if index % n > index / n { a[index] as f32 } else { 0.0 };
    Factors {
        permutation,
        lower: lower.into_iter().map(|value| value as f32).collect(),
        upper: (0..n * n).map(above).collect(),
        diagonal: (0..n).map(|index| a[index * n + index] as f32).collect(),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::nn::weights;
    use crate::rng::Rng;

    fn column(values: &[f32], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), device)
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    fn config(n: usize) -> MixerConfig {
        MixerConfig { before: 0, coordinates: (0..n).collect() }
    }

    /// A mixer none of whose numbers is special.
    fn mixer(n: usize, device: &Device) -> Mixer {
        let mixer = config(n).init(&mut Initializer::new(n as u64, device));
        let mut rng = Rng::stream(3, "mixer");
        let named = weights::export(&mixer).unwrap().into_iter().map(|(name, mut tensor)| {
            if !name.contains("permutation") {
                tensor.values.iter_mut().for_each(|value| *value += 0.3 * rng.normal());
            }
            (name, tensor)
        });
        weights::import(mixer, named.collect()).unwrap()
    }

    #[test]
    fn the_matrix_starts_orthogonal_and_its_factors_give_it_back() {
        for n in 1..=5 {
            let matrix = orthogonal(Rng::stream(n as u64, "q").normals(n * n), n);
            for (i, j) in (0..n * n).map(|index| (index / n, index % n)) {
                let product: f64 = (0..n).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-9);
            }
            let device = Device::flex();
            let mixer = config(n).init(&mut Initializer::new(7, &device));
            let again = orthogonal(Initializer::new(7, &device).normals(n * n), n);
            for (found, expected) in values(mixer.matrix()).iter().zip(&again) {
                assert!((f64::from(*found) - expected).abs() < 1e-5, "n {n}");
            }
        }
    }

    #[test]
    fn the_way_back_undoes_the_way_there_and_so_do_their_volumes() {
        let device = Device::flex();
        for n in 1..=4 {
            let mixer = mixer(n, &device);
            let mut rng = Rng::stream(4, "points");
            let points: Vec<Vec<f32>> = (0..n).map(|_| rng.normals(50)).collect();
            let mut x: Vec<_> = points.iter().map(|values| column(values, &device)).collect();
            let there = values(mixer.forward(&mut x))[0];
            assert!(values(x[0].clone()).iter().zip(&points[0]).any(|(a, b)| (a - b).abs() > 0.1));
            let back = values(mixer.inverse(&mut x))[0];
            assert!((there + back).abs() < 1e-6);
            for (x, points) in x.into_iter().zip(&points) {
                for (found, expected) in values(x).iter().zip(points) {
                    assert!((found - expected).abs() < 1e-3, "{found} {expected} of {n}");
                }
            }
        }
    }

    #[test]
    fn the_log_determinant_is_that_of_the_numeric_jacobian() {
        let device = Device::flex();
        let mixer = mixer(2, &device);
        let at = |x: f32, y: f32| {
            let mut x = [column(&[x], &device), column(&[y], &device)];
            let log_det = values(mixer.forward(&mut x))[0];
            let [a, b] = x.map(|x| f64::from(values(x)[0]));
            ([a, b], f64::from(log_det))
        };
        let step = 0.5;
        let slope = |up: [f64; 2], down: [f64; 2]| [0, 1].map(|k| up[k] - down[k]);
        let a = slope(at(0.4 + step, -0.7).0, at(0.4 - step, -0.7).0);
        let b = slope(at(0.4, -0.7 + step).0, at(0.4, -0.7 - step).0);
        let numeric = (a[0] * b[1] - a[1] * b[0]).abs().ln();
        let (_, found) = at(0.4, -0.7);
        assert!((numeric - found).abs() < 1e-4, "{numeric} {found}");
    }

    #[test]
    fn fitted_to_data_it_sees_mean_zero_and_deviation_one() {
        let device = Device::flex();
        let mixer = config(2).init(&mut Initializer::new(1, &device));
        let mut rng = Rng::stream(5, "data");
        let draws = [7.0, -2.0].map(|mean: f32| {
            let values: Vec<f32> = (0..2000).map(|_| mean + 3.0 * rng.normal()).collect();
            column(&values, &device)
        });
        let mixer = mixer.fitted(&draws);
        let normal = values(mixer.gather(&draws) * mixer.scale() + mixer.shift.val().unsqueeze());
        for axis in 0..2 {
            let of = || normal.iter().skip(axis).step_by(2).map(|value| f64::from(*value));
            let mean = of().sum::<f64>() / 2000.0;
            let variance = of().map(|value| (value - mean).powi(2)).sum::<f64>() / 1999.0;
            assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
        }
    }
}
