//! Recorded transitions in time order, under D4RL's names.

use std::ops::Range;

use super::DataError;

/// The most transitions a data set may hold: 100 times a usual one. Files and
/// scenes that ask for more are refused before memory is.
pub const MAX_TRANSITIONS: usize = 100_000_000;

/// Transitions one after another; entry `i` of every array belongs to step `i`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Episodes {
    /// Numbers per observation.
    pub observation_dim: usize,
    /// Numbers per action.
    pub action_dim: usize,
    /// The observation before each step, `[len, observation_dim]`.
    pub observations: Vec<f32>,
    /// The action of each step, `[len, action_dim]`.
    pub actions: Vec<f32>,
    /// What each step paid, `[len]`.
    pub rewards: Vec<f32>,
    /// Whether the world ended with this step, `[len]`; the next entry then
    /// starts somewhere else.
    pub terminals: Vec<bool>,
    /// Whether an episode ended here, by arrival or by the clock, while the
    /// world went on, `[len]`.
    pub timeouts: Vec<bool>,
}

impl Episodes {
    /// Room for `transitions` transitions.
    pub fn with_capacity(observation_dim: usize, action_dim: usize, transitions: usize) -> Self {
        let room = transitions.min(MAX_TRANSITIONS);
        Self {
            observation_dim,
            action_dim,
            observations: Vec::with_capacity(room.saturating_mul(observation_dim)),
            actions: Vec::with_capacity(room.saturating_mul(action_dim)),
            rewards: Vec::with_capacity(room),
            terminals: Vec::with_capacity(room),
            timeouts: Vec::with_capacity(room),
        }
    }

    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// Whether there is no transition.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    /// The observation before step `i`.
    ///
    /// # Panics
    /// If `i >= len()`.
    pub fn observation(&self, i: usize) -> &[f32] {
        &self.observations[i * self.observation_dim..][..self.observation_dim]
    }

    /// The action of step `i`.
    ///
    /// # Panics
    /// If `i >= len()`.
    pub fn action(&self, i: usize) -> &[f32] {
        &self.actions[i * self.action_dim..][..self.action_dim]
    }

    /// Ranges of steps over which time runs on without a jump. Only terminals
    /// break them: at a timeout D4RL moves the goal, not the ball.
    pub fn segments(&self) -> Vec<Range<usize>> {
        let mut segments = Vec::new();
        let mut start = 0;
        for (i, &terminal) in self.terminals.iter().enumerate() {
            if terminal {
                segments.push(start..i + 1);
                start = i + 1;
            }
        }
        if start < self.len() {
            segments.push(start..self.len());
        }
        segments
    }

    /// Forget all but the first `transitions` transitions.
    pub fn truncate(&mut self, transitions: usize) {
        self.observations.truncate(transitions.saturating_mul(self.observation_dim));
        self.actions.truncate(transitions.saturating_mul(self.action_dim));
        self.rewards.truncate(transitions);
        self.terminals.truncate(transitions);
        self.timeouts.truncate(transitions);
    }

    /// Append transitions with as many numbers each. Time runs on into them
    /// unless the last entry here is a terminal.
    pub fn append(&mut self, more: &Self) {
        self.observations.extend_from_slice(&more.observations);
        self.actions.extend_from_slice(&more.actions);
        self.rewards.extend_from_slice(&more.rewards);
        self.terminals.extend_from_slice(&more.terminals);
        self.timeouts.extend_from_slice(&more.timeouts);
    }

    /// The steps of each episode, in order: they end with terminals and with
    /// timeouts, and the last one may be cut off.
    pub fn episodes(&self) -> Vec<Range<usize>> {
        let mut episodes = Vec::new();
        let mut start = 0;
        for (i, (terminal, timeout)) in self.terminals.iter().zip(&self.timeouts).enumerate() {
            if *terminal || *timeout {
                episodes.push(start..i + 1);
                start = i + 1;
            }
        }
        if start < self.len() {
            episodes.push(start..self.len());
        }
        episodes
    }

    /// The steps `range` as episodes of their own.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let rows = |values: &[f32], dim: usize| {
            values.get(range.start * dim..range.end * dim).unwrap_or_default().to_vec()
        };
        let flags = |values: &[bool]| values.get(range.clone()).unwrap_or_default().to_vec();
        Self {
            observation_dim: self.observation_dim,
            action_dim: self.action_dim,
            observations: rows(&self.observations, self.observation_dim),
            actions: rows(&self.actions, self.action_dim),
            rewards: rows(&self.rewards, 1),
            terminals: flags(&self.terminals),
            timeouts: flags(&self.timeouts),
        }
    }

    /// Check that the arrays fit together and hold ordinary numbers.
    ///
    /// # Errors
    /// Names the array and, for a bad number, its transition.
    pub fn validate(&self) -> Result<(), DataError> {
        let n = self.len();
        if self.observation_dim == 0 || self.action_dim == 0 {
            return Err(DataError::Malformed(
                "observations and actions need at least one number a step".into(),
            ));
        }
        let lengths = [
            ("observations", self.observations.len(), self.observation_dim),
            ("actions", self.actions.len(), self.action_dim),
            ("terminals", self.terminals.len(), 1),
            ("timeouts", self.timeouts.len(), 1),
        ];
        for (name, length, dim) in lengths {
            if n.checked_mul(dim) != Some(length) {
                return Err(DataError::Malformed(format!(
                    "{name} has {length} numbers where {n} rewards with {dim} each need {}; \
                     all arrays must cover the same steps",
                    n.saturating_mul(dim)
                )));
            }
        }
        let numbers = [
            ("observations", &self.observations, self.observation_dim),
            ("actions", &self.actions, self.action_dim),
            ("rewards", &self.rewards, 1),
        ];
        for (name, values, dim) in numbers {
            if let Some(i) = values.iter().position(|value| !value.is_finite()) {
                return Err(DataError::Malformed(format!(
                    "{name} holds {} at step {}; remove that step",
                    values[i],
                    i / dim
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episodes(terminals: &[bool]) -> Episodes {
        let n = terminals.len();
        Episodes {
            observation_dim: 2,
            action_dim: 1,
            observations: (0..2 * n).map(|i| i as f32).collect(),
            actions: vec![0.5; n],
            rewards: vec![0.0; n],
            terminals: terminals.to_vec(),
            timeouts: vec![true; n],
        }
    }

    #[test]
    fn segments_break_at_terminals_and_not_at_timeouts() {
        assert_eq!(episodes(&[false, false, false]).segments(), std::slice::from_ref(&(0..3)));
        assert_eq!(episodes(&[false, true, true, false]).segments(), [0..2, 2..3, 3..4]);
        assert_eq!(episodes(&[false, true]).segments(), std::slice::from_ref(&(0..2)));
        assert!(episodes(&[]).segments().is_empty());
    }

    #[test]
    fn entries_are_rows() {
        let episodes = episodes(&[false; 3]);
        assert_eq!(episodes.observation(1), [2.0, 3.0]);
        assert_eq!(episodes.action(2), [0.5]);
        assert_eq!(episodes.len(), 3);
    }

    #[test]
    fn episodes_end_at_terminals_and_timeouts_and_can_be_cut_out_and_joined() {
        let mut all = episodes(&[false, false, true, false, false]);
        all.timeouts = vec![false, true, false, false, false];
        assert_eq!(all.episodes(), [0..2, 2..3, 3..5]);
        let mut again = all.slice(0..2);
        again.append(&all.slice(2..5));
        assert_eq!(again, all);
        again.truncate(3);
        assert_eq!(again, all.slice(0..3));
        again.validate().unwrap();
    }

    #[test]
    fn validation_names_the_array_and_the_step() {
        let good = episodes(&[false; 3]);
        good.validate().unwrap();
        let mut short = good.clone();
        short.actions.pop();
        assert!(short.validate().unwrap_err().to_string().contains("actions"));
        let mut bad = good;
        bad.observations[3] = f32::NAN;
        let message = bad.validate().unwrap_err().to_string();
        assert!(message.contains("observations holds NaN at step 1"), "{message}");
    }
}
