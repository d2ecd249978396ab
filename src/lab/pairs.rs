//! Every model in every world: the shipped scene of a pair, or one made from
//! its neighbors, still to be trained.

use super::scene::{Scene, SceneError};
use super::shipped::{self, SHIPPED, ShippedScene};
use crate::env::EnvironmentConfig;
use crate::env::four_rooms::DOOR_WIDTH;
use crate::model;

/// A world with a name.
pub struct World {
    /// Stable name.
    pub id: &'static str,
    /// Shown in menus.
    pub title: &'static str,
    /// The shipped scene that describes it.
    scene: &'static str,
}

/// Every built-in world.
pub const WORLDS: &[World] = &[
    World { id: "maze2d-umaze", title: "Maze2D U-Maze", scene: "maze2d-umaze-diffuser" },
    World { id: "maze2d-medium", title: "Maze2D Medium", scene: "maze2d-medium-diffuser" },
    World { id: "maze2d-large", title: "Maze2D Large", scene: "maze2d-large-diffuser" },
    World { id: "four-rooms", title: "Four Rooms", scene: "four-rooms-gamma" },
    World { id: "pendulum", title: "Pendulum", scene: "pendulum-gamma" },
];

/// A pair's scene.
pub struct Pair {
    /// The scene.
    pub scene: Scene,
    /// Its name: a shipped scene's, or one that could be a file's.
    pub name: String,
    /// Whether it comes with trained weights.
    pub is_trained: bool,
}

/// What makes two descriptions the same place.
fn place(environment: &EnvironmentConfig) -> (String, String, u32) {
    let maze = environment.maze.split_whitespace().collect::<Vec<_>>().join("\n");
    let door = environment.door_width.unwrap_or(DOOR_WIDTH);
    (environment.id.clone(), maze, door.to_bits())
}

/// The world a scene plays in, if it is a built-in one.
pub fn world_of(scene: &Scene) -> Option<&'static World> {
    let here = place(&scene.environment);
    WORLDS.iter().find(|world| {
        let template = shipped::find(world.scene).and_then(|row| Scene::parse(row.text).ok());
        template.is_some_and(|template| place(&template.environment) == here)
    })
}

/// The scene of a world and a model: shipped, or untrained.
///
/// # Errors
/// A world or model that is not built in, or a pair nothing is known of.
pub fn pair(world: &World, model: &str) -> Result<Pair, SceneError> {
    let unknown = || SceneError::Unknown(format!("{}-{model}", world.id));
    let template = shipped::find(world.scene).ok_or_else(unknown)?;
    let environment = Scene::parse(template.text)?.environment;
    let row = model::ALL.iter().find(|row| row.id == model).ok_or_else(unknown)?;
    let parse = |shipped: &ShippedScene| Scene::parse(shipped.text).ok();
    let of_model = || {
        SHIPPED
            .iter()
            .filter_map(|row| Some((row, parse(row)?)))
            .filter(|(_, s)| s.model.id() == model)
    };
    let here = place(&environment);
    if let Some((row, scene)) = of_model().find(|(_, scene)| place(&scene.environment) == here) {
        return Ok(Pair { scene, name: row.name.to_owned(), is_trained: true });
    }
    // The same model in a world of the same kind knows the right numbers.
    let (_, near) =
        of_model().find(|(_, scene)| scene.environment.id == environment.id).ok_or_else(unknown)?;
    let world_scene = Scene::parse(template.text)?;
    let mut scene = Scene {
        title: format!("{} {}", world.title, row.title),
        notes: format!("Not trained yet: press Train. {}", row.help),
        environment: EnvironmentConfig { max_steps: near.environment.max_steps, ..environment },
        stage: world_scene.stage,
        ..near
    };
    scene.environment.max_steps =
        scene.environment.max_steps.max(world_scene.environment.max_steps);
    scene.model.set_weights(None);
    scene.check()?;
    Ok(Pair { scene, name: format!("{}-{model}", world.id), is_trained: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_can_be_had_in_every_world() {
        for world in WORLDS {
            for row in model::ALL {
                let pair = pair(world, row.id).unwrap_or_else(|error| {
                    panic!("{} in {}: {error}", row.id, world.id);
                });
                assert_eq!(pair.scene.model.id(), row.id);
                assert_eq!(world_of(&pair.scene).map(|found| found.id), Some(world.id));
                assert_eq!(pair.scene.model.weights().is_some(), pair.is_trained, "{}", pair.name);
                pair.scene.check().unwrap();
            }
        }
    }
}
