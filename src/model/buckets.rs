//! A few batch sizes for devices that compile and time their programs for
//! every shape they meet.
//!
//! A GPU measures which of its programs is fastest for a shape before it
//! computes with that shape the first time, seconds for a whole network; rows
//! that nobody asked for cost it next to nothing. So batches are filled up to
//! one of a few sizes there, and what the fillers become is thrown away. The
//! CPU gets what is asked for and no more.

use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// The smallest batch.
const LEAST: usize = 16;

/// How batches are filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buckets {
    /// Not at all.
    Exact,
    /// To 16, 24, 32, 48, 64, 96, 128, 192 and so on: two sizes an octave, so
    /// that at most a third of a batch is filler.
    Filled,
}

impl Buckets {
    /// What suits a device, whether or not it tracks gradients.
    pub fn of(device: &Device) -> Self {
        match device.clone().inner().as_dispatch() {
            DispatchDevice::Flex(_) => Self::Exact,
            _ => Self::Filled,
        }
    }

    /// Rows that go through the network for `rows` that are wanted.
    pub fn size(self, rows: usize) -> usize {
        if self == Self::Exact || rows == 0 {
            return rows;
        }
        let whole = rows.max(LEAST).next_power_of_two();
        let three_quarters = whole / 4 * 3;
        if rows <= three_quarters && three_quarters > LEAST { three_quarters } else { whole }
    }

    /// Append copies of the last row, of `width` numbers, to `rows`.
    pub fn fill(self, rows: &mut Vec<f32>, width: usize) {
        let n = rows.len() / width.max(1);
        let missing = self.size(n) - n;
        if let Some(start) = rows.len().checked_sub(width) {
            // Rows like those that are wanted: nothing overflows that did not
            // before.
            let last = rows[start..].to_vec();
            rows.reserve(missing * width);
            (0..missing).for_each(|_| rows.extend_from_slice(&last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_few_never_too_small_and_never_much_too_large() {
        let sizes: Vec<usize> = (1..=4096).map(|rows| Buckets::Filled.size(rows)).collect();
        let mut distinct = sizes.clone();
        distinct.dedup();
        assert_eq!(distinct[..8], [16, 24, 32, 48, 64, 96, 128, 192]);
        assert!(distinct.len() < 20);
        for (rows, size) in (1..=4096).zip(sizes) {
            assert!(size >= rows && (rows < 16 || 2 * size <= 3 * rows), "{rows}: {size}");
        }
        assert_eq!(Buckets::Filled.size(0), 0);
        assert_eq!(Buckets::Filled.size(16_384), 16_384);
        assert_eq!(Buckets::Exact.size(37), 37);
    }

    #[test]
    fn the_cpu_computes_what_is_asked_for_and_no_more() {
        assert_eq!(Buckets::of(&Device::flex()), Buckets::Exact);
        assert_eq!(Buckets::of(&Device::flex().autodiff()), Buckets::Exact);
        let mut rows = vec![1.0, 2.0, 3.0, 4.0];
        Buckets::Exact.fill(&mut rows, 2);
        assert_eq!(rows.len(), 4);
        Buckets::Filled.fill(&mut rows, 2);
        assert_eq!((rows.len(), &rows[30..]), (32, &[3.0, 4.0][..]));
        let mut none = Vec::new();
        Buckets::Filled.fill(&mut none, 2);
        assert!(none.is_empty());
    }
}
