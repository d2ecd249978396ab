//! Flows against themselves and against numeric integrals and Jacobians.

use burn::tensor::{Device, TensorData};

use super::*;
use crate::nn::fused::spline::FLOOR;
use crate::rng::Rng;

fn flow_of(
    coordinates: Vec<Topology>,
    spread: f32,
    as_released: bool,
    device: &Device,
) -> SplineFlow {
    let config = SplineFlowConfig {
        couplings: SplineFlowConfig::take_turns(coordinates.len(), 4),
        coordinates,
        bins: 8,
        hidden: 16,
        layers: 2,
        condition: 3,
        harmonics: 2,
        as_released,
    };
    let mut init = Initializer::new(5, device);
    let flow = config.init(&mut init);
    // Far from the identity, or nothing would be tested.
    crate::nn::weights::import(
        flow.clone(),
        crate::nn::weights::export(&flow)
            .unwrap()
            .into_iter()
            .map(|(name, mut tensor)| {
                // A permutation is not a weight.
                let spread = if name.contains("permutation") { 1.0 } else { spread };
                for value in &mut tensor.values {
                    *value *= spread;
                }
                (name, tensor)
            })
            .collect(),
    )
    .unwrap()
}

fn tensor(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / columns;
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Latents: logistic on lines, uniform on circles.
fn base(coordinates: &[Topology], rows: usize) -> Vec<f32> {
    let mut rng = Rng::stream(1, "base");
    let mut base = Vec::new();
    for _ in 0..rows {
        for topology in coordinates {
            base.push(match topology {
                Topology::Line => {
                    let u = rng.uniform(1e-6, 1.0 - 1e-6);
                    (u / (1.0 - u)).ln() as f32
                }
                Topology::Circle => rng.uniform(-std::f64::consts::PI, std::f64::consts::PI) as f32,
            });
        }
    }
    base
}

const LINE: Topology = Topology::Line;
const CIRCLE: Topology = Topology::Circle;

#[test]
fn what_is_sampled_has_the_density_it_came_with() {
    let device = Device::flex();
    for (coordinates, as_released) in [
        (vec![LINE, LINE], false),
        (vec![CIRCLE, LINE], false),
        (vec![LINE; 4], false),
        (vec![LINE, LINE], true),
        (vec![CIRCLE, LINE], true),
        (vec![LINE; 4], true),
    ] {
        let flow = flow_of(coordinates.clone(), 4.0, as_released, &device);
        let n = coordinates.len();
        let latents = tensor(base(&coordinates, 300), n, &device);
        let condition = tensor(Rng::stream(2, "condition").normals(900), 3, &device);
        let (x, log_density) = flow.sample(latents, condition.clone());
        let again = flow.log_density(x, condition);
        for (a, b) in values(log_density).iter().zip(values(again)) {
            assert!((a - b).abs() < 2e-2 * (1.0 + a.abs()), "{a} {b} over {n}, {as_released}");
        }
    }
}

#[test]
fn leading_coordinates_have_the_marginal_of_the_whole_density() {
    let device = Device::flex();
    for as_released in [false, true] {
        let flow = flow_of(vec![LINE; 4], 2.0, as_released, &device);
        let condition = |rows: usize| tensor([0.3, -1.0, 0.7].repeat(rows), 3, &device);
        // The other two coordinates integrated out on a grid.
        let (cells, reach) = (400, 16.0_f32);
        let step = 2.0 * reach / cells as f32;
        let mut points = Vec::new();
        for i in 0..cells * cells {
            let at = |j: usize| (j as f32 + 0.5) * step - reach;
            points.extend([0.4, -0.9, at(i / cells), at(i % cells)]);
        }
        let whole = flow.log_density(tensor(points, 4, &device), condition(cells * cells));
        let summed: f64 =
            values(whole).iter().map(|l| f64::from(l.exp()) * f64::from(step * step)).sum();
        let marginal = values(flow.log_density(tensor(vec![0.4, -0.9], 2, &device), condition(1)));
        assert!((summed.ln() - f64::from(marginal[0])).abs() < 0.02, "{summed} {marginal:?}");
    }
}

#[test]
fn a_density_over_two_coordinates_integrates_to_one() {
    let device = Device::flex();
    for (first, as_released) in [(CIRCLE, false), (CIRCLE, true), (LINE, true)] {
        let spread = if first == LINE { 2.0 } else { 4.0 };
        let flow = flow_of(vec![first, LINE], spread, as_released, &device);
        let cells = 320;
        let reach = [if first == CIRCLE { std::f32::consts::PI } else { 16.0 }, 16.0];
        let mut points = Vec::new();
        for i in 0..cells * cells {
            let share = |j: usize| 2.0 * (j as f32 + 0.5) / cells as f32 - 1.0;
            points.push(reach[0] * share(i / cells));
            points.push(reach[1] * share(i % cells));
        }
        let condition = tensor([0.3, -1.0, 0.7].repeat(cells * cells), 3, &device);
        let density = values(flow.log_density(tensor(points, 2, &device), condition));
        let cell: f64 = reach.iter().map(|reach| 2.0 * f64::from(*reach) / cells as f64).product();
        let mass: f64 = density.iter().map(|l| f64::from(l.exp()) * cell).sum();
        assert!((mass - 1.0).abs() < 5e-3, "the density integrates to {mass}, {as_released}");
    }
}

#[test]
fn the_log_determinant_is_that_of_the_numeric_jacobian() {
    let device = Device::flex();
    let step = 2e-3_f32;
    for (first, as_released) in [(CIRCLE, false), (CIRCLE, true), (LINE, true)] {
        let coordinates = vec![first, LINE];
        let flow = flow_of(coordinates.clone(), 4.0, as_released, &device);
        let condition = || tensor(vec![0.3, -1.0, 0.7], 3, &device);
        for latents in base(&coordinates, 40).chunks(2) {
            let sample = |dx: f32, dy: f32| {
                let base = tensor(vec![latents[0] + dx, latents[1] + dy], 2, &device);
                let (x, log_density) = flow.sample(base, condition());
                (values(x), values(log_density)[0])
            };
            let turn = |a: f32| match first {
                Topology::Circle => wrapped(a),
                Topology::Line => a,
            };
            let column = |(up, _): (Vec<f32>, f32), (down, _): (Vec<f32>, f32)| {
                [turn(up[0] - down[0]) / (2.0 * step), (up[1] - down[1]) / (2.0 * step)]
            };
            let a = column(sample(step, 0.0), sample(-step, 0.0));
            let b = column(sample(0.0, step), sample(0.0, -step));
            let determinant = (a[0] * b[1] - a[1] * b[0]).abs().ln();
            let logistic = |z: f32| -z.abs() - 2.0 * (-z.abs()).exp().ln_1p();
            let log_base = logistic(latents[1])
                + match first {
                    Topology::Circle => -std::f32::consts::TAU.ln(),
                    Topology::Line => logistic(latents[0]),
                };
            let expected = log_base - determinant;
            let (_, found) = sample(0.0, 0.0);
            assert!((expected - found).abs() < 0.08, "{expected} {found} at {latents:?}");
        }
    }
}

/// An angle in `[-pi, pi)`.
fn wrapped(a: f32) -> f32 {
    (a + std::f32::consts::PI).rem_euclid(std::f32::consts::TAU) - std::f32::consts::PI
}

#[test]
fn a_released_slope_cannot_fall_below_that_of_two_softplus() {
    let device = Device::flex();
    let (bins, rows) = (8, 64);
    for topology in [LINE, CIRCLE] {
        let bound = bound(topology);
        let op = Spline { rows, bins, bound, topology, direction: Direction::Forward };
        // Slopes that one softplus takes to 0, at the inner knots of equal bins.
        let n = topology.parameters(bins);
        let raw = |column: usize| if (2 * bins..3 * bins).contains(&column) { -20.0 } else { 0.0 };
        let raw: Vec<f32> = (0..rows * n).map(|i| raw(i % n)).collect();
        let raw = tensor(raw, n, &device);
        let knot = |row: usize| bound * (2.0 * (1 + row % (bins - 1)) as f32 / bins as f32 - 1.0);
        let x = tensor((0..rows).map(knot).collect(), 1, &device);
        let once = values(composed(op, x.clone(), raw.clone()));
        let twice = values(composed(op, x, normalized_once(raw, bins, bound, topology)));
        for (once, twice) in once.chunks(2).zip(twice.chunks(2)) {
            assert!(once[1] < -4.0, "slope {} {topology:?}", once[1].exp());
            assert!((twice[1].exp() - (2.0_f32.ln() + FLOOR)).abs() < 1e-2, "{}", twice[1].exp());
        }
    }
}

#[test]
fn mixers_stand_before_every_pair_of_couplings_over_the_lines_of_their_block() {
    let mixers = |coordinates: Vec<Topology>, turns: usize| {
        let couplings = SplineFlowConfig::take_turns(coordinates.len(), turns);
        let config = SplineFlowConfig {
            coordinates,
            couplings,
            bins: 8,
            hidden: 4,
            layers: 1,
            condition: 1,
            harmonics: 1,
            as_released: true,
        };
        config.mixers().into_iter().map(|m| (m.before, m.coordinates)).collect::<Vec<_>>()
    };
    assert_eq!(mixers(vec![CIRCLE, LINE], 6), [(0, vec![1]), (2, vec![1]), (4, vec![1])]);
    let four = [(0, vec![2, 3]), (2, vec![2, 3]), (4, vec![0, 1]), (6, vec![0, 1])];
    assert_eq!(mixers(vec![LINE; 4], 4), four);
    assert!(mixers(vec![CIRCLE, CIRCLE], 4).is_empty());
}

#[test]
fn a_flow_fitted_to_data_starts_with_latents_of_their_scale() {
    let device = Device::flex();
    let flow = flow_of(vec![LINE, LINE], 1.0, true, &device);
    let data: Vec<f32> =
        Rng::stream(6, "far").normals(4000).iter().map(|n| 4.0 + 0.2 * n).collect();
    let condition = || tensor([0.0, 0.0, 0.0].repeat(2000), 3, &device);
    let mean = |flow: &SplineFlow| {
        let found = values(flow.log_density(tensor(data.clone(), 2, &device), condition()));
        found.iter().sum::<f32>() / 2000.0
    };
    let (before, flow) = (mean(&flow), flow.fitted(tensor(data.clone(), 2, &device), condition()));
    // A Gaussian of deviation 0.2 has -2 ln 0.2 - ln(2 pi e) = 0.38 nats.
    let after = mean(&flow);
    assert!(before < -5.0 && after > -0.8 && after < 0.39, "{before} {after}");
}

#[test]
fn the_composed_spline_equals_the_fused_one_and_so_do_their_gradients() {
    let device = Device::flex().autodiff();
    let rows = 200;
    for topology in [Topology::Line, Topology::Circle] {
        for direction in [Direction::Forward, Direction::Inverse] {
            let (bins, bound) = (8, bound(topology));
            let op = Spline { rows, bins, bound, topology, direction };
            let mut rng = Rng::stream(9, "composed");
            let x: Vec<f32> = (0..rows).map(|_| rng.uniform(-1.2, 1.2) as f32 * bound).collect();
            let x = tensor(x, 1, &device).require_grad();
            let raw = rng.normals(rows * topology.parameters(bins));
            let raw = tensor(raw, topology.parameters(bins), &device).require_grad();
            let weights = tensor(rng.normals(2 * rows), 2, &device);
            let run = |output: Tensor<2>| {
                let grads = (output.clone() * weights.clone()).sum().backward();
                let grads = [x.grad(&grads), raw.grad(&grads)].map(|g| values(g.unwrap()));
                (values(output.inner()), grads)
            };
            let (fused, fused_grads) = run(spline(op, x.clone(), raw.clone()));
            let (plain, plain_grads) = run(composed(op, x.clone(), raw.clone()));
            let off = |a: &[f32], b: &[f32]| {
                a.iter().zip(b).filter(|(a, b)| (*a - *b).abs() > 2e-3 * (1.0 + b.abs())).count()
            };
            assert_eq!(off(&fused, &plain), 0, "{topology:?} {direction:?}");
            if direction == Direction::Forward {
                for (fused, plain) in fused_grads.iter().zip(&plain_grads) {
                    // A point on a knot may fall into either bin.
                    assert!(off(fused, plain) <= fused.len() / 200, "{topology:?}");
                }
            }
        }
    }
}

#[test]
fn couplings_take_turns_and_later_blocks_see_earlier_ones() {
    let two = SplineFlowConfig::take_turns(2, 6);
    assert_eq!(two.len(), 6);
    assert!(two.iter().all(|c| c.given == vec![1 - c.target]));
    let four = SplineFlowConfig::take_turns(4, 2);
    assert_eq!(four[0], CouplingConfig { target: 2, given: vec![0, 1, 3] });
    assert_eq!(four[3], CouplingConfig { target: 1, given: vec![0] });
}
