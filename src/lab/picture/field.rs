//! An occupancy and a value map as heat maps.

use crate::env::{EnvironmentSpec, FourRooms, MazeLayout, RoomsSpace, StateDimension, symbol};
use crate::lab::occupancy::OccupancyFrame;
use crate::lab::values::{ValueFrame, ValueReward};
use crate::lab::{Scene, SceneError};
use crate::model::ModelConfig;
use crate::picture::{Axis, Field, HeatMap, Obstacle, Orientation, Scale};

/// Half the thickness of a wall between rooms, in m, which the environment
/// documents and does not hand out.
pub(super) const WALL_RADIUS: f32 = 0.03;

/// The model's occupancy, and the truth's beside it where it is known.
///
/// # Errors
/// A scene whose environment cannot be built.
pub fn occupancy(scene: &Scene, frame: &OccupancyFrame) -> Result<Field, SceneError> {
    let environment = scene.make_environment()?;
    let spec = environment.spec();
    let mut maps = vec![HeatMap { title: "γ-model".into(), values: frame.model.clone() }];
    if let Some(truth) = &frame.truth {
        let title = format!("{} real rollouts", frame.rollouts);
        maps.push(HeatMap { title, values: truth.clone() });
    }
    if let Some(exact) = &frame.exact {
        maps.push(HeatMap { title: "exact".into(), values: exact.clone() });
    }
    let ground = ground(scene, spec)?;
    Ok(Field {
        unit: density_unit(&ground.axes[0].unit, &ground.axes[1].unit),
        cells: frame.grid.cells,
        maps,
        start: place(&frame.request.state),
        goal: place(&frame.request.goal),
        caption: caption(scene, spec, frame),
        ..ground
    })
}

/// What every state is worth by the model, and by policy evaluation and value
/// iteration where they are known.
///
/// # Errors
/// A scene whose environment cannot be built.
pub fn values(scene: &Scene, frame: &ValueFrame) -> Result<Field, SceneError> {
    let environment = scene.make_environment()?;
    let spec = environment.spec();
    let map = |title: &str, values: &Vec<f32>| HeatMap {
        title: title.to_owned(),
        values: values.clone(),
    };
    let mut maps = vec![map("γ-model", &frame.model)];
    maps.extend(frame.evaluation.as_ref().map(|values| map("policy evaluation", values)));
    maps.extend(frame.optimal.as_ref().map(|values| map("value iteration", values)));
    let request = &frame.request;
    let mut parts = vec![policy_of(scene, request.policy.as_deref())];
    parts.push(format!("values at γ {}", request.discount));
    parts.push(match request.reward {
        ValueReward::Environment => "the environment's reward".to_owned(),
        ValueReward::Painted { .. } => "painted rewards".to_owned(),
    });
    parts.push(format!("{} samples a state", request.samples));
    parts.push(format!("seed {}", request.seed));
    parts.extend(frame.pearson.map(|r| format!("Pearson {r:.3} to policy evaluation")));
    parts.extend(frame.rmse_share.map(|share| format!("RMSE {:.1} % of its range", 100.0 * share)));
    Ok(Field {
        cells: frame.grid.cells,
        maps,
        scale: Scale::Linear,
        goal: place(&request.goal),
        caption: parts.join(" · "),
        ..ground(scene, spec)?
    })
}

fn place(values: &[f32]) -> Option<[f32; 2]> {
    Some([*values.first()?, *values.get(1)?])
}

/// Axes, walls and title, without a map.
fn ground(scene: &Scene, spec: &EnvironmentSpec) -> Result<Field, SceneError> {
    Ok(Field {
        axes: [0, 1].map(|index| spec.state.get(index).map(axis).unwrap_or_default()),
        orientation: match spec.id {
            "maze2d" => Orientation::Rows,
            _ => Orientation::Plane,
        },
        obstacles: obstacles(scene)?,
        title: scene.title.clone(),
        ..Field::default()
    })
}

/// Whose future it is, for captions.
fn policy_of(scene: &Scene, asked: Option<&str>) -> String {
    let ModelConfig::Gamma(section) = &scene.model else { return String::new() };
    let policy = asked.or(section.policies().first().copied()).unwrap_or_default();
    match section.weights.is_none() {
        true => format!("policy {policy} · random weights"),
        false => format!("policy {policy}"),
    }
}

pub(super) fn axis(dimension: &StateDimension) -> Axis {
    let StateDimension { name, unit, low, high, periodic, .. } = dimension.clone();
    let name = symbol(&name).to_owned();
    Axis { name, is_angle: periodic && unit == "rad", unit, low, high }
}

/// Unit of a density over two coordinates.
fn density_unit(a: &str, b: &str) -> String {
    match (a, b) {
        ("", "") => String::new(),
        ("", unit) | (unit, "") => format!("1/({unit})"),
        (a, b) if a == b => format!("1/{a}²"),
        (a, b) => format!("1/({a}·{b})"),
    }
}

fn obstacles(scene: &Scene) -> Result<Vec<Obstacle>, SceneError> {
    let config = &scene.environment;
    Ok(match config.id.as_str() {
        "maze2d" => squares(&MazeLayout::parse(&config.maze)?),
        "four-rooms" => capsules(FourRooms::new(config)?.space()),
        _ => Vec::new(),
    })
}

fn squares(layout: &MazeLayout) -> Vec<Obstacle> {
    let cells = (0..layout.rows()).flat_map(|w| (0..layout.columns()).map(move |h| [w, h]));
    let square = |cell| {
        let [x, y] = layout.center_of_cell(cell);
        Obstacle::Rectangle([x - 0.5, y - 0.5, x + 0.5, y + 0.5])
    };
    cells.filter(|&[w, h]| layout.is_wall(w, h)).map(square).collect()
}

fn capsules(space: &RoomsSpace) -> Vec<Obstacle> {
    let capsule = |ends: &[[f32; 2]; 2]| Obstacle::Capsule { ends: *ends, radius: WALL_RADIUS };
    space.walls().iter().map(capsule).collect()
}

/// One line on what was asked and what came of it.
fn caption(scene: &Scene, spec: &EnvironmentSpec, frame: &OccupancyFrame) -> String {
    let settings = &frame.request.settings;
    let mut parts = vec![policy_of(scene, settings.policy.as_deref())];
    let discount = match settings.steps {
        0 | 1 => settings.discount,
        steps => {
            parts.push(format!("{steps} model steps of γ {}", settings.discount));
            settings.long_discount.max(settings.discount)
        }
    };
    let horizon = 1.0 / (1.0 - f64::from(discount));
    let secs = horizon * f64::from(spec.dt_secs);
    parts.push(format!("γ {discount}, {horizon:.0} steps or {secs:.1} s ahead on average"));
    parts.push(format!("{} samples", settings.samples));
    parts.push(format!("seed {}", frame.request.seed));
    if let Some(off) = frame.total_variation {
        parts.push(format!("total variation {off:.3}"));
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;

    use super::*;
    use crate::lab::occupancy::{OccupancyRequest, predict};
    use crate::lab::open;
    use crate::lab::scene::OccupancySettings;

    fn scene(environment: &str, policy: &str) -> Scene {
        let text = format!(
            "format = 1\ntitle = \"T\"\n[environment]\n{environment}\nmax_steps = 50\n[data]\n\
             transitions = 100\n[model]\nid = \"gamma\"\npreset = \"quick\"\nhidden = 4\npolicy = \
             \"{policy}\"\n[train]\nsteps = 1\n[stage]\nstart = [0.3, 0.3]\ngoal = [-0.3, 0.3]\n"
        );
        Scene::parse(&text).unwrap()
    }

    fn frame(scene: &Scene, goal: Vec<f32>) -> OccupancyFrame {
        let request = OccupancyRequest {
            state: vec![0.3, 0.3],
            goal,
            action: None,
            settings: OccupancySettings::default(),
            cells: [3, 2],
            seed: 5,
            is_drag: false,
        };
        let opened = open::open(scene, None, &Device::flex()).unwrap();
        predict(1, &Arc::new(request), opened.gamma().unwrap()).unwrap()
    }

    #[test]
    fn a_phase_plane_has_its_units_and_no_walls() {
        let scene = scene("id = \"pendulum\"", "swing-up");
        let field = occupancy(&scene, &frame(&scene, Vec::new())).unwrap();
        assert_eq!(field.unit, "1/(rad·rad/s)");
        assert!(field.axes[0].is_angle && !field.axes[1].is_angle);
        assert!(field.obstacles.is_empty() && field.goal.is_none());
        assert_eq!((field.start, field.maps.len()), (Some([0.3, 0.3]), 1));
        assert!(field.caption.contains("random weights") && field.caption.contains("1.0 s"));
    }

    #[test]
    fn rooms_have_walls_where_the_ball_is_stopped_and_a_goal() {
        let scene = scene("id = \"four-rooms\"", "to-goal");
        let mut frame = frame(&scene, vec![-0.3, 0.3]);
        frame.truth = Some(vec![0.1; 6]);
        frame.rollouts = 256;
        let field = occupancy(&scene, &frame).unwrap();
        assert_eq!((field.unit.as_str(), field.goal), ("1/m²", Some([-0.3, 0.3])));
        assert_eq!(field.maps[1].title, "256 real rollouts");
        let workspace = scene.make_environment().unwrap().workspace();
        assert!(field.obstacles.len() >= 10);
        for obstacle in &field.obstacles {
            let Obstacle::Capsule { ends: [a, b], radius } = *obstacle else { panic!("a square") };
            let middle = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
            assert!(!workspace.is_free(middle) && radius == 0.03, "{obstacle:?}");
        }
    }
}
