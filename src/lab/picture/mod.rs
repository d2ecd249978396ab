//! Pictures, films and tables of a plan: what the window's stage shows, for
//! files.

mod chain;
mod field;
mod field_film;
mod field_table;
mod ground;
mod maze;
mod shot;
mod table;
mod tree;

pub use field::{occupancy, values};
pub use field_film::{FilmError, discounts, discounts_on_cpu, run};
pub use field_table::{occupancy_csv, values_csv};
pub use shot::{Cloud, Moment, Shot};
pub use table::csv;
pub use tree::{TreeMoment, TreeShot, tree_csv, tree_movie};

use super::{Scene, SceneError};
use crate::picture::{self, Drawing, Field, Mode, PictureError};
use crate::plan::{Film, Rollout};

/// Long side of a picture in pixels.
const STILL_SIDE: u32 = 1600;
/// Long side of a film.
const MOVIE_SIDE: u32 = 720;
/// Most noise points in a frame of a film, which all change with every frame.
const MOVIE_SPECKS: usize = 1536;
/// Time between frames of a film that moves.
const FRAME_MS: u32 = 50;
/// Most positions of the chain at which a film halts; long chains are thinned.
const MAX_HALTS: usize = 6;
/// Frames from one of these to the next.
const IN_BETWEENS: usize = 7;
/// How long a film halts at the first noise and at the positions after it.
const NOISE_MS: u32 = 700;
const HALT_MS: u32 = 300;
/// How long it shows the plan before the ball rolls.
const PLAN_MS: u32 = 700;
/// How long it rests at its end.
const REST_MS: u32 = 1800;
/// How long a film goes on after the ball arrives.
const AFTER_ARRIVAL_SECS: f32 = 0.5;
/// A ball that never arrives is watched for this long at most.
const MAX_ROLL_SECS: f32 = 15.0;

/// Why a plan cannot be pictured.
#[derive(Debug, thiserror::Error)]
pub enum PlanPictureError {
    /// The scene.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

/// Which clock a film follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Noise becomes a plan.
    Denoising,
    /// The ball follows it.
    Environment,
    /// One after the other.
    Both,
}

/// The finished plan and all of the ball's way.
///
/// # Errors
/// A scene that cannot be built.
pub fn still(scene: &Scene, film: &Film, rollout: Option<&Rollout>) -> Result<Drawing, SceneError> {
    Ok(Shot::new(scene, film, rollout)?.frame(Moment::END))
}

/// A drawing as a PNG of the usual size.
///
/// # Errors
/// Bounds that make no picture.
pub fn png(drawing: &Drawing, mode: Mode) -> Result<Vec<u8>, PictureError> {
    picture::png(drawing, drawing.fitting_size(STILL_SIDE), mode)
}

/// A drawing as an SVG of the same size.
///
/// # Errors
/// Bounds that make no picture.
pub fn svg(drawing: &Drawing, mode: Mode) -> Result<Vec<u8>, PictureError> {
    picture::svg(drawing, drawing.fitting_size(STILL_SIDE), mode)
}

/// Heat maps as a PNG of the usual size.
///
/// # Errors
/// Axes or values that make no picture.
pub fn field_png(field: &Field, mode: Mode) -> Result<Vec<u8>, PictureError> {
    picture::field_png(field, STILL_SIDE, mode)
}

/// Heat maps as an SVG of the same size.
///
/// # Errors
/// As for [`field_png`].
pub fn field_svg(field: &Field, mode: Mode) -> Result<Vec<u8>, PictureError> {
    picture::field_svg(field, STILL_SIDE, mode)
}

/// Noise condensing into plans, then the ball following the chosen one, as a
/// GIF in real time.
///
/// # Errors
/// A scene that cannot be built.
pub fn movie(
    scene: &Scene,
    film: &Film,
    rollout: Option<&Rollout>,
    mode: Mode,
) -> Result<Vec<u8>, PlanPictureError> {
    movie_of(Shot::new(scene, film, rollout)?, Span::Both, mode)
}

/// One or both clocks of a shot as a GIF.
///
/// # Errors
/// When there is nothing to show in the span.
pub fn movie_of(shot: Shot<'_>, span: Span, mode: Mode) -> Result<Vec<u8>, PlanPictureError> {
    let shot = shot.with_at_most(MOVIE_SPECKS);
    let size = shot.frame(Moment::END).fitting_size(MOVIE_SIDE);
    let moments = moments(shot.film(), shot.rollout(), span).into_iter();
    Ok(picture::gif(moments.map(|(moment, ms)| (shot.frame(moment), ms)), size, mode)?)
}

/// The moments a film shows and for how many milliseconds.
fn moments(film: &Film, rollout: Option<&Rollout>, span: Span) -> Vec<(Moment, u32)> {
    let end = film.total_steps as f32;
    let mut moments = Vec::new();
    if span != Span::Environment && !film.steps.is_empty() {
        let chain = |(chain, ms)| (Moment { chain, time_secs: 0.0 }, ms);
        moments.extend(chain_times(film.total_steps).into_iter().map(chain));
    }
    if let Some(rollout) = rollout.filter(|_| span != Span::Denoising) {
        let frames = (roll_secs(rollout) * 1000.0 / FRAME_MS as f32).ceil() as u32;
        moments.extend((0..=frames).map(|frame| {
            let time_secs = (frame * FRAME_MS) as f32 / 1000.0;
            (Moment { chain: end, time_secs }, if frame == 0 { PLAN_MS } else { FRAME_MS })
        }));
    }
    if let Some((_, ms)) = moments.last_mut() {
        *ms = REST_MS;
    }
    moments
}

/// Chain positions of a film and how long each is shown.
fn chain_times(steps: usize) -> Vec<(f32, u32)> {
    let halts = steps.clamp(1, MAX_HALTS);
    let halt = |index: usize| (steps as f32 * index as f32 / halts as f32).round();
    let mut times = vec![(0.0, NOISE_MS)];
    for index in 0..halts {
        let (from, to) = (halt(index), halt(index + 1));
        for frame in 1..=IN_BETWEENS {
            // Slow at both ends.
            let t = frame as f32 / (IN_BETWEENS + 1) as f32;
            times.push((from + (to - from) * t * t * (3.0 - 2.0 * t), FRAME_MS));
        }
        times.push((to, HALT_MS));
    }
    times
}

/// How much of a rollout a film shows.
fn roll_secs(rollout: &Rollout) -> f32 {
    let all = rollout.states.len().saturating_sub(1) as f32 * rollout.dt_secs;
    match rollout.arrival_step {
        Some(step) => (step as f32 * rollout.dt_secs + AFTER_ARRIVAL_SECS).min(all),
        None => all.min(MAX_ROLL_SECS),
    }
}

#[cfg(test)]
mod tests {
    use super::shot::tests::{film, rollout, scene};
    use super::*;

    #[test]
    fn a_film_of_both_clocks_condenses_then_rolls_until_shortly_after_arrival() {
        let (film, rollout) = (film(), rollout());
        let moments = moments(&film, Some(&rollout), Span::Both);
        let rolls = moments.iter().position(|(moment, _)| moment.time_secs > 0.0).unwrap();
        let chain: Vec<f32> = moments[..rolls].iter().map(|(moment, _)| moment.chain).collect();
        assert!(chain.is_sorted() && chain[0] == 0.0 && chain.last() == Some(&2.0));
        assert!(chain.contains(&1.0) && chain.iter().any(|chain| chain.fract() > 0.0));
        let (last, ms) = moments.last().unwrap();
        assert_eq!(*ms, REST_MS);
        let end = rollout.arrival_step.unwrap() as f32 * rollout.dt_secs + AFTER_ARRIVAL_SECS;
        assert!((last.time_secs - end).abs() < 0.051, "{}", last.time_secs);
        let real_ms: u32 = moments[rolls..moments.len() - 1].iter().map(|(_, ms)| ms).sum();
        assert!((real_ms as f32 / 1000.0 - end).abs() < 0.11);
    }

    #[test]
    fn long_chains_are_thinned() {
        let times = chain_times(256);
        assert!(times.len() <= 1 + MAX_HALTS * (IN_BETWEENS + 1));
        assert_eq!((times[0].0, times.last().unwrap().0), (0.0, 256.0));
    }

    #[test]
    fn pictures_and_films_have_bytes_and_nothing_to_show_is_an_error() {
        let (scene, film, rollout) = (scene(), film(), rollout());
        let drawing = still(&scene, &film, Some(&rollout)).unwrap();
        assert_eq!(&png(&drawing, Mode::Dark).unwrap()[1..4], b"PNG");
        assert_eq!(&svg(&drawing, Mode::Dark).unwrap()[..4], b"<svg");
        let shot = Shot::new(&scene, &film, None).unwrap();
        let bytes = movie_of(shot, Span::Denoising, Mode::Light).unwrap();
        assert_eq!(&bytes[..3], b"GIF");
        let shot = Shot::new(&scene, &film, None).unwrap();
        let nothing = movie_of(shot, Span::Environment, Mode::Dark);
        assert!(matches!(nothing, Err(PlanPictureError::Picture(PictureError::NoFrames))));
    }
}
