//! Sinusoidal embeddings of a scalar (Vaswani et al. 2017).

use burn::tensor::{Device, Tensor, TensorData};

/// `[values, dim]`: sines then cosines of `value * 10000^(-k / (dim/2 - 1))`.
pub fn sinusoidal(values: &[f32], dim: usize, device: &Device) -> Tensor<2> {
    let embedded = sinusoidal_values(values, dim);
    Tensor::from_data(TensorData::new(embedded, [values.len(), dim / 2 * 2]), device)
}

/// The same on the host.
pub fn sinusoidal_values(values: &[f32], dim: usize) -> Vec<f32> {
    let half = dim / 2;
    let rate = -(10_000.0_f64.ln()) / (half.max(2) - 1) as f64;
    let mut embedded = Vec::with_capacity(values.len() * dim);
    for value in values {
        let angle = |k: usize| f64::from(*value) * (rate * k as f64).exp();
        embedded.extend((0..half).map(|k| angle(k).sin() as f32));
        embedded.extend((0..half).map(|k| angle(k).cos() as f32));
    }
    embedded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedding_starts_with_the_sine_and_ends_with_the_slowest_cosine() {
        let embedded: Vec<f32> =
            sinusoidal(&[3.0], 32, &Device::flex()).into_data().try_to_vec().unwrap();
        assert!((embedded[0] - 3.0_f32.sin()).abs() < 1e-6);
        assert!((embedded[16] - 3.0_f32.cos()).abs() < 1e-6);
        assert!((embedded[31] - (3.0e-4_f32).cos()).abs() < 1e-6);
    }
}
