//! The denoising chain at any position, between steps too.

use crate::plan::Film;

/// How much of x_t's noise shows in the prediction made from it.
const PREDICTED_NOISE: f32 = 0.35;

/// One state of the chain, or a mix of two neighboring ones.
pub(super) struct Chain<'a> {
    pub from: &'a [f32],
    to: &'a [f32],
    fraction: f32,
    /// Standard deviation of the noise left.
    pub noise: f32,
}

impl<'a> Chain<'a> {
    pub(super) fn at(film: &'a Film, position: f32, noisy: bool) -> Self {
        let index = position.floor() as usize;
        let (from, noise_from) = state(film, index, noisy);
        let (to, noise_to) = state(film, index + 1, noisy);
        let fraction = if from.len() == to.len() { position.fract() } else { 0.0 };
        let noise = noise_from + (noise_to - noise_from) * fraction;
        Self { from, to, fraction, noise: if noisy { noise } else { PREDICTED_NOISE * noise } }
    }

    pub(super) fn position(&self, film: &Film, candidate: usize, waypoint: usize) -> [f32; 2] {
        let from = film.position(self.from, candidate, waypoint);
        if self.fraction <= 0.0 {
            return from;
        }
        let to = film.position(self.to, candidate, waypoint);
        if film.view.wraps(from, to) { to } else { mix(from, to, self.fraction) }
    }
}

/// The chain before step `index`, or the finished plan, and the noise in it.
fn state(film: &Film, index: usize, noisy: bool) -> (&[f32], f32) {
    match (film.steps.get(index), film.steps.last()) {
        (Some(step), _) if noisy => (&step.noisy, step.noise_level),
        (Some(step), _) => (&step.clean, step.noise_level),
        (None, Some(last)) if film.is_complete() => (&last.clean, 0.0),
        (None, Some(last)) if noisy => (&last.noisy, last.noise_level),
        (None, Some(last)) => (&last.clean, last.noise_level),
        (None, None) => (&[], 1.0),
    }
}

/// `a` at fraction 0, `b` at fraction 1.
pub(super) fn mix(a: [f32; 2], b: [f32; 2], fraction: f32) -> [f32; 2] {
    [0, 1].map(|i| a[i] + (b[i] - a[i]) * fraction)
}
