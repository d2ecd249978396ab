//! Context and block, edits, stopping, and what is refused.

use super::*;

fn edit(kind: EditKind, path: &[u16]) -> Edit {
    Edit { path: path.to_vec(), kind }
}

#[test]
fn a_long_context_is_cut_to_the_last_whole_transitions() {
    let mut model = scrambled_toy(layout(2, 1, false, 9), 0);
    let context: Vec<u16> = (0..17).map(|token| token % 9).collect();
    for (most, expected) in [(1, 15), (2, 12), (3, 9), (6, 0), (9, 0)] {
        let settings = BeamSettings { context: most, ..open(SearchMode::Likelihood) };
        let tree = run(&mut model, &request(settings, &context));
        assert_eq!(tree.context[..], context[expected..], "{most} transitions");
        assert_eq!(model.restarts.pop().unwrap(), [context[expected..].to_vec()]);
    }
}

#[test]
fn rows_that_outgrow_the_block_are_cropped_between_transitions() {
    let mut model = scrambled_toy(layout(2, 1, false, 9), 0);
    model.block = 11;
    let settings = BeamSettings { beam: 3, context: 2, horizon: 6, ..open(SearchMode::Likelihood) };
    let context = [1, 2, 3, 4, 5];
    let tree = run(&mut model, &request(settings, &context));
    // 5 tokens grow to 8 and 11; then a transition of the past and the state
    // remain, 5 tokens again, which last for another two transitions.
    assert_eq!(model.restarts.len(), 3);
    assert_eq!(model.restarts[0], [context.to_vec()]);
    assert_eq!(model.steps, 18 - 1 - 2, "the last token is not read");
    for (restart, depth) in [(1, 5), (2, 11)] {
        let live = tree.survivors(depth).filter(|node| tree.nodes[*node].token != 9);
        let rows: Vec<Vec<u16>> = live
            .map(|node| {
                let row = [&context[..], &tree.tokens(node)[..]].concat();
                row[row.len() - 5..].to_vec()
            })
            .collect();
        assert_eq!(model.restarts[restart], rows);
    }
}

#[test]
fn the_goal_stands_before_every_row_that_is_read_anew() {
    let layout = TokenLayout { goals: 2, ..layout(2, 1, false, 9) };
    let mut model = scrambled_toy(layout, 0);
    model.block = 6;
    let settings = BeamSettings { horizon: 3, ..open(SearchMode::Likelihood) };
    run(&mut model, &BeamRequest { goal: vec![8, 3], ..request(settings, &[1, 2]) });
    assert_eq!(model.goals, vec![vec![8, 3]; 3]);
}

#[test]
fn a_model_without_memory_gives_the_same_with_any_block() {
    for mode in MODES {
        // The rule sees the last transition only.
        let layout = layout(2, 1, true, 6);
        let plan = |block| {
            let mut model = Toy::new(layout, move |row, dim| {
                scrambled(&row[row.len().saturating_sub(if dim == 0 { 5 } else { dim })..], 6, 3)
            });
            model.block = block;
            let settings = BeamSettings { beam: 6, context: 3, horizon: 5, ..open(mode) };
            let tree = run(&mut model, &request(settings, &[1, 2, 3, 0, 0, 4, 5]));
            (format!("{:?}", tree.nodes), tree.best_tokens(), model.restarts.len())
        };
        let (nodes, best, restarts) = plan(1000);
        assert_eq!(restarts, 1);
        for (block, restarts) in [(7, 5), (11, 5), (12, 5), (17, 4), (22, 2), (32, 1)] {
            let found = plan(block);
            assert_eq!((&found.0, &found.1), (&nodes, &best), "block of {block}");
            assert_eq!(found.2, restarts, "block of {block}");
        }
    }
}

#[test]
fn every_continuation_follows_a_forced_path_however_unlikely() {
    for mode in MODES {
        let layout = layout(2, 2, true, 6);
        let mut model = Toy::new(layout, move |row, _| {
            let mut logits = scrambled(row, 6, 8);
            logits[5] = -80.0;
            logits
        });
        let settings = BeamSettings { beam: 5, horizon: 2, action_k: 1, ..open(mode) };
        let path = [5, 5, 2, 5, 5, 0, 5];
        let edits = vec![edit(EditKind::Force, &path[..3]), edit(EditKind::Force, &path)];
        let tree = run(&mut model, &BeamRequest { edits, ..request(settings, &[0, 1]) });
        assert_eq!(tree.best_tokens().unwrap()[..7], path);
        for node in tree.levels[7..].iter().flat_map(Clone::clone) {
            assert_eq!(tree.tokens(node)[..7], path);
        }
        assert_eq!(tree.levels.len(), 12);
        let expected = if mode == SearchMode::Sample { 5 } else { 1 };
        assert!(tree.levels[..7].iter().all(|level| level.len() == expected));
    }
}

#[test]
fn a_search_forced_along_its_own_result_finds_it_again() {
    for mode in MODES {
        let mut model = scrambled_toy(layout(2, 2, true, 6), 4);
        let settings = BeamSettings { beam: 5, horizon: 3, ..open(mode) };
        let plain = request(settings, &[0, 1]);
        let tree = run(&mut model, &plain);
        let edits = vec![edit(EditKind::Force, &tree.best_tokens().unwrap())];
        let forced = run(&mut model, &BeamRequest { edits, ..plain });
        assert_eq!(forced.best_tokens(), tree.best_tokens());
        let (a, b) = (tree.nodes[tree.best.unwrap()], forced.nodes[forced.best.unwrap()]);
        assert!((a.total - b.total).abs() < 1e-4 && (a.value - b.value).abs() < 1e-4);
    }
}

#[test]
fn no_continuation_passes_through_a_pruned_node() {
    for mode in MODES {
        let mut model = scrambled_toy(layout(1, 1, true, 4), 6);
        let settings = BeamSettings { beam: 20, horizon: 2, ..open(mode) };
        let mut edits = Vec::new();
        let mut results = Vec::new();
        for cut in [8, 5, 3, 1] {
            let request = BeamRequest { edits: edits.clone(), ..request(settings.clone(), &[0]) };
            let tree = run(&mut model, &request);
            let best = tree.best_tokens().unwrap();
            for node in 0..tree.nodes.len() {
                let tokens = tree.tokens(node);
                assert!(!edits.iter().any(|edit: &Edit| tokens.starts_with(&edit.path)));
            }
            assert!(!results.contains(&best));
            edits.push(edit(EditKind::Prune, &best[..cut.min(best.len())]));
            results.push(best);
        }
    }
}

#[test]
fn pruning_takes_what_lies_behind_the_node_and_nothing_else() {
    let mut model = scrambled_toy(layout(1, 1, false, 3), 2);
    let settings = BeamSettings { beam: 1000, horizon: 2, ..open(SearchMode::Likelihood) };
    let pruned = [vec![0, 1], vec![2], vec![1, 2, 0], vec![1, 3]];
    let edits = pruned.iter().map(|path| edit(EditKind::Prune, path)).collect();
    let tree = run(&mut model, &BeamRequest { edits, ..request(settings, &[0]) });
    let mut expected: Vec<Vec<u16>> = enumerate(&model, &[0], 4).into_iter().map(|a| a.0).collect();
    expected.retain(|tokens| !pruned.iter().any(|path| tokens.starts_with(path)));
    expected.sort();
    let leaf = |node: &usize| tree.nodes[*node].depth == 3 || tree.nodes[*node].token == 3;
    let leaves = (0..tree.nodes.len()).filter(leaf);
    let mut found: Vec<Vec<u16>> = leaves.map(|node| tree.tokens(node)).collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn pruning_with_a_reach_takes_the_neighbors_and_what_passes_by_near() {
    // States, actions of two numbers; nothing ever stops.
    let layout = layout(1, 2, false, 9);
    let mut model = Toy::new(layout, |row, _| {
        let mut logits = scrambled(row, 9, 5);
        logits[9] = -50.0;
        logits
    });
    let path = [4, 4, 4, 4, 4];
    let edits = vec![edit(EditKind::Prune, &path)];
    for reach in [0_u16, 2] {
        let prune_reach = usize::from(reach);
        let settings = BeamSettings { beam: 4000, horizon: 2, ..open(SearchMode::Likelihood) };
        let settings = BeamSettings { prune_reach, ..settings };
        let pruned = BeamRequest { edits: edits.clone(), ..request(settings.clone(), &[0]) };
        let tree = run(&mut model, &pruned);
        let is_near = |tokens: &[u16]| match reach {
            0 => tokens == path,
            // The state and the second action count; the first action does not.
            _ => tokens[2..].iter().zip(&path[2..]).all(|(a, b)| a.abs_diff(*b) <= reach),
        };
        let deep: Vec<Vec<u16>> = tree.levels[4].clone().map(|node| tree.tokens(node)).collect();
        assert!(deep.len() >= 4000 && !deep.iter().any(|tokens| is_near(tokens)), "{reach}");
        // What is just out of reach stays, and so do other states.
        for other in [[4 + reach + 1, 4], [4, 4 - reach - 1]] {
            assert!(deep.iter().any(|tokens| tokens[3..] == other), "{other:?}");
        }
        assert!(deep.iter().any(|tokens| tokens[2] == 8 && tokens[3..] == [4, 4]));
        // A forced path is exact, even near a pruned one.
        let near = [4, 4, 4, 4, 5];
        let edits = vec![edit(EditKind::Prune, &path), edit(EditKind::Force, &near)];
        let tree = run(&mut model, &BeamRequest { edits, ..request(settings, &[0]) });
        assert_eq!(tree.best_tokens().unwrap()[..5], near);
    }
}

#[test]
fn pruning_and_forcing_combine_and_contradictions_are_refused() {
    let mut model = scrambled_toy(layout(1, 1, false, 4), 6);
    let plain = request(BeamSettings { beam: 9, horizon: 1, ..open(SearchMode::Likelihood) }, &[0]);
    let force = |path: &[u16]| edit(EditKind::Force, path);
    let prune = |path: &[u16]| edit(EditKind::Prune, path);
    let edits = vec![force(&[2]), prune(&[2, 0]), prune(&[2, 1]), prune(&[2, 4]), prune(&[2, 2])];
    let tree = run(&mut model, &BeamRequest { edits, ..plain.clone() });
    assert_eq!(tree.best_tokens().unwrap(), [2, 3]);
    for edits in [
        vec![force(&[2, 1]), force(&[2, 3, 1])],
        vec![force(&[2, 1]), prune(&[2])],
        (0..4).map(|token| prune(&[token])).collect(),
        vec![prune(&[])],
        vec![force(&[4])],
        vec![force(&[0, 5])],
        vec![force(&[0, 4, 1])],
    ] {
        let request = BeamRequest { edits: edits.clone(), ..plain.clone() };
        let refused = search(&mut model, &request, None, &mut |_| ControlFlow::Continue(()));
        assert!(refused.is_err(), "{edits:?}");
    }
}

#[test]
fn breaking_stops_before_the_model_is_asked_again() {
    for mode in MODES {
        for last in 1..=12 {
            let mut model = scrambled_toy(layout(2, 2, true, 6), 4);
            let settings = BeamSettings { beam: 5, horizon: 2, observation_k: 1, ..open(mode) };
            let mut steps = 0;
            let found = search(&mut model, &request(settings, &[0, 1]), None, &mut |tree| {
                assert!(tree.best.is_some());
                steps += 1;
                if steps == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert!(found.unwrap().is_none());
            assert_eq!((steps, model.steps), (last, last - 1));
        }
    }
}

#[test]
fn malformed_requests_are_refused_with_the_reason() {
    let plain = request(open(SearchMode::Likelihood), &[0, 1]);
    let with = |change: &dyn Fn(&mut BeamSettings)| {
        let mut request = plain.clone();
        change(&mut request.settings);
        request
    };
    let context = |context: &[u16]| BeamRequest { context: context.to_vec(), ..plain.clone() };
    for (reason, request) in [
        ("beam", with(&|settings| settings.beam = 0)),
        ("expand", with(&|settings| settings.expand = 0)),
        ("horizon", with(&|settings| settings.horizon = 0)),
        ("context", with(&|settings| settings.context = 0)),
        ("replan_every", with(&|settings| settings.replan_every = 0)),
        ("horizon", with(&|settings| settings.horizon = usize::MAX)),
        ("beam", with(&|settings| settings.beam = 1 << 30)),
        ("action_cdf", with(&|settings| settings.action_cdf = 1.0)),
        ("observation_cdf", with(&|settings| settings.observation_cdf = f32::NAN)),
        ("temperature", with(&|settings| settings.temperature = 0.0)),
        ("discount", with(&|settings| settings.discount = 1.1)),
        ("prune_reach", with(&|settings| settings.prune_reach = 2000)),
        ("rewards", with(&|settings| settings.mode = SearchMode::Reward)),
        ("context tokens", context(&[])),
        ("context tokens", context(&[0, 1, 2])),
        ("token 9", context(&[0, 9])),
        ("goal", BeamRequest { goal: vec![1], ..plain.clone() }),
    ] {
        let mut model = scrambled_toy(layout(2, 2, false, 9), 0);
        let refused = search(&mut model, &request, None, &mut |_| ControlFlow::Continue(()));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused} does not name {reason}");
        assert!(model.restarts.is_empty());
    }
    let mut model = scrambled_toy(layout(2, 2, false, 9), 0);
    model.block = 5;
    let refused = search(&mut model, &plain, None, &mut |_| ControlFlow::Continue(()));
    assert!(refused.unwrap_err().to_string().contains("too few"));
    model.block = 6;
    run(&mut model, &plain);
}

#[test]
fn a_model_that_answers_nonsense_is_an_error() {
    let bad: [(usize, Vec<f32>); 4] = [
        (2, vec![0.0, f32::NAN, 0.0, 0.0]),
        (3, vec![0.0, f32::INFINITY, 0.0, 0.0]),
        (4, vec![f32::NEG_INFINITY; 4]),
        (5, vec![0.0; 3]),
    ];
    for (at, answer) in bad {
        let mut model = Toy::new(layout(2, 1, false, 3), move |row, _| {
            if row.len() == at { answer.clone() } else { vec![0.5; 4] }
        });
        let plain = request(open(SearchMode::Likelihood), &[0, 1]);
        assert!(search(&mut model, &plain, None, &mut |_| ControlFlow::Continue(())).is_err());
        assert_eq!(model.steps, at - 2);
    }
}

#[test]
fn settings_read_from_a_scene_fill_in_defaults_and_refuse_typos() {
    let read: BeamSettings = toml::from_str("mode = \"reward\"\nbeam = 8").unwrap();
    let expected = BeamSettings { mode: SearchMode::Reward, beam: 8, ..BeamSettings::default() };
    assert_eq!(read, expected);
    assert!(toml::from_str::<BeamSettings>("beams = 8").is_err());
}
