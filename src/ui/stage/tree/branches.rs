//! A search as branches on the map: one for every state it considered.

use std::sync::Arc;

use crate::env::EnvironmentSpec;
use crate::lab::beam::Bins;
use crate::plan::beam::drive::SearchRecord;
use crate::plan::beam::{BeamTree, NONE};

/// From the state before to one that was considered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch {
    /// The node that completes the state.
    pub node: usize,
    /// Index of the branch it grows from; `None` at the present state.
    pub parent: Option<usize>,
    /// The state before, on the map.
    pub from: [f32; 2],
    /// The state, on the map.
    pub to: [f32; 2],
    /// Tokens between the context and the state's last.
    pub depth: usize,
    /// Transitions ahead.
    pub transition: usize,
    /// The depth down to which continuations through it were kept; `None` if
    /// it was rejected itself.
    pub lives_to: Option<usize>,
    /// Its probability, relative to the likeliest kept one of its depth.
    pub share: f32,
    /// ln of its probability.
    pub total: f32,
    /// Return through it, if the model knows rewards.
    pub value: Option<f32>,
    /// Whether the plan goes through it.
    pub is_chosen: bool,
}

/// Every branch of a search, parents before children.
#[derive(Clone, Debug)]
pub struct Branches {
    /// The search.
    pub record: Arc<SearchRecord>,
    /// The branches.
    pub all: Vec<Branch>,
}

impl Branches {
    /// Where the states of a search are.
    pub fn new(record: &Arc<SearchRecord>, bins: &Bins, spec: &EnvironmentSpec) -> Self {
        let tree = &record.tree;
        let center = |dim: usize, token: u16| bins.center(dim, token);
        let root = match record.present.as_slice() {
            [x, y, ..] => [*x, *y],
            _ => [0.0; 2],
        };
        let (lives, chosen) = (lives_to(tree), tree.chosen());
        let likeliest = likeliest(tree);
        let (rates, secs) =
            (spec.hidden_rates(&bins.observation), bins.stride as f32 * spec.dt_secs);
        let mut index_of = vec![None; tree.nodes.len()];
        let mut all: Vec<Branch> = Vec::new();
        for (node, known) in tree.nodes.iter().enumerate() {
            let Some(seen) = tree.state(node, &center) else { continue };
            let parent = tree.parent_state(node).and_then(|parent| index_of[parent]);
            let depth = known.depth as usize;
            index_of[node] = Some(all.len());
            let from = parent.map_or(root, |parent: usize| all[parent].to);
            let mut to = place_of(&seen, bins, spec);
            for rate in &rates {
                spec.fill_rate(*rate, &from, &mut to, secs);
            }
            all.push(Branch {
                node,
                parent,
                from,
                to,
                depth,
                transition: tree.transition(depth),
                lives_to: lives[node],
                share: (known.total - likeliest[depth]).min(0.0).exp(),
                total: known.total,
                value: Some(known.value).filter(|value| value.is_finite()),
                is_chosen: chosen[node],
            });
        }
        Self { record: record.clone(), all }
    }

    /// The branch a node belongs to: its own state's, or that of the first
    /// state behind it on the plan or else before it.
    pub fn of(&self, node: usize) -> Option<usize> {
        let tree = &self.record.tree;
        let find = |node: usize| self.all.iter().position(|branch| branch.node == node);
        let path = tree.best.map(|best| tree.path(best)).unwrap_or_default();
        let behind = path.iter().position(|on| *on == node);
        let behind = behind.and_then(|at| path[at..].iter().find_map(|node| find(*node)));
        find(node).or(behind).or_else(|| tree.parent_state(node).and_then(find))
    }

    /// A branch and those it grows from, outermost first.
    pub fn way(&self, branch: usize) -> impl Iterator<Item = &Branch> {
        let first = self.all.get(branch);
        std::iter::successors(first, |branch| self.all.get(branch.parent?))
    }
}

/// Per node, the greatest depth to which kept continuations go through it. One
/// that ends itself lives on.
fn lives_to(tree: &BeamTree) -> Vec<Option<usize>> {
    let mut lives: Vec<Option<usize>> = vec![None; tree.nodes.len()];
    for (index, node) in tree.nodes.iter().enumerate().rev() {
        if !node.kept {
            continue;
        }
        let ends = node.token == tree.layout.stop();
        let own = if ends { usize::MAX } else { node.depth as usize };
        let reach = lives[index].map_or(own, |below| below.max(own));
        lives[index] = Some(reach);
        if node.parent != NONE {
            let above = &mut lives[node.parent as usize];
            *above = Some(above.map_or(reach, |known| known.max(reach)));
        }
    }
    // A rejected node has none, whatever was followed behind it for show.
    for (index, node) in tree.nodes.iter().enumerate() {
        if !node.kept {
            lives[index] = None;
        }
    }
    lives
}

/// ln of the greatest probability of a kept node of each depth.
fn likeliest(tree: &BeamTree) -> Vec<f32> {
    let of = |level: &std::ops::Range<usize>| {
        let nodes = &tree.nodes[level.clone()];
        let kept = nodes.iter().filter(|node| node.kept).map(|node| node.total);
        kept.fold(f32::NEG_INFINITY, f32::max)
    };
    tree.levels.iter().map(of).collect()
}

/// Where on the map a state is that the model sees, bin centers in its order.
pub fn place_of(seen: &[f32], bins: &Bins, spec: &EnvironmentSpec) -> [f32; 2] {
    let mut observation = vec![0.0; spec.observation.len().max(2)];
    for (dim, value) in bins.observation.iter().zip(seen) {
        if let Some(known) = observation.get_mut(*dim) {
            *known = *value;
        }
    }
    match observation.as_slice() {
        [cos, sin, velocity] if spec.id == "pendulum" => [sin.atan2(*cos), *velocity],
        [x, y, ..] => [*x, *y],
        _ => [0.0; 2],
    }
}

/// The straight pieces of a way on the map: more than one where it goes around
/// a periodic coordinate, each going on a little beyond the edge.
pub fn pieces(from: [f32; 2], to: [f32; 2], spec: &EnvironmentSpec) -> Vec<[[f32; 2]; 2]> {
    for (axis, known) in spec.state.iter().enumerate().take(2).filter(|(_, known)| known.periodic) {
        let around = known.high - known.low;
        let by = to[axis] - from[axis];
        if by.abs() > around / 2.0 {
            let (mut beyond, mut before) = (to, from);
            beyond[axis] -= around * by.signum();
            before[axis] += around * by.signum();
            return vec![[from, beyond], [before, to]];
        }
    }
    vec![[from, to]]
}

/// The polylines that draw a way on the map.
pub fn lines(points: &[[f32; 2]], spec: &EnvironmentSpec) -> Vec<Vec<[f32; 2]>> {
    let mut lines: Vec<Vec<[f32; 2]>> = points.first().map(|&at| vec![at]).into_iter().collect();
    for pair in points.windows(2) {
        let pieces = pieces(pair[0], pair[1], spec);
        if let (Some(first), Some(line)) = (pieces.first(), lines.last_mut()) {
            line.push(first[1]);
        }
        lines.extend(pieces.iter().skip(1).map(|piece| piece.to_vec()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TokenLayout;
    use crate::plan::beam::Node;
    use crate::ui::stage::field::pane::tests::place;
    use std::f32::consts::PI;

    fn node(parent: u32, token: u16, depth: u32, kept: bool) -> Node {
        let total = -(depth as f32);
        Node { parent, token, depth, log_prob: -1.0, total, value: f32::NAN, kept }
    }

    /// Two actions; the second one's state is kept and goes on, the first
    /// one's is not.
    fn record() -> Arc<SearchRecord> {
        let layout = TokenLayout { states: 2, actions: 1, rewards: false, goals: 0, bins: 10 };
        let tree = BeamTree {
            layout,
            context: Arc::new([0, 0]),
            nodes: vec![
                node(NONE, 1, 0, true),
                node(NONE, 2, 0, true),
                node(0, 3, 1, true),
                node(1, 4, 1, true),
                node(2, 5, 2, false),
                node(3, 6, 2, true),
                node(5, 7, 3, true),
            ],
            levels: vec![0..2, 2..4, 4..6, 6..7],
            best: Some(6),
            done: true,
        };
        Arc::new(SearchRecord {
            at_step: 0,
            present: vec![0.1, 0.2],
            tree: Arc::new(tree),
            plan: Arc::default(),
            goal: Arc::new([]),
            wall_ms: 1.0,
        })
    }

    fn bins() -> Bins {
        Bins {
            layout: record().tree.layout,
            centers: vec![(0..10).map(|bin| bin as f32 / 10.0).collect(); 3],
            names: vec!["x".into(), "y".into(), "a".into()],
            goal_dims: Vec::new(),
            stride: 1,
            observation: vec![0, 1],
        }
    }

    #[test]
    fn every_state_is_a_branch_from_the_state_before() {
        let branches = Branches::new(&record(), &bins(), &place("four-rooms").spec);
        let ends: Vec<_> = branches.all.iter().map(|branch| (branch.node, branch.to)).collect();
        assert_eq!(ends, [(4, [0.3, 0.5]), (5, [0.4, 0.6])]);
        assert!(branches.all.iter().all(|branch| branch.from == [0.1, 0.2]));
        assert_eq!([branches.all[0].lives_to, branches.all[1].lives_to], [None, Some(3)]);
        assert_eq!([branches.all[0].is_chosen, branches.all[1].is_chosen], [false, true]);
        assert_eq!(branches.of(3), Some(1), "a token on the plan belongs to the state behind");
        assert_eq!(branches.of(6), Some(1), "or before, where the plan ends");
        assert_eq!(branches.way(1).count(), 1);
    }

    #[test]
    fn ways_go_around_angles_in_two_pieces() {
        let spec = place("pendulum").spec;
        let two = pieces([3.0, 1.0], [-3.0, 2.0], &spec);
        assert_eq!(two.len(), 2);
        assert!((two[0][1][0] - (2.0 * PI - 3.0)).abs() < 1e-5 && two[1][1] == [-3.0, 2.0]);
        assert_eq!(pieces([1.0, 1.0], [2.0, 2.0], &spec).len(), 1);
        let lines = lines(&[[2.0, 0.0], [3.0, 1.0], [-3.0, 2.0], [-2.0, 2.0]], &spec);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
        let mut bins = bins();
        bins.observation = vec![0, 1, 2];
        let at = place_of(&[0.0, 1.0, 5.0], &bins, &spec);
        assert!((at[0] - PI / 2.0).abs() < 1e-6 && at[1] == 5.0);
    }
}
