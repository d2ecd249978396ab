//! What an attention map looks like, as numbers: the two patterns of Janner's
//! thesis, Figure 4.4, and a third that a goal before the sequence brings.
//!
//! A *Markov* head looks at its own and the last transition and at little else.
//! A *striated* one looks at one number (a coordinate of the state, say) of many
//! earlier transitions, which draws stripes.

use super::beam::SequenceToken;
use crate::data::TokenKind;

/// A Markov head has at least this share on its own and the last transition,
/// and this part of what even attention would have left elsewhere.
const MARKOV_SHARE: f32 = 0.7;
const MARKOV_GAIN: f32 = 0.5;
/// A head for the goal has at least this share there, and so many times what
/// even attention would have.
const GOAL_SHARE: f32 = 0.4;
const GOAL_LIFT: f32 = 2.0;
/// Stripes hold so many times what even attention would put there, reach over
/// so many transitions, and earlier transitions matter so much.
const STRIPE_LIFT: f32 = 2.0;
const STRIPE_REACH: f32 = 2.0;
const STRIPE_SHARE: f32 = 0.2;
/// Rows count that have so many transitions before their own: with fewer, there
/// is nothing to tell near from far by.
const LEAST_BEFORE: i32 = 2;

/// What a map looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Near: its own and the last transition.
    Markov,
    /// One number of many earlier transitions.
    Striated,
    /// The goal.
    Goal,
    /// None of these.
    Mixed,
}

impl Pattern {
    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Markov => "Markov",
            Self::Striated => "striated",
            Self::Goal => "goal",
            Self::Mixed => "mixed",
        }
    }
}

/// Attention to one number of earlier transitions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stripes {
    /// Its share of what goes to earlier transitions.
    pub share: f32,
    /// How many times more than if that were spread evenly.
    pub lift: f32,
    /// How many transitions it is spread over: the inverse of the sum of their
    /// squared shares.
    pub reach: f32,
}

impl Stripes {
    fn are_there(&self) -> bool {
        self.lift >= STRIPE_LIFT && self.reach >= STRIPE_REACH
    }
}

/// What a map's rows attend to, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// Share on a token's own and the last transition.
    pub near: f32,
    /// The same if attention were spread evenly over what can be seen.
    pub near_by_chance: f32,
    /// Share on the goal.
    pub goal: f32,
    /// The same if attention were spread evenly.
    pub goal_by_chance: f32,
    /// Share on transitions before the last.
    pub far: f32,
    /// Stripes at the number that the token itself is.
    pub same: Stripes,
    /// Stripes at the number that is predicted after the token.
    pub predicted: Stripes,
}

impl Measures {
    /// Measure one head's map `[n, n]`, whose rows and columns are the first
    /// `n` of `tokens`. `None` for a sequence too short to tell.
    pub fn new(map: &[f32], n: usize, tokens: &[SequenceToken]) -> Option<Self> {
        let tokens = tokens.get(..n)?;
        let first = tokens.iter().find(|token| token.kind.is_some())?.transition;
        let dims = tokens.iter().filter(|token| token.kind.is_some()).map(|token| token.dim);
        let dims = dims.max()? + 1;
        let mut sum = Sums::default();
        for (index, (row, token)) in map.chunks_exact(n.max(1)).zip(tokens).enumerate() {
            let is_late = token.transition - first >= LEAST_BEFORE;
            if token.kind.is_some() && is_late {
                sum.add(&row[..=index], tokens, token, dims);
            }
        }
        sum.measures()
    }

    /// What it looks like.
    pub fn pattern(&self) -> Pattern {
        let elsewhere = 1.0 - self.near_by_chance;
        if self.goal >= GOAL_SHARE && self.goal >= GOAL_LIFT * self.goal_by_chance {
            Pattern::Goal
        } else if self.near >= MARKOV_SHARE
            && self.near - self.near_by_chance >= MARKOV_GAIN * elsewhere
        {
            Pattern::Markov
        } else if self.far >= STRIPE_SHARE && self.stripes().are_there() {
            Pattern::Striated
        } else {
            Pattern::Mixed
        }
    }

    /// The clearer of the two kinds of stripes.
    pub fn stripes(&self) -> &Stripes {
        if self.predicted.lift > self.same.lift { &self.predicted } else { &self.same }
    }

    /// What it looks like, in words and with the number behind it.
    pub fn sentence(&self) -> String {
        let percent = |share: f32| 100.0 * share;
        match self.pattern() {
            Pattern::Markov => {
                format!(
                    "looks Markov: {:.0} % on its own and the last transition",
                    percent(self.near)
                )
            }
            Pattern::Striated => {
                let which = if self.predicted.lift > self.same.lift { "predicted" } else { "same" };
                let Stripes { lift, reach, .. } = self.stripes();
                format!(
                    "looks striated: {lift:.1} x chance on the {which} number of {reach:.0} earlier \
                     transitions"
                )
            }
            Pattern::Goal => format!("looks at the goal: {:.0} %", percent(self.goal)),
            Pattern::Mixed => format!(
                "mixed: {:.0} % on its own and the last transition, {:.0} % before those",
                percent(self.near),
                percent(self.far)
            ),
        }
    }
}

/// Sums over rows.
#[derive(Default)]
struct Sums {
    rows: f32,
    near: f32,
    near_by_chance: f32,
    goal: f32,
    goal_by_chance: f32,
    total: f32,
    before: f32,
    /// At the same and at the predicted number.
    stripes: [StripeSums; 2],
}

#[derive(Default)]
struct StripeSums {
    held: f32,
    by_chance: f32,
    reach: f32,
}

impl Sums {
    /// Add one row up to its diagonal.
    fn add(&mut self, row: &[f32], all: &[SequenceToken], own: &SequenceToken, dims: usize) {
        // Nobody attends to rewards-to-go.
        let visible =
            || row.iter().zip(all).filter(|(_, token)| token.kind != Some(TokenKind::Return));
        let total: f32 = visible().map(|(weight, _)| weight).sum();
        if !(total.is_finite() && total > 0.0) {
            return;
        }
        let (mut near, mut goal, mut before) = (0.0, 0.0, 0.0);
        let (mut n_near, mut n_goal, mut n_before) = (0.0, 0.0, 0.0);
        for (weight, token) in visible() {
            if token.kind.is_none() {
                (goal, n_goal) = (goal + weight, n_goal + 1.0);
                continue;
            }
            if token.transition < own.transition {
                (before, n_before) = (before + weight, n_before + 1.0);
            }
            if token.transition >= own.transition - 1 {
                (near, n_near) = (near + weight, n_near + 1.0);
            }
        }
        let n = visible().count() as f32;
        self.rows += 1.0;
        self.near += near / total;
        self.near_by_chance += n_near / n;
        self.goal += goal / total;
        self.goal_by_chance += n_goal / n;
        self.total += total;
        self.before += before;
        for (stripes, dim) in self.stripes.iter_mut().zip([own.dim, (own.dim + 1) % dims]) {
            let weights = visible().filter(|(_, token)| {
                token.kind.is_some() && token.dim == dim && token.transition < own.transition
            });
            let (mut held, mut squares, mut n) = (0.0, 0.0, 0.0);
            for (weight, _) in weights {
                (held, squares, n) = (held + weight, squares + weight * weight, n + 1.0);
            }
            stripes.held += held;
            stripes.by_chance += before * n / f32::max(n_before, 1.0);
            if squares > 0.0 {
                // Rows count by what they put there.
                stripes.reach += held * (held * held / squares);
            }
        }
    }

    fn measures(&self) -> Option<Measures> {
        let of = |part: f32, whole: f32| if whole > 0.0 { part / whole } else { 0.0 };
        let [same, predicted] = self.stripes.each_ref().map(|stripes| Stripes {
            share: of(stripes.held, self.before),
            lift: of(stripes.held, stripes.by_chance),
            reach: of(stripes.reach, stripes.held),
        });
        (self.rows > 0.0).then(|| {
            let [near, goal] = [self.near, self.goal].map(|sum| sum / self.rows);
            Measures {
                near,
                near_by_chance: self.near_by_chance / self.rows,
                goal,
                goal_by_chance: self.goal_by_chance / self.rows,
                far: (1.0 - near - goal).max(0.0),
                same,
                predicted,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten transitions `x, y, a, r, R` after two tokens of a goal.
    fn tokens() -> Vec<SequenceToken> {
        use TokenKind::{Action, Return, Reward, State};
        let kinds = [State, State, Action, Reward, Return];
        let token = |kind, dim, transition| SequenceToken {
            kind,
            dim,
            transition,
            token: 0,
            value: Some(0.0),
        };
        let goal = (0..2).map(|dim| token(None, dim, 0));
        let read = (0..50).map(|at| token(Some(kinds[at % 5]), at % 5, (at / 5) as i32 - 4));
        goal.chain(read).collect()
    }

    /// A causal map of rows that sum to 1, by how much a row wants a column.
    fn map(wants: impl Fn(&SequenceToken, &SequenceToken) -> f32) -> Vec<f32> {
        let tokens = tokens();
        let n = tokens.len();
        let mut map = vec![0.0; n * n];
        for (index, row) in map.chunks_exact_mut(n).enumerate() {
            for (column, weight) in row[..=index].iter_mut().enumerate() {
                let is_hidden = tokens[column].kind == Some(TokenKind::Return);
                *weight = if is_hidden { 0.0 } else { wants(&tokens[index], &tokens[column]) };
            }
            let total: f32 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= total.max(1e-9));
        }
        map
    }

    fn measure(map: &[f32]) -> Measures {
        Measures::new(map, tokens().len(), &tokens()).unwrap()
    }

    #[test]
    fn a_map_of_the_last_transitions_is_markov() {
        let near = |row: &SequenceToken, column: &SequenceToken| {
            let is_near = column.kind.is_some() && column.transition >= row.transition - 1;
            if is_near { 1.0 } else { 0.02 }
        };
        let measures = measure(&map(near));
        assert!(measures.near > 0.85 && measures.near_by_chance < 0.4, "{measures:?}");
        assert_eq!(measures.pattern(), Pattern::Markov);
        assert!(measures.sentence().starts_with("looks Markov: 9"), "{}", measures.sentence());
    }

    #[test]
    fn a_map_of_one_number_of_many_transitions_is_striated() {
        for shift in [0, 1] {
            let striped = |row: &SequenceToken, column: &SequenceToken| {
                let is_there = column.kind.is_some() && column.dim == (row.dim + shift) % 5;
                if is_there { 1.0 } else { 0.03 }
            };
            let measures = measure(&map(striped));
            assert_eq!(measures.pattern(), Pattern::Striated, "{measures:?}");
            let expected = if shift == 0 { measures.same } else { measures.predicted };
            assert_eq!(*measures.stripes(), expected);
            // A number of four that can be seen, so four times chance at most.
            assert!(expected.lift > 2.5 && expected.lift <= 4.01, "{expected:?}");
            assert!(expected.reach > 3.0 && expected.share > 0.6, "{expected:?}");
        }
    }

    #[test]
    fn even_attention_has_no_pattern_and_is_as_near_as_chance() {
        let measures = measure(&map(|_, _| 1.0));
        assert!((measures.near - measures.near_by_chance).abs() < 1e-4);
        assert!((measures.goal - measures.goal_by_chance).abs() < 1e-4);
        assert!((measures.same.lift - 1.0).abs() < 1e-3, "{measures:?}");
        assert_eq!(measures.pattern(), Pattern::Mixed);
        assert!((measures.near + measures.far + measures.goal - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_map_of_the_goal_is_told_from_the_others() {
        let to_goal = |_: &SequenceToken, column: &SequenceToken| {
            if column.kind.is_none() { 20.0 } else { 0.5 }
        };
        let measures = measure(&map(to_goal));
        assert_eq!(measures.pattern(), Pattern::Goal, "{measures:?}");
        assert!(measures.sentence().contains("goal"));
    }

    #[test]
    fn one_far_transition_alone_makes_no_stripes() {
        let first = |row: &SequenceToken, column: &SequenceToken| {
            let is_there = column.transition == -4 && column.dim == row.dim;
            if column.kind.is_some() && is_there { 1.0 } else { 0.001 }
        };
        let measures = measure(&map(first));
        assert!(measures.same.lift > 2.0 && measures.same.reach < 1.5, "{measures:?}");
        assert_eq!(measures.pattern(), Pattern::Mixed);
    }

    #[test]
    fn short_sequences_and_broken_maps_are_not_measured() {
        let tokens = tokens();
        assert_eq!(Measures::new(&[1.0; 49], 7, &tokens), None, "one transition");
        assert_eq!(Measures::new(&[], 0, &tokens), None);
        assert_eq!(Measures::new(&[1.0; 4], 2, &tokens[..1]), None, "fewer tokens than rows");
        let n = tokens.len();
        assert_eq!(Measures::new(&vec![f32::NAN; n * n], n, &tokens), None);
    }
}
