//! Dreams of models whose every answer is known.

use super::*;
use crate::data::TokenLayout;
use crate::env::{self, Environment, EnvironmentConfig};
use crate::model::ensemble::Standard;
use crate::plan::beam::TokenModel;

/// Logits after a row of tokens whose next token has dimension `dim`.
type Rule = Box<dyn Fn(&[u16], usize) -> Vec<f32>>;

struct Toy {
    layout: TokenLayout,
    block: usize,
    rule: Rule,
    rows: Vec<Vec<u16>>,
    /// Goal and tokens per row of every restart.
    restarts: Vec<(Vec<u16>, usize)>,
}

impl Toy {
    fn new(layout: TokenLayout, rule: impl Fn(&[u16], usize) -> Vec<f32> + 'static) -> Self {
        Self { layout, block: 40, rule: Box::new(rule), rows: Vec::new(), restarts: Vec::new() }
    }

    fn answer(&self) -> Vec<f32> {
        let d = self.layout.per_transition();
        assert!(self.rows.iter().all(|row| row.len() <= self.block));
        self.rows.iter().flat_map(|row| (self.rule)(row, row.len() % d)).collect()
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
        self.restarts.push((goal.to_vec(), rows[0].len()));
        self.answer()
    }

    fn step(&mut self, parents: &[usize], tokens: &[u16]) -> Vec<f32> {
        let rows = parents.iter().zip(tokens);
        self.rows = rows.map(|(row, token)| [&self.rows[*row][..], &[*token]].concat()).collect();
        self.answer()
    }

    fn center(&self, _dim: usize, token: u16) -> f32 {
        f32::from(token)
    }

    fn expectation(&self, _dim: usize, _probabilities: &[f32]) -> f32 {
        0.0
    }
}

/// `s' = s + a` modulo 7 in the first coordinate, the second copies the new
/// first; a reward of `s` and a reward-to-go of 3. The stop token beckons.
fn clockwork(layout: TokenLayout) -> Toy {
    let d = layout.per_transition();
    Toy::new(layout, move |row, dim| {
        let ago = |n: usize| row.get(row.len().wrapping_sub(n)).copied().unwrap_or(0);
        let next = match dim {
            // Rewards lie between the action and the next state.
            0 => (ago(d) + ago(d - 2)) % 7,
            1 => ago(1),
            3 => ago(3),
            _ => 3,
        };
        let mut logits = vec![-60.0; 8];
        logits[usize::from(next)] = 0.0;
        logits[7] = 30.0;
        logits
    })
}

fn clockwork_episode(horizon: usize, goals: &[u16]) -> TokenEpisode {
    let actions: Vec<Vec<u16>> = (0..horizon).map(|t| vec![(t * t % 7) as u16]).collect();
    let mut states = vec![vec![2, 5]];
    for action in &actions {
        let next = (states[states.len() - 1][0] + action[0]) % 7;
        states.push(vec![next, next]);
    }
    let goals = (0..horizon).map(|t| goals.get(t / 10).map_or(vec![], |goal| vec![*goal]));
    TokenEpisode { goals: goals.collect(), states, actions }
}

fn settings(samples: usize) -> DreamSettings {
    DreamSettings { samples, seed: 4 }
}

#[test]
fn a_perfect_model_dreams_the_truth_with_any_context_and_through_crops() {
    for rewards in [false, true] {
        for context in [1, 2, 5, 100] {
            let layout = TokenLayout { states: 2, actions: 1, rewards, goals: 0, bins: 7 };
            let mut toy = clockwork(layout);
            let episode = clockwork_episode(30, &[]);
            let dream = dream_tokens(&mut toy, &episode, context, &settings(3), &mut || true);
            let dream = dream.unwrap();
            assert_eq!(dream.point, episode.states);
            assert!(dream.samples.iter().all(|sample| *sample == episode.states));
            assert_eq!(dream.log_mass.len(), 30);
            assert!(dream.log_mass.iter().all(|mass| mass.abs() < 1e-9));
            let reread = toy.restarts.iter().map(|(_, tokens)| *tokens).max().unwrap();
            let d = layout.per_transition();
            let most = (context - 1).min((toy.block - 2) / d - 1) * d + 2;
            assert_eq!(reread, most, "the window slides");
        }
    }
}

#[test]
fn another_goal_is_told_at_once_and_the_past_is_kept() {
    let layout = TokenLayout { states: 2, actions: 1, rewards: false, goals: 1, bins: 7 };
    let mut toy = clockwork(layout);
    toy.block = 1000;
    let episode = clockwork_episode(30, &[4, 6, 6]);
    dream_tokens(&mut toy, &episode, 99, &settings(1), &mut || true).unwrap();
    assert_eq!(toy.restarts, [(vec![4], 2), (vec![6], 32)]);
}

#[test]
fn the_mass_of_the_truth_is_its_probability_over_all_pasts() {
    // Two coordinates of one bit; each depends on everything before.
    let layout = TokenLayout { states: 2, actions: 1, rewards: false, goals: 0, bins: 2 };
    let score = |row: &[u16], dim: usize| -> f32 {
        let mix = row.iter().fold(dim as f32 + 0.3, |sum, bit| 0.7 * sum + 1.9 * f32::from(*bit));
        (1.7 * mix).sin() * 1.5
    };
    let mut toy = Toy::new(layout, move |row, dim| vec![score(row, dim), 0.0, 5.0]);
    let share = |row: &[u16], token: u16| -> f64 {
        let first = 1.0 / (1.0 + f64::from(-score(row, row.len() % 3)).exp());
        if token == 0 { first } else { 1.0 - first }
    };
    let of_state = |row: &[u16], state: [u16; 2]| {
        share(row, state[0]) * share(&[row, &[state[0]]].concat(), state[1])
    };
    let episode = TokenEpisode {
        goals: vec![vec![]; 2],
        states: vec![vec![1, 0], vec![0, 1], vec![1, 1]],
        actions: vec![vec![1], vec![0]],
    };
    let expected: f64 = [[0, 0], [0, 1], [1, 0], [1, 1]]
        .into_iter()
        .map(|state: [u16; 2]| {
            let past = [1, 0, 1, state[0], state[1], 0];
            of_state(&past[..3], state) * of_state(&past, [1, 1])
        })
        .sum();
    let dream = dream_tokens(&mut toy, &episode, 9, &settings(20_000), &mut || true).unwrap();
    let first = of_state(&[1, 0, 1], [0, 1]).ln();
    assert!((dream.log_mass[0] - first).abs() < 1e-6, "no past is drawn before the first");
    assert!(
        (dream.log_mass[1] - expected.ln()).abs() < 0.02,
        "{} {}",
        dream.log_mass[1],
        expected.ln()
    );
    // The samples themselves agree.
    let hits = dream.samples.iter().filter(|sample| sample[2] == [1, 1]).count();
    assert!((hits as f64 / 20_000.0 - expected).abs() < 0.015);
}

#[test]
fn a_dream_ends_where_it_is_told_to() {
    let layout = TokenLayout { states: 2, actions: 1, rewards: false, goals: 0, bins: 7 };
    let mut left = 5;
    let go_on = &mut || {
        left -= 1;
        left >= 0
    };
    let episode = clockwork_episode(30, &[]);
    assert_eq!(dream_tokens(&mut clockwork(layout), &episode, 5, &settings(2), go_on), None);
    assert_eq!(left, -1, "nothing is asked after the no");
}

fn pendulum() -> Box<dyn Environment> {
    let config = EnvironmentConfig {
        id: "pendulum".into(),
        maze: String::new(),
        door_width: None,
        max_steps: 50,
        reference_scores: None,
    };
    env::make(&config).unwrap()
}

fn recipe(horizon: usize) -> EpisodeRecipe {
    let (policies, observation) = (vec!["swing-up".into(), "random".into()], vec![0, 1, 2]);
    EpisodeRecipe { policies, stride: 2, observation, horizon }
}

fn episode() -> Episode {
    let from: Option<(&[f32], &[f32])> = Some((&[3.0, 0.5], &[]));
    Episode::record(pendulum().as_mut(), &recipe(40), from, 3).unwrap()
}

#[test]
fn an_episode_starts_where_it_is_told_and_follows_its_seed() {
    let found = episode();
    assert_eq!([found.horizon(), found.states.len(), found.seen.len()], [40, 41, 41]);
    assert!((found.states[0][0] - 3.0).abs() < 1e-6 && found.states[0][1] == 0.5);
    assert!(found.seen.iter().all(|seen| (seen[0].hypot(seen[1]) - 1.0).abs() < 1e-5));
    assert_eq!(found, episode());
    let mut world = pendulum();
    let drawn =
        |world: &mut dyn Environment, seed| Episode::record(world, &recipe(5), None, seed).unwrap();
    assert_ne!(drawn(world.as_mut(), 1), drawn(world.as_mut(), 2));
    assert!(Episode::record(world.as_mut(), &recipe(5), Some((&[0.0], &[])), 1).is_err());
}

#[test]
fn predictions_are_put_back_onto_the_circle() {
    let mut world = pendulum();
    let mut manifold = Manifold::new(world.as_mut(), &[0, 1, 2]);
    let mut seen = [1.2, 1.6, 99.0];
    manifold.project(&mut seen);
    assert!((seen[0] - 0.6).abs() < 1e-5 && (seen[1] - 0.8).abs() < 1e-5, "{seen:?}");
    assert_eq!(seen[2], 8.0, "the pendulum turns no faster");
    let mut world = pendulum();
    let mut blind = Manifold::new(world.as_mut(), &[0, 2]);
    let mut seen = [1.2, 99.0];
    blind.project(&mut seen);
    assert_eq!(seen, [1.2, 99.0], "an angle that is not seen is not corrected");
}

/// Dreams the truth, some way off.
struct Prophet(f32);

impl Dreamer for Prophet {
    fn dream(
        &mut self,
        episode: &Episode,
        settings: &DreamSettings,
        _manifold: &mut Manifold,
        _go_on: &mut dyn FnMut() -> bool,
    ) -> Option<Dream> {
        let point: Vec<Vec<f32>> = episode
            .seen
            .iter()
            .map(|seen| seen.iter().map(|value| value + self.0).collect())
            .collect();
        let samples = vec![point.clone(); settings.samples];
        Some(Dream { point, samples, log_density: vec![2.0; episode.horizon()] })
    }
}

#[test]
fn errors_of_a_perfect_model_are_zero_and_those_of_others_are_not() {
    let episode = episode();
    let standard = Standard { mean: vec![0.0; 3], deviation: vec![0.5; 3] };
    for (off, expected) in [(0.0, 0.0), (0.25, 0.5)] {
        let mut tally = Tally::default();
        for _ in 0..3 {
            let mut go_on = || true;
            let found =
                Prophet(off).dream(&episode, &settings(2), &mut Manifold::flat(), &mut go_on);
            tally.add(&episode, &found.unwrap(), &standard);
        }
        let curve = tally.curve();
        assert_eq!((tally.episodes(), curve.distance.len()), (3, 40));
        for h in 0..40 {
            assert!((curve.distance[h].mean - expected).abs() < 1e-5);
            assert_eq!((curve.distance[h].n, curve.distance[h].se < 1e-6), (3, true));
            assert!((curve.median_distance[h] - expected).abs() < 1e-5);
            assert_eq!(curve.log_likelihood[h].unwrap().mean, 2.0);
            assert!(curve.spread[h].unwrap().mean < 1e-6, "all samples are the same");
        }
    }
}

#[test]
fn the_oracle_is_the_formula_of_the_appendix_and_no_state_beyond_the_bins_counts() {
    let layout = TokenLayout { states: 3, actions: 1, rewards: false, goals: 0, bins: 10 };
    let columns = vec![vec![-1.0, 1.0], vec![-1.0, 1.0], vec![-8.0, 8.0], vec![-1.0, 1.0]];
    let bins = Discretizer::fit(layout, &columns, &[crate::data::Binning::Uniform; 4]).unwrap();
    let standard = Standard { mean: vec![0.0; 3], deviation: vec![1.0, 1.0, 4.0] };
    let mut tally = Tally::default();
    let mut episode = episode();
    tally.add_oracle(&episode, &bins, &standard);
    episode.seen[7][2] = 8.5;
    tally.add_oracle(&episode, &bins, &standard);
    let curve = tally.curve();
    let formula = 2.0 * (10.0_f64 / 2.0).ln() + (10.0_f64 / 16.0).ln();
    assert!((formula - bins.oracle_log_likelihood()).abs() < 1e-9);
    for (index, density) in curve.log_likelihood.iter().enumerate() {
        let density = density.unwrap();
        assert!((density.mean - formula).abs() < 1e-4, "{density:?}");
        assert_eq!(density.n, if index == 6 { 1 } else { 2 });
    }
    // A tenth of a bin's width off at most half a bin: 0.1, 0.1 and 0.8 / 4.
    let most = ((0.1_f64.powi(2) * 2.0 + 0.2_f64.powi(2)) / 3.0).sqrt();
    let distances = curve.distance.iter().enumerate().filter(|(index, _)| *index != 6);
    assert!(distances.clone().all(|(_, distance)| distance.mean <= most + 1e-6));
    assert!(distances.clone().any(|(_, distance)| distance.mean > 0.02));
}
