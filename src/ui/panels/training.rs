//! Training: start, pause, go on, stop; what may change meanwhile.

use eframe::egui::{Button, DragValue, ProgressBar, Slider, Ui, vec2};

use super::controls;
use super::status::thousands;
use crate::lab::knobs;
use crate::lab::train::keeper::{TrainFrame, TrainStage};
use crate::lab::train::{Budget, Rest};
use crate::lab::training::Shown;
use crate::ui::app::{App, Proposal};
use crate::ui::command;
use crate::ui::theme::{Colors, GRID, SMALL, number, small};
use crate::ui::training::{self, Action};
use crate::ui::widgets::{muted, tip_of};

/// What the section is for.
pub const HELP: &str = "Collect data and train the scene's model here. The stage shows the weights as they learn; everything is kept in a folder of its own.";

/// Show the section.
pub fn show(app: &mut App, ui: &mut Ui) {
    ui.add_space(GRID);
    buttons(app, ui);
    let frame = app.session.training();
    if let Some(frame) = &frame {
        progress(app, ui, frame);
    }
    budget(app, ui);
    pace(app, ui);
    let scene = app.session.scene().clone();
    for knob in knobs::all().filter(|knob| knob.group == knobs::training::GROUP) {
        if (knob.applies)(&scene) {
            controls::knob(app, ui, knob.id);
        }
    }
    controls::marks(ui);
}

fn buttons(app: &mut App, ui: &mut Ui) {
    let colors = Colors::of(ui.ctx());
    ui.horizontal(|ui| {
        // Four buttons have to fit side by side.
        ui.spacing_mut().item_spacing.x = 4.0;
        ui.spacing_mut().button_padding.x = 6.0;
        let action = training::action(app);
        let mut button = Button::new(action.title()).min_size(vec2(60.0, 24.0));
        if action == Action::Train {
            button = button.fill(colors.accent_fill());
        }
        if ui.add(button).on_hover_text(tip_of(ui.ctx(), "train")).clicked()
            && let Some(command) = command::find("train")
        {
            app.propose(Proposal::Run(command));
        }
        if app.session.training_orders().is_some() {
            let tip = "Save a checkpoint and end; the run can be resumed from its folder.";
            if ui.button("Stop").on_hover_text(tip).clicked() {
                training::stop(app);
            }
            let tip = "Save a checkpoint that no later one displaces.";
            if ui.button("Keep").on_hover_text(tip).clicked()
                && let Some(orders) = app.session.training_orders()
            {
                orders.keep();
            }
            extend(app, ui);
        } else if app.session.training().is_some() {
            let tip = "Show the scene's own weights again. The run stays on disk.";
            if ui.button("Close run").on_hover_text(tip).clicked() {
                training::close_run(app);
            }
        }
        distill(app, ui);
    });
}

/// A second network for the open scene, where it asks for one.
fn distill(app: &mut App, ui: &mut Ui) {
    let is_offered =
        app.session.scene().distill.is_some() && app.session.training_orders().is_none();
    if is_offered
        && let Some(command) = command::find("distill")
        && ui.button("Distill").on_hover_text(command.help).clicked()
    {
        app.propose(Proposal::Run(command));
    }
}

fn progress(app: &mut App, ui: &mut Ui, frame: &TrainFrame) {
    let colors = Colors::of(ui.ctx());
    let share = match frame.stage {
        TrainStage::Collecting { done, total } => done as f64 / total.max(1) as f64,
        _ => frame.progress,
    };
    let bar =
        ProgressBar::new(share.clamp(0.0, 1.0) as f32).desired_height(6.0).fill(colors.accent());
    ui.add(bar);
    ui.label(number(words(frame)).size(SMALL));
    let rest = match &frame.stage {
        TrainStage::Collecting { .. } => "collecting data".to_owned(),
        TrainStage::Training => frame.remaining.map(training::remaining).unwrap_or_default(),
        TrainStage::Starting => "starting".to_owned(),
        TrainStage::Preparing(since) => {
            ui.ctx().request_repaint_after_secs(0.5);
            format!("preparing the GPU, {:.0} s", since.elapsed().as_secs_f32())
        }
        TrainStage::Resting(Rest::Asked) => "paused".to_owned(),
        TrainStage::Resting(Rest::Spent) => "budget spent; extend it to go on".to_owned(),
        TrainStage::Ended => "ended; its checkpoints stay".to_owned(),
        TrainStage::Resting(Rest::Trouble(why)) | TrainStage::Failed(why) => why.clone(),
    };
    let ink = match &frame.stage {
        TrainStage::Failed(_) | TrainStage::Resting(Rest::Trouble(_)) => colors.warning(),
        _ => colors.muted_ink(),
    };
    ui.label(small(rest).color(ink));
    if let TrainStage::Resting(Rest::Trouble(_)) = &frame.stage
        && let Some(entry) = frame.manifest.as_ref().and_then(|manifest| manifest.newest())
    {
        let title = format!("Back to step {}", thousands(entry.step));
        let tip = "Take up the last checkpoint before it went wrong; lower the learning rate too.";
        if ui.button(title).on_hover_text(tip).clicked() {
            let id = entry.id;
            training::go_back(app, id);
        }
    }
    if !app.session.trains_this() {
        ui.label(muted(
            ui,
            format!("That is \u{201c}{}\u{201d}, another scene.", frame.scene.title),
        ));
    }
}

/// The numbers of a run in one line.
pub fn words(frame: &TrainFrame) -> String {
    if let TrainStage::Collecting { done, total } = frame.stage {
        return format!("{} of {} transitions", thousands(done), thousands(total));
    }
    match &frame.last {
        Some(last) => format!("step {}  {:.1} step/s", thousands(last.step), last.steps_per_sec),
        None => "step 0".to_owned(),
    }
}

fn budget(app: &mut App, ui: &mut Ui) {
    let scene = app.session.scene().clone();
    let distills = training::distills(app);
    let before = app.training.budget(&scene, distills);
    ui.horizontal(|ui| {
        ui.label(small("Budget")).on_hover_text(
            "When the run ends. It can be extended while it runs and when it is spent.",
        );
        match before {
            Budget::Steps(mut steps) => {
                let field = DragValue::new(&mut steps).speed(50.0).range(1..=100_000_000);
                if ui
                    .name_inputs("Budget", |ui| ui.add(field.update_while_editing(false)))
                    .changed()
                {
                    app.training.steps = steps;
                }
            }
            Budget::Time(time) => {
                let mut minutes = time.as_secs_f64() / 60.0;
                let field = DragValue::new(&mut minutes).speed(0.1).range(0.05..=100_000.0);
                if ui
                    .name_inputs("Budget", |ui| ui.add(field.update_while_editing(false)))
                    .changed()
                {
                    app.training.minutes = Some(minutes);
                }
            }
        }
        for (title, minutes) in [("steps", None), ("min", Some(10.0))] {
            let is_on = app.training.minutes.is_some() == minutes.is_some();
            if ui.selectable_label(is_on, small(title)).clicked() && !is_on {
                app.training.minutes = minutes;
            }
        }
    });
    if app.training.budget(&scene, distills) != before {
        training::extend(app);
    }
}

/// Half as much again of the budget.
fn extend(app: &mut App, ui: &mut Ui) {
    if !ui.button("+50 %").on_hover_text("Extend the budget by half.").clicked() {
        return;
    }
    match app.training.budget(app.session.scene(), training::distills(app)) {
        Budget::Steps(steps) => app.training.steps = steps + steps.div_ceil(2),
        Budget::Time(time) => app.training.minutes = Some(1.5 * time.as_secs_f64() / 60.0),
    }
    training::extend(app);
}

fn pace(app: &mut App, ui: &mut Ui) {
    ui.horizontal(|ui| {
        ui.label(small("Pace")).on_hover_text(
            "Share of the time spent on training; the rest leaves the processor to planning and painting.",
        );
        ui.spacing_mut().slider_width = 104.0;
        let mut percent = f64::from(100.0 * app.training.pace);
        let slider = Slider::new(&mut percent, 5.0..=100.0).max_decimals(0).suffix(" %");
        if ui.name_inputs("Pace", |ui| ui.add(slider)).changed() {
            app.training.pace = (percent / 100.0) as f32;
            if let Some(orders) = app.session.training_orders() {
                orders.set_pace(app.training.pace);
            }
        }
    });
    ui.add_space(GRID / 2.0);
}

/// The weights that plan, as a choice: the scene's own or the run's.
pub(super) fn shown(app: &mut App, ui: &mut Ui) {
    ui.horizontal(|ui| {
        ui.label(muted(ui, "shown"));
        let now = app.session.shown_weights().clone();
        for (title, shown, tip) in [
            ("newest", Shown::Newest, "The weights in training, as they learn."),
            ("scene's own", Shown::Own, "The weights the scene came with."),
        ] {
            if ui.selectable_label(now == shown, small(title)).on_hover_text(tip).clicked() {
                app.session.show_weights(shown);
            }
        }
    });
}
