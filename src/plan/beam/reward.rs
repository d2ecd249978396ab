//! Sampling, and the selection of samples by their predicted return.

use super::SearchError;
use super::filters::{draw, probabilities};
use super::search::{Beam, Choice, Search};
use super::settings::SearchMode;
use super::tree::{NONE, decode};

impl Search<'_> {
    /// At the start of a transition: share `beam * expand` samples of the next
    /// action among the beams, the first ones taking what does not divide.
    /// Places of ended beams are not filled, so a beam has at least `expand`.
    pub(super) fn spread(&mut self) {
        let settings = &self.request.settings;
        let samples = settings.beam.saturating_sub(self.ended.len()) * settings.expand;
        let n = self.live.len().max(1);
        for (index, beam) in self.live.iter_mut().enumerate() {
            beam.copies = samples / n + usize::from(index < samples % n);
        }
    }

    /// Draw one token for every copy of every beam. In a reward search, copies
    /// that draw the same go on as one beam: the model would answer them
    /// alike, and a beam full of equals finds less.
    pub(super) fn sample(&mut self, depth: usize) -> Vec<Choice> {
        let filter = self.filter(depth);
        let is_action = self.tree.dim(depth) >= self.layout.states;
        let merges = self.request.settings.mode == SearchMode::Reward;
        let mut choices = Vec::with_capacity(self.live.len());
        for row in 0..self.live.len() {
            let candidates = filter.candidates(self.row(row), &self.forbidden(depth, row));
            let beam = self.live[row];
            let rng = if beam.is_ghost { &mut self.ghost_rng } else { &mut self.rng };
            // A selected beam is one state, however many samples led there.
            let copies = if merges && !is_action { 1 } else { beam.copies };
            let mut drawn: Vec<(u16, usize)> = Vec::new();
            for _ in 0..copies {
                let Some(token) = draw(&candidates, rng) else { break };
                match drawn.iter_mut().find(|(known, _)| merges && *known == token) {
                    Some((_, copies)) => *copies += 1,
                    None => drawn.push((token, 1)),
                }
            }
            choices.extend(drawn.into_iter().map(|(token, n)| self.choice(row, token, n)));
        }
        choices
    }

    /// At the reward token: its mean over the unfiltered distribution. The
    /// token itself only enters the context.
    pub(super) fn expect_rewards(&mut self, depth: usize) -> Result<(), SearchError> {
        let rewards = self.expectations(depth)?;
        for (beam, reward) in self.live.iter_mut().zip(rewards) {
            beam.reward = reward;
        }
        Ok(())
    }

    /// At the return token of transition i: the value of each beam,
    /// `sum_{j<=i} g^j r_j + g^(i+1) R_i`, or `sum_{j<i} g^j r_j + g^i Q_i`.
    pub(super) fn value_transitions(&mut self, depth: usize) -> Result<(), SearchError> {
        let discount = self.request.settings.discount;
        let returns = self.estimates()?;
        let is_q = returns.is_some();
        let returns = match returns {
            Some(returns) => returns,
            None => self.expectations(depth)?,
        };
        let weight = discount.powi(self.tree.transition(depth) as i32);
        for (beam, to_go) in self.live.iter_mut().zip(returns) {
            let from_here = if is_q { to_go } else { beam.reward + discount * to_go };
            beam.value = beam.gained + weight * from_here;
            beam.gained += weight * beam.reward;
            self.tree.nodes[beam.node as usize].value = beam.value;
        }
        Ok(())
    }

    /// The mean of the token just chosen, per live beam.
    fn expectations(&self, depth: usize) -> Result<Vec<f32>, SearchError> {
        let dim = self.tree.dim(depth);
        let means = self.live.iter().map(|beam| {
            let shares = probabilities(self.row(beam.row), self.normalizers[beam.row]);
            let mean = self.model.expectation(dim, &shares);
            if mean.is_finite() {
                Ok(mean)
            } else {
                Err(SearchError(format!("the model expects {mean} in dimension {dim}")))
            }
        });
        means.collect()
    }

    /// What the Q-function says of each live beam's last state and action.
    fn estimates(&mut self) -> Result<Option<Vec<f32>>, SearchError> {
        let Some(q) = self.q.as_mut() else { return Ok(None) };
        let center = |dim, token| self.model.center(dim, token);
        let n_states = self.layout.states;
        let n_numbers = n_states + self.layout.actions;
        let mut states = Vec::with_capacity(self.live.len());
        let mut actions = Vec::with_capacity(self.live.len());
        for beam in &self.live {
            let tokens = self.tree.tail(beam.node, self.layout.per_transition());
            states.push(decode(&tokens[..n_states], 0, &center));
            actions.push(decode(&tokens[n_states..n_numbers], n_states, &center));
        }
        let returns = q.returns(&states, &actions);
        if returns.len() != states.len() || returns.iter().any(|value| !value.is_finite()) {
            return Err(SearchError(format!(
                "the Q-function answered {} states with {} numbers, or not with numbers",
                states.len(),
                returns.len()
            )));
        }
        Ok(Some(returns))
    }

    /// At the return token: keep the `beam` beams of the highest value, ended
    /// ones included, the earlier of equals. The others are dropped, or go on
    /// as ghosts to the end of the next state.
    pub(super) fn select(&mut self, depth: usize) {
        let mut contenders: Vec<(Beam, bool)> =
            self.ended.drain(..).map(|beam| (beam, true)).collect();
        contenders.extend(self.live.drain(..).map(|beam| (beam, false)));
        contenders.sort_by(|(a, _), (b, _)| b.value.total_cmp(&a.value));
        let mut ghosts = Vec::new();
        for (place, (beam, has_ended)) in contenders.into_iter().enumerate() {
            match (place < self.request.settings.beam, has_ended) {
                (true, true) => self.ended.push(beam),
                (true, false) => self.live.push(beam),
                (false, true) => {}
                (false, false) => ghosts.push(Beam { is_ghost: true, ..beam }),
            }
        }
        self.mark_survivors(depth);
        if self.request.shows_pruned {
            self.live.extend(ghosts);
        }
    }

    /// Of the transition that ends at `depth`, the kept nodes are those with a
    /// live beam behind them.
    fn mark_survivors(&mut self, depth: usize) {
        let first = self.tree.levels[depth - self.layout.actions - 1].start;
        let nodes = &mut self.tree.nodes;
        nodes[first..].iter_mut().for_each(|node| node.kept = false);
        for beam in &self.live {
            let mut at = beam.node;
            while at != NONE && at as usize >= first && !nodes[at as usize].kept {
                nodes[at as usize].kept = true;
                at = nodes[at as usize].parent;
            }
        }
    }
}
