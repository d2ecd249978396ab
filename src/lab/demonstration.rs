//! Demonstrations: episodes that a person makes by dragging the agent, and the
//! file they are kept in.
//!
//! The pointer is only where the agent should go. How it gets there is up to
//! [`Environment::pursue`] and the real dynamics at their own rate, so that a
//! demonstration holds actions that could have been taken.

use std::path::Path;

use super::scene::{Scene, SceneError};
use crate::data::{DataError, Episodes, npz_bytes, read_npz};
use crate::env::Environment;

/// Steps after which a recording ends by itself.
pub const MAX_STEPS: usize = 20_000;
/// Most steps that one call makes up for, so that a pause is not replayed.
const MAX_CATCH_UP: usize = 20;

/// An episode in the making.
pub struct Recorder {
    environment: Box<dyn Environment>,
    episode: Episodes,
    /// The state before each step and the present one.
    states: Vec<Vec<f32>>,
    /// Time that has passed and is not simulated yet.
    due_secs: f32,
}

impl Recorder {
    /// Begin at `position` at rest, with a goal where the scene's environment
    /// has one.
    ///
    /// # Errors
    /// A scene that cannot be built, or a place inside a wall.
    pub fn begin(scene: &Scene, position: [f32; 2], goal: [f32; 2]) -> Result<Self, SceneError> {
        let mut environment = scene.make_environment()?;
        let spec = environment.spec().clone();
        let goal: Vec<f32> = goal.into_iter().take(spec.goal_dims.len()).collect();
        environment.set_goal(&goal)?;
        let mut state = vec![0.0; spec.state.len()];
        state.iter_mut().zip(position).for_each(|(slot, value)| *slot = value);
        environment.set_state(&state)?;
        let states = vec![environment.state()];
        let episode = Episodes::with_capacity(spec.observation.len(), spec.action.len(), 1024);
        Ok(Self { environment, episode, states, due_secs: 0.0 })
    }

    /// Let `secs` pass while the person points at `place`.
    pub fn advance(&mut self, secs: f32, place: [f32; 2]) {
        let dt = self.environment.spec().dt_secs.max(1e-4);
        self.due_secs = (self.due_secs + secs.max(0.0)).min(MAX_CATCH_UP as f32 * dt);
        while self.due_secs >= dt && !self.is_full() {
            self.due_secs -= dt;
            self.step(place);
        }
    }

    fn step(&mut self, place: [f32; 2]) {
        let action = self.environment.pursue(place);
        self.episode.observations.extend(self.environment.observation());
        self.episode.rewards.push(self.environment.step(&action));
        self.episode.actions.extend(action);
        self.episode.terminals.push(false);
        self.episode.timeouts.push(false);
        self.states.push(self.environment.state());
    }

    /// Where the agent has been and is, full states, at least one.
    pub fn states(&self) -> &[Vec<f32>] {
        &self.states
    }

    /// What the steps have paid so far.
    pub fn total(&self) -> f32 {
        self.episode.rewards.iter().sum()
    }

    /// Whether it has become as long as it may.
    pub fn is_full(&self) -> bool {
        self.episode.len() >= MAX_STEPS
    }

    /// The episode; `None` if nothing happened. What comes after it starts
    /// somewhere else.
    pub fn finish(mut self) -> Option<Demonstration> {
        *self.episode.terminals.last_mut()? = true;
        let dt_secs = self.environment.spec().dt_secs;
        Some(Demonstration { episode: self.episode, states: self.states, dt_secs })
    }
}

/// An episode that a person made.
#[derive(Clone, Debug, PartialEq)]
pub struct Demonstration {
    /// Its steps; the last one is a terminal.
    pub episode: Episodes,
    /// The states before each step and after the last.
    pub states: Vec<Vec<f32>>,
    /// Seconds per step.
    pub dt_secs: f32,
}

/// The file at `path` with one more episode, as bytes of an `.npz`; a file that
/// does not exist yet holds none.
///
/// # Errors
/// A file that is no data set, or one with other numbers per step.
pub fn added(path: &Path, episode: &Episodes) -> Result<Vec<u8>, DataError> {
    let mut all = match path.exists() {
        true => read_npz(path)?,
        false => Episodes::default(),
    };
    if all.is_empty() {
        return npz_bytes(episode);
    }
    let sizes = |episodes: &Episodes| (episodes.observation_dim, episodes.action_dim);
    if sizes(&all) != sizes(episode) {
        return Err(DataError::Malformed(format!(
            "{} holds demonstrations of another environment; name another file under \
             data.demonstrations in the scene",
            path.display()
        )));
    }
    all.append(episode);
    npz_bytes(&all)
}

/// The file at `path` without its last episode. It may then hold none.
///
/// # Errors
/// A file that is no data set.
pub fn without_last(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut all = read_npz(path)?;
    let last = all.episodes().last().map_or(0, |range| range.start);
    all.truncate(last);
    npz_bytes(&all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shipped;

    fn scene(name: &str) -> Scene {
        Scene::parse(shipped::find(name).unwrap().text).unwrap()
    }

    /// Drag from the scene's start to its goal.
    fn drag(scene: &Scene, place: [f32; 2], frames: usize) -> Demonstration {
        let mut recorder = Recorder::begin(scene, scene.stage.start, scene.stage.goal).unwrap();
        for _ in 0..frames {
            recorder.advance(1.0 / 60.0, place);
        }
        recorder.finish().unwrap()
    }

    #[test]
    fn a_dragged_agent_obeys_the_dynamics_and_comes_near_the_pointer() {
        for (name, place) in [
            ("maze2d-umaze-diffuser", [3.0, 2.5]),
            ("four-rooms-gamma", [-0.2, -0.4]),
            ("pendulum-gamma", [2.6, 0.0]),
        ] {
            let mut scene = scene(name);
            if name.starts_with("four") {
                scene.stage.start = [-0.4, -0.4];
            }
            let shown = drag(&scene, place, 240);
            let mut environment = scene.make_environment().unwrap();
            let dims = environment.spec().goal_dims.len();
            environment.set_goal(&scene.stage.goal[..dims]).unwrap();
            environment.set_state(&shown.states[0]).unwrap();
            for i in 0..shown.episode.len() {
                assert_eq!(environment.observation(), shown.episode.observation(i), "{name} {i}");
                let reward = environment.step(shown.episode.action(i));
                assert_eq!(reward, shown.episode.rewards[i], "{name} {i}");
            }
            assert_eq!(environment.state(), *shown.states.last().unwrap());
            // Four seconds pass, whatever the rate of the environment is.
            let secs = shown.episode.len() as f32 * shown.dt_secs;
            assert!((secs - 4.0).abs() < 0.1, "{name} {secs}");
            let last = shown.states.last().unwrap();
            let reach = if name.starts_with("pendulum") { 0.6 } else { 0.1 };
            assert!((last[0] - place[0]).abs() < reach, "{name} {last:?}");
            assert!(shown.episode.terminals.last().unwrap());
            shown.episode.validate().unwrap();
        }
    }

    #[test]
    fn nothing_is_recorded_while_no_time_passes() {
        let scene = scene("maze2d-umaze-diffuser");
        let mut recorder = Recorder::begin(&scene, [3.0, 1.0], [1.0, 1.0]).unwrap();
        recorder.advance(0.0, [1.0, 1.0]);
        assert_eq!(recorder.states().len(), 1);
        assert!(recorder.finish().is_none());
        assert!(Recorder::begin(&scene, [0.0, 0.0], [1.0, 1.0]).is_err());
    }

    #[test]
    fn the_file_grows_and_shrinks_by_an_episode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demonstrations.npz");
        let scene = scene("maze2d-umaze-diffuser");
        let [first, second] = [[3.0, 2.0], [2.8, 2.8]].map(|place| drag(&scene, place, 30).episode);
        for episode in [&first, &second] {
            let bytes = added(&path, episode).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
        assert_eq!(read_npz(&path).unwrap().episodes().len(), 2);
        for left in [1, 0] {
            std::fs::write(&path, without_last(&path).unwrap()).unwrap();
            let all = read_npz(&path).unwrap();
            assert_eq!(all.episodes().len(), left);
            assert!(left == 0 || all == first);
        }
        let again = added(&path, &second).unwrap();
        std::fs::write(&path, again).unwrap();
        assert_eq!(read_npz(&path).unwrap(), second);
        let pendulum = drag(&self::scene("pendulum-gamma"), [0.0, 0.0], 30);
        let refused = added(&path, &pendulum.episode).unwrap_err().to_string();
        assert!(refused.contains("another environment"), "{refused}");
    }
}
