//! What really happens, recorded as the data are: one policy of the data, mean
//! actions over the steps of a transition.

use std::sync::Arc;

use crate::env::{EnvError, Environment, MarkovPolicy};
use crate::rng::Rng;

/// How episodes are made.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeRecipe {
    /// Policies of the data, one of which is drawn for each episode.
    pub policies: Vec<String>,
    /// Environment steps per transition.
    pub stride: usize,
    /// The coordinates of the observation that the model sees.
    pub observation: Vec<usize>,
    /// Transitions, H.
    pub horizon: usize,
}

/// H transitions of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Episode {
    /// States where transitions begin, and the last, `[H + 1, state]`.
    pub states: Vec<Vec<f32>>,
    /// What the model sees there, `[H + 1, N]`.
    pub seen: Vec<Vec<f32>>,
    /// Mean action over each transition's steps, `[H, M]`.
    pub actions: Vec<Vec<f32>>,
    /// The goal that the policy pursued, `[H]`; empty where there are none.
    pub goals: Vec<Vec<f32>>,
}

impl Episode {
    /// Let one of the recipe's policies act, from `start` and towards `goal` or,
    /// without them, from a start as the data have them: exploring or a reset,
    /// one as often as the other. A policy that has come to its goal gets
    /// another one, for a hundred transitions are longer than most ways.
    ///
    /// # Errors
    /// An unknown policy, or a start or goal the environment refuses.
    pub fn record(
        environment: &mut dyn Environment,
        recipe: &EpisodeRecipe,
        from: Option<(&[f32], &[f32])>,
        seed: u64,
    ) -> Result<Self, EnvError> {
        let mut rng = Rng::stream(seed, "dream episode");
        let has_goal = !environment.spec().goal_dims.is_empty();
        let drawn = rng.below(recipe.policies.len());
        let known = recipe.policies.get(drawn).map(String::as_str);
        let known = known.or_else(|| environment.policies().first().map(|row| row.id));
        let policy = environment.policy(known.unwrap_or_default())?;
        match from {
            Some((start, goal)) => {
                if has_goal {
                    environment.set_goal(goal)?;
                }
                environment.set_state(start)?;
            }
            None => {
                if has_goal {
                    environment.randomize_goal(&mut rng);
                }
                match rng.below(2) {
                    0 => environment.explore(&mut rng),
                    _ => environment.reset(&mut rng),
                }
            }
        }
        Ok(Self::follow(environment, recipe, &policy, &mut rng))
    }

    fn follow(
        environment: &mut dyn Environment,
        recipe: &EpisodeRecipe,
        policy: &Arc<dyn MarkovPolicy>,
        rng: &mut Rng,
    ) -> Self {
        let n_actions = environment.spec().action.len();
        let has_goal = !environment.spec().goal_dims.is_empty();
        let mut episode = Self::default();
        for _ in 0..recipe.horizon {
            episode.observe(environment, recipe);
            let goal = environment.goal();
            let (mut mean, mut paid) = (vec![0.0; n_actions], 0.0);
            for _ in 0..recipe.stride {
                let action = policy.act(&environment.state(), &goal, rng);
                paid += environment.step(&action);
                for (sum, value) in mean.iter_mut().zip(&action) {
                    *sum += value / recipe.stride as f32;
                }
            }
            episode.actions.push(mean);
            episode.goals.push(goal);
            if has_goal && paid > 0.0 {
                environment.randomize_goal(rng);
            }
        }
        episode.observe(environment, recipe);
        episode
    }

    fn observe(&mut self, environment: &dyn Environment, recipe: &EpisodeRecipe) {
        self.states.push(environment.state());
        let seen = environment.observation();
        let seen = recipe.observation.iter().filter_map(|dim| seen.get(*dim).copied());
        self.seen.push(seen.collect());
    }

    /// Transitions, H.
    pub fn horizon(&self) -> usize {
        self.actions.len()
    }
}

/// Puts predicted observations back among those there are: the cosine and sine
/// of an angle onto the circle. Where the observation is the state itself, or
/// the model does not see all of it, predictions stay as they are.
pub struct Manifold<'a> {
    environment: Option<&'a mut dyn Environment>,
    observation: Vec<usize>,
}

impl<'a> Manifold<'a> {
    /// For models that see the coordinates `observation`; uses the environment
    /// and leaves it in another state.
    pub fn new(environment: &'a mut dyn Environment, observation: &[usize]) -> Self {
        let spec = environment.spec();
        let n = spec.observation.len();
        let sees_all = (0..n).all(|dim| observation.contains(&dim));
        let is_redundant = n != spec.state.len();
        Self {
            environment: (sees_all && is_redundant).then_some(environment),
            observation: observation.to_vec(),
        }
    }

    /// One that changes nothing.
    pub fn flat() -> Self {
        Self { environment: None, observation: Vec::new() }
    }

    /// Move `seen` to the nearest observation there is.
    pub fn project(&mut self, seen: &mut [f32]) {
        let Some(environment) = &mut self.environment else { return };
        let mut observation = vec![0.0; environment.spec().observation.len()];
        for (dim, value) in self.observation.iter().zip(&*seen) {
            observation[*dim] = *value;
        }
        let state = environment.state_of(&observation);
        if environment.set_state(&state).is_ok() {
            let nearest = environment.observation();
            for (dim, value) in self.observation.iter().zip(seen) {
                *value = nearest[*dim];
            }
        }
    }
}
