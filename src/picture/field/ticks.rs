//! Labels of axes and of the color bar.

use super::Axis;

/// The round number that is at least `least`: 1, 2 or 5 times a power of ten.
fn round_step(least: f32) -> f32 {
    let decade = 10.0_f32.powf(least.max(f32::MIN_POSITIVE).log10().floor());
    let steps = [1.0, 2.0, 5.0].into_iter().map(|factor| factor * decade);
    steps.into_iter().find(|step| *step >= 0.999 * least).unwrap_or(10.0 * decade)
}

/// A multiple of `step` with as many digits as that needs.
fn multiple(k: i32, step: f32) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    match (k, decimals) {
        (0, _) => "0".to_owned(),
        (_, 0..=4) => format!("{:.decimals$}", k as f32 * step),
        _ => format!("{:.0e}", k as f32 * step),
    }
}

/// Places on an axis worth a label, at least `least` apart.
pub(in crate::picture) fn ticks(axis: &Axis, least: f32) -> Vec<(f32, String)> {
    use std::f32::consts::PI;
    if axis.is_angle && least < PI / 2.0 {
        let quarters = [(-2.0, "-π"), (-1.0, "-π/2"), (0.0, "0"), (1.0, "π/2"), (2.0, "π")];
        let within = |turn: f32| (axis.low - 1e-3..=axis.high + 1e-3).contains(&turn);
        let turns = quarters.map(|(quarter, text)| (quarter * PI / 2.0, text.to_owned()));
        return turns.into_iter().filter(|(turn, _)| within(*turn)).collect();
    }
    let step = round_step(least);
    let first = (axis.low / step - 1e-3).ceil() as i32;
    let last = ((axis.high / step + 1e-3).floor() as i32).min(first.saturating_add(100));
    (first..=last).map(|k| (k as f32 * step, multiple(k, step))).collect()
}

/// Labels of a color bar up to `most` by the square root, at least the share
/// `least` of the bar apart.
pub(super) fn bar_labels(most: f32, least: f32) -> Vec<(f32, String)> {
    let step = round_step(most / 50.0);
    let mut kept: Vec<(f32, String)> = Vec::new();
    for k in 0..=(most / step + 1e-3) as i32 {
        let value = k as f32 * step;
        let root = |value: f32| (value / most).sqrt();
        // Round ones first: every fifth or tenth where the bar is wide enough.
        let is_round = k % 5 == 0 || k < 3;
        let is_apart = kept.last().is_none_or(|(last, _)| root(value) - root(*last) >= least);
        if is_round && is_apart && value <= most {
            kept.push((value, multiple(k, step)));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_angles_count_in_quarter_turns() {
        let axis = |low, high, is_angle| Axis { low, high, is_angle, ..Axis::default() };
        let texts = |axis: &Axis, least| -> Vec<String> {
            ticks(axis, least).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(&axis(-8.0, 8.0, false), 3.0), ["-5", "0", "5"]);
        let rooms = texts(&axis(-0.6, 0.6, false), 0.15);
        assert_eq!(rooms, ["-0.6", "-0.4", "-0.2", "0", "0.2", "0.4", "0.6"]);
        let pi = std::f32::consts::PI;
        assert_eq!(texts(&axis(-pi, pi, true), 0.5), ["-π", "-π/2", "0", "π/2", "π"]);
    }

    #[test]
    fn labels_of_the_bar_rise_and_keep_apart() {
        for most in [0.003, 0.4, 1.0, 7.3, 2400.0] {
            let labels = bar_labels(most, 0.06);
            assert!(labels.len() >= 3 && labels[0].0 == 0.0, "{most}: {labels:?}");
            for pair in labels.windows(2) {
                let roots = [pair[0].0, pair[1].0].map(|value| (value / most).sqrt());
                assert!(roots[1] - roots[0] >= 0.06 && pair[1].0 <= most, "{most}: {labels:?}");
                assert_ne!(pair[0].1, pair[1].1);
            }
        }
    }
}
