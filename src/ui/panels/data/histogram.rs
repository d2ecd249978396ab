//! How a number is distributed over the episodes.

use eframe::egui::{Align2, FontId, Rect, Role, Sense, Ui, WidgetInfo, lerp, pos2, vec2};

use crate::ui::data::Measure;
use crate::ui::theme::{Colors, SMALL};

const HEIGHT: f32 = 56.0;
/// Room below for the numbers at both ends.
const FOOT: f32 = 16.0;
const BINS: usize = 24;

/// Counts in equal bins from the least to the greatest value, and which bin a
/// value is in.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// The least and the greatest value.
    pub range: [f32; 2],
    /// How many values each bin holds.
    pub bins: Vec<usize>,
}

impl Counts {
    /// Count values; `None` if there is none.
    pub fn of(values: &[f32]) -> Option<Self> {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let low = finite().reduce(f32::min)?;
        let high = finite().reduce(f32::max)?;
        let mut counts = Self { range: [low, high], bins: vec![0; BINS] };
        for value in finite() {
            let bin = counts.bin(value);
            counts.bins[bin] += 1;
        }
        Some(counts)
    }

    /// The bin of a value, the nearest if it is outside.
    pub fn bin(&self, value: f32) -> usize {
        let [low, high] = self.range;
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        ((share * BINS as f32) as usize).min(BINS - 1)
    }
}

/// Mean and its standard error.
fn mean_and_error(values: &[f32]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().copied().map(f64::from).sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0) / n).sqrt())
}

/// Show the histogram, with the bin of the picked value marked.
pub fn show(ui: &mut Ui, measure: Measure, values: &[f32], picked: Option<f32>) {
    let Some(counts) = Counts::of(values) else { return };
    let colors = Colors::of(ui.ctx());
    let size = vec2(ui.available_width().floor(), HEIGHT + FOOT);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let name = if measure == Measure::Returns { "return" } else { "length" };
    let unit = if measure == Measure::Returns { "" } else { " steps" };
    let (mean, error) = mean_and_error(values);
    let text = format!("mean {mean:.2} ± {error:.2}{unit} (n {})", values.len());
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Image, true, format!("Histogram of {name}s, {text}"))
    });
    let painter = ui.painter_at(rect);
    let floor = rect.top() + HEIGHT;
    let most = counts.bins.iter().copied().max().unwrap_or(1).max(1) as f32;
    let marked = picked.map(|value| counts.bin(value));
    for (bin, count) in counts.bins.iter().enumerate() {
        let x = |edge: usize| lerp(rect.x_range(), edge as f32 / BINS as f32);
        // A bin with one episode can still be seen.
        let height = if *count == 0 { 0.0 } else { (HEIGHT * *count as f32 / most).max(2.0) };
        let bar = Rect::from_min_max(pos2(x(bin), floor - height), pos2(x(bin + 1) - 1.0, floor));
        let ink = if marked == Some(bin) { colors.accent() } else { colors.muted_ink() };
        let strength = if marked == Some(bin) { 1.0 } else { 0.55 };
        painter.rect_filled(bar, 1.0, ink.gamma_multiply(strength));
    }
    painter.hline(rect.x_range(), floor, (1.0, colors.line()));
    let font = FontId::monospace(10.0);
    let ink = colors.muted_ink();
    let number = |value: f32| match measure {
        Measure::Returns => format!("{value:.1}"),
        Measure::Lengths => format!("{value:.0}"),
    };
    let [low, high] = counts.range.map(number);
    painter.text(rect.left_bottom(), Align2::LEFT_BOTTOM, low, font.clone(), ink);
    painter.text(rect.right_bottom(), Align2::RIGHT_BOTTOM, high, font, ink);
    let middle = pos2(rect.center().x, rect.bottom());
    painter.text(middle, Align2::CENTER_BOTTOM, &text, FontId::proportional(SMALL), ink);
    response.on_hover_text(format!("How the {name}s of the shown episodes are distributed."));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_bin_and_the_ends_are_in_the_outer_ones() {
        let values: Vec<f32> = (0..=240).map(|i| i as f32).chain([f32::NAN]).collect();
        let counts = Counts::of(&values).unwrap();
        assert_eq!((counts.range, counts.bins.iter().sum::<usize>()), ([0.0, 240.0], 241));
        assert_eq!([counts.bin(0.0), counts.bin(240.0), counts.bin(1e9)], [0, BINS - 1, BINS - 1]);
        assert!(counts.bins.iter().all(|count| (10..=11).contains(count)));
        assert!(Counts::of(&[]).is_none());
        assert_eq!(Counts::of(&[3.0, 3.0]).unwrap().bins.iter().sum::<usize>(), 2);
        let (mean, error) = mean_and_error(&[1.0, 2.0, 3.0, 4.0]);
        assert!((mean - 2.5).abs() < 1e-9 && (error - 0.6455).abs() < 1e-3);
    }
}
