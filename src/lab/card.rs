//! What the weights say of themselves, for the window.

use super::open::{Opened, OpenedModel};
use super::scene::Scene;
use super::session::ModelCard;
use crate::env::symbol;

/// Whether the weights were trained in the scene's maze; random weights have
/// seen nothing, and there is nothing to warn of.
pub(super) fn sees(opened: &Opened, scene: &Scene) -> bool {
    let maze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join("\n");
    opened.header.as_ref().is_none_or(|header| {
        let (trained, here) = (&header.environment, &scene.environment);
        maze(&trained.maze) == maze(&here.maze) && trained.door_width == here.door_width
    })
}

/// The numbers a model sees, and those it does not.
fn seen(opened: &Opened, observation: &[usize]) -> String {
    let all = &opened.environment.spec().observation;
    let names = |wanted: bool| {
        let known = all.iter().enumerate();
        let known = known.filter(|(dim, _)| observation.contains(dim) == wanted);
        known.map(|(_, known)| symbol(known.name)).collect::<Vec<_>>().join(", ")
    };
    match names(false) {
        hidden if hidden.is_empty() => names(true),
        hidden => format!("{}; not {hidden}", names(true)),
    }
}

/// Everything a person may want to know of the model in use.
pub(super) fn card(opened: &Opened) -> Option<ModelCard> {
    let provenance = opened.header.as_ref().map(|h| h.provenance.clone()).unwrap_or_default();
    let (preset, parameters, facts) = match &opened.model {
        OpenedModel::Diffuser(planner) => {
            let diffuser = planner.diffuser();
            let [shortest, longest] = diffuser.config.duration_range();
            let mut facts = vec![
                ("waypoints", diffuser.config.waypoints.to_string()),
                ("durations", format!("{shortest:.0} to {longest:.0} steps")),
                ("diffusion times", diffuser.config.diffusion_steps.to_string()),
            ];
            if let Some(student) = opened.header.as_ref().and_then(|header| header.student.as_ref())
            {
                facts.push(("distilled", format!("{} steps", student.steps)));
            }
            (diffuser.config.preset, diffuser.n_parameters(), facts)
        }
        OpenedModel::Gamma(model) => {
            let config = &model.config;
            let [low, high] = config.discount;
            let discount =
                if high > low { format!("{low} to {high}") } else { format!("{high} alone") };
            let facts = vec![
                ("policy", config.policies.join(", ")),
                ("discount", discount),
                ("couplings", config.couplings.to_string()),
                ("bins per spline", config.bins.to_string()),
                ("hidden layers", format!("{} of {}", config.layers, config.hidden)),
            ];
            (config.preset, model.n_parameters(), facts)
        }
        OpenedModel::Trajectory(model) => {
            let config = &model.config;
            let facts = vec![
                ("layers", format!("{} of width {}", config.layers, config.width)),
                ("heads", config.heads.to_string()),
                ("tokens a transition", config.layout.per_transition().to_string()),
                ("bins", config.layout.bins.to_string()),
                ("sees", seen(opened, &config.observation)),
                ("window", format!("{} transitions", config.transitions)),
                ("steps a transition", config.stride.to_string()),
            ];
            (config.preset, model.n_parameters(), facts)
        }
    };
    Some(ModelCard {
        preset: preset.name().to_owned(),
        parameters,
        trained_steps: provenance.steps,
        hash: opened.hash.clone(),
        facts,
        evaluation: provenance.evaluation,
        trained_on: format!(
            "{}, {:.0} min, scene {}",
            provenance.device,
            provenance.wall_secs / 60.0,
            provenance.scene_hash
        ),
    })
}
