//! Linear maps between physical units and `[-1, 1]`.

use serde::{Deserialize, Serialize};

use super::DataError;

/// Maps each coordinate's range in the data to `[-1, 1]`.
///
/// Values outside the range go outside `[-1, 1]`; nothing is clipped here.
/// A coordinate that never varies maps to 0 and keeps its unit, so that
/// neither direction divides by zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Limits")]
pub struct LimitsNormalizer {
    /// Smallest value of each coordinate.
    pub low: Vec<f32>,
    /// Largest value of each coordinate.
    pub high: Vec<f32>,
}

/// What a file holds before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    low: Vec<f32>,
    high: Vec<f32>,
}

impl TryFrom<Limits> for LimitsNormalizer {
    type Error = DataError;

    fn try_from(Limits { low, high }: Limits) -> Result<Self, DataError> {
        Self::new(low, high)
    }
}

impl LimitsNormalizer {
    /// From known limits, one pair per coordinate.
    ///
    /// # Errors
    /// No coordinates, unequal lengths, numbers that are not finite, or a low
    /// limit above its high one.
    pub fn new(low: Vec<f32>, high: Vec<f32>) -> Result<Self, DataError> {
        let ordered =
            |(low, high): (&f32, &f32)| low.is_finite() && high.is_finite() && low <= high;
        if low.is_empty() || low.len() != high.len() || !low.iter().zip(&high).all(ordered) {
            return Err(DataError::Malformed(format!(
                "the limits {low:?} and {high:?} are not pairs of increasing numbers"
            )));
        }
        Ok(Self { low, high })
    }

    /// The limits of `values`, a flat array of rows of `dim` coordinates.
    ///
    /// # Errors
    /// No complete row, or numbers that are not finite.
    pub fn fit(values: &[f32], dim: usize) -> Result<Self, DataError> {
        if dim == 0 || values.len() < dim {
            return Err(DataError::TooShort("there is no data to take limits from".into()));
        }
        let mut low = vec![f32::INFINITY; dim];
        let mut high = vec![f32::NEG_INFINITY; dim];
        for row in values.chunks_exact(dim) {
            for (i, &value) in row.iter().enumerate() {
                if !value.is_finite() {
                    return Err(DataError::Malformed(format!(
                        "coordinate {i} of the data holds {value}; remove that step"
                    )));
                }
                low[i] = low[i].min(value);
                high[i] = high[i].max(value);
            }
        }
        Ok(Self { low, high })
    }

    /// Both sets of coordinates, those of `self` first.
    #[must_use]
    pub fn followed_by(mut self, other: Self) -> Self {
        self.low.extend(other.low);
        self.high.extend(other.high);
        self
    }

    /// Number of coordinates in a row.
    pub fn dims(&self) -> usize {
        self.low.len()
    }

    /// Map rows of coordinates, `[.., dims]`, from physical units in place.
    pub fn normalize(&self, values: &mut [f32]) {
        for row in values.chunks_mut(self.dims().max(1)) {
            for (i, value) in row.iter_mut().enumerate() {
                let (center, half) = self.center_and_half(i);
                *value = (*value - center) / half;
            }
        }
    }

    /// Map rows of coordinates, `[.., dims]`, back to physical units in place.
    pub fn unnormalize(&self, values: &mut [f32]) {
        for row in values.chunks_mut(self.dims().max(1)) {
            for (i, value) in row.iter_mut().enumerate() {
                let (center, half) = self.center_and_half(i);
                *value = center + *value * half;
            }
        }
    }

    /// Map one number of coordinate `dim` from physical units.
    pub fn normalize_one(&self, dim: usize, value: f32) -> f32 {
        let (center, half) = self.center_and_half(dim);
        (value - center) / half
    }

    /// Map one number of coordinate `dim` back to physical units.
    pub fn unnormalize_one(&self, dim: usize, value: f32) -> f32 {
        let (center, half) = self.center_and_half(dim);
        center + value * half
    }

    fn center_and_half(&self, i: usize) -> (f32, f32) {
        // Halved first: the sum of two large limits could overflow.
        let (low, high) = (self.low[i] / 2.0, self.high[i] / 2.0);
        let half = high - low;
        (low + high, if half > 0.0 { half } else { 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_range_of_the_data_becomes_minus_one_to_one() {
        let normalizer = LimitsNormalizer::fit(&[0.0, 10.0, 4.0, 30.0, 2.0, 20.0], 2).unwrap();
        assert_eq!(
            (&normalizer.low[..], &normalizer.high[..]),
            (&[0.0, 10.0][..], &[4.0, 30.0][..])
        );
        let mut rows = [0.0, 30.0, 1.0, 20.0];
        normalizer.normalize(&mut rows);
        assert_eq!(rows, [-1.0, 1.0, -0.5, 0.0]);
        assert_eq!(normalizer.normalize_one(1, 20.0), 0.0);
        assert_eq!(normalizer.unnormalize_one(0, 1.0), 4.0);
    }

    #[test]
    fn a_constant_coordinate_stays_finite_both_ways() {
        let normalizer = LimitsNormalizer::fit(&[7.0, 7.0, 7.0], 1).unwrap();
        let mut values = [7.0, 8.0];
        normalizer.normalize(&mut values);
        assert_eq!(values, [0.0, 1.0]);
        normalizer.unnormalize(&mut values);
        assert_eq!(values, [7.0, 8.0]);
    }

    #[test]
    fn limits_survive_a_file_and_bad_ones_are_refused() {
        let normalizer = LimitsNormalizer::new(vec![-1.5, 0.0], vec![2.0, 0.1]).unwrap();
        let text = serde_json::to_string(&normalizer).unwrap();
        assert_eq!(serde_json::from_str::<LimitsNormalizer>(&text).unwrap(), normalizer);
        for bad in [
            r#"{"low": [0], "high": [1, 2]}"#,
            r#"{"low": [2], "high": [1]}"#,
            r#"{"low": [], "high": []}"#,
            r#"{"low": [0], "high": [1e999]}"#,
        ] {
            assert!(serde_json::from_str::<LimitsNormalizer>(bad).is_err(), "{bad}");
        }
        assert!(LimitsNormalizer::fit(&[1.0, f32::NAN], 1).is_err());
        assert!(LimitsNormalizer::fit(&[], 3).is_err());
    }

    proptest! {
        #[test]
        fn unnormalizing_undoes_normalizing(
            data in prop::collection::vec(-1e3_f32..1e3, 2..60),
            probe in -2e3_f32..2e3,
        ) {
            let normalizer = LimitsNormalizer::fit(&data, 1).unwrap();
            let mut fitted = data.clone();
            normalizer.normalize(&mut fitted);
            prop_assert!(fitted.iter().all(|value| value.abs() <= 1.0 + 1e-4));
            normalizer.unnormalize(&mut fitted);
            for (back, original) in fitted.iter().zip(&data) {
                prop_assert!((back - original).abs() < 1e-3);
            }
            let mut far = [probe];
            normalizer.normalize(&mut far);
            normalizer.unnormalize(&mut far);
            prop_assert!((far[0] - probe).abs() < 2e-3);
        }
    }
}
