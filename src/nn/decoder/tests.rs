//! The decoder against straight loops in double precision, and against itself.

use super::{Cache, Decoder, DecoderShape};
use crate::data::tokens::TokenLayout;
use crate::nn::weights::{HostTensor, NamedTensors, WeightsError};
use crate::rng::Rng;

const REWARDS: TokenLayout =
    TokenLayout { states: 2, actions: 1, rewards: true, goals: 0, bins: 7 };
const GOALS: TokenLayout = TokenLayout { states: 3, actions: 1, rewards: false, goals: 2, bins: 6 };

fn shape(layout: TokenLayout, heads: usize, width: usize, markov: bool) -> DecoderShape {
    DecoderShape { layers: 2, heads, width, layout, positions: 30, markov }
}

/// One, two, three and five heads; one, four and nine registers per key.
fn shapes() -> Vec<DecoderShape> {
    let both = TokenLayout { goals: 3, ..REWARDS };
    vec![
        shape(REWARDS, 4, 64, false),
        shape(REWARDS, 1, 20, true),
        shape(GOALS, 3, 24, false),
        shape(GOALS, 2, 32, true),
        shape(both, 5, 80, true),
        shape(both, 4, 144, false),
    ]
}

fn weights(shape: &DecoderShape, seed: u64) -> NamedTensors {
    let mut rng = Rng::stream(seed, "weights");
    let (bins, dims, w) = (shape.layout.bins, shape.layout.per_transition(), shape.width);
    let mut named = NamedTensors::new();
    let mut put = |name: &str, shape: &[usize], mean: f32, scale: f32| {
        let values = rng.normals(shape.iter().product()).iter().map(|x| mean + scale * x).collect();
        named.insert(name.to_owned(), HostTensor { shape: shape.to_vec(), values });
    };
    put("tokens", &[bins * dims + 1, w], 0.0, 1.0);
    if shape.layout.goals > 0 {
        put("goals", &[bins * shape.layout.goals, w], 0.0, 1.0);
    }
    put("positions", &[shape.positions, w], 0.0, 0.5);
    let scale = 1.0 / (w as f32).sqrt();
    for layer in 0..shape.layers {
        for norm in ["norm1", "norm2"] {
            put(&format!("blocks.{layer}.{norm}.weight"), &[w], 1.0, 0.2);
            put(&format!("blocks.{layer}.{norm}.bias"), &[w], 0.0, 0.2);
        }
        for (name, outputs, inputs) in
            [("qkv", 3 * w, w), ("proj", w, w), ("expand", 4 * w, w), ("contract", w, 4 * w)]
        {
            put(&format!("blocks.{layer}.{name}.weight"), &[outputs, inputs], 0.0, 1.5 * scale);
            put(&format!("blocks.{layer}.{name}.bias"), &[outputs], 0.0, 0.2);
        }
    }
    put("norm.weight", &[w], 1.0, 0.2);
    put("norm.bias", &[w], 0.0, 0.2);
    put("heads", &[dims, w, bins + 1], 0.0, scale);
    named
}

fn decoder(shape: &DecoderShape) -> Decoder {
    Decoder::new(*shape, &weights(shape, 1)).unwrap()
}

fn draw(rng: &mut Rng, n: usize, bins: usize) -> Vec<u16> {
    (0..n).map(|_| rng.below(bins) as u16).collect()
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() < 1e-4, "entry {i}: {a} and {b}");
    }
}

/// The network in straight loops.
struct Naive<'a> {
    shape: &'a DecoderShape,
    weights: &'a NamedTensors,
}

impl Naive<'_> {
    fn get(&self, name: &str) -> &[f32] {
        &self.weights[name].values
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let (weight, bias) =
            (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let normal = x.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt());
        normal
            .zip(weight.iter().zip(bias))
            .map(|(x, (w, b))| x * f64::from(*w) + f64::from(*b))
            .collect()
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = self.get(&format!("{name}.weight"));
        let bias = self.get(&format!("{name}.bias"));
        let rows = weight.chunks_exact(x.len()).zip(bias);
        rows.map(|(row, bias)| {
            f64::from(*bias) + row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>()
        })
        .collect()
    }

    fn sees(&self, query: usize, key: usize) -> bool {
        let (goals, dims) = (self.shape.layout.goals, self.shape.layout.per_transition());
        let transition = |at: usize| (at - goals) / dims;
        key <= query
            && (key < goals
                || (self.shape.layout.hidden_dim() != Some((key - goals) % dims)
                    && (!self.shape.markov || transition(key) == transition(query))))
    }

    /// Adds to `map` `[heads, T, T]`; returns the residual update.
    fn attention(&self, block: &str, x: &[Vec<f64>], map: &mut Vec<f32>) -> Vec<Vec<f64>> {
        let w = self.shape.width;
        let size = w / self.shape.heads;
        let qkv: Vec<Vec<f64>> = x
            .iter()
            .map(|x| self.linear(&format!("{block}.qkv"), &self.norm(&format!("{block}.norm1"), x)))
            .collect();
        let mut mixed = vec![vec![0.0; w]; x.len()];
        for head in 0..self.shape.heads {
            let at = |part: usize, channel: usize| part * w + head * size + channel;
            for query in 0..x.len() {
                let scores: Vec<f64> = (0..x.len())
                    .map(|key| {
                        let product: f64 =
                            (0..size).map(|c| qkv[query][at(0, c)] * qkv[key][at(1, c)]).sum();
                        let score = (product / (size as f64).sqrt()).exp();
                        if self.sees(query, key) { score } else { 0.0 }
                    })
                    .collect();
                let total: f64 = scores.iter().sum();
                for (key, score) in scores.iter().enumerate() {
                    map.push((score / total) as f32);
                    for c in 0..size {
                        mixed[query][head * size + c] += score / total * qkv[key][at(2, c)];
                    }
                }
            }
        }
        mixed.iter().map(|mixed| self.linear(&format!("{block}.proj"), mixed)).collect()
    }

    /// Logits `[tokens, V + 1]` and attention `[layers, heads, T, T]`.
    fn run(&self, goal: &[u16], tokens: &[u16]) -> (Vec<f32>, Vec<f32>) {
        let (bins, dims, w) =
            (self.shape.layout.bins, self.shape.layout.per_transition(), self.shape.width);
        let row = |name: &str, index: usize| -> Vec<f64> {
            self.get(name)[index * w..(index + 1) * w].iter().map(|x| f64::from(*x)).collect()
        };
        let goals = goal.iter().enumerate().map(|(i, bin)| row("goals", i * bins + *bin as usize));
        let tokens = tokens.iter().enumerate().map(|(i, token)| {
            let token = *token as usize;
            let id = if token == bins { bins * dims } else { i % dims * bins + token };
            row("tokens", id).iter().zip(row("positions", i)).map(|(a, b)| a + b).collect()
        });
        let mut x: Vec<Vec<f64>> = goals.chain(tokens).collect();
        let mut map = Vec::new();
        for layer in 0..self.shape.layers {
            let block = format!("blocks.{layer}");
            let update = self.attention(&block, &x, &mut map);
            for (x, update) in x.iter_mut().zip(update) {
                x.iter_mut().zip(update).for_each(|(x, update)| *x += update);
                let mut hidden = self
                    .linear(&format!("{block}.expand"), &self.norm(&format!("{block}.norm2"), x));
                hidden.iter_mut().for_each(|x| *x = naive_gelu(*x));
                let update = self.linear(&format!("{block}.contract"), &hidden);
                x.iter_mut().zip(update).for_each(|(x, update)| *x += update);
            }
        }
        let mut logits = Vec::new();
        for (i, x) in x[goal.len()..].iter().enumerate() {
            let x = self.norm("norm", x);
            let head = &self.get("heads")[i % dims * w * (bins + 1)..];
            for output in 0..=bins {
                let products =
                    x.iter().enumerate().map(|(c, x)| x * f64::from(head[c * (bins + 1) + output]));
                logits.push(products.sum::<f64>() as f32);
            }
        }
        (logits, map)
    }
}

/// GELU from the power series of the error function.
pub(super) fn naive_gelu(x: f64) -> f64 {
    let z = (x / 2.0_f64.sqrt()).clamp(-5.0, 5.0);
    let (mut term, mut erf) = (z, z);
    for n in 1..120 {
        term *= -z * z / f64::from(n);
        erf += term / f64::from(2 * n + 1);
    }
    0.5 * x * (1.0 + erf * 2.0 / std::f64::consts::PI.sqrt())
}

#[test]
fn logits_and_attention_equal_those_of_straight_loops() {
    for shape in shapes() {
        let weights = weights(&shape, 1);
        let decoder = Decoder::new(shape, &weights).unwrap();
        let mut rng = Rng::stream(2, "tokens");
        let goal = draw(&mut rng, shape.layout.goals, shape.layout.bins);
        // The stop token included.
        let tokens = draw(&mut rng, 23, shape.layout.bins + 1);
        let (logits, map) = Naive { shape: &shape, weights: &weights }.run(&goal, &tokens);
        close(&decoder.logits(&goal, &tokens), &logits);
        close(&decoder.attention(&goal, &tokens), &map);
    }
}

/// Compare logits with those of reading every fifth row afresh.
fn compare(decoder: &Decoder, goal: &[u16], rows: &[Vec<u16>], logits: &[f32]) {
    let each = rows.iter().zip(logits.chunks_exact(logits.len() / rows.len()));
    for (row, logits) in each.step_by(5) {
        let afresh = decoder.logits(goal, row);
        close(logits, &afresh[afresh.len() - logits.len()..]);
    }
}

/// Grow `rows` by single tokens, reordered and split at random, and compare
/// with reading each row afresh.
fn grow(decoder: &Decoder, cache: &mut Cache, goal: &[u16], mut rows: Vec<Vec<u16>>, seed: u64) {
    let (layout, mut rng) = (decoder.shape().layout, Rng::stream(seed, "beams"));
    for n in [5, 33, 4, 20, 1, 9, 9, 2] {
        let parents: Vec<usize> = (0..n).map(|_| rng.below(rows.len())).collect();
        let tokens = draw(&mut rng, n, layout.bins + 1);
        rows = parents
            .iter()
            .zip(&tokens)
            .map(|(parent, token)| [rows[*parent].as_slice(), &[*token]].concat())
            .collect();
        let logits = decoder.step(cache, &parents, &tokens);
        assert_eq!((cache.rows(), cache.len()), (n, rows[0].len()));
        compare(decoder, goal, &rows, &logits);
    }
}

#[test]
fn steps_from_one_row_equal_reading_afresh() {
    for shape in shapes() {
        let (decoder, mut cache) = (decoder(&shape), Cache::default());
        let mut rng = Rng::stream(3, "prefix");
        let goal = draw(&mut rng, shape.layout.goals, shape.layout.bins);
        for length in [1, 13] {
            let row = draw(&mut rng, length, shape.layout.bins);
            let logits = decoder.restart(&mut cache, &goal, &[&row]);
            compare(&decoder, &goal, std::slice::from_ref(&row), &logits);
            grow(&decoder, &mut cache, &goal, vec![row], length as u64);
        }
    }
}

#[test]
fn steps_after_many_rows_equal_reading_afresh() {
    for shape in shapes() {
        let (decoder, mut cache) = (decoder(&shape), Cache::default());
        let mut rng = Rng::stream(4, "prefixes");
        let goal = draw(&mut rng, shape.layout.goals, shape.layout.bins);
        // More rows than are read together.
        let rows: Vec<Vec<u16>> = (0..45).map(|_| draw(&mut rng, 10, shape.layout.bins)).collect();
        let borrowed: Vec<&[u16]> = rows.iter().map(Vec::as_slice).collect();
        let logits = decoder.restart(&mut cache, &goal, &borrowed);
        assert_eq!((cache.rows(), cache.len()), (45, 10));
        compare(&decoder, &goal, &rows, &logits);
        grow(&decoder, &mut cache, &goal, rows, 5);
    }
}

#[test]
fn results_depend_neither_on_threads_nor_on_what_a_cache_held_before() {
    let (first, second) = (shape(REWARDS, 4, 64, false), shape(GOALS, 2, 32, true));
    let search = |cache: &mut Cache, shape: &DecoderShape| {
        let (decoder, mut rng) = (decoder(shape), Rng::stream(6, "search"));
        let goal = draw(&mut rng, shape.layout.goals, shape.layout.bins);
        let row = draw(&mut rng, 4, shape.layout.bins);
        let mut all = decoder.restart(cache, &goal, &[&row]);
        for _ in 0..6 {
            let parents: Vec<usize> = (0..50).map(|_| rng.below(cache.rows())).collect();
            all.extend(decoder.step(cache, &parents, &draw(&mut rng, 50, shape.layout.bins)));
        }
        all
    };
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let mut cache = Cache::default();
    let alone = pool(1).install(|| search(&mut cache, &first));
    let other = pool(1).install(|| search(&mut cache, &second));
    assert_eq!(pool(5).install(|| search(&mut Cache::default(), &first)), alone);
    assert_eq!(pool(3).install(|| search(&mut cache, &first)), alone);
    assert_eq!(search(&mut cache, &second), other);
}

#[test]
fn a_later_token_changes_no_earlier_logit() {
    for shape in shapes() {
        let (decoder, mut rng) = (decoder(&shape), Rng::stream(7, "tokens"));
        let goal = draw(&mut rng, shape.layout.goals, shape.layout.bins);
        let mut tokens = draw(&mut rng, 17, shape.layout.bins);
        let before = decoder.logits(&goal, &tokens);
        tokens[11] = (tokens[11] + 1) % shape.layout.bins as u16;
        let after = decoder.logits(&goal, &tokens);
        let kept = 11 * (shape.layout.bins + 1);
        assert_eq!(before[..kept], after[..kept]);
        assert_ne!(before[kept..], after[kept..]);
    }
}

#[test]
fn attention_sums_to_one_and_spares_returns_later_tokens_and_markov_past() {
    for shape in shapes() {
        let (decoder, mut rng) = (decoder(&shape), Rng::stream(8, "tokens"));
        let (goals, dims) = (shape.layout.goals, shape.layout.per_transition());
        let goal = draw(&mut rng, goals, shape.layout.bins);
        let side = goals + 3 * dims + 1;
        let map = decoder.attention(&goal, &draw(&mut rng, 3 * dims + 1, shape.layout.bins));
        assert_eq!(map.len(), shape.layers * shape.heads * side * side);
        for (line, weights) in map.chunks_exact(side).enumerate() {
            let row = line % side;
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            for (column, weight) in weights.iter().enumerate() {
                let is_return =
                    column >= goals && shape.layout.hidden_dim() == Some((column - goals) % dims);
                let is_past = shape.markov
                    && column >= goals
                    && (column - goals) / dims < row.saturating_sub(goals) / dims;
                let is_masked = column > row || is_return || is_past;
                assert_eq!(*weight == 0.0, is_masked, "{shape:?}: {row} to {column}");
            }
        }
    }
}

#[test]
fn wrong_weights_are_refused_by_name() {
    let shape = shape(REWARDS, 4, 64, false);
    let refused = |change: &dyn Fn(&mut NamedTensors)| {
        let mut weights = weights(&shape, 1);
        change(&mut weights);
        Decoder::new(shape, &weights).err()
    };
    let bias = "blocks.1.qkv.bias";
    assert_eq!(refused(&|_| ()), None);
    assert_eq!(
        refused(&|weights| drop(weights.remove(bias))),
        Some(WeightsError::Missing(bias.into()))
    );
    let goals = HostTensor { shape: vec![7, 64], values: vec![0.0; 7 * 64] };
    assert_eq!(
        refused(&|weights| drop(weights.insert("goals".into(), goals.clone()))),
        Some(WeightsError::Unknown("goals".into()))
    );
    assert_eq!(
        refused(&|weights| weights.get_mut(bias).unwrap().values[3] = f32::NAN),
        Some(WeightsError::NotFinite(bias.into()))
    );
    assert_eq!(
        refused(&|weights| weights.get_mut("heads").unwrap().shape.swap(1, 2)),
        Some(WeightsError::Shape {
            name: "heads".into(),
            found: vec![5, 8, 64],
            expected: vec![5, 64, 8]
        })
    );
}

#[test]
#[should_panic(expected = "token 8 at position 1")]
fn a_token_beyond_the_vocabulary_is_a_programming_error() {
    decoder(&shape(REWARDS, 4, 64, false)).logits(&[], &[7, 8]);
}

#[test]
#[should_panic(expected = "30 positions")]
fn a_row_beyond_the_positions_is_a_programming_error() {
    let (decoder, mut cache) = (decoder(&shape(REWARDS, 4, 64, false)), Cache::default());
    decoder.restart(&mut cache, &[], &[&[0; 30]]);
    assert!(decoder.step(&mut cache, &[], &[]).is_empty());
    decoder.restart(&mut cache, &[], &[&[0; 30]]);
    decoder.step(&mut cache, &[0], &[0]);
}
