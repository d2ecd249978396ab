//! Settings as data: what the window draws and `--set` changes, one row each.

mod diffuser;
mod gamma;
mod guide;
pub mod training;
mod trajectory;

use super::scene::Scene;
use crate::model::{ModelConfig, Preset};

/// When a changed setting acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// On the next plan.
    Live,
    /// By starting over.
    Restart,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KnobKind {
    /// A number; a typed one may pass the ends.
    Number {
        /// Left end of the slider.
        min: f64,
        /// Right end of the slider.
        max: f64,
        /// Smallest change.
        step: f64,
        /// Digits after the point.
        decimals: usize,
        /// Unit, or empty.
        unit: &'static str,
    },
    /// A positive number on a logarithmic slider; a typed one may pass the
    /// ends.
    Log {
        /// Left end of the slider.
        min: f64,
        /// Right end of the slider.
        max: f64,
    },
    /// One of these labels; the value is the index.
    Choice(&'static [&'static str]),
}

/// One setting.
pub struct Knob {
    /// Dotted key in scene files and for `--set`.
    pub id: &'static str,
    /// Label.
    pub title: &'static str,
    /// Heading it stands under.
    pub group: &'static str,
    /// What it does, for tooltips and `--help`.
    pub help: &'static str,
    /// When a change acts.
    pub effect: Effect,
    /// Whether it means anything in a scene.
    pub applies: fn(&Scene) -> bool,
    /// What values it takes.
    pub kind: KnobKind,
    /// Read it from a scene.
    pub get: fn(&Scene) -> f64,
    /// Write it into a scene, held to what is legal.
    pub set: fn(&mut Scene, f64),
}

/// Whether a scene plans with a Diffuser.
pub fn is_diffuser(scene: &Scene) -> bool {
    matches!(scene.model, ModelConfig::Diffuser(_))
}

/// Whether a scene's Diffuser has a predictor of returns.
pub fn is_guided(scene: &Scene) -> bool {
    matches!(&scene.model, ModelConfig::Diffuser(section) if section.guide.is_some())
}

/// Whether a scene's Diffuser plans over several durations.
pub fn plans_durations(scene: &Scene) -> bool {
    matches!(&scene.model, ModelConfig::Diffuser(section) if section.preset == Preset::Quick)
}

/// Whether a scene's Diffuser plans to a goal.
pub fn has_goal(scene: &Scene) -> bool {
    is_diffuser(scene) && scene.environment.id != "pendulum"
}

/// Whether a scene predicts with a gamma-model.
pub fn is_gamma(scene: &Scene) -> bool {
    matches!(scene.model, ModelConfig::Gamma(_))
}

/// Whether a scene plans by beam search.
pub fn is_trajectory(scene: &Scene) -> bool {
    matches!(scene.model, ModelConfig::Trajectory(_))
}

/// Whether a scene's model plans and acts.
pub fn acts(scene: &Scene) -> bool {
    is_diffuser(scene) || is_trajectory(scene)
}

/// Whether feedback on planned positions can follow its plans.
pub fn tracks(scene: &Scene) -> bool {
    acts(scene)
        && match scene.environment.id.as_str() {
            "maze2d" => true,
            "four-rooms" => is_diffuser(scene),
            _ => false,
        }
}

/// Whether its plans can be followed by feedback or by their actions.
pub fn follows(scene: &Scene) -> bool {
    tracks(scene) || is_diffuser(scene)
}

const fn count(max: f64) -> KnobKind {
    KnobKind::Number { min: 1.0, max, step: 1.0, decimals: 0, unit: "" }
}

/// A whole number held to `1..=most`; NaN becomes 1.
fn whole(value: f64, most: f64) -> usize {
    value.round().clamp(1.0, most).max(1.0) as usize
}

fn from_zero(value: f64, most: f64) -> f32 {
    value.clamp(0.0, most).max(0.0) as f32
}

fn index(value: f64, choices: usize) -> usize {
    (value.max(0.0) as usize).min(choices - 1)
}

impl Knob {
    /// Whether a scene can have a value: not every choice fits every scene.
    pub fn takes(&self, scene: &Scene, value: f64) -> bool {
        let mut tried = scene.clone();
        (self.set)(&mut tried, value);
        (self.get)(&tried) == value
    }
}

/// Where a choice stands among all.
fn position<T: PartialEq>(all: &[T], value: &T) -> f64 {
    all.iter().position(|item| item == value).unwrap_or(0) as f64
}

/// Every setting.
pub fn all() -> impl Iterator<Item = &'static Knob> {
    [guide::KNOBS, diffuser::KNOBS, gamma::KNOBS, trajectory::KNOBS, training::KNOBS]
        .into_iter()
        .flatten()
}

/// The setting with that key.
pub fn find(id: &str) -> Option<&'static Knob> {
    all().find(|knob| knob.id == id)
}

/// Set a knob from text, a number or a choice's label.
///
/// # Errors
/// An unknown key or a value it does not take, with what would do.
pub fn set_from_text(scene: &mut Scene, assignment: &str) -> Result<(), String> {
    let Some((id, text)) = assignment.split_once('=') else {
        return Err(format!("\"{assignment}\" is not KEY=VALUE"));
    };
    let Some(knob) = find(id.trim()) else {
        let known: Vec<_> = all().map(|knob| knob.id).collect();
        return Err(format!("there is no setting \"{id}\"; known ones: {}", known.join(", ")));
    };
    let text = text.trim();
    let slug = |label: &str| label.to_lowercase().replace(' ', "-");
    let value = match knob.kind {
        KnobKind::Choice(labels) => labels
            .iter()
            .position(|label| slug(label) == slug(text))
            .or_else(|| diffuser::choice_of(knob.id, text))
            .map(|index| index as f64)
            .ok_or_else(|| {
                let labels: Vec<_> = labels.iter().map(|label| slug(label)).collect();
                format!("{id} is one of: {}", labels.join(", "))
            })?,
        KnobKind::Number { .. } | KnobKind::Log { .. } => text
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
            .ok_or_else(|| format!("{id} needs a number, not \"{text}\""))?,
    };
    (knob.set)(scene, value);
    match knob.kind {
        KnobKind::Choice(_) if (knob.applies)(scene) && (knob.get)(scene) != value => {
            Err(format!("{id} cannot be {text} in this scene. {}", knob.help))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shipped::SHIPPED;
    use crate::plan::{Replan, Sampler};

    fn scene() -> Scene {
        Scene::parse(SHIPPED[0].text).unwrap()
    }

    #[test]
    fn every_knob_reads_back_what_it_was_set_to() {
        for knob in all() {
            let values = match knob.kind {
                KnobKind::Number { min, max, .. } | KnobKind::Log { min, max } => vec![min, max],
                KnobKind::Choice(labels) => (0..labels.len()).map(|i| i as f64).collect(),
            };
            for value in values {
                // Some value may mean nothing in one scene and something in
                // another: only a model of rewards searches for them.
                let takes = |text: &str| {
                    let mut scene = Scene::parse(text).unwrap();
                    (knob.set)(&mut scene, value);
                    (knob.applies)(&scene) && ((knob.get)(&scene) - value).abs() < 1e-5
                };
                assert!(SHIPPED.iter().any(|row| takes(row.text)), "{} = {value}", knob.id);
            }
        }
    }

    #[test]
    fn no_value_makes_an_illegal_scene() {
        for knob in all() {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300] {
                let mut scene = scene();
                (knob.set)(&mut scene, value);
                assert!(scene.check().is_ok(), "{} = {value}: {:?}", knob.id, scene.check());
            }
        }
    }

    #[test]
    fn a_scene_without_a_student_refuses_to_plan_with_one() {
        let mut scene = scene();
        scene.distill = None;
        let knob = find("plan.sampler").unwrap();
        let offered = (0..Sampler::ALL.len()).filter(|i| knob.takes(&scene, *i as f64));
        assert_eq!(offered.count(), Sampler::ALL.len() - 1);
        let before = scene.clone();
        let why = set_from_text(&mut scene, "plan.sampler=one-step").unwrap_err();
        assert!(why.contains("[distill]"), "{why}");
        assert_eq!(scene, before);
        scene.plan.sampler = Sampler::OneStep;
        assert!(scene.check().unwrap_err().to_string().contains("foresight distill"));
    }

    #[test]
    fn settings_are_given_as_text_too() {
        let mut scene = scene();
        set_from_text(&mut scene, "plan.denoising_steps=9").unwrap();
        set_from_text(&mut scene, "control.replan = on-deviation").unwrap();
        assert_eq!((scene.plan.denoising_steps, scene.control.replan), (9, Replan::OnDeviation));
        for text in ["plan.sampler=one-step", "plan.sampler=distilled"] {
            scene.plan.sampler = Sampler::Ddim;
            set_from_text(&mut scene, text).unwrap();
            assert_eq!(scene.plan.sampler, Sampler::OneStep);
        }
        set_from_text(&mut scene, "plan.sampler=dpm-solver++").unwrap();
        assert_eq!(scene.plan.sampler, Sampler::DpmSolver);
        assert!(set_from_text(&mut scene, "plan.x=1").is_err());
        assert!(set_from_text(&mut scene, "control.replan=often").unwrap_err().contains("never"));
    }
}
