use burn::tensor::Device;

use super::*;
use crate::data::TokenLayout;
use crate::nn::decoder::Decoder;
use crate::nn::weights;

fn layout(rewards: bool, goals: usize) -> TokenLayout {
    TokenLayout { states: 2, actions: 1, rewards, goals, bins: 7 }
}

fn shape(layout: TokenLayout) -> DecoderShape {
    let positions = 6 * layout.per_transition() - 1;
    DecoderShape { layers: 2, heads: 2, width: 8, layout, positions, markov: false }
}

/// A network far from its start, or nothing would be tested.
fn network(shape: DecoderShape, device: &Device) -> Transformer {
    let network = shape.init(&mut Initializer::new(3, device));
    let mut named = weights::export(&network).unwrap();
    let mut rng = Rng::stream(4, "far from the start");
    for tensor in named.values_mut() {
        for value in &mut tensor.values {
            *value += 0.3 * rng.normal();
        }
    }
    weights::import(network, named).unwrap()
}

fn tokens(shape: &DecoderShape, n: usize, seed: u64) -> (Vec<u16>, Vec<u16>) {
    let mut rng = Rng::stream(seed, "tokens");
    let goals = (0..shape.layout.goals).map(|_| rng.below(shape.layout.bins) as u16).collect();
    // The stop token is one of them.
    let tokens = (0..n).map(|_| rng.below(shape.layout.bins + 1) as u16).collect();
    (goals, tokens)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

#[test]
fn the_published_size_has_the_published_number_of_weights() {
    let layout = TokenLayout { states: 4, actions: 2, rewards: true, goals: 0, bins: 100 };
    let shape =
        DecoderShape { layers: 4, heads: 4, width: 128, layout, positions: 79, markov: false };
    let network = shape.init(&mut Initializer::new(0, &Device::flex()));
    assert_eq!(network.num_params(), 1_009_408);
}

#[test]
fn planning_with_a_cache_is_the_function_that_was_trained() {
    let device = Device::flex();
    for (rewards, goals) in [(true, 0), (false, 2)] {
        let shape = shape(layout(rewards, goals));
        let network = network(shape, &device);
        let decoder = Decoder::new(shape, &weights::export(&network).unwrap()).unwrap();
        let d = shape.layout.per_transition();
        let (goal, tokens) = tokens(&shape, shape.positions, 5);
        let input = TokenRows { goals: &goal, tokens: &tokens, rows: 1 };
        let scores = network.forward(&input, None);
        let [_, n, classes] = scores.dims();
        let scores = values(scores);
        let planned = decoder.logits(&goal, &tokens);
        for at in 0..tokens.len() {
            let trained = &scores[((at % d) * n + at / d) * classes..][..classes];
            let planned = &planned[at * classes..][..classes];
            for (a, b) in trained.iter().zip(planned) {
                assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "token {at}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_later_token_never_changes_an_earlier_score() {
    let device = Device::flex();
    let shape = shape(layout(true, 1));
    let network = network(shape, &device);
    let d = shape.layout.per_transition();
    let (goal, first) = tokens(&shape, 4 * d, 6);
    let mut second = first.clone();
    let changed = 2 * d + 1;
    second[changed] = (second[changed] + 1) % 7;
    let run = |tokens: &[u16]| {
        let input = TokenRows { goals: &goal, tokens, rows: 1 };
        values(network.forward(&input, None))
    };
    let (a, b) = (run(&first), run(&second));
    let classes = shape.layout.bins + 1;
    let entry = |at: usize| ((at % d) * 4 + at / d) * classes;
    for at in 0..changed {
        assert_eq!(a[entry(at)..][..classes], b[entry(at)..][..classes], "token {at}");
    }
    assert_ne!(a[entry(changed)..][..classes], b[entry(changed)..][..classes]);
}

#[test]
fn a_reward_to_go_is_read_by_nobody() {
    let device = Device::flex();
    let shape = shape(layout(true, 0));
    let network = network(shape, &device);
    let d = shape.layout.per_transition();
    let (goal, first) = tokens(&shape, 4 * d, 7);
    let mut second = first.clone();
    second[2 * d - 1] = (second[2 * d - 1] + 3) % 7;
    let run = |tokens: &[u16]| {
        let input = TokenRows { goals: &goal, tokens, rows: 1 };
        values(network.forward(&input, None))
    };
    let (a, b) = (run(&first), run(&second));
    let classes = shape.layout.bins + 1;
    for at in (0..4 * d).filter(|at| *at != 2 * d - 1) {
        let entry = ((at % d) * 4 + at / d) * classes;
        assert_eq!(a[entry..][..classes], b[entry..][..classes], "token {at}");
    }
}

#[test]
fn fused_sublayers_equal_their_composition_forward_and_backward() {
    let device = Device::flex().autodiff();
    let width = 8;
    for (markov, share) in [(false, 0.0), (true, 0.0), (false, 0.3)] {
        let attention = CausalAttention {
            batch: 2,
            time: 11,
            heads: 2,
            width,
            goals: 1,
            per_transition: 5,
            hidden_dim: Some(4),
            markov,
            dropout: share,
            seed: 9,
        };
        let block = network(shape(layout(true, 1)), &device).blocks.remove(0);
        let mut rng = Rng::stream(8, "sublayers");
        let mut draw = || {
            let values = rng.normals(2 * 11 * width);
            Tensor::<2>::from_data(TensorData::new(values, [22, width]), &device)
        };
        let (x, cotangent) = (draw().require_grad(), draw());
        let dropout = RowDropout { share, seed: 3 };
        let Block { norm1, qkv, proj, norm2, expand, contract } = &block;
        let run = |output: Tensor<2>, layers: [&Linear; 2], norm: &LayerNorm| {
            let grads = (output.clone() * cotangent.clone()).sum().backward();
            let mut all = vec![values(output.inner()), values(x.grad(&grads).unwrap())];
            for (weight, bias) in layers.map(Linear::values) {
                all.push(values(weight.grad(&grads).unwrap()));
                all.push(values(bias.grad(&grads).unwrap()));
            }
            all.extend([&norm.weight, &norm.bias].map(|v| values(v.val().grad(&grads).unwrap())));
            all
        };
        let compare = |fused: Vec<Vec<f32>>, composed: Vec<Vec<f32>>| {
            for (a, b) in fused.iter().zip(&composed) {
                let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 3e-4, "largest difference {worst}, markov {markov}");
            }
        };
        let op = Sublayer { batch: 2, time: 11, width, inner: attention, dropout };
        let inner = |wide| attend(&attention, wide);
        let layers = [qkv, proj];
        compare(
            run(sublayer(&op, x.clone(), norm1, layers, inner), layers, norm1),
            run(sublayer_composed(&op, x.clone(), norm1, layers, inner), layers, norm1),
        );
        let op = Sublayer { batch: 2, time: 11, width, inner: Gelu { width: 4 * width }, dropout };
        let layers = [expand, contract];
        compare(
            run(sublayer(&op, x.clone(), norm2, layers, gelu), layers, norm2),
            run(sublayer_composed(&op, x.clone(), norm2, layers, gelu), layers, norm2),
        );
    }
}

#[test]
fn fused_cross_entropy_equals_its_composition_and_ignores_rows_of_no_weight() {
    let device = Device::flex().autodiff();
    let mut rng = Rng::stream(10, "cross-entropy");
    let scores = TensorData::new(rng.normals(5 * 4), [5, 4]);
    let scores = Tensor::<2>::from_data(scores, &device).require_grad();
    let (targets, weights) = (vec![0, 3, 1, 2, 2], vec![1.0, 5.0, 0.0, 1.0, 0.5]);
    let op = CrossEntropy {
        rows: 5,
        classes: 4,
        targets: targets.clone().into(),
        weights: weights.clone().into(),
    };
    let run = |loss: Tensor<1>| {
        let grads = loss.backward();
        (values(loss.inner())[0], values(scores.grad(&grads).unwrap()))
    };
    let (loss, grad) = run(cross_entropy(scores.clone(), targets, weights));
    let (expected, expected_grad) = run(cross_entropy_composed(&op, scores.clone()));
    assert!((loss - expected).abs() < 1e-5);
    for (a, b) in grad.iter().zip(&expected_grad) {
        assert!((a - b).abs() < 1e-5);
    }
    assert!(grad[8..12].iter().all(|value| *value == 0.0));
}

#[test]
fn dropout_changes_training_and_repeats_with_its_seed() {
    let device = Device::flex();
    let shape = shape(layout(true, 0));
    let network = network(shape, &device);
    let (goal, tokens) = tokens(&shape, shape.positions, 11);
    let run = |seed: u64| {
        let mut rng = Rng::stream(seed, "dropout");
        let input = TokenRows { goals: &goal, tokens: &tokens, rows: 1 };
        values(network.forward(&input, Some(Dropout { share: 0.2, rng: &mut rng })))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
