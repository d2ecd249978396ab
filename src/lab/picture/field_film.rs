//! Films of a gamma-model: a prediction as its discount grows, and the real
//! policy at work over a map.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;

use super::{FRAME_MS, MOVIE_SIDE, REST_MS, field};
use crate::lab::occupancy::{self, OccupancyRequest};
use crate::lab::open::{self, OpenError, OpenedModel};
use crate::lab::policy_run::PolicyRun;
use crate::lab::scene::{Scene, SceneError};
use crate::model::gamma::GammaModel;
use crate::picture::{self, Field, Mode, PictureError};
use crate::plan::PlanError;

/// Discounts in a film.
const DISCOUNTS: usize = 32;
/// How long each is shown.
const DISCOUNT_MS: u32 = 120;
/// Most frames of a run.
const MAX_FRAMES: usize = 240;

/// Why there is no film.
#[derive(Debug, thiserror::Error)]
pub enum FilmError {
    /// The scene.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// Its weights.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The model.
    #[error(transparent)]
    Model(#[from] PlanError),
    /// The picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// Weights for a single discount.
    #[error("these weights know the discount {0} alone; export the picture instead")]
    OneDiscount(f32),
}

/// The model's density from one state as the discount grows from the least it
/// knows to the largest, evenly in the logarithm of the horizon.
///
/// # Errors
/// See [`FilmError`].
pub fn discounts(
    scene: &Scene,
    request: &OccupancyRequest,
    model: &GammaModel,
    mode: Mode,
) -> Result<Vec<u8>, FilmError> {
    let [low, high] = model.config.discount;
    if high <= low {
        return Err(FilmError::OneDiscount(high));
    }
    let mut frames = Vec::with_capacity(DISCOUNTS);
    for discount in ladder([low, high]) {
        let mut request = request.clone();
        // No more digits than the caption has room for.
        let discount = ((1000.0 * discount).round() / 1000.0).clamp(low, high);
        (request.settings.discount, request.settings.steps) = (discount, 1);
        request.is_drag = true;
        let frame = occupancy::predict(1, &Arc::new(request), model)?;
        let status = format!("γ {discount:.3}");
        frames.push((Field { status, ..field::occupancy(scene, &frame)? }, DISCOUNT_MS));
    }
    if let Some((_, ms)) = frames.last_mut() {
        *ms = REST_MS;
    }
    Ok(picture::field_gif(&frames, MOVIE_SIDE, mode)?)
}

/// The same with the scene's own weights, opened on the CPU.
///
/// # Errors
/// See [`FilmError`].
pub fn discounts_on_cpu(
    scene: &Scene,
    folder: Option<&Path>,
    request: &OccupancyRequest,
    mode: Mode,
) -> Result<Vec<u8>, FilmError> {
    match open::open(scene, folder, &Device::flex())?.model {
        OpenedModel::Gamma(model) => discounts(scene, request, &model, mode),
        other => Err(OpenError::OtherModel("a γ-model", other.with_article()).into()),
    }
}

/// Discounts whose horizons 1 / (1 - g) grow by the same factor.
fn ladder([low, high]: [f32; 2]) -> impl Iterator<Item = f32> {
    let horizon = |discount: f32| -f64::from(-discount).ln_1p();
    (0..DISCOUNTS).map(move |index| {
        let share = index as f64 / (DISCOUNTS - 1) as f64;
        let log = horizon(low) + share * (horizon(high) - horizon(low));
        ((1.0 - (-log).exp()) as f32).clamp(low, high)
    })
}

/// The real policy's run over a map, in real time.
///
/// # Errors
/// A run without states, or a map that makes no picture.
pub fn run(map: &Field, run: &PolicyRun, mode: Mode) -> Result<Vec<u8>, PictureError> {
    let way: Vec<[f32; 2]> =
        run.states.iter().filter_map(|state| Some([*state.first()?, *state.get(1)?])).collect();
    let dt_ms = (1000.0 * run.dt_secs).max(1.0);
    let stride = ((FRAME_MS as f32 / dt_ms).ceil() as usize).max(way.len() / MAX_FRAMES).max(1);
    let mut frames: Vec<(Field, u32)> = (0..way.len())
        .step_by(stride)
        .map(|step| {
            let frame = Field {
                agent: Some(way[step]),
                trail: way[..=step].to_vec(),
                status: format!("{:.2} s", step as f32 * run.dt_secs),
                ..map.clone()
            };
            (frame, (stride as f32 * dt_ms) as u32)
        })
        .collect();
    if let Some((_, ms)) = frames.last_mut() {
        *ms = REST_MS;
    }
    picture::field_gif(&frames, MOVIE_SIDE, mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discounts_run_from_end_to_end_and_horizons_grow_by_one_factor() {
        let all: Vec<f32> = ladder([0.0, 0.99]).collect();
        assert_eq!((all.len(), all[0]), (DISCOUNTS, 0.0));
        assert!((all[DISCOUNTS - 1] - 0.99).abs() < 1e-6 && all.is_sorted());
        let horizon = |discount: f32| 1.0 / (1.0 - f64::from(discount));
        let factor = horizon(all[1]) / horizon(all[0]);
        for pair in all.windows(2) {
            assert!((horizon(pair[1]) / horizon(pair[0]) - factor).abs() < 1e-3);
        }
    }
}
