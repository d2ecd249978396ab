//! Numbers on their way from a device.
//!
//! burn computes as it is told and copies when the numbers are looked at. In
//! between a device may be given more to do: who asks for several things begins
//! all of them before reading the first.

use burn::tensor::{Tensor, TensorData};

use super::ModelError;

/// Numbers that a device may still be computing.
pub struct Pending(TensorData);

impl Pending {
    /// Have everything computed that `tensor` needs, without waiting for it
    /// where the device works on its own.
    ///
    /// # Errors
    /// A lost device.
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Result<Self, ModelError> {
        tensor.try_into_data().map(Self).map_err(|error| ModelError::Device(error.to_string()))
    }

    /// Wait for the numbers, row after row.
    ///
    /// # Errors
    /// A lost device.
    pub fn read(self) -> Result<Vec<f32>, ModelError> {
        self.0.try_to_vec::<f32>().map_err(|error| ModelError::Device(format!("{error:?}")))
    }
}

/// The numbers of a tensor, row after row.
///
/// # Errors
/// A lost device.
pub fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    Pending::of(tensor)?.read()
}

/// The only number of a tensor; NaN if it has none.
///
/// # Errors
/// A lost device.
pub fn read_one(tensor: Tensor<1>) -> Result<f32, ModelError> {
    Ok(read(tensor)?.first().copied().unwrap_or(f32::NAN))
}
