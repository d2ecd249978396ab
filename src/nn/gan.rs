//! A conditional generator and its discriminator, over lines and circles.
//!
//! A circle is a unit vector to both: the generator's two numbers are scaled
//! to length one, so that no seam is learned.

use burn::module::Module;
use burn::tensor::Tensor;

use super::fused::spline::Topology;
use super::init::Initializer;
use super::mlp::Mlp;

/// Sizes of both networks.
#[derive(Clone, Debug, PartialEq)]
pub struct GanConfig {
    /// What every coordinate lives on.
    pub coordinates: Vec<Topology>,
    /// Numbers of noise.
    pub latent: usize,
    /// Numbers in a condition.
    pub condition: usize,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Hidden layers.
    pub layers: usize,
}

impl GanConfig {
    /// Numbers by which the networks see a point: one for a line, two for a
    /// circle.
    pub fn features(&self) -> usize {
        self.coordinates.iter().map(|topology| width(*topology)).sum()
    }

    /// Random weights.
    pub fn init(&self, init: &mut Initializer) -> Gan {
        let sizes = [self.hidden, self.layers];
        Gan {
            generator: Mlp::leaky(self.latent + self.condition, sizes, self.features(), init),
            discriminator: Mlp::leaky(self.features() + self.condition, sizes, 1, init),
            config: self.clone(),
        }
    }
}

fn width(topology: Topology) -> usize {
    match topology {
        Topology::Line => 1,
        Topology::Circle => 2,
    }
}

/// Generator and discriminator.
#[derive(Module, Debug)]
pub struct Gan {
    generator: Mlp,
    discriminator: Mlp,
    #[module(skip)]
    config: GanConfig,
}

impl Gan {
    /// Points as the networks see them, `[rows, features]`, from noise
    /// `[rows, latent]` and a condition `[rows, condition]`.
    pub fn generate(&self, noise: Tensor<2>, condition: Tensor<2>) -> Tensor<2> {
        let raw = self.generator.forward(Tensor::cat(vec![noise, condition], 1));
        let [rows, _] = raw.dims();
        let mut columns = Vec::new();
        let mut at = 0;
        for topology in &self.config.coordinates {
            let part = raw.clone().slice([0..rows, at..at + width(*topology)]);
            columns.push(match topology {
                Topology::Line => part,
                // The floor keeps the gradient finite at the origin.
                Topology::Circle => part.clone() / (part.square().sum_dim(1) + 1e-6).sqrt(),
            });
            at += width(*topology);
        }
        Tensor::cat(columns, 1)
    }

    /// The part that makes points.
    pub fn generator(&self) -> &Mlp {
        &self.generator
    }

    /// The logit that a point is real, `[rows, 1]`.
    pub fn judge(&self, features: Tensor<2>, condition: Tensor<2>) -> Tensor<2> {
        self.discriminator.forward(Tensor::cat(vec![features, condition], 1))
    }

    /// Points in flow coordinates, `[rows, coordinates]`, as the networks see
    /// them: lines divided by `line_scale`, circles as cosine and sine.
    pub fn features_of(&self, points: &[f32], line_scale: f32) -> Vec<f32> {
        let coordinates = self.config.coordinates.iter().cycle();
        let mut features = Vec::with_capacity(2 * points.len());
        for (value, topology) in points.iter().zip(coordinates) {
            match topology {
                Topology::Line => features.push(value / line_scale),
                Topology::Circle => features.extend([value.cos(), value.sin()]),
            }
        }
        features
    }

    /// The inverse of [`Gan::features_of`].
    pub fn points_of(&self, features: &[f32], line_scale: f32) -> Vec<f32> {
        let mut points = Vec::with_capacity(features.len());
        for row in features.chunks_exact(self.config.features().max(1)) {
            let mut at = 0;
            for topology in &self.config.coordinates {
                match topology {
                    Topology::Line => points.push(row[at] * line_scale),
                    Topology::Circle => points.push(row[at + 1].atan2(row[at])),
                }
                at += width(*topology);
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn generated_circles_are_unit_vectors_and_points_survive_the_way_there_and_back() {
        let device = Device::flex();
        let config = GanConfig {
            coordinates: vec![Topology::Circle, Topology::Line],
            latent: 3,
            condition: 2,
            hidden: 8,
            layers: 2,
        };
        let gan = config.init(&mut Initializer::new(1, &device));
        let mut rng = Rng::stream(2, "noise");
        let mut tensor = |columns: usize| {
            let values = rng.normals(20 * columns);
            Tensor::<2>::from_data(TensorData::new(values, [20, columns]), &device)
        };
        let (noise, condition) = (tensor(3), tensor(2));
        let made = gan.generate(noise, condition.clone());
        assert_eq!(gan.judge(made.clone(), condition).dims(), [20, 1]);
        let made: Vec<f32> = made.into_data().try_to_vec().unwrap();
        for row in made.chunks(3) {
            assert!((row[0].hypot(row[1]) - 1.0).abs() < 1e-3, "{row:?}");
        }
        let points = gan.points_of(&made, 5.0);
        for (a, b) in gan.features_of(&points, 5.0).iter().zip(&made) {
            assert!((a - b).abs() < 1e-3);
        }
    }
}
