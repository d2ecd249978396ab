//! A search as branches on the map: one for every state it considered.

use std::sync::Arc;

use super::beam::Bins;
use crate::env::EnvironmentSpec;
use crate::plan::beam::drive::SearchRecord;
use crate::plan::beam::{BeamTree, NONE};

/// Opacity of a branch that was given up, and of live ones from the least to
/// the most probable.
const PRUNED: f32 = 0.22;
const LIVE: [f32; 2] = [0.38, 0.95];
/// Width of branches in points, likewise.
const PRUNED_WIDTH: f32 = 1.0;
const LIVE_WIDTH: [f32; 2] = [1.3, 2.8];
/// Probabilities of long plans differ by orders of magnitude; this brings them
/// closer.
const CONTRAST: f32 = 0.35;
/// How gray a branch is that was given up.
const GRAY: f32 = 0.75;
/// The chosen plan appears over this last part of a search.
const REVEAL: f32 = 0.1;

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

/// How a branch is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Opacity.
    pub alpha: f32,
    /// Width in points.
    pub width: f32,
    /// How much of its color is that of noise.
    pub gray: f32,
}

impl Branch {
    /// How it is drawn with so much [`life`] left.
    pub fn look(&self, life: f32) -> Look {
        let mix = |[low, high]: [f32; 2], share: f32| low + (high - low) * share;
        let share = self.share.powf(CONTRAST);
        Look {
            alpha: mix([PRUNED, mix(LIVE, share)], life),
            width: mix([PRUNED_WIDTH, mix(LIVE_WIDTH, share)], life),
            gray: GRAY * (1.0 - life),
        }
    }
}

/// How many tokens of a search are shown at a position along its clock, and how
/// much of the plan it chose.
pub fn reach(chain: f32, tokens: usize) -> (usize, f32) {
    let last = tokens as f32;
    let reveal = (chain - (1.0 - REVEAL) * last) / (REVEAL * last).max(1e-3);
    let visible = (chain.max(0.0).floor() as usize).min(tokens);
    (visible, if tokens == 0 { 0.0 } else { reveal.clamp(0.0, 1.0) })
}

/// How alive a branch is once `visible` tokens are known: 1 while continuations
/// through it are kept, then fading over a transition. `None` before it is.
pub fn life(branch: &Branch, visible: usize, per_transition: usize) -> Option<f32> {
    let newest = visible.checked_sub(1)?;
    if branch.depth > newest {
        return None;
    }
    let since = newest.saturating_sub(branch.lives_to.unwrap_or(branch.depth));
    Some((1.0 - since as f32 / per_transition.max(1) as f32).max(0.0))
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
pub(super) mod tests {
    use super::*;
    use crate::data::TokenLayout;
    use crate::env::{EnvironmentConfig, U_MAZE};
    use crate::plan::beam::Node;
    use std::f32::consts::PI;

    fn spec(id: &str) -> EnvironmentSpec {
        let config = EnvironmentConfig {
            id: id.into(),
            maze: U_MAZE.into(),
            door_width: None,
            max_steps: 100,
            reference_scores: None,
        };
        crate::env::make(&config).unwrap().spec().clone()
    }

    fn node(parent: u32, token: u16, depth: u32, kept: bool) -> Node {
        let total = -(depth as f32);
        Node { parent, token, depth, log_prob: -1.0, total, value: f32::NAN, kept }
    }

    /// Two actions; the second one's state is kept and goes on, the first
    /// one's is not.
    pub fn record() -> Arc<SearchRecord> {
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

    pub fn bins() -> Bins {
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
        let branches = Branches::new(&record(), &bins(), &spec("four-rooms"));
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
        let spec = spec("pendulum");
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

    #[test]
    fn a_velocity_that_is_not_seen_is_how_far_the_angle_moves() {
        let spec = spec("pendulum");
        let mut record = SearchRecord::clone(&record());
        record.present = vec![3.1, 0.0];
        let mut bins = bins();
        // cos and sin alone: bins 5 and 6 are (-1, 0.0) and (-1, -0.1).
        bins.observation = vec![0, 1];
        bins.centers = vec![vec![-1.0; 10], (0..10).map(|bin| 0.5 - 0.1 * bin as f32).collect()];
        let branches = Branches::new(&Arc::new(record), &bins, &spec);
        let [theta, speed] = branches.all[1].to;
        assert!((theta - (-0.1_f32).atan2(-1.0)).abs() < 1e-5);
        let by = theta + 2.0 * PI - 3.1;
        assert!((speed - by / spec.dt_secs).abs() < 1e-3 && speed > 0.0, "{speed}");
        bins.observation = vec![0, 1, 2];
        assert!(spec.hidden_rates(&bins.observation).is_empty());
    }

    fn branch(depth: usize, lives_to: Option<usize>) -> Branch {
        Branch {
            node: 0,
            parent: None,
            from: [0.0; 2],
            to: [1.0; 2],
            depth,
            transition: 1,
            lives_to,
            share: 1.0,
            total: 0.0,
            value: None,
            is_chosen: false,
        }
    }

    #[test]
    fn branches_come_with_their_token_and_fade_when_they_are_given_up() {
        let kept = branch(3, Some(7));
        assert_eq!(life(&kept, 3, 4), None, "its token is not there yet");
        assert_eq!(life(&kept, 4, 4), Some(1.0));
        assert_eq!(life(&kept, 8, 4), Some(1.0), "kept down to there");
        assert_eq!(life(&kept, 10, 4), Some(0.5));
        assert_eq!(life(&kept, 99, 4), Some(0.0));
        let rejected = branch(3, None);
        assert_eq!([life(&rejected, 4, 4), life(&rejected, 6, 4)], [Some(1.0), Some(0.5)]);
        assert_eq!(life(&branch(3, Some(usize::MAX)), 99, 4), Some(1.0), "it ended at its goal");
    }

    #[test]
    fn the_plan_appears_at_the_end_of_the_search() {
        assert_eq!(reach(0.0, 60), (0, 0.0));
        assert_eq!(reach(57.0, 60).0, 57);
        assert!(reach(57.0, 60).1 > 0.0 && reach(50.0, 60).1 == 0.0);
        assert_eq!(reach(60.0, 60), (60, 1.0));
        assert_eq!(reach(3.0, 0), (0, 0.0));
    }
}
