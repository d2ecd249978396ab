//! Counting and finding the starts of windows among stretches of data.

use std::ops::Range;

/// Stretches of continuous data, longest first, for finding the `r`-th start in
/// logarithmic time however many stretches there are.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    sorted: Vec<Range<usize>>,
    /// `totals[k]` transitions are in the first `k` stretches.
    totals: Vec<usize>,
}

impl Segments {
    pub(super) fn new(mut sorted: Vec<Range<usize>>) -> Self {
        sorted.sort_by_key(|segment| std::cmp::Reverse(segment.len()));
        let mut totals = vec![0];
        let mut total = 0;
        for segment in &sorted {
            total += segment.len();
            totals.push(total);
        }
        Self { sorted, totals }
    }

    pub(super) fn longest(&self) -> usize {
        self.sorted.first().map_or(0, Range::len)
    }

    /// Number of stretches in which `steps` steps fit.
    fn fitting(&self, steps: usize) -> usize {
        self.sorted.partition_point(|segment| segment.len() > steps)
    }

    /// Number of starts from which `duration` fits.
    pub(super) fn starts_for(&self, duration: f32) -> usize {
        let steps = whole_steps(duration);
        let fitting = self.fitting(steps);
        self.totals[fitting] - fitting * steps
    }

    /// The `r`-th of those starts.
    pub(super) fn start(&self, r: usize, duration: f32) -> usize {
        let steps = whole_steps(duration);
        // The stretches before the k-th offer `totals[k] - k * steps` starts,
        // which grows with k among those that fit.
        let (mut low, mut high) = (0, self.fitting(steps));
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.totals[middle] - middle * steps <= r { low = middle } else { high = middle }
        }
        self.sorted[low].start + r - (self.totals[low] - low * steps)
    }
}

/// The transitions a window reaches past its start.
fn whole_steps(duration: f32) -> usize {
    duration.ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_is_found_once_and_leaves_room() {
        let ranges = vec![0..3, 3..10, 10..11, 11..31, 31..38];
        let segments = Segments::new(ranges.clone());
        assert_eq!(segments.longest(), 20);
        for duration in [0.5, 1.0, 2.0, 5.5, 6.0, 7.0, 19.0, 20.0] {
            let steps = whole_steps(duration);
            let mut expected: Vec<usize> = ranges
                .iter()
                .flat_map(|range| range.start..range.end.saturating_sub(steps).max(range.start))
                .collect();
            let mut found: Vec<usize> =
                (0..segments.starts_for(duration)).map(|r| segments.start(r, duration)).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{duration}");
        }
    }
}
