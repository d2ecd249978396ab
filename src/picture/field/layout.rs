//! Where maps, color bar and words go.

use super::Field;

// Distances in units; a picture's long side says how many pixels one is.
const MARGIN: f32 = 28.0;
const AXIS_LEFT: f32 = 48.0;
/// Title, two lines of caption, and the row of names above the maps.
const HEAD: f32 = 98.0;
const AXIS_BOTTOM: f32 = 46.0;
const LEGEND: f32 = 34.0;
/// Long side of a map.
const MAP_SIDE: f32 = 440.0;
const GAP: f32 = 30.0;
const BAR_WIDTH: f32 = 16.0;
const BAR_LABELS: f32 = 66.0;

/// Where everything goes.
pub(super) struct Layout {
    /// Pixels across and down.
    pub size: [u32; 2],
    /// Pixels per unit.
    pub unit: f32,
    /// Left, top, right and bottom within the margins.
    pub inner: [f32; 4],
    /// Width and height of a map in pixels.
    map: [f32; 2],
}

impl Layout {
    pub(super) fn new(field: &Field, long_side: u32) -> Self {
        let [across, down] = field.across_and_down().map(|axis| &field.axes[axis]);
        let [width, height] = match across.unit == down.unit {
            true => [across.high - across.low, down.high - down.low],
            // Different units have no common scale.
            false => [1.0, 0.92],
        };
        let map = [width, height].map(|side| MAP_SIDE * side / width.max(height));
        let n = field.maps.len().max(1) as f32;
        let beside = 2.0 * MARGIN + AXIS_LEFT + GAP + BAR_WIDTH + BAR_LABELS;
        let whole = [
            beside + n * map[0] + (n - 1.0) * GAP,
            2.0 * MARGIN + HEAD + map[1] + AXIS_BOTTOM + LEGEND,
        ];
        let unit = long_side as f32 / whole[0].max(whole[1]);
        let size = whole.map(|side| 2 * (side * unit / 2.0).round() as u32);
        let end = |axis: usize| size[axis] as f32 - MARGIN * unit;
        let inner = [MARGIN * unit, MARGIN * unit, end(0), end(1)];
        Self { size, unit, inner, map: map.map(|side| (side * unit).round()) }
    }

    /// Left, top, right and bottom of a map.
    pub(super) fn plot(&self, index: usize) -> [f32; 4] {
        let left = self.inner[0] + AXIS_LEFT * self.unit;
        let left = (left + index as f32 * (self.map[0] + GAP * self.unit)).round();
        let top = (self.inner[1] + HEAD * self.unit).round();
        [left, top, left + self.map[0], top + self.map[1]]
    }

    /// Left, top, right and bottom of the color bar.
    pub(super) fn bar(&self) -> [f32; 4] {
        let [_, top, _, bottom] = self.plot(0);
        let right = self.inner[2] - BAR_LABELS * self.unit;
        [right - BAR_WIDTH * self.unit, top, right, bottom]
    }
}
