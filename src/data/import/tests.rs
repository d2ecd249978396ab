use std::io::Write;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::testing::{Node, Numbers, d4rl, file, named};
use super::*;
use crate::data::{DataConfig, collect, write_npz};
use crate::env::{self, EnvironmentConfig};

fn environment(id: &str) -> Box<dyn Environment> {
    let config = EnvironmentConfig {
        id: id.into(),
        maze: env::U_MAZE.into(),
        door_width: None,
        max_steps: 100,
        reference_scores: None,
    };
    env::make(&config).unwrap()
}

fn gather(id: &str, transitions: usize) -> Episodes {
    let config = DataConfig { transitions, seed: 1, ..DataConfig::default() };
    collect(environment(id).as_mut(), &config, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn import_bytes(id: &str, bytes: &[u8]) -> Result<Episodes, String> {
    let file = written(bytes);
    import(file.path(), environment(id).as_mut(), 0).map_err(|error| error.to_string())
}

#[test]
fn what_was_collected_comes_back_bit_for_bit_from_npz_and_from_hdf5() {
    for row in env::ALL {
        let episodes = gather(row.id, 1500);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.npz");
        write_npz(&path, &episodes).unwrap();
        assert_eq!(import(&path, environment(row.id).as_mut(), 0).unwrap(), episodes, "{}", row.id);
        let read = import_bytes(row.id, &file(d4rl(&episodes))).unwrap();
        assert_eq!(read, episodes, "{}", row.id);
        let first = import(&path, environment(row.id).as_mut(), 700).unwrap();
        assert_eq!(first, episodes.slice(0..700));
    }
}

#[test]
fn timeouts_break_the_data_where_the_world_was_reset_and_nowhere_else() {
    let mut whole = gather("maze2d", 1000);
    assert!(whole.timeouts[..900].contains(&true), "there is a goal that moved");
    let mut other = gather("maze2d", 1200).slice(700..1200);
    other.terminals.fill(false);
    if let Some(last) = whole.timeouts.last_mut() {
        *last = true;
    }
    whole.append(&other);
    let read = import_bytes("maze2d", &file(d4rl(&whole))).unwrap();
    assert_eq!(read.segments(), [0..1000, 1000..1500]);
}

/// Episodes as Minari stores them, in Gymnasium's coordinates of the U-Maze.
fn minari(episodes: &Episodes, is_dictionary: bool) -> Vec<(String, Node)> {
    let mut groups = Vec::new();
    for (index, range) in episodes.episodes().into_iter().enumerate() {
        let n = range.len();
        let rows = (range.start..=range.end).map(|i| i.min(episodes.len() - 1));
        let seen: Vec<f64> = rows
            .flat_map(|i| {
                let &[x, y, vx, vy] = episodes.observation(i) else { panic!("4 numbers") };
                [y - 1.8, 1.8 - x, vy, -vx].map(f64::from)
            })
            .collect();
        let seen = Node::chunked(&[n as u64 + 1, 4], Numbers::F64(seen), 32);
        let actions: Vec<f32> =
            range.clone().flat_map(|i| [episodes.action(i)[1], -episodes.action(i)[0]]).collect();
        let flags = |ends: bool| {
            let values = (0..n).map(|i| ends && i + 1 == n).collect();
            Node::array(&[n as u64], Numbers::Bools(values))
        };
        let goal = Node::array(&[n as u64 + 1, 2], Numbers::F64(vec![0.0; 2 * (n + 1)]));
        let observations = match is_dictionary {
            true => Node::Group(named([
                ("observation", seen),
                ("achieved_goal", goal.clone()),
                ("desired_goal", goal),
            ])),
            false => seen,
        };
        let rewards = episodes.rewards[range].iter().map(|&reward| f64::from(reward)).collect();
        let group = named([
            ("observations", observations),
            ("actions", Node::array(&[n as u64, 2], Numbers::F32(actions))),
            ("rewards", Node::array(&[n as u64], Numbers::F64(rewards))),
            ("terminations", flags(false)),
            ("truncations", flags(true)),
        ]);
        groups.push((format!("episode_{index}"), Node::Group(group)));
    }
    groups
}

#[test]
fn minaris_episodes_come_in_order_and_turned_into_our_coordinates() {
    let episodes = gather("maze2d", 1000);
    assert!(episodes.episodes().len() > 10, "two digits, so that names sort unlike numbers");
    for is_dictionary in [true, false] {
        let read = import_bytes("maze2d", &file(minari(&episodes, is_dictionary))).unwrap();
        assert_eq!(read.episodes(), episodes.episodes());
        assert_eq!(read.segments(), episodes.episodes(), "every episode is a world of its own");
        for (a, b) in read.observations.iter().zip(&episodes.observations) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
        assert_eq!(
            (read.actions, read.rewards),
            (episodes.actions.clone(), episodes.rewards.clone())
        );
    }
}

#[test]
fn gymnasiums_torques_become_shares_of_the_largest_one() {
    let episodes = gather("pendulum", 300);
    let n = episodes.len() as u64;
    let mut seen = episodes.observations.clone();
    seen.extend_from_slice(episodes.observation(299));
    let flags = || Node::array(&[n], Numbers::I64(vec![0; n as usize]));
    let group = named([
        ("observations", Node::array(&[n + 1, 3], Numbers::F32(seen))),
        (
            "actions",
            Node::array(&[n], Numbers::F32(episodes.actions.iter().map(|a| 2.0 * a).collect())),
        ),
        ("rewards", Node::array(&[n], Numbers::F32(episodes.rewards.clone()))),
        ("terminations", flags()),
        ("truncations", flags()),
    ]);
    let read = import_bytes("pendulum", &file(named([("episode_0", Node::Group(group))]))).unwrap();
    assert_eq!((read.actions, read.observations), (episodes.actions, episodes.observations));
}

fn complaint(id: &str, nodes: Vec<(String, Node)>) -> String {
    import_bytes(id, &file(nodes)).unwrap_err()
}

fn with(node: &str, other: Node) -> Vec<(String, Node)> {
    let mut nodes = d4rl(&gather("maze2d", 500));
    nodes.retain(|(name, _)| name != node);
    nodes.push((node.to_owned(), other));
    nodes
}

#[test]
fn refusals_name_the_array_and_what_would_do() {
    let floats = |shape: &[u64], value: f32| {
        let count = shape.iter().product::<u64>() as usize;
        Node::array(shape, Numbers::F32(vec![value; count]))
    };
    let mut lacking = d4rl(&gather("maze2d", 500));
    lacking.retain(|(name, _)| name != "terminals");
    for (nodes, words) in [
        (lacking, ["no usable array \"terminals\"", "D4RL"]),
        (with("actions", Node::Text), ["actions", "text or objects"]),
        (
            with("observations", floats(&[500, 4, 1], 0.0)),
            ["shape [500, 4, 1]", "[steps, numbers]"],
        ),
        (with("actions", floats(&[499, 2], 0.0)), ["actions has 998", "same steps"]),
        (with("rewards", floats(&[500], f32::NAN)), ["rewards holds NaN", "step 0"]),
        (with("actions", floats(&[500, 2], 2.0)), ["action 2 at step 0", "[-1, 1]"]),
        (with("observations", floats(&[500, 4], 0.0)), ["cannot be in", "another maze"]),
        (with("observations", floats(&[500, 11], 0.0)), ["11 numbers", "x, y, vx, vy"]),
        (named([("weights", floats(&[3], 0.0))]), ["only: weights", "episode_0"]),
        (Vec::new(), ["nothing", "observations"]),
    ] {
        let found = complaint("maze2d", nodes);
        assert!(words.iter().all(|word| found.contains(word)), "{found}");
    }
    let found = complaint("pendulum", d4rl(&gather("maze2d", 500)));
    assert!(found.contains("pendulum have 3"), "{found}");
    let found = import_bytes("maze2d", b"hello").unwrap_err();
    assert!(found.contains("neither an .npz archive nor an HDF5 file"), "{found}");
    let folder = tempfile::tempdir().unwrap();
    let mut maze = environment("maze2d");
    assert!(import(folder.path(), maze.as_mut(), 0).is_err());
    let missing = import(&folder.path().join("no.hdf5"), maze.as_mut(), 0).unwrap_err();
    assert!(missing.to_string().contains("no.hdf5"), "{missing}");
}

#[test]
fn a_shape_that_promises_more_than_the_file_holds_costs_no_memory() {
    let mut nodes = d4rl(&gather("maze2d", 500));
    nodes.retain(|(name, _)| name != "observations");
    let shape = vec![90_000_000, 4096];
    nodes.push((
        "observations".into(),
        Node::Array { shape, numbers: Numbers::F32(vec![0.0; 8]), chunk: None },
    ));
    let found = complaint("maze2d", nodes);
    assert!(found.contains("claims"), "{found}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_files_are_errors_or_data_and_never_panic(
        cut in 0.0_f64..1.0,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 0..6),
        is_minari: bool,
    ) {
        let episodes = gather("maze2d", 150);
        let mut bytes =
            file(if is_minari { minari(&episodes, true) } else { d4rl(&episodes) });
        if flips.is_empty() {
            bytes.truncate((cut * bytes.len() as f64) as usize);
            prop_assert!(import_bytes("maze2d", &bytes).is_err());
        }
        for (index, bit) in flips {
            let at = index.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(read) = import_bytes("maze2d", &bytes) {
            prop_assert!(read.validate().is_ok());
        }
    }
}
