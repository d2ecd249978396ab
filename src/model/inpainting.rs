//! Conditioning by inpainting: known coordinates of a plan are overwritten at
//! every denoising step (Janner et al. 2022, Section 4.2). A start, a goal and
//! a point on the way are entries of one mask.

/// Known entries of a plan `[waypoints, dims]`, in normalized units.
#[derive(Clone, Debug, PartialEq)]
pub struct Inpainting {
    waypoints: usize,
    dims: usize,
    known: Vec<(usize, f32)>,
}

impl Inpainting {
    /// Nothing known yet about a plan of this shape.
    pub fn new(waypoints: usize, dims: usize) -> Self {
        Self { waypoints, dims, known: Vec::new() }
    }

    /// Fix coordinates `first_dim..first_dim + values.len()` of `waypoint`.
    /// What lies outside the plan is ignored; a later value wins.
    pub fn fix(&mut self, waypoint: usize, first_dim: usize, values: &[f32]) {
        if waypoint >= self.waypoints {
            return;
        }
        for (offset, value) in values.iter().enumerate() {
            let dim = first_dim + offset;
            if dim < self.dims {
                let at = waypoint * self.dims + dim;
                self.known.retain(|(known, _)| *known != at);
                self.known.push((at, *value));
            }
        }
    }

    /// Overwrite the known entries of every plan in `[batch, waypoints, dims]`.
    pub fn apply(&self, plans: &mut [f32]) {
        for plan in plans.chunks_exact_mut(self.waypoints * self.dims) {
            for (at, value) in &self.known {
                plan[*at] = *value;
            }
        }
    }

    /// Indices into a plan that are known.
    pub fn entries(&self) -> impl Iterator<Item = usize> + '_ {
        self.known.iter().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn known_entries_take_their_values_and_all_others_stay(
            points in prop::collection::vec((0_usize..6, 0_usize..4, -1.0_f32..1.0), 0..8),
        ) {
            let (waypoints, dims) = (5, 3);
            let mut inpainting = Inpainting::new(waypoints, dims);
            let mut expected = vec![9.0; 2 * waypoints * dims];
            for (waypoint, dim, value) in points {
                inpainting.fix(waypoint, dim, &[value]);
                if waypoint < waypoints.min(5) && dim < dims {
                    for batch in 0..2 {
                        expected[(batch * waypoints + waypoint) * dims + dim] = value;
                    }
                }
            }
            let mut plans = vec![9.0; 2 * waypoints * dims];
            inpainting.apply(&mut plans);
            prop_assert_eq!(plans, expected);
        }
    }
}
