//! The linear assignment problem: the cheapest perfect matching of rows with
//! columns, by shortest augmenting paths (Jonker & Volgenant, "A shortest
//! augmenting path algorithm for dense and sparse linear assignment problems",
//! Computing 38, 1987): column duals `v`, a cheap pass that lets rows bid for
//! columns, and a Dijkstra search for each row left over.
//!
//! Our own start for the duals: the matching of every second row and column,
//! solved first, prices all of them. Without it two clouds of points that lie
//! apart cost almost a full search per row, ten times the work.

/// Clouds of at most this many points are matched without a coarser one.
const COARSEST: usize = 64;
/// Bids per point before the searches begin; more gain nothing.
const BIDS: usize = 2;
/// Not matched.
const NONE: usize = usize::MAX;

/// A partial matching with the duals that make it optimal: every matched entry
/// has the least `cost - v` of its row.
pub(super) struct Assignment<'a> {
    /// `[n, n]`, rows of the first cloud.
    costs: &'a [f32],
    n: usize,
    /// Column duals. Doubles, or long paths would round to a wrong end.
    v: Vec<f64>,
    /// Row to column.
    pub(super) column_of: Vec<usize>,
    /// Column to row.
    row_of: Vec<usize>,
}

/// The cheapest perfect matching, `None` where a cost is not finite.
pub(super) fn solve(costs: &[f32], n: usize) -> Option<Assignment<'_>> {
    let v = if n <= COARSEST { vec![0.0; n] } else { coarse_duals(costs, n)? };
    let mut problem = Assignment { costs, n, v, column_of: vec![NONE; n], row_of: vec![NONE; n] };
    problem.bid(BIDS * n);
    problem.augment()?;
    Some(problem)
}

/// Column duals from the matching of every second row and column: the highest
/// that give no coarse row a better offer than its own.
fn coarse_duals(costs: &[f32], n: usize) -> Option<Vec<f64>> {
    let half = n.div_ceil(2);
    let rows = || costs.chunks_exact(n).step_by(2);
    let coarse: Vec<f32> = rows().flat_map(|row| row.iter().step_by(2)).copied().collect();
    let solved = solve(&coarse, half)?;
    let mut v = vec![f64::INFINITY; n];
    for (row, &column) in rows().zip(&solved.column_of) {
        let u = f64::from(row[2 * column]) - solved.v[column];
        for (v, &cost) in v.iter_mut().zip(row) {
            *v = v.min(f64::from(cost) - u);
        }
    }
    Some(v)
}

impl<'a> Assignment<'a> {
    fn row(&self, i: usize) -> &'a [f32] {
        &self.costs[i * self.n..][..self.n]
    }

    /// Augmenting row reduction: a free row takes its best column and lowers
    /// its dual until the second best is as good; whoever held it bids next.
    /// Rows that a tie leaves without a column, and those left when the budget
    /// is spent, stay free.
    fn bid(&mut self, budget: usize) {
        let mut free: Vec<usize> = (0..self.n).rev().collect();
        for _ in 0..budget {
            let Some(i) = free.pop() else { break };
            let (mut best, mut second) = ((f64::INFINITY, NONE), (f64::INFINITY, NONE));
            for (j, (&cost, &v)) in self.row(i).iter().zip(&self.v).enumerate() {
                let offer = f64::from(cost) - v;
                if offer < best.0 {
                    (best, second) = ((offer, j), best);
                } else if offer < second.0 {
                    second = (offer, j);
                }
            }
            let mut j = best.1;
            if second.1 == NONE {
                // One column in all: nothing to outbid.
            } else if second.0 > best.0 {
                self.v[j] -= second.0 - best.0;
            } else if self.row_of[j] != NONE {
                j = second.1;
                if self.row_of[j] != NONE {
                    continue;
                }
            }
            let outbid = std::mem::replace(&mut self.row_of[j], i);
            if outbid != NONE {
                self.column_of[outbid] = NONE;
                free.push(outbid);
            }
            self.column_of[i] = j;
        }
    }

    /// Match every free row along the shortest path, in reduced costs, to a
    /// free column. `None` when costs that are not finite cut the path.
    fn augment(&mut self) -> Option<()> {
        let n = self.n;
        let (mut distance, mut from) = (vec![0.0; n], vec![NONE; n]);
        let mut settled = Vec::with_capacity(n);
        // The duals again, with -inf at settled columns: those then never
        // offer a shorter path, and the inner loop needs no branch for them.
        let mut open_v = self.v.clone();
        let free: Vec<usize> = (0..n).filter(|&i| self.column_of[i] == NONE).collect();
        for start in free {
            distance.fill(f64::INFINITY);
            settled.clear();
            let (mut i, mut offset) = (start, 0.0);
            let (end, length) = loop {
                let least = relax(self.row(i), &open_v, offset, i, &mut distance, &mut from);
                let j = distance.iter().position(|&d| d == least && d < f64::INFINITY)?;
                if self.row_of[j] == NONE {
                    break (j, least);
                }
                settled.push((j, least));
                i = self.row_of[j];
                offset = f64::from(self.row(i)[j]) - open_v[j] - least;
                open_v[j] = f64::NEG_INFINITY;
                distance[j] = f64::INFINITY;
            };
            for &(j, d) in &settled {
                self.v[j] += d - length;
                open_v[j] = self.v[j];
            }
            let mut j = end;
            loop {
                let i = from[j];
                self.row_of[j] = i;
                j = std::mem::replace(&mut self.column_of[i], j);
                if i == start {
                    break;
                }
            }
        }
        Some(())
    }
}

/// One Dijkstra step: offer every column a path through row `i`; the least
/// distance of all open columns.
fn relax(
    row: &[f32],
    v: &[f64],
    offset: f64,
    i: usize,
    distance: &mut [f64],
    from: &mut [usize],
) -> f64 {
    // Eight running minima, because a single one would chain the loop to the
    // latency of a comparison.
    const LANES: usize = 8;
    let mut least = [f64::INFINITY; LANES];
    let mut visit = |lane: usize, cost: f32, v: f64, d: &mut f64, from: &mut usize| {
        let offer = f64::from(cost) - v - offset;
        let shorter = offer < *d;
        *d = if shorter { offer } else { *d };
        *from = if shorter { i } else { *from };
        least[lane] = if *d < least[lane] { *d } else { least[lane] };
    };
    let whole = row.len() / LANES * LANES;
    let (row, row_rest) = row.split_at(whole);
    let (v, v_rest) = v.split_at(whole);
    let (distance, distance_rest) = distance.split_at_mut(whole);
    let (from, from_rest) = from.split_at_mut(whole);
    let chunks = row.chunks_exact(LANES).zip(v.chunks_exact(LANES));
    let paths = distance.chunks_exact_mut(LANES).zip(from.chunks_exact_mut(LANES));
    for ((row, v), (distance, from)) in chunks.zip(paths) {
        for lane in 0..LANES {
            visit(lane, row[lane], v[lane], &mut distance[lane], &mut from[lane]);
        }
    }
    let rest = row_rest.iter().zip(v_rest).zip(distance_rest.iter_mut().zip(from_rest));
    for ((&cost, &v), (d, from)) in rest {
        visit(0, cost, v, d, from);
    }
    least.into_iter().fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_duals_prove_the_matching_of_a_large_cloud() {
        // Weak duality: Σ u + Σ v bounds every matching from below, so a total
        // that reaches it is the least.
        let mut rng = Rng::stream(5, "transport");
        for n in [65, 301] {
            let costs: Vec<f32> = (0..n * n).map(|_| rng.uniform(0.0, 10.0) as f32).collect();
            let solved = solve(&costs, n).unwrap();
            let mut columns = solved.column_of.clone();
            let total: f64 =
                columns.iter().enumerate().map(|(i, j)| f64::from(costs[i * n + j])).sum();
            let offers = |i| (0..n).map(move |j| (i, j));
            let reduced = |(i, j): (usize, usize)| f64::from(costs[i * n + j]) - solved.v[j];
            let u = |i| offers(i).map(reduced).fold(f64::INFINITY, f64::min);
            let bound = (0..n).map(u).sum::<f64>() + solved.v.iter().sum::<f64>();
            assert!((total - bound).abs() < 1e-9, "{total} against the bound {bound}");
            columns.sort_unstable();
            assert_eq!(columns, (0..n).collect::<Vec<_>>());
        }
    }
}
