//! Scenes and weights that travel inside the program, so that it works from
//! any folder.

/// A scene compiled into the program.
pub struct ShippedScene {
    /// File stem, and the name the command line takes.
    pub name: &'static str,
    /// Shown in menus.
    pub title: &'static str,
    /// The scene file.
    pub text: &'static str,
    /// Trained weights, named by the scene.
    pub weights: &'static [u8],
}

macro_rules! shipped {
    ($name:literal, $title:literal) => {
        ShippedScene {
            name: $name,
            title: $title,
            text: include_str!(concat!("../../scenes/", $name, ".toml")),
            weights: include_bytes!(concat!("../../assets/", $name, ".safetensors")),
        }
    };
}

/// Every shipped scene; the first opens by default.
pub const SHIPPED: &[ShippedScene] = &[
    shipped!("maze2d-large-diffuser", "Maze2D Large"),
    shipped!("maze2d-medium-diffuser", "Maze2D Medium"),
    shipped!("maze2d-umaze-diffuser", "Maze2D U-Maze"),
    shipped!("pendulum-gamma", "Pendulum γ-model"),
    shipped!("pendulum-policies-gamma", "Pendulum γ-model, three policies"),
    shipped!("four-rooms-gamma", "Four rooms γ-model"),
    shipped!("four-rooms-narrow-gamma", "Four rooms γ-model, narrow doors"),
    shipped!("maze2d-umaze-gamma", "Maze2D U-Maze γ-model"),
    shipped!("four-rooms-transformer", "Four rooms Trajectory Transformer"),
    shipped!("pendulum-transformer", "Pendulum Trajectory Transformer"),
    shipped!("maze2d-umaze-transformer", "Maze2D U-Maze Trajectory Transformer"),
    shipped!("pendulum-hidden-transformer", "Pendulum Trajectory Transformer, velocity hidden"),
    shipped!("four-rooms-diffuser", "Four rooms Diffuser"),
    shipped!("pendulum-diffuser", "Pendulum Diffuser"),
    shipped!("maze2d-medium-transformer", "Maze2D Medium Trajectory Transformer"),
    shipped!("maze2d-large-transformer", "Maze2D Large Trajectory Transformer"),
];

/// The shipped scene of that name.
pub fn find(name: &str) -> Option<&'static ShippedScene> {
    let stem = name.strip_suffix(".toml").unwrap_or(name);
    SHIPPED.iter().find(|scene| scene.name == stem)
}

/// The shipped weights a scene names, if its path is one of ours.
pub fn weights(path: &str) -> Option<&'static [u8]> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.strip_suffix(".safetensors")?;
    SHIPPED.iter().find(|scene| scene.name == stem).map(|scene| scene.weights)
}

/// All names, for messages.
pub fn names() -> String {
    let names: Vec<_> = SHIPPED.iter().map(|scene| scene.name).collect();
    names.join(", ")
}
