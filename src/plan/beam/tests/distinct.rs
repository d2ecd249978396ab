//! Samples without replacement.

use super::*;

/// The tokens of every continuation that was kept to its end.
fn leaves(tree: &BeamTree) -> Vec<Vec<u16>> {
    let last = tree.levels.len() - 1;
    let is_leaf = |node: &usize| {
        let known = &tree.nodes[*node];
        known.kept && (known.depth as usize == last || known.token == tree.layout.stop())
    };
    (0..tree.nodes.len()).filter(is_leaf).map(|node| tree.tokens(node)).collect()
}

#[test]
fn no_two_samples_are_alike_and_a_wide_beam_holds_all_there_are() {
    for seed in 0..10 {
        let mut model = scrambled_toy(layout(1, 1, false, 3), seed);
        let all: Vec<Vec<u16>> = enumerate(&model, &[0], 6).into_iter().map(|one| one.0).collect();
        for beam in [1, 7, 1000] {
            let settings = BeamSettings { beam, horizon: 3, ..open(SearchMode::Distinct) };
            let tree = run(&mut model, &request(settings, &[0]));
            let mut found = leaves(&tree);
            // An ended one that lost its place later is not among the last.
            assert!(tree.survivors(tree.levels.len() - 1).count() <= beam);
            found.sort();
            let n = found.len();
            found.dedup();
            assert_eq!(found.len(), n, "each once");
            assert!(found.iter().all(|tokens| all.contains(tokens)));
            if beam == 1000 {
                assert_eq!(n, all.len());
                let mean =
                    |node: usize| tree.nodes[node].total / (tree.nodes[node].depth + 1) as f32;
                let best = mean(tree.best.unwrap());
                let most = (0..tree.nodes.len()).filter(|node| found.contains(&tree.tokens(*node)));
                assert!(most.map(mean).fold(f32::MIN, f32::max) <= best + 1e-5);
            }
        }
    }
}

#[test]
fn a_beam_of_one_is_a_sample_of_the_model() {
    let mut model = Toy::new(layout(1, 1, false, 3), |row, dim| {
        let mut logits = scrambled(row, 3, 2);
        if dim == 0 {
            logits[3] = -50.0;
        }
        logits
    });
    let settings = BeamSettings { beam: 1, horizon: 1, ..open(SearchMode::Distinct) };
    let n = 6000_u64;
    let mut counts = [[0_usize; 3]; 3];
    for seed in 0..n {
        let tree = run(&mut model, &BeamRequest { seed, ..request(settings.clone(), &[0]) });
        let tokens = tree.best_tokens().unwrap();
        counts[usize::from(tokens[0])][usize::from(tokens[1])] += 1;
    }
    // The stop token cannot be an action; its mass goes to the others.
    let first = log_softmax(&(model.rule)(&[0], 1)[..3]);
    for action in 0..3_u16 {
        let second = log_softmax(&(model.rule)(&[0, action], 0)[..3]);
        for state in 0..3_u16 {
            let [a, s] = [action, state].map(usize::from);
            let p = f64::from((first[a] + second[s]).exp());
            let share = counts[a][s] as f64 / n as f64;
            let se = (p * (1.0 - p) / n as f64).sqrt();
            assert!((share - p).abs() < 4.0 * se, "{action} {state}: {share} against {p}");
        }
    }
}

#[test]
fn pairs_come_as_often_as_without_replacement() {
    // One action of three bins, drawn twice: P(i, j) = p_i p_j / (1 - p_i).
    let logits = [0.7_f32.ln(), 0.2_f32.ln(), 0.1_f32.ln(), -60.0];
    let mut model = Toy::new(layout(1, 1, false, 3), move |_, dim| match dim {
        0 => vec![0.0, -60.0, -60.0, -60.0],
        _ => logits.to_vec(),
    });
    let settings = BeamSettings { beam: 2, horizon: 1, ..open(SearchMode::Distinct) };
    let p = [0.7, 0.2, 0.1];
    let n = 6000_u64;
    let mut without = [0_usize; 3];
    for seed in 0..n {
        let tree = run(&mut model, &BeamRequest { seed, ..request(settings.clone(), &[0]) });
        let actions: Vec<u16> = tree.survivors(0).map(|node| tree.nodes[node].token).collect();
        assert_eq!(actions.len(), 2);
        let left = (0..3).find(|token| !actions.contains(token)).unwrap();
        without[usize::from(left)] += 1;
    }
    for (left, count) in without.into_iter().enumerate() {
        let [a, b] = [(left + 1) % 3, (left + 2) % 3].map(|at| p[at]);
        let expected: f64 = a * b / (1.0 - a) + a * b / (1.0 - b);
        let share = count as f64 / n as f64;
        let se = (expected * (1.0 - expected) / n as f64).sqrt();
        assert!((share - expected).abs() < 4.0 * se, "{left}: {share} against {expected}");
    }
}

#[test]
fn the_seed_decides() {
    let mut model = scrambled_toy(layout(2, 2, true, 9), 3);
    let settings = BeamSettings { beam: 6, horizon: 3, ..open(SearchMode::Distinct) };
    let mut nodes = |seed| {
        let request = BeamRequest { seed, ..request(settings.clone(), &[1, 2]) };
        format!("{:?}", run(&mut model, &request).nodes)
    };
    assert_eq!(nodes(1), nodes(1));
    assert_ne!(nodes(1), nodes(2));
}
