//! Distilling: a run that trains a Diffuser's student and leaves its teacher's
//! weights as they are.

use std::time::Duration;

use burn::tensor::Device;

use super::folder::{Continued, RunFolder};
use super::{Orders, Series, TrainError, TrainEvent, TrainOptions, TrainSummary, run};
use crate::data::{DataConfig, Windows};
use crate::lab::checkpoint::{self, Checkpoint, CheckpointError, Provenance};
use crate::lab::data_set::DataSource;
use crate::lab::scene::{Scene, SceneError};
use crate::model::student::{self, DistillConfig};
use crate::model::student_learner::StudentLearner;
use crate::model::{ModelError, ModelNumbers};

/// Transitions that starts and goals are drawn from; more say nothing new about
/// where they can lie.
const TRANSITIONS: usize = 200_000;

/// Train the student of `teacher`, the scene's Diffuser, as `orders` say.
/// Everything else is as in [`super::train`]; what is written holds the teacher
/// as it was, and the student.
///
/// # Errors
/// A scene that says nothing of distilling or holds another model, weights that
/// do not fit it, or a run of another teacher; see [`TrainError`].
pub fn distill(
    scene: &Scene,
    teacher: Checkpoint,
    device: &Device,
    options: &TrainOptions,
    orders: &Orders,
    on_event: &mut dyn FnMut(TrainEvent),
) -> Result<TrainSummary, TrainError> {
    let config = section(scene)?.clone();
    let mut teacher = teacher;
    // An earlier student is replaced.
    drop(student::take(&mut teacher.weights));
    teacher.header.student = None;
    let resumed = match options.resume {
        true => Some(resume(scene, &teacher, options)?),
        false => None,
    };
    if let Some(out) = &options.out {
        drop(crate::files::AtomicWriter::create(out)?);
    }
    let learner = learner(scene, &config, &teacher, device, orders, on_event);
    if orders.is_stopped() {
        // Half a data set is none; what an earlier part published stays.
        return Ok(TrainSummary {
            steps: resumed.as_ref().map_or(0, |(_, found)| found.state.step),
            wall: Duration::ZERO,
            loss: 0.0,
            weights: options.weights(),
            stopped: true,
        });
    }
    let learner = learner?;
    let mut header = teacher.header.clone();
    let known_by = (&teacher.header.provenance.scene_hash, &config);
    let text = serde_json::to_string(&known_by).unwrap_or_default();
    header.student = Some(Provenance {
        scene_hash: checkpoint::hash(text.as_bytes()),
        seed: config.seed,
        device: options.device_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Provenance::default()
    });
    let mut learner: Box<dyn crate::model::learner::Learner> = Box::new(learner);
    let (mut series, mut spent) = (Series::default(), Duration::ZERO);
    let folder = match resumed {
        Some((mut folder, Continued { header: found, state, series: lines })) => {
            let wall = found.newest().wall_secs.max(0.0);
            spent = Duration::try_from_secs_f64(wall).unwrap_or_default();
            header.newest_mut().loss = found.newest().loss;
            learner.restore(state)?;
            folder.write_scene(scene)?;
            series = lines;
            on_event(TrainEvent::Resumed(series.clone()));
            folder
        }
        None => RunFolder::create(&options.run, scene, &options.device_name)?.distilling(),
    };
    super::announce(device, on_event);
    run::Run::new(learner, header, folder, options, orders, spent, series).drive(scene, on_event)
}

/// What the scene says of distilling.
fn section(scene: &Scene) -> Result<&DistillConfig, SceneError> {
    scene.distill.as_ref().ok_or_else(|| SceneError::Value {
        key: "distill",
        why: "the scene has no such section; add [distill] with steps = 2000".into(),
    })
}

/// The run to continue, if it is one of this teacher and scene.
fn resume(
    scene: &Scene,
    teacher: &Checkpoint,
    options: &TrainOptions,
) -> Result<(RunFolder, Continued), TrainError> {
    let (folder, continued) = RunFolder::resume(&options.run)?;
    let found = Scene::read(&options.run.join("scene.toml"))?;
    let longer = |scene: &Scene| scene.distill.clone().map(|c| DistillConfig { steps: 1, ..c });
    let same = continued.header.student.is_some()
        && longer(&found) == longer(scene)
        && teacher.weights.iter().all(|(name, tensor)| {
            continued.state.average.get(name).is_some_and(|found| found == tensor)
        });
    if same {
        return Ok((folder, continued));
    }
    let name = options.run.display().to_string();
    let why = "it distilled other weights or in another way; distill without --resume".to_owned();
    Err(CheckpointError::Mismatch { name, why }.into())
}

fn learner(
    scene: &Scene,
    config: &DistillConfig,
    teacher: &Checkpoint,
    device: &Device,
    orders: &Orders,
    on_event: &mut dyn FnMut(TrainEvent),
) -> Result<StudentLearner, TrainError> {
    let mut environment = scene.make_environment()?;
    let ModelNumbers::Diffuser(numbers) = scene.model.resolve(environment.spec())? else {
        let why = "only a Diffuser can be distilled; choose a scene with one".to_owned();
        return Err(ModelError::Config(why).into());
    };
    let name = scene.model.weights().unwrap_or("the weights").to_owned();
    let diffuser = teacher.clone().diffuser(&name, &numbers, device.clone())?;
    let total = match scene.data.transitions {
        0 => TRANSITIONS,
        all => all.min(TRANSITIONS),
    };
    let data = DataConfig { transitions: total, ..scene.data.clone() };
    let mut on_collected = |done| {
        on_event(TrainEvent::Collecting { done, total });
        orders.hold()
    };
    let episodes = DataSource::new(&data, None).episodes(
        environment.as_mut(),
        &numbers.policies,
        &mut on_collected,
    )?;
    let limits = diffuser.normalizer.clone();
    let windows = Windows::normalized(&episodes, numbers.windows(), limits)?;
    let weights = teacher.weights.clone();
    Ok(StudentLearner::new(config.clone(), diffuser, weights, windows, device)?)
}
