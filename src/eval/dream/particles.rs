//! Dreams of an ensemble: particles that ask another member at every step (TS1
//! of Chua et al. 2018), and the mean of all members as its point prediction.
//!
//! Every prediction is put back among the observations there are before it is
//! continued, which is to the ensemble's favor, and held within
//! [`LIMIT`] standard deviations, beyond which nothing is left to compare.

use super::{Dream, DreamSettings, Dreamer, Episode, Manifold, log_mean_exp};
use crate::model::ensemble::{Ensemble, Gaussians, Standard};
use crate::rng::Rng;

/// Standard deviations of the data at which a prediction that runs away is
/// held.
const LIMIT: f32 = 50.0;

/// An ensemble that dreams.
pub struct EnsembleDreamer<'a> {
    /// The ensemble.
    pub ensemble: &'a Ensemble,
}

impl Dreamer for EnsembleDreamer<'_> {
    fn dream(
        &mut self,
        episode: &Episode,
        settings: &DreamSettings,
        manifold: &mut Manifold,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Option<Dream> {
        let (members, spread) = (self.ensemble.members(), self.ensemble.spread());
        let mut rng = Rng::stream(settings.seed, "particles");
        let first = episode.seen.first().cloned().unwrap_or_default();
        let n = first.len();
        let rows = 1 + settings.samples;
        let mut now = first.repeat(rows);
        let mut paths = vec![vec![first]; rows];
        let mut log_density = Vec::new();
        for (action, truth) in episode.actions.iter().zip(episode.seen.iter().skip(1)) {
            if !go_on() {
                return None;
            }
            let actions = action.repeat(rows);
            let found: Vec<Gaussians> =
                (0..members).map(|member| self.ensemble.predict(member, &now, &actions)).collect();
            if rows > 1 {
                let each = (1..rows).flat_map(|row| found.iter().map(move |g| (g, row)));
                let densities: Vec<f64> = each.map(|(g, row)| g.log_density(row, truth)).collect();
                log_density.push(log_mean_exp(&densities));
            }
            for (row, path) in paths.iter_mut().enumerate() {
                let next = &mut now[row * n..(row + 1) * n];
                if row == 0 {
                    mean(&found, next);
                } else {
                    draw(&found[rng.below(members)], row, next, &mut rng);
                }
                hold(next, &spread);
                manifold.project(next);
                path.push(next.to_vec());
            }
        }
        let mut paths = paths.into_iter();
        let point = paths.next().unwrap_or_default();
        Some(Dream { point, samples: paths.collect(), log_density })
    }
}

/// The mean of all members for the first row.
fn mean(found: &[Gaussians], next: &mut [f32]) {
    for (dim, value) in next.iter_mut().enumerate() {
        let sum: f32 = found.iter().map(|gaussians| gaussians.mean[dim]).sum();
        *value = sum / found.len().max(1) as f32;
    }
}

fn draw(gaussians: &Gaussians, row: usize, next: &mut [f32], rng: &mut Rng) {
    let n = next.len();
    for (dim, value) in next.iter_mut().enumerate() {
        let at = row * n + dim;
        *value = gaussians.mean[at] + gaussians.variance[at].sqrt() * rng.normal();
    }
}

fn hold(next: &mut [f32], spread: &Standard) {
    for ((value, mean), deviation) in next.iter_mut().zip(&spread.mean).zip(&spread.deviation) {
        let far = LIMIT * deviation;
        *value = if value.is_nan() { *mean } else { value.clamp(mean - far, mean + far) };
    }
}
