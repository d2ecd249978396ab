//! How transitions read as tokens (Janner et al. 2021, "Offline Reinforcement
//! Learning as One Big Sequence Modeling Problem", equation 1).
//!
//! A transition is `s_1..s_N, a_1..a_M` and, for models that know rewards, `r`
//! and the reward-to-go `R`. Every number is one of `V` bins; `V` itself says
//! that the sequence stops. Where a model knows its goal, `G` more tokens go
//! before everything: the bins of the state coordinates that the goal fixes.

use serde::{Deserialize, Serialize};

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenKind {
    /// A coordinate of the observation.
    State,
    /// A coordinate of the action.
    Action,
    /// What the transition paid.
    Reward,
    /// The discounted rewards of the transitions after this one.
    Return,
}

/// How a transition reads as tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLayout {
    /// Coordinates of an observation, N.
    pub states: usize,
    /// Coordinates of an action, M.
    pub actions: usize,
    /// Whether the reward and the reward-to-go follow the action.
    pub rewards: bool,
    /// Tokens of the goal before everything, G; 0 where there is none.
    pub goals: usize,
    /// Bins of every coordinate, V.
    pub bins: usize,
}

impl TokenLayout {
    /// Tokens of a transition, D.
    pub fn per_transition(&self) -> usize {
        // A file may hold any number, which `Discretizer::validate` refuses.
        self.states.saturating_add(self.actions).saturating_add(2 * usize::from(self.rewards))
    }

    /// What coordinate `dim` of a transition, in `0..D`, stands for.
    pub fn kind(&self, dim: usize) -> TokenKind {
        match dim.checked_sub(self.states) {
            None => TokenKind::State,
            Some(dim) if dim < self.actions => TokenKind::Action,
            Some(dim) if dim == self.actions => TokenKind::Reward,
            Some(_) => TokenKind::Return,
        }
    }

    /// The token that says that the sequence stops, V.
    pub fn stop(&self) -> u16 {
        self.bins as u16
    }

    /// The coordinate nobody attends to, the reward-to-go: a plan must not be
    /// led by what the data earned later.
    pub fn hidden_dim(&self) -> Option<usize> {
        self.rewards.then(|| self.per_transition() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_reads_state_action_reward_return() {
        let mut layout = TokenLayout { states: 3, actions: 1, rewards: true, goals: 0, bins: 100 };
        let kinds: Vec<_> = (0..layout.per_transition()).map(|dim| layout.kind(dim)).collect();
        use TokenKind::{Action, Return, Reward, State};
        assert_eq!(kinds, [State, State, State, Action, Reward, Return]);
        assert_eq!((layout.hidden_dim(), layout.stop()), (Some(5), 100));
        layout.rewards = false;
        assert_eq!((layout.per_transition(), layout.hidden_dim()), (4, None));
    }

    #[test]
    fn a_layout_keeps_its_names_in_files() {
        let layout = TokenLayout { states: 4, actions: 2, rewards: false, goals: 2, bins: 64 };
        let text = r#"{"states":4,"actions":2,"rewards":false,"goals":2,"bins":64}"#;
        assert_eq!(serde_json::to_string(&layout).unwrap(), text);
        assert_eq!(serde_json::from_str::<TokenLayout>(text).unwrap(), layout);
        assert!(serde_json::from_str::<TokenLayout>(&text.replace("bins", "bits")).is_err());
        assert_eq!(serde_json::to_string(&TokenKind::Return).unwrap(), r#""return""#);
    }
}
