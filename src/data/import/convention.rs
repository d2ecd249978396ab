//! From other people's coordinates to ours, and whether what comes out is a
//! data set of the environment.
//!
//! D4RL's mazes are ours. Gymnasium-Robotics' PointMaze centers the maze, runs
//! x to the right along a row and y up, against the rows, and has no offset of
//! 0.2. In a maze of `R` rows and `C` columns its `(x, y)` is our
//! `(R / 2 - 0.7 - y, C / 2 - 0.7 + x)`: the middle of cell `(0, 0)` is its
//! `(-(C - 1) / 2, (R - 1) / 2)` and our `(-0.2, -0.2)`. Velocities and forces
//! turn alike. Gymnasium's pendulum has our states; its action is a torque of
//! up to 2 N m, ours is a share of that.

use super::super::Episodes;
use crate::env::Environment;

/// Half a cell and D4RL's offset: from the corner of a maze to the origin.
const CORNER: f32 = 0.7;
/// Torque of action 1 in Gymnasium's pendulum, in N m.
const MAX_TORQUE: f32 = 2.0;
/// How far rounding may carry an action over its bounds.
const ACTION_SLACK: f32 = 1e-3;
/// Steps whose states are tried.
const SAMPLES: usize = 5000;
/// Share of them that may be a little inside of a wall: other engines' contacts
/// are softer.
const BAD_SHARE: f32 = 0.01;
/// How far off an observation may be from that of its state.
const OBSERVATION_SLACK: f32 = 0.02;

/// Turn Gymnasium's coordinates into ours, where the environment has a
/// counterpart there.
///
/// # Errors
/// Numbers per step that the counterpart does not have.
pub fn from_gymnasium(
    episodes: &mut Episodes,
    environment: &dyn Environment,
) -> Result<(), String> {
    match environment.spec().id {
        "maze2d" => {
            sizes(episodes, environment)?;
            let [x_min, y_min, x_max, y_max] = environment.workspace().bounds();
            let (rows, columns) = ((x_max - x_min).round(), (y_max - y_min).round());
            for seen in episodes.observations.as_chunks_mut::<4>().0 {
                let [x, y, vx, vy] = *seen;
                *seen = [rows / 2.0 - CORNER - y, columns / 2.0 - CORNER + x, -vy, vx];
            }
            for force in episodes.actions.as_chunks_mut::<2>().0 {
                let [x, y] = *force;
                *force = [-y, x];
            }
        }
        "pendulum" => episodes.actions.iter_mut().for_each(|torque| *torque /= MAX_TORQUE),
        _ => {}
    }
    Ok(())
}

/// Refuse what cannot have happened in `environment`.
///
/// # Errors
/// Other numbers per step, actions beyond their bounds, or states that the
/// environment cannot be in.
pub fn check(episodes: &Episodes, environment: &mut dyn Environment) -> Result<(), String> {
    sizes(episodes, environment)?;
    if episodes.is_empty() {
        return Err("it has no step".into());
    }
    let beyond = episodes.actions.iter().position(|action| action.abs() > 1.0 + ACTION_SLACK);
    if let Some(at) = beyond {
        return Err(format!(
            "the action {} at step {} is beyond [-1, 1]; divide actions by their largest \
             size and say so in the data",
            episodes.actions[at],
            at / episodes.action_dim
        ));
    }
    let stride = episodes.len().div_ceil(SAMPLES);
    let tried: Vec<usize> = (0..episodes.len()).step_by(stride).collect();
    let bad: Vec<usize> =
        tried.iter().copied().filter(|&i| !can_be(environment, episodes.observation(i))).collect();
    match bad.first() {
        Some(first) if bad.len() as f32 > BAD_SHARE * tried.len() as f32 => Err(format!(
            "{} of {} steps that were tried are states it cannot be in, the first at step {first}: \
             {:?}. It is another maze, or in other coordinates than D4RL's",
            bad.len(),
            tried.len(),
            episodes.observation(*first)
        )),
        _ => Ok(()),
    }
}

fn sizes(episodes: &Episodes, environment: &dyn Environment) -> Result<(), String> {
    let spec = environment.spec();
    let names = |dims: &[crate::env::Dimension]| {
        let names: Vec<_> = dims.iter().map(|dim| dim.name).collect();
        names.join(", ")
    };
    for (what, found, dims) in [
        ("observations", episodes.observation_dim, &spec.observation),
        ("actions", episodes.action_dim, &spec.action),
    ] {
        if found != dims.len() {
            return Err(format!(
                "its {what} have {found} numbers a step and those of {} have {} ({}); choose a \
                 scene of the environment that the data came from",
                spec.id,
                dims.len(),
                names(dims)
            ));
        }
    }
    Ok(())
}

/// Whether some state of the environment is seen like this.
fn can_be(environment: &mut dyn Environment, seen: &[f32]) -> bool {
    let state = environment.state_of(seen);
    if environment.set_state(&state).is_err() {
        return false;
    }
    let found = environment.observation();
    found.iter().zip(seen).all(|(a, b)| (a - b).abs() <= OBSERVATION_SLACK)
}

/// Mark timeouts after which the next entry starts somewhere else as terminals.
///
/// At a timeout D4RL's mazes move the goal and most other data sets reset the
/// world. It was reset where the next entry is farther from what the
/// environment makes of the action than any step within an episode is long.
pub fn mark_jumps(episodes: &mut Episodes, environment: &mut dyn Environment) {
    let dim = episodes.observation_dim;
    let mut longest = vec![OBSERVATION_SLACK; dim];
    let pairs = 0..episodes.len().saturating_sub(1);
    for i in pairs.clone().filter(|&i| !episodes.terminals[i] && !episodes.timeouts[i]) {
        let steps = episodes.observation(i).iter().zip(episodes.observation(i + 1));
        for (longest, (now, next)) in longest.iter_mut().zip(steps) {
            *longest = longest.max((next - now).abs());
        }
    }
    for i in pairs.filter(|&i| episodes.timeouts[i] && !episodes.terminals[i]).collect::<Vec<_>>() {
        let state = environment.state_of(episodes.observation(i));
        let expected = match environment.set_state(&state) {
            Ok(()) => {
                environment.step(episodes.action(i));
                environment.observation()
            }
            // Pressed deep into a wall it goes nowhere far.
            Err(_) => episodes.observation(i).to_vec(),
        };
        let found = episodes.observation(i + 1).iter().zip(&expected);
        episodes.terminals[i] |=
            found.zip(&longest).any(|((next, expected), most)| (next - expected).abs() > *most);
    }
}
