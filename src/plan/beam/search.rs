//! The search: choose tokens, grow the tree, advance the model, token by token.

use std::ops::ControlFlow;

use super::filters::{Filter, greedy};
use super::settings::{BeamRequest, Checked, SearchMode};
use super::stochastic::Lot;
use super::tree::{BeamTree, NONE, Node};
use super::{ReturnEstimate, SearchError, TokenModel};
use crate::data::{TokenKind, TokenLayout};
use crate::nn::softmax::log_sum_exp;
use crate::rng::Rng;

/// A continuation that the search follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beam {
    /// Its last node, [`NONE`] before the first token.
    pub node: u32,
    /// The model's row it continues; its own row is its place among the beams.
    pub row: usize,
    /// Its last token, which the model has not read yet.
    pub token: u16,
    /// As the node's.
    pub total: f32,
    /// As the node's.
    pub value: f32,
    /// Discounted rewards of the transitions that are whole.
    pub gained: f32,
    /// Expected reward of the transition under way.
    pub reward: f32,
    /// Samples that agree on it so far.
    pub copies: usize,
    /// Rejected; followed only to show the state it leads to.
    pub is_ghost: bool,
    /// What it drew, [`SearchMode::Distinct`] only.
    pub lot: Lot,
}

/// A token to follow a beam.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// Index of the beam.
    pub row: usize,
    pub token: u16,
    pub log_prob: f32,
    pub copies: usize,
    /// False for tokens that are recorded but not followed.
    pub is_kept: bool,
    /// As the beam's that it becomes.
    pub lot: Lot,
}

/// A search under way.
pub(super) struct Search<'a> {
    pub model: &'a mut dyn TokenModel,
    pub q: Option<&'a mut dyn ReturnEstimate>,
    pub request: &'a BeamRequest,
    pub checked: Checked,
    pub layout: TokenLayout,
    pub tree: BeamTree,
    /// One per row of `logits`.
    pub live: Vec<Beam>,
    /// Those behind a stop token; nothing is added to them.
    pub ended: Vec<Beam>,
    /// `[live, bins + 1]`: what follows each beam.
    pub logits: Vec<f32>,
    /// ln of what each row's exponentials sum to.
    pub normalizers: Vec<f32>,
    /// Tokens per row in the model.
    length: usize,
    pub rng: Rng,
    /// Ghosts draw elsewhere, so that showing them changes nothing.
    pub ghost_rng: Rng,
}

/// Search for a continuation of `request.context`.
///
/// `on_step` sees the tree after every token, the last time with `done`; when
/// it breaks, the search ends with `None` before it asks the model again. With
/// `q`, values take its word in place of the model's rewards-to-go. The same
/// request gives the same tree.
///
/// # Errors
/// A malformed request; a model or `q` that answers with the wrong count of
/// numbers or with NaN; edits that leave nothing to continue.
pub fn search(
    model: &mut dyn TokenModel,
    request: &BeamRequest,
    q: Option<&mut dyn ReturnEstimate>,
    on_step: &mut dyn FnMut(&BeamTree) -> ControlFlow<()>,
) -> Result<Option<BeamTree>, SearchError> {
    // Inside the option the trait object's lifetime could not shrink.
    let q = q.map(|q| -> &mut dyn ReturnEstimate { q });
    let mut search = Search::begin(model, request, q)?;
    let depths = request.settings.horizon * search.layout.per_transition();
    for depth in 0..depths {
        let choices = search.choose(depth);
        search.grow(depth, &choices);
        search.settle(depth)?;
        let is_over = !search.live.iter().any(|beam| !beam.is_ghost);
        search.tree.best = search.best();
        search.tree.done = is_over || depth + 1 == depths;
        if search.tree.best.is_none() {
            return Err(SearchError(
                "the edits leave no continuation; take one back, or prune less around them".into(),
            ));
        }
        if on_step(&search.tree).is_break() {
            return Ok(None);
        }
        if search.tree.done {
            break;
        }
        search.advance(depth)?;
    }
    Ok(Some(search.tree))
}

impl<'a> Search<'a> {
    /// Check the request and read the context.
    fn begin(
        model: &'a mut dyn TokenModel,
        request: &'a BeamRequest,
        q: Option<&'a mut dyn ReturnEstimate>,
    ) -> Result<Self, SearchError> {
        let layout = model.layout();
        let checked = request.check(layout, model.block())?;
        let context = checked.context.clone();
        let root = Beam {
            node: NONE,
            row: 0,
            token: 0,
            total: 0.0,
            value: f32::NAN,
            gained: 0.0,
            reward: 0.0,
            copies: if request.settings.mode == SearchMode::Sample {
                request.settings.beam
            } else {
                1
            },
            is_ghost: false,
            lot: Lot::default(),
        };
        let mut search = Self {
            model,
            q,
            request,
            checked,
            layout,
            length: context.len(),
            tree: BeamTree::new(layout, context.clone()),
            live: vec![root],
            ended: Vec::new(),
            logits: Vec::new(),
            normalizers: Vec::new(),
            rng: Rng::stream(request.seed, "beam search"),
            ghost_rng: Rng::stream(request.seed, "beam search, rejected"),
        };
        let logits = search.model.restart(&request.goal, &[&context]);
        search.take(logits)?;
        Ok(search)
    }

    /// Take the model's answer for every beam.
    fn take(&mut self, logits: Vec<f32>) -> Result<(), SearchError> {
        let width = self.layout.bins + 1;
        if logits.len() != self.live.len() * width {
            return Err(SearchError(format!(
                "the model answered {} numbers for {} rows of {width}",
                logits.len(),
                self.live.len()
            )));
        }
        self.normalizers.clear();
        self.normalizers.extend(logits.chunks_exact(width).map(log_sum_exp));
        if self.normalizers.iter().any(|normalizer| !normalizer.is_finite()) {
            return Err(SearchError("the model's logits are not numbers".into()));
        }
        self.logits = logits;
        Ok(())
    }

    /// The logits after beam `row`, `[bins + 1]`.
    pub fn row(&self, row: usize) -> &[f32] {
        let width = self.layout.bins + 1;
        &self.logits[row * width..(row + 1) * width]
    }

    /// The tokens that extend the beams, recorded or followed.
    fn choose(&mut self, depth: usize) -> Vec<Choice> {
        let kind = self.layout.kind(self.tree.dim(depth));
        if self.request.settings.mode == SearchMode::Reward
            && self.tree.dim(depth) == self.layout.states
        {
            self.spread();
        }
        if let Some(token) = self.checked.forced.get(depth).copied() {
            return self.each_row(|_, _| Some(token));
        }
        match (kind, self.request.settings.mode) {
            (TokenKind::Reward | TokenKind::Return, _) => {
                self.each_row(|search, row| greedy(search.row(row), &search.forbidden(depth, row)))
            }
            (_, SearchMode::Likelihood) => self.rank(depth),
            (_, SearchMode::Distinct) => self.draw_distinct(depth),
            (_, SearchMode::Reward | SearchMode::Sample) => self.sample(depth),
        }
    }

    /// One token for every beam that has one; samples stay apart.
    fn each_row(&self, token: impl Fn(&Self, usize) -> Option<u16>) -> Vec<Choice> {
        let mut choices = Vec::with_capacity(self.live.len());
        for (row, beam) in self.live.iter().enumerate() {
            let Some(token) = token(self, row) else { continue };
            let choice = self.choice(row, token, beam.copies);
            choices.extend(self.apart(choice));
        }
        choices
    }

    /// A kept choice.
    pub fn choice(&self, row: usize, token: u16, copies: usize) -> Choice {
        let log_prob = self.row(row)[usize::from(token)] - self.normalizers[row];
        let beam = &self.live[row];
        Choice { row, token, log_prob, copies, is_kept: !beam.is_ghost, lot: beam.lot }
    }

    /// Independent samples have a node each even where they agree; elsewhere
    /// continuations are distinct.
    pub fn apart(&self, choice: Choice) -> impl Iterator<Item = Choice> + use<> {
        let (n, copies) = match self.request.settings.mode {
            SearchMode::Sample => (choice.copies, 1),
            SearchMode::Likelihood | SearchMode::Reward | SearchMode::Distinct => {
                (1, choice.copies)
            }
        };
        std::iter::repeat_n(Choice { copies, ..choice }, n)
    }

    /// The filter of tokens at `depth`.
    pub fn filter(&self, depth: usize) -> Filter {
        let settings = &self.request.settings;
        let (k, cdf) = match self.layout.kind(self.tree.dim(depth)) {
            TokenKind::State => (settings.observation_k, settings.observation_cdf),
            TokenKind::Action => (settings.action_k, settings.action_cdf),
            TokenKind::Reward | TokenKind::Return => (1, 0.0),
        };
        Filter { k, cdf, temperature: settings.temperature }
    }

    /// Tokens that may not follow a beam: the stop token within a transition,
    /// and the ends of pruned paths.
    pub fn forbidden(&self, depth: usize, row: usize) -> Vec<u16> {
        let (mut forbidden, mut around) = (Vec::new(), Vec::new());
        if self.tree.dim(depth) != 0 || self.goes_on(depth, row) {
            forbidden.push(self.layout.stop());
        }
        for path in &self.checked.pruned {
            // The whole path is compared only where it could end.
            if let Some((last, above)) = path.split_last()
                && above.len() == depth
                && self.is_near(&self.tree.tail(self.live[row].node, depth), above)
            {
                forbidden.push(*last);
                around.extend(self.around(*last));
            }
        }
        // Where the neighbors of what was pruned are all there is, one of them
        // it has to be.
        let is_free = |token: u16| !forbidden.contains(&token) && !around.contains(&token);
        if (0..self.layout.stop()).any(is_free) {
            forbidden.extend(around);
        }
        forbidden
    }

    /// A pruned token and its neighbors; an end has none.
    fn around(&self, token: u16) -> std::ops::RangeInclusive<u16> {
        let (stop, reach) = (self.layout.stop(), self.request.settings.prune_reach as u16);
        if token == stop {
            return stop..=stop;
        }
        token.saturating_sub(reach)..=token.saturating_add(reach).min(stop - 1)
    }

    /// Whether a path passes by a pruned one of the same length: within reach
    /// at every state and in the transition under way. Other numbers of earlier
    /// transitions show in the states they led to.
    fn is_near(&self, path: &[u16], pruned: &[u16]) -> bool {
        let reach = self.request.settings.prune_reach as u16;
        if reach == 0 {
            return path == pruned;
        }
        let now = self.tree.transition(pruned.len());
        path.iter().zip(pruned).enumerate().all(|(depth, (a, b))| {
            let counts = self.layout.kind(self.tree.dim(depth)) == TokenKind::State
                || self.tree.transition(depth) == now;
            !counts || a.abs_diff(*b) <= reach
        })
    }

    /// Whether going on is as likely as stopping. A single bin is not, often:
    /// compared with each of a hundred, an unlikely end would always win, and
    /// every plan would stop where it stands.
    fn goes_on(&self, depth: usize, row: usize) -> bool {
        let is_sampled = self.request.settings.mode == SearchMode::Sample;
        let is_forced = self.checked.forced.len() > depth;
        let stop = self.row(row)[usize::from(self.layout.stop())] - self.normalizers[row];
        let is_too_early = !self.request.may_have_arrived && self.tree.transition(depth) == 1;
        !is_forced && (is_too_early || (!is_sampled && stop <= 0.5_f32.ln()))
    }

    /// Record the choices as the tree's next level and follow the kept ones.
    fn grow(&mut self, depth: usize, choices: &[Choice]) {
        let first = self.tree.nodes.len();
        let mut live = Vec::with_capacity(choices.len());
        for choice in choices {
            let parent = self.live[choice.row];
            let total = parent.total + choice.log_prob;
            let node = self.tree.nodes.len() as u32;
            self.tree.nodes.push(Node {
                parent: parent.node,
                token: choice.token,
                depth: depth as u32,
                log_prob: choice.log_prob,
                total,
                value: parent.value,
                kept: choice.is_kept,
            });
            if choice.is_kept || parent.is_ghost {
                let Choice { row, token, copies, lot, .. } = *choice;
                live.push(Beam { node, row, token, total, copies, lot, ..parent });
            }
        }
        self.tree.levels.push(first..self.tree.nodes.len());
        self.live = live;
    }

    /// What follows from the tokens of `depth`: values, selection by value,
    /// ends.
    fn settle(&mut self, depth: usize) -> Result<(), SearchError> {
        match self.layout.kind(self.tree.dim(depth)) {
            TokenKind::Reward => self.expect_rewards(depth)?,
            TokenKind::Return => {
                self.value_transitions(depth)?;
                if self.request.settings.mode == SearchMode::Reward {
                    self.select(depth);
                }
            }
            TokenKind::State | TokenKind::Action => {}
        }
        let stop = self.layout.stop();
        self.ended
            .extend(self.live.iter().filter(|beam| beam.token == stop && !beam.is_ghost).copied());
        self.live.retain(|beam| beam.token != stop);
        if self.completes_state(depth) {
            self.live.retain(|beam| !beam.is_ghost);
        }
        Ok(())
    }

    fn completes_state(&self, depth: usize) -> bool {
        self.tree.dim(depth) + 1 == self.layout.states
    }

    /// The best kept continuation so far; the first of equals.
    fn best(&self) -> Option<usize> {
        let by_value = self.request.settings.mode == SearchMode::Reward;
        let key = |beam: &Beam| {
            let value = if by_value && !beam.value.is_nan() { beam.value } else { f32::MIN };
            (value, self.mean(beam))
        };
        let mut best: Option<&Beam> = None;
        for beam in self.ended.iter().chain(&self.live).filter(|beam| !beam.is_ghost) {
            if best.is_none_or(|best| key(beam) > key(best)) {
                best = Some(beam);
            }
        }
        best.map(|beam| beam.node as usize)
    }

    /// ln of a beam's probability per token: of two that differ in length, the
    /// shorter one would always be likelier as a whole.
    pub(super) fn mean(&self, beam: &Beam) -> f32 {
        beam.total / self.tree.nodes.get(beam.node as usize).map_or(1.0, |n| (n.depth + 1) as f32)
    }

    /// Let the model read the chosen tokens. Where the next transition would
    /// not fit, which can only be seen to between transitions because every
    /// position shifts, all rows are cropped and read anew.
    fn advance(&mut self, depth: usize) -> Result<(), SearchError> {
        self.length += 1;
        let next = self.length + self.layout.per_transition();
        let logits = if self.completes_state(depth) && next > self.model.block() {
            self.length = self.checked.tail;
            let rows: Vec<Vec<u16>> =
                self.live.iter().map(|beam| self.tree.tail(beam.node, self.length)).collect();
            let rows: Vec<&[u16]> = rows.iter().map(Vec::as_slice).collect();
            self.model.restart(&self.request.goal, &rows)
        } else {
            let parents: Vec<usize> = self.live.iter().map(|beam| beam.row).collect();
            let tokens: Vec<u16> = self.live.iter().map(|beam| beam.token).collect();
            self.model.step(&parents, &tokens)
        };
        self.take(logits)
    }
}
