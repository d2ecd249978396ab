//! The numbers of a run over its steps.

use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`: what a stretch of steps looked like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Optimizer steps taken.
    pub step: usize,
    /// How often the run had gone back to an earlier checkpoint.
    #[serde(default)]
    pub branch: u32,
    /// Wall time of the run, seconds.
    pub secs: f64,
    /// Mean training loss since the last line.
    pub loss: f32,
    /// Loss of the averaged weights on data never trained on, where measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f32>,
    /// Norm of the last step's gradient, before clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f32>,
    /// Step size of the last step.
    pub learning_rate: f64,
    /// Optimizer steps a second since the last line.
    pub steps_per_sec: f64,
    /// Resident memory of the process, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<f64>,
}

/// Lines a series remembers; beyond that every second one of the older half
/// is dropped. The file keeps them all.
const MOST: usize = 4000;

/// A series that stays small however long the run.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<Metric>);

impl Series {
    /// Add a line.
    pub fn push(&mut self, metric: Metric) {
        self.0.push(metric);
        if self.0.len() > MOST {
            let half = MOST / 2;
            let mut index = 0;
            self.0.retain(|metric| {
                index += 1;
                // What was measured on held-out data is rare and stays.
                index > half || index % 2 == 0 || metric.held_out.is_some()
            });
        }
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> &[Metric] {
        &self.0
    }
}

impl FromIterator<Metric> for Series {
    fn from_iter<I: IntoIterator<Item = Metric>>(lines: I) -> Self {
        let mut series = Self::default();
        for metric in lines {
            series.push(metric);
        }
        series
    }
}

/// Losses that a spike is judged by.
const WINDOW: usize = 32;
/// Fewest losses to judge by.
const FEWEST: usize = 12;
/// A spike is this many times the usual scatter above the usual loss.
const FACTOR: f32 = 25.0;

/// Whether `loss` stands out so far above the last ones that training has
/// gone wrong: beyond [`FACTOR`] times their interquartile range, and of their
/// tenth, above their median. Losses of any sign.
pub fn is_spike(lines: &[Metric], loss: f32) -> bool {
    let mut last: Vec<f32> = lines
        .iter()
        .rev()
        .take(WINDOW)
        .map(|metric| metric.loss)
        .filter(|l| l.is_finite())
        .collect();
    if last.len() < FEWEST {
        return false;
    }
    last.sort_by(f32::total_cmp);
    let at = |share: f32| last[((last.len() - 1) as f32 * share) as usize];
    let scatter = (at(0.75) - at(0.25)).max(0.1 * at(0.5).abs()).max(1e-6);
    loss > at(0.5) + FACTOR * scatter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: usize, loss: f32) -> Metric {
        Metric {
            step,
            branch: 0,
            secs: step as f64,
            loss,
            held_out: step.is_multiple_of(100).then_some(loss),
            gradient_norm: None,
            learning_rate: 1e-3,
            steps_per_sec: 10.0,
            memory_mib: None,
        }
    }

    #[test]
    fn a_long_series_keeps_its_end_and_every_held_out_loss() {
        let series: Series = (0..20_000).map(|step| line(step, 1.0)).collect();
        let lines = series.lines();
        assert!(lines.len() <= MOST + 200);
        assert_eq!(lines.last().map(|line| line.step), Some(19_999));
        assert!(lines.is_sorted_by_key(|line| line.step));
        assert_eq!(lines.iter().filter(|line| line.held_out.is_some()).count(), 200);
    }

    #[test]
    fn a_falling_noisy_loss_of_any_sign_is_no_spike_and_an_explosion_is() {
        let mut rng = crate::rng::Rng::stream(1, "losses");
        for offset in [0.0, -5.0, 100.0] {
            let mut lines = Vec::new();
            for step in 0..200 {
                let loss = offset + 2.0 * (-(step as f32) / 50.0).exp() + 0.2 * rng.normal();
                assert!(!is_spike(&lines, loss), "{offset} {step}");
                lines.push(line(step, loss));
            }
            assert!(is_spike(&lines, offset + 20.0 + 3.0 * offset.abs()), "{offset}");
        }
        assert!(!is_spike(&[], 1e9));
    }
}
