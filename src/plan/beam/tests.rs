//! Searches over small hand-written models, where every answer is known.

use std::ops::ControlFlow;

use super::*;
use crate::data::TokenKind;

mod distinct;
mod requests;
mod rewards;

const MODES: [SearchMode; 4] =
    [SearchMode::Likelihood, SearchMode::Reward, SearchMode::Sample, SearchMode::Distinct];

/// Log-probabilities after a row of tokens whose next token has dimension
/// `dim`.
type Rule = Box<dyn Fn(&[u16], usize) -> Vec<f32>>;

/// A model that answers by a rule over what its rows hold, and remembers what
/// it was asked to read anew.
struct Toy {
    layout: TokenLayout,
    block: usize,
    rule: Rule,
    rows: Vec<Vec<u16>>,
    goals: Vec<Vec<u16>>,
    restarts: Vec<Vec<Vec<u16>>>,
    steps: usize,
}

impl Toy {
    fn new(layout: TokenLayout, rule: impl Fn(&[u16], usize) -> Vec<f32> + 'static) -> Self {
        Self {
            layout,
            block: 1000,
            rule: Box::new(rule),
            rows: Vec::new(),
            goals: Vec::new(),
            restarts: Vec::new(),
            steps: 0,
        }
    }

    fn answer(&self) -> Vec<f32> {
        let per_transition = self.layout.per_transition();
        let rows = self.rows.iter();
        rows.flat_map(|row| (self.rule)(row, row.len() % per_transition)).collect()
    }
}

impl TokenModel for Toy {
    fn layout(&self) -> TokenLayout {
        self.layout
    }

    fn block(&self) -> usize {
        self.block
    }

    fn restart(&mut self, goal: &[u16], rows: &[&[u16]]) -> Vec<f32> {
        self.rows = rows.iter().map(|row| row.to_vec()).collect();
        self.goals.push(goal.to_vec());
        self.restarts.push(self.rows.clone());
        assert!(self.rows.iter().all(|row| row.len() <= self.block));
        self.answer()
    }

    fn step(&mut self, parents: &[usize], tokens: &[u16]) -> Vec<f32> {
        let rows = parents.iter().zip(tokens);
        self.rows = rows.map(|(row, token)| [&self.rows[*row][..], &[*token]].concat()).collect();
        self.steps += 1;
        assert!(self.rows.iter().all(|row| row.len() <= self.block));
        self.answer()
    }

    fn center(&self, dim: usize, token: u16) -> f32 {
        10.0 * dim as f32 + f32::from(token)
    }

    fn expectation(&self, _dim: usize, probabilities: &[f32]) -> f32 {
        assert_eq!(probabilities.len(), self.layout.bins + 1);
        let bins = probabilities[..self.layout.bins].iter().enumerate();
        bins.map(|(bin, probability)| bin as f32 * probability).sum()
    }
}

fn layout(states: usize, actions: usize, rewards: bool, bins: usize) -> TokenLayout {
    TokenLayout { states, actions, rewards, goals: 0, bins }
}

/// Logits that look random and depend on every token of `row`.
fn scrambled(row: &[u16], bins: usize, seed: u64) -> Vec<f32> {
    let mut hash = row.iter().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, token| {
        (hash ^ u64::from(*token + 1)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut next = || {
        hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (hash ^ (hash >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        4.0 * ((mixed ^ (mixed >> 29)) >> 40) as f32 / (1 << 24) as f32
    };
    (0..=bins).map(|_| next()).collect()
}

fn scrambled_toy(layout: TokenLayout, seed: u64) -> Toy {
    Toy::new(layout, move |row, _| scrambled(row, layout.bins, seed))
}

/// Everything passes: no filters.
fn open(mode: SearchMode) -> BeamSettings {
    let off = BeamSettings { observation_k: 0, action_cdf: 0.0, ..BeamSettings::default() };
    BeamSettings { mode, prune_reach: 0, ..off }
}

fn request(settings: BeamSettings, context: &[u16]) -> BeamRequest {
    BeamRequest {
        goal: Vec::new(),
        context: context.to_vec(),
        settings,
        seed: 5,
        edits: Vec::new(),
        may_have_arrived: true,
        shows_pruned: false,
    }
}

fn run(model: &mut Toy, request: &BeamRequest) -> BeamTree {
    let mut steps = 0;
    let found = search(model, request, None, &mut |tree| {
        steps += 1;
        assert_eq!(tree.levels.len(), steps);
        ControlFlow::Continue(())
    });
    let tree = found.unwrap().unwrap();
    check(&tree);
    tree
}

/// What holds for every tree.
fn check(tree: &BeamTree) {
    assert!(tree.done && tree.best.is_some());
    assert_eq!(tree.levels.iter().map(ExactSizeIterator::len).sum::<usize>(), tree.nodes.len());
    for (depth, level) in tree.levels.iter().enumerate() {
        for node in &tree.nodes[level.clone()] {
            assert_eq!(node.depth as usize, depth);
            let above = match node.parent {
                NONE => 0.0,
                parent => {
                    assert!(tree.levels[depth - 1].contains(&(parent as usize)));
                    let parent = tree.nodes[parent as usize];
                    assert_ne!(parent.token, tree.layout.stop());
                    assert!(parent.kept || !node.kept);
                    parent.total
                }
            };
            assert!(node.log_prob <= 1e-6 && (node.total - above - node.log_prob).abs() < 1e-4);
            assert!(node.token < tree.layout.stop() || tree.dim(depth) == 0);
        }
    }
}

fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit - sum.ln()).collect()
}

/// Every continuation of `row` by `left` tokens and its log-probability.
fn enumerate(model: &Toy, row: &[u16], left: usize) -> Vec<(Vec<u16>, f32)> {
    let dim = row.len() % model.layout.per_transition();
    if left == 0 {
        return vec![(Vec::new(), 0.0)];
    }
    let mut all = Vec::new();
    for (token, log_prob) in (0_u16..).zip(log_softmax(&(model.rule)(row, dim))) {
        if token == model.layout.stop() {
            if dim == 0 && log_prob > 0.5_f32.ln() {
                all.push((vec![token], log_prob));
            }
            continue;
        }
        for (rest, total) in enumerate(model, &[row, &[token]].concat(), left - 1) {
            all.push(([&[token], &rest[..]].concat(), log_prob + total));
        }
    }
    all
}

#[test]
fn a_beam_of_one_is_greedy() {
    for seed in 0..20 {
        let mut model = scrambled_toy(layout(2, 2, seed % 2 == 0, 7), seed);
        let settings = BeamSettings { beam: 1, horizon: 3, ..open(SearchMode::Likelihood) };
        let tree = run(&mut model, &request(settings, &[1, 2]));
        let mut row = vec![1, 2];
        let per_transition = model.layout.per_transition();
        while row.len() < 2 + 3 * per_transition {
            let dim = row.len() % per_transition;
            let logits = (model.rule)(&row, dim);
            let stops = dim == 0 && log_softmax(&logits)[7] > 0.5_f32.ln();
            let n = if stops { 8 } else { 7 };
            let best = (0..n).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
            row.push(best as u16);
            if best == 7 {
                break;
            }
        }
        assert_eq!(tree.best_tokens().unwrap(), row[2..]);
    }
}

#[test]
fn a_wide_beam_finds_the_most_likely_continuation_of_all() {
    let mut narrow_misses = 0;
    for seed in 0..20 {
        let mut model = scrambled_toy(layout(1, 1, false, 3), seed);
        let all = enumerate(&model, &[0], 6);
        let mean = |(tokens, total): &(Vec<u16>, f32)| total / tokens.len() as f32;
        let (best, total) = all.iter().max_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap();
        let settings = BeamSettings { beam: 1000, horizon: 3, ..open(SearchMode::Likelihood) };
        let tree = run(&mut model, &request(settings.clone(), &[0]));
        assert_eq!(tree.best_tokens().as_ref(), Some(best));
        assert!((tree.nodes[tree.best.unwrap()].total - total).abs() < 1e-4);
        // Nothing was rejected, so every continuation is a leaf.
        let leaf = |depth: usize, token| depth == 5 || token == model.layout.stop();
        let leaves = tree.nodes.iter().filter(|node| leaf(node.depth as usize, node.token));
        assert_eq!(leaves.count(), all.len());
        let narrow = BeamSettings { beam: 2, ..settings };
        let tree = run(&mut model, &request(narrow, &[0]));
        let found = tree.nodes[tree.best.unwrap()].total;
        narrow_misses += usize::from((found - total).abs() > 1e-4);
    }
    assert!(narrow_misses > 0);
}

#[test]
fn a_level_holds_the_best_tokens_and_the_best_of_the_rejected() {
    let mut model = scrambled_toy(layout(2, 2, false, 9), 3);
    let settings = BeamSettings { beam: 4, horizon: 2, ..open(SearchMode::Likelihood) };
    let tree = run(&mut model, &request(settings, &[3, 1]));
    for (depth, level) in tree.levels.iter().enumerate().skip(1) {
        let ended = tree.nodes[..level.start].iter().filter(|node| node.token == 9).count();
        let kept: Vec<f32> = tree.survivors(depth).map(|node| tree.nodes[node].total).collect();
        assert!(kept.len() <= 4 && kept.len() + ended >= 4);
        assert_eq!(level.len() - kept.len(), 4);
        let rejected = level.clone().skip(kept.len());
        for node in rejected.map(|node| tree.nodes[node]) {
            assert!(!node.kept && kept.iter().all(|total| *total >= node.total));
        }
    }
}

#[test]
fn filters_hold_for_each_kind_of_token_and_log_probabilities_ignore_them() {
    for mode in MODES {
        let mut model = scrambled_toy(layout(2, 2, true, 9), 1);
        let settings = BeamSettings {
            beam: 8,
            horizon: 2,
            observation_k: 2,
            action_k: 3,
            temperature: 1.5,
            ..open(mode)
        };
        let tree = run(&mut model, &request(settings, &[4, 4]));
        let mut seen = [0; 4];
        for node in 0..tree.nodes.len() {
            let mut row = [&[4, 4], &tree.tokens(node)[..]].concat();
            let token = row.pop().unwrap();
            let dim = row.len() % 6;
            let logits = (model.rule)(&row, dim);
            let likely = log_softmax(&logits)[9] > 0.5_f32.ln();
            let stops = dim == 0 && (mode == SearchMode::Sample || likely);
            let n = if stops { 10 } else { 9 };
            let own = logits[usize::from(token)];
            let rank = logits[..n].iter().filter(|logit| **logit > own).count();
            let kind = tree.layout.kind(dim) as usize;
            seen[kind] = seen[kind].max(rank);
            let log_prob = log_softmax(&logits)[usize::from(token)];
            assert!((tree.nodes[node].log_prob - log_prob).abs() < 1e-4);
        }
        // Kinds are states, actions, rewards, returns.
        assert_eq!(seen, [1, 2, 0, 0], "{mode:?}");
    }
}

#[test]
fn samples_follow_the_model_and_none_is_pruned() {
    let mut model = scrambled_toy(layout(1, 1, false, 2), 2);
    let settings = BeamSettings { beam: 4000, horizon: 1, ..open(SearchMode::Sample) };
    let tree = run(&mut model, &request(settings.clone(), &[0]));
    assert!(tree.nodes.iter().all(|node| node.kept));
    assert!(tree.levels.iter().all(|level| level.len() == 4000));
    // The stop token cannot be an action; its mass goes to the others.
    let first = log_softmax(&(model.rule)(&[0], 1)[..2]);
    for action in 0..2_u16 {
        let second = log_softmax(&(model.rule)(&[0, action], 0));
        for state in 0..3_u16 {
            let n = tree.levels[1].clone().filter(|node| tree.tokens(*node) == [action, state]);
            let share = n.count() as f32 / 4000.0;
            let expected = (first[usize::from(action)] + second[usize::from(state)]).exp();
            assert!((share - expected).abs() < 0.03, "{action} {state}: {share} {expected}");
        }
    }
    let best = tree.nodes[tree.best.unwrap()].total;
    assert!(tree.nodes[tree.levels[1].clone()].iter().all(|node| node.total <= best));
    let again = run(&mut model, &request(settings.clone(), &[0]));
    assert_eq!(format!("{:?}", again.nodes), format!("{:?}", tree.nodes));
    let other = run(&mut model, &BeamRequest { seed: 6, ..request(settings, &[0]) });
    assert_ne!(format!("{:?}", other.nodes), format!("{:?}", tree.nodes));
}

#[test]
fn a_stop_token_ends_a_path_only_between_transitions() {
    // The stop token is all but certain everywhere.
    let mut model = Toy::new(layout(2, 1, false, 3), |_, _| vec![1.0, 0.0, 0.5, 60.0]);
    for mode in [SearchMode::Likelihood, SearchMode::Sample, SearchMode::Distinct] {
        let settings = BeamSettings { beam: 2, horizon: 3, ..open(mode) };
        let tree = run(&mut model, &request(settings, &[0, 0]));
        assert_eq!(tree.best_tokens().unwrap()[1..], [3]);
        assert_eq!(tree.levels.len(), 2, "both beams have ended");
        assert_eq!(tree.survivors(1).count(), 2);
        assert!(tree.survivors(1).all(|node| tree.nodes[node].token == 3));
    }
}

#[test]
fn an_ended_path_competes_with_longer_ones() {
    // Stopping is likelier than going on, and going on is as good as free.
    let mut model = Toy::new(layout(1, 1, false, 2), |row, dim| match (dim, row.len()) {
        (0, 2) => vec![0.004_f32.ln(), 0.004_f32.ln(), 0.992_f32.ln()],
        _ => vec![0.99_f32.ln(), 0.005_f32.ln(), 0.005_f32.ln()],
    });
    let settings = BeamSettings { beam: 3, horizon: 4, ..open(SearchMode::Likelihood) };
    let tree = run(&mut model, &request(settings, &[0]));
    assert_eq!(tree.best_tokens().unwrap(), [0, 2]);
    assert_eq!(tree.levels.len(), 8, "the others go on to the horizon");
    assert_eq!(tree.survivors(7).count(), 2, "the ended path holds its place");
}

#[test]
fn the_tree_knows_its_states() {
    let mut model = Toy::new(layout(2, 1, false, 30), |row, _| {
        let mut logits = scrambled(row, 30, 4);
        logits[30] = -50.0;
        logits
    });
    let settings = BeamSettings { beam: 2, horizon: 3, ..open(SearchMode::Likelihood) };
    let tree = run(&mut model, &request(settings, &[7, 8]));
    let center = |dim, token: u16| 100.0 * dim as f32 + f32::from(token);
    assert_eq!(tree.present(&center), [7.0, 108.0]);
    let best = tree.best.unwrap();
    let (path, tokens) = (tree.path(best), tree.best_tokens().unwrap());
    assert_eq!(path.len(), 9);
    let state = |at: usize| vec![f32::from(tokens[at]), 100.0 + f32::from(tokens[at + 1])];
    for (depth, node) in path.iter().enumerate() {
        let expected = (depth % 3 == 2).then(|| state(depth - 1));
        assert_eq!(tree.state(*node, &center), expected);
        let above = (depth >= 3).then(|| path[(depth / 3) * 3 - 1]);
        assert_eq!(tree.parent_state(*node), above);
        assert_eq!(tree.transition(depth), depth.div_ceil(3));
        assert_eq!(tree.layout.kind(tree.dim(depth)) == TokenKind::Action, depth % 3 == 0);
    }
    assert_eq!(tree.chosen().iter().filter(|chosen| **chosen).count(), 9);
    assert!(path.iter().all(|node| tree.chosen()[*node]));
}

#[test]
fn the_spread_is_that_of_the_states_kept_at_a_time() {
    let layout = layout(2, 1, false, 30);
    let node = |parent: usize, token, depth| Node {
        parent: if depth == 0 { NONE } else { parent as u32 },
        token,
        depth,
        log_prob: 0.0,
        total: 0.0,
        value: f32::NAN,
        kept: true,
    };
    let mut tree = BeamTree::new(layout, vec![0, 0].into());
    // An action, and three states (4, 10), (8, 10) and (0, 13), then an action.
    tree.nodes = vec![node(0, 1, 0), node(0, 4, 1), node(0, 8, 1), node(0, 0, 1)];
    tree.nodes.extend([node(1, 10, 2), node(2, 10, 2), node(3, 13, 2), node(4, 5, 3)]);
    tree.levels = vec![0..1, 1..4, 4..7, 7..8];
    let center = |_: usize, token: u16| f32::from(token);
    // Variances are 32 / 3 and 2.
    let expected = (32.0_f32 / 3.0 + 2.0).sqrt();
    assert!((tree.spread(&center).unwrap() - expected).abs() < 1e-5);
    // A transition later two are left, one number apart: (5, 10) and (6, 10).
    tree.nodes.extend([node(4, 5, 3), node(7, 5, 4), node(8, 6, 4)]);
    tree.nodes.extend([node(9, 10, 5), node(10, 10, 5)]);
    tree.levels = vec![0..1, 1..4, 4..7, 7..9, 9..11, 11..13];
    assert!((tree.spread(&center).unwrap() - (expected + 0.5) / 2.0).abs() < 1e-5);
    for node in [4, 5, 11] {
        tree.nodes[node].kept = false;
    }
    assert_eq!(tree.spread(&center), None);
}

#[test]
fn nobody_ends_where_it_stands_who_has_not_arrived() {
    // The stop token is all but certain everywhere.
    let mut model = Toy::new(layout(2, 1, false, 3), |_, _| vec![1.0, 0.0, 0.5, 60.0]);
    for mode in [SearchMode::Likelihood, SearchMode::Sample, SearchMode::Distinct] {
        let settings = BeamSettings { beam: 2, horizon: 3, ..open(mode) };
        let on_the_way = BeamRequest { may_have_arrived: false, ..request(settings, &[0, 0]) };
        let tree = run(&mut model, &on_the_way);
        // An action, a whole state and an action more, and only then the end.
        assert_eq!(tree.levels.len(), 5);
        assert_eq!(tree.best_tokens().unwrap()[4], 3);
    }
}
