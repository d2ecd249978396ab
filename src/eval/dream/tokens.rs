//! Dreams of a next-token model: actions are given, states are predicted.
//!
//! Rewards and rewards-to-go, where the model knows them, are predicted as
//! well: the true ones would give the true states away. A goal is told as it
//! was to the policy. It says where a way leads, not how; with the actions
//! given there is little left for it to say.

use super::{Dream, DreamSettings, Dreamer, Episode, Manifold, bin_density, log_mean_exp};
use crate::data::TokenLayout;
use crate::model::trajectory::TrajectoryModel;
use crate::plan::beam::TokenModel;
use crate::plan::beam::predictor::CachedModel;
use crate::rng::Rng;

/// An episode in tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenEpisode {
    /// The goal of each transition, `[H, G]`.
    pub goals: Vec<Vec<u16>>,
    /// States, `[H + 1, N]`.
    pub states: Vec<Vec<u16>>,
    /// Actions, `[H, M]`.
    pub actions: Vec<Vec<u16>>,
}

/// A dream in tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenDream {
    /// The likeliest token every time, `[H + 1, N]`.
    pub point: Vec<Vec<u16>>,
    /// `[samples, H + 1, N]`.
    pub samples: Vec<Vec<Vec<u16>>>,
    /// ln of the probability of the true states' tokens, `[H]`.
    pub log_mass: Vec<f64>,
}

/// A Trajectory Transformer with a context of so many transitions, the one
/// under way included. With 1 it is the Markovian variant of Figure 4.3, by the
/// same weights: training windows begin anywhere, so that a state without a
/// past is nothing new.
pub struct TokenDreamer<'a> {
    /// The model.
    pub model: &'a TrajectoryModel,
    /// Transitions it sees, fewer where its window is shorter. Longer rows than
    /// a search's context would be read beyond what most windows hold: a path
    /// to a goal is soon over.
    pub context: usize,
}

impl Dreamer for TokenDreamer<'_> {
    fn dream(
        &mut self,
        episode: &Episode,
        settings: &DreamSettings,
        manifold: &mut Manifold,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Option<Dream> {
        let model = self.model;
        let tokens = TokenEpisode::of(episode, model);
        let mut cached = CachedModel::new(model);
        let found = dream_tokens(&mut cached, &tokens, self.context, settings, go_on)?;
        let mut decode = |states: &[Vec<u16>]| -> Vec<Vec<f32>> {
            // The first state was given and stays as it is.
            let first = episode.seen.first().cloned();
            let later = states.iter().skip(1).map(|state| {
                let known = state.iter().enumerate();
                let mut seen: Vec<f32> =
                    known.map(|(dim, token)| model.discretizer.center(dim, *token)).collect();
                manifold.project(&mut seen);
                seen
            });
            first.into_iter().chain(later).collect()
        };
        let truths = episode.seen.iter().skip(1);
        let densities = found.log_mass.iter().zip(truths);
        Some(Dream {
            point: decode(&found.point),
            samples: found.samples.iter().map(|states| decode(states)).collect(),
            log_density: densities
                .map(|(mass, truth)| mass + bin_density(&model.discretizer, truth))
                .collect(),
        })
    }
}

impl TokenEpisode {
    /// The tokens of an episode.
    pub fn of(episode: &Episode, model: &TrajectoryModel) -> Self {
        let layout = model.config.layout;
        let encode = |row: &Vec<f32>, first: usize, n: usize| -> Vec<u16> {
            let known = row.iter().take(n).enumerate();
            known.map(|(dim, value)| model.discretizer.encode(first + dim, *value)).collect()
        };
        let goal = |goal: &Vec<f32>| match layout.goals {
            0 => Vec::new(),
            _ => model.discretizer.goal(&model.config.goal_dims, goal),
        };
        Self {
            goals: episode.goals.iter().map(goal).collect(),
            states: episode.seen.iter().map(|row| encode(row, 0, layout.states)).collect(),
            actions: episode
                .actions
                .iter()
                .map(|row| encode(row, layout.states, layout.actions))
                .collect(),
        }
    }
}

/// Dream of `episode` with a context of `context` transitions. `None` once
/// `go_on` says no.
///
/// The first row takes the likeliest token every time, the others draw; the
/// stop token is never taken. Each drawing row has a shadow while a state is
/// predicted, which reads the true state's tokens instead: what it gives them is
/// the probability of the truth after that row's past.
///
/// # Panics
/// If the model's rows cannot hold a transition and a state, or the episode is
/// not one of the model's layout.
pub fn dream_tokens(
    model: &mut dyn TokenModel,
    episode: &TokenEpisode,
    context: usize,
    settings: &DreamSettings,
    go_on: &mut dyn FnMut() -> bool,
) -> Option<TokenDream> {
    let layout = model.layout();
    let needed = layout.per_transition() + layout.states;
    assert!(model.block() >= needed, "rows of {} hold no transition and state", model.block());
    let rows = 1 + settings.samples;
    let first = episode.states.first().cloned().unwrap_or_default();
    let mut dreaming = Dreaming {
        model,
        layout,
        context: context.max(1),
        histories: vec![first; rows],
        logits: Vec::new(),
        length: 0,
        goal: None,
        rng: Rng::stream(settings.seed, "dream"),
    };
    let mut log_mass = Vec::new();
    for (t, actions) in episode.actions.iter().enumerate() {
        if !go_on() {
            return None;
        }
        let goal = episode.goals.get(t).map(Vec::as_slice).unwrap_or_default();
        dreaming.make_room(goal);
        actions.iter().for_each(|token| dreaming.read(&vec![*token; rows]));
        for _ in layout.states + layout.actions..layout.per_transition() {
            let tokens = dreaming.choose();
            dreaming.read(&tokens);
        }
        let truth = episode.states.get(t + 1).map(Vec::as_slice).unwrap_or_default();
        log_mass.extend(dreaming.next_state(truth));
    }
    let states = |history: &Vec<u16>| -> Vec<Vec<u16>> {
        history.chunks(layout.per_transition()).map(|row| row[..layout.states].to_vec()).collect()
    };
    Some(TokenDream {
        point: dreaming.histories.first().map(states).unwrap_or_default(),
        samples: dreaming.histories.iter().skip(1).map(states).collect(),
        log_mass,
    })
}

struct Dreaming<'a> {
    model: &'a mut dyn TokenModel,
    layout: TokenLayout,
    context: usize,
    /// Every row's tokens from the beginning.
    histories: Vec<Vec<u16>>,
    /// What follows each row, `[rows, V + 1]`.
    logits: Vec<f32>,
    /// Tokens per row in the model; 0 before it was asked.
    length: usize,
    goal: Option<Vec<u16>>,
    rng: Rng,
}

impl Dreaming<'_> {
    /// See to it that the next transition and its state fit, and that the goal
    /// is the one that is pursued now.
    fn make_room(&mut self, goal: &[u16]) {
        let d = self.layout.per_transition();
        // A row that goes on needs room for another transition.
        let most = (self.model.block() - self.layout.states) / d - 1;
        let kept = (self.context - 1).min(most) * d + self.layout.states;
        let is_same = self.goal.as_deref() == Some(goal);
        if self.length > 0 && self.length <= kept && is_same {
            return;
        }
        let known = self.histories[0].len();
        let from = known - kept.min(known);
        let rows: Vec<&[u16]> = self.histories.iter().map(|row| &row[from..]).collect();
        self.logits = self.model.restart(goal, &rows);
        self.length = known - from;
        self.goal = Some(goal.to_vec());
    }

    /// Continue every row with its token.
    fn read(&mut self, tokens: &[u16]) {
        let parents: Vec<usize> = (0..tokens.len()).collect();
        self.logits = self.model.step(&parents, tokens);
        self.remember(tokens);
    }

    fn remember(&mut self, tokens: &[u16]) {
        for (history, token) in self.histories.iter_mut().zip(tokens) {
            history.push(*token);
        }
        self.length += 1;
    }

    /// The next token of every row: the likeliest for the first, drawn for the
    /// others, and never the stop token.
    fn choose(&mut self) -> Vec<u16> {
        let (bins, width) = (self.layout.bins, self.layout.bins + 1);
        let rows = self.logits.chunks_exact(width).take(self.histories.len());
        let rng = &mut self.rng;
        rows.enumerate()
            .map(|(row, logits)| match row {
                0 => likeliest(&logits[..bins]),
                _ => draw(&logits[..bins], rng),
            })
            .collect()
    }

    /// Predict a state. Returns ln of the probability of `truth`, the mean over
    /// the drawing rows; `None` without any.
    fn next_state(&mut self, truth: &[u16]) -> Option<f64> {
        let (rows, width) = (self.histories.len(), self.layout.bins + 1);
        let mut masses = vec![0.0; rows - 1];
        for (dim, target) in truth.iter().enumerate().take(self.layout.states) {
            // Shadows come after the rows; at first they are the rows.
            let shadows = if dim == 0 { 1 } else { rows };
            for (index, mass) in masses.iter_mut().enumerate() {
                let row = shadows + index;
                let logits = &self.logits[row * width..row * width + self.layout.bins];
                *mass += log_probability(logits, *target);
            }
            let mut tokens = self.choose();
            let is_last = dim + 1 == self.layout.states;
            let mut parents: Vec<usize> = (0..rows).collect();
            self.remember(&tokens);
            if !is_last {
                parents.extend(shadows..shadows + rows - 1);
                tokens.extend(std::iter::repeat_n(truth[dim], rows - 1));
            }
            self.logits = self.model.step(&parents, &tokens);
        }
        (rows > 1).then(|| log_mean_exp(&masses))
    }
}

fn likeliest(logits: &[f32]) -> u16 {
    let better = |best: usize, bin: usize| if logits[bin] > logits[best] { bin } else { best };
    (0..logits.len()).fold(0, better) as u16
}

fn draw(logits: &[f32], rng: &mut Rng) -> u16 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shares: Vec<f64> = logits.iter().map(|logit| f64::from(logit - top).exp()).collect();
    let mut rest = rng.uniform(0.0, shares.iter().sum());
    for (bin, share) in shares.iter().enumerate() {
        rest -= share;
        if rest < 0.0 {
            return bin as u16;
        }
    }
    // Rounding left a little beyond the last.
    likeliest(logits)
}

fn log_probability(logits: &[f32], token: u16) -> f64 {
    let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - top).exp()).sum();
    f64::from(logits[usize::from(token)]) - top - sum.ln()
}
