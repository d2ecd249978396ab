//! Every command: the palette, the keys, the menus and the key map are views of
//! this table.

use eframe::egui;
use eframe::egui::{Key, KeyboardShortcut, Modifiers};

use super::app::App;
use super::live::{Origin, Wish};
use super::overlays::path_dialog::Purpose;
use super::overlays::{Overlay, palette::Palette};
use super::stage::Tool;
use super::stage::tree::input::Walk;
use super::transport::Clock;
use super::workspace::Pane;
use crate::lab::training::Shown;
use crate::lab::{Scene, knobs};
use crate::plan::beam::EditKind;

/// A row of the command table.
pub struct Command {
    /// Stable name.
    pub id: &'static str,
    /// What it does, as an imperative.
    pub title: &'static str,
    /// The key that does it.
    pub key: Option<KeyboardShortcut>,
    /// Where it stands in the key map.
    pub group: &'static str,
    /// One sentence more.
    pub help: &'static str,
    /// Does it.
    pub run: fn(&mut App, &egui::Context),
}

const NONE: Modifiers = Modifiers::NONE;
const SHIFT: Modifiers = Modifiers::SHIFT;
const CTRL: Modifiers = Modifiers::COMMAND;
const CTRL_SHIFT: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);

const fn on(modifiers: Modifiers, key: Key) -> Option<KeyboardShortcut> {
    Some(KeyboardShortcut::new(modifiers, key))
}

macro_rules! commands {
    ($($group:literal: { $($id:literal, $title:literal, $key:expr, $help:literal, $run:expr;)* })*) => {
        /// Every command there is.
        pub const ALL: &[Command] = &[$($(Command {
            id: $id, title: $title, key: $key, group: $group, help: $help, run: $run,
        },)*)*];
    };
}

commands! {
    "Play": {
        "play", "Play or pause", on(NONE, Key::Space),
            "Run the active clock.", |app, _| {
                if super::stage::field::is_here(app) {
                    return super::stage::field::run::toggle(app);
                }
                let extent = app.extent();
                app.transport.toggle(&extent);
            };
        "step-back", "Step back", on(NONE, Key::ArrowLeft),
            "One step of the chain, or one environment step.", |app, _| step(app, -1);
        "step-forward", "Step forward", on(NONE, Key::ArrowRight),
            "One step of the chain, or one environment step.", |app, _| step(app, 1);
        "jump-back", "Jump back", on(SHIFT, Key::ArrowLeft),
            "Half a second, or to the chain's beginning.", |app, _| jump(app, false);
        "jump-forward", "Jump forward", on(SHIFT, Key::ArrowRight),
            "Half a second, or to the chain's end.", |app, _| jump(app, true);
        "to-start", "Go to the beginning", on(NONE, Key::Home),
            "Of the active clock.", |app, _| {
                app.transport.playing = false;
                app.transport.to_start();
            };
        "to-end", "Go to the end", on(NONE, Key::End),
            "Of the active clock.", |app, _| {
                let extent = app.extent();
                app.transport.to_end(&extent);
            };
        "clock", "Switch the clock", on(NONE, Key::T),
            "Between denoising or search, environment time and training.", |app, _| {
                let has_run = super::training::checkpoints(app) > 0;
                let acts = knobs::acts(app.session.scene());
                app.transport.clock = match app.transport.clock {
                    Clock::Environment if has_run => Clock::Training,
                    Clock::Environment | Clock::Training if acts => Clock::Denoising,
                    _ => Clock::Environment,
                };
            };
        "loop", "Loop", on(NONE, Key::L),
            "Start over at the end.", |app, _| app.transport.looping = !app.transport.looping;
        "slower", "Slower", on(NONE, Key::OpenBracket),
            "Half the speed.", |app, _| app.transport.scale_speed(0.5);
        "faster", "Faster", on(NONE, Key::CloseBracket),
            "Twice the speed.", |app, _| app.transport.scale_speed(2.0);
    }
    "Plan": {
        "replay", "Same seed: plan again from the start", on(NONE, Key::R),
            "Draws the same noise again.", |app, _| app.live.want(Wish::REPLAY);
        "new-seed", "New seed", on(NONE, Key::N),
            "Draws other noise.", |app, _| app.new_seed();
        "replan", "Plan again from the ball", on(NONE, Key::P),
            "Keeps the ball where it is.", |app, _| app.live.want(Wish::full(Origin::Ball));
        "noisy", "Show x_t or the clean prediction", on(NONE, Key::X),
            "While denoising.", |app, _| app.show_noisy = !app.show_noisy;
        "clear-waypoints", "Remove all waypoints", None,
            "Leaves start and goal.", |app, _| super::stage::input::clear_waypoints(app);
        "reset-trials", "Reset the success count", None,
            "Starts counting reached goals anew.", |app, _| app.session.reset_trials();
        "branch-next", "Pick the next branch", on(NONE, Key::ArrowDown),
            "Of the same transition, the likelier first.",
            |app, _| super::stage::tree::input::walk(app, Walk::Next);
        "branch-previous", "Pick the previous branch", on(NONE, Key::ArrowUp),
            "Of the same transition.",
            |app, _| super::stage::tree::input::walk(app, Walk::Previous);
        "branch-out", "Pick what follows the branch", on(NONE, Key::PageDown),
            "Its likeliest state a transition later.",
            |app, _| super::stage::tree::input::walk(app, Walk::Out);
        "branch-in", "Pick what the branch follows", on(NONE, Key::PageUp),
            "Its state a transition earlier.",
            |app, _| super::stage::tree::input::walk(app, Walk::In);
        "prune", "Prune the picked branch", on(NONE, Key::Delete),
            "The first search runs again and may not go there.",
            |app, _| super::stage::tree::input::edit(app, EditKind::Prune);
        "force", "Force the picked branch", on(NONE, Key::Enter),
            "The first search runs again and must go there.",
            |app, _| super::stage::tree::input::edit(app, EditKind::Force);
        "clear-edits", "Clear prunes and forces", None,
            "The search as the model makes it.", |app, _| app.tree.clear_edits();
        "dream", "Dream from here", None,
            "Rolls the model 100 transitions ahead, beside the truth.",
            |app, _| super::panels::dream::start(app);
        "dream-on-stage", "Show or hide the dream on the stage", None,
            "Over the tree, as large as the map.",
            |app, _| app.tree.dream.on_stage = !app.tree.dream.on_stage;
    }
    "Prediction": {
        "map", "Occupancy or value map", on(NONE, Key::M),
            "Where the policy will be, or what every state is worth.",
            |app, _| app.field.next_map();
        "compare", "Model, truth, difference", on(NONE, Key::C),
            "What is compared with what.", |app, _| app.field.next_comparison();
        "samples", "Density or samples", on(NONE, Key::D),
            "The model's density, or states drawn from it.",
            |app, _| app.field.as_samples = !app.field.as_samples;
        "scale", "Color scale", on(NONE, Key::G),
            "Linear, square root or logarithm.", |app, _| app.field.next_scale();
        "pin", "Pin or release the source state", on(NONE, Key::S),
            "A pinned state stays while the mouse moves.",
            |app, _| super::stage::field::input::toggle_pin(app);
        "release", "Release the source state", on(NONE, Key::Escape),
            "It follows the mouse again; a brush is put away.",
            |app, _| super::stage::field::input::release(app);
        "reset-rewards", "Reset painted rewards", None,
            "The environment's own reward again.", |app, _| super::stage::field::rewards::reset(app);
    }
    "Training": {
        "train", "Train, pause or go on", on(CTRL, Key::T),
            "Trains the scene's model in the window.", |app, _| super::training::press(app);
        "distill", "Distill the Diffuser", None,
            "Trains a second network that plans in one step, from the scene's weights.",
            |app, _| super::training::distill(app);
        "training", "Show the training panels", on(NONE, Key::F2),
            "Controls of training, and what it looks like.", |app, _| {
                let pane = if app.workspace.is_front(Pane::Training) {
                    [Pane::Controls, Pane::Inspector]
                } else {
                    [Pane::Training, Pane::Learning]
                };
                pane.into_iter().for_each(|pane| app.workspace.show(pane));
            };
        "train-stop", "Stop training", on(CTRL_SHIFT, Key::T),
            "After the present step, with a checkpoint.", |app, _| super::training::stop(app);
        "weights-newest", "Show the weights in training", None,
            "As they learn.", |app, _| app.session.show_weights(Shown::Newest);
        "weights-own", "Show the scene's own weights", None,
            "Those the scene came with.", |app, _| app.session.show_weights(Shown::Own);
    }
    "Stage": {
        "tool-move", "Move start, goal and waypoints", on(NONE, Key::V),
            "Shift+click adds a waypoint, right click removes it.",
            |app, _| app.stage.tool = Tool::Move;
        "tool-paint", "Paint walls", on(NONE, Key::W),
            "Drag over free cells.", |app, _| app.stage.tool = Tool::Paint;
        "tool-erase", "Erase walls", on(NONE, Key::E),
            "Drag over walls.", |app, _| app.stage.tool = Tool::Erase;
        "fit", "Fit the maze into the stage", on(NONE, Key::F),
            "Undoes zooming (wheel) and panning (middle button).",
            |app, _| app.stage.camera.reset();
    }
    "Scene": {
        "sides", "Compare side by side", on(CTRL, Key::Backslash),
            "A second side with the same question, clocks and camera; again closes it.",
            |app, _| super::compare::toggle(app);
        "sides-swap", "Work with the other side", on(NONE, Key::Tab),
            "Panels, keys and pickers are about one side at a time.",
            |app, _| super::compare::swap(app);
        "undo", "Undo", on(CTRL, Key::Z),
            "Takes back the last edit of the scene.", |app, _| app.travel(true);
        "redo", "Redo", on(CTRL_SHIFT, Key::Z),
            "Does it again.", |app, _| app.travel(false);
        "open", "Open scene…", on(CTRL, Key::O),
            "A scene file; dropping one on the window works too.",
            |app, _| app.ask_path(Purpose::OpenScene);
        "save", "Save scene", on(CTRL, Key::S),
            "To where it came from.", |app, _| app.save(None);
        "save-as", "Save scene as…", on(CTRL_SHIFT, Key::S),
            "To another place.", |app, _| app.ask_path(Purpose::SaveScene);
        "png", "Export picture (PNG)…", on(CTRL, Key::P),
            "The stage as it is now, with axes.", |app, _| app.ask_path(Purpose::Png);
        "svg", "Export drawing (SVG)…", on(CTRL_SHIFT, Key::P),
            "The same as shapes, for papers and editing.", |app, _| app.ask_path(Purpose::Svg);
        "csv", "Export numbers (CSV)…", on(CTRL, Key::E),
            "The chosen plan, one state a row; every node of a search; every cell of a map.", |app, _| app.ask_path(Purpose::Csv);
        "gif-chain", "Export steps (GIF)…", on(CTRL, Key::D),
            "Noise becoming a plan, a search growing, or a prediction as its discount grows.", |app, _| app.ask_path(Purpose::Gif(Clock::Denoising));
        "gif-time", "Export the way (GIF)…", on(CTRL, Key::G),
            "The ball following the plan, or a policy's run over its map.", |app, _| app.ask_path(Purpose::Gif(Clock::Environment));
    }
    "Window": {
        "palette", "All commands", on(CTRL, Key::K),
            "Search and run.", |app, _| app.overlay = Some(Overlay::Palette(Palette::default()));
        "keys", "Key map", on(NONE, Key::F1),
            "Every key.", |app, _| app.overlay = Some(Overlay::Keys);
        "theme", "Light or dark", on(CTRL, Key::L),
            "Switches the colors.", |_, ctx| super::panels::top_bar::toggle_theme(ctx);
        "controls", "Show or hide the controls", on(CTRL, Key::B),
            "The panel on the left.", |app, _| app.show_controls = !app.show_controls;
        "inspector", "Show or hide the inspector", on(CTRL, Key::I),
            "The panel on the right.", |app, _| app.show_inspector = !app.show_inspector;
        "larger", "Larger text", on(CTRL, Key::Equals),
            "And everything else.", |_, ctx| scale(ctx, 1.1);
        "smaller", "Smaller text", on(CTRL, Key::Minus),
            "And everything else.", |_, ctx| scale(ctx, 1.0 / 1.1);
        "quit", "Quit", on(CTRL, Key::Q),
            "Closes the window.",
            |_, ctx| ctx.send_viewport_cmd(egui::ViewportCommand::Close);
    }
}

/// Whether a command means anything in a scene.
pub fn applies(command: &Command, scene: &Scene) -> bool {
    const TOOLS: [&str; 3] = ["tool-move", "tool-paint", "tool-erase"];
    const EXPORTS: [&str; 4] = ["svg", "csv", "gif-chain", "gif-time"];
    const SEARCHES: [&str; 9] = [
        "branch-next",
        "branch-previous",
        "branch-out",
        "branch-in",
        "prune",
        "force",
        "clear-edits",
        "dream",
        "dream-on-stage",
    ];
    match command.group {
        "Prediction" => knobs::is_gamma(scene),
        "Plan" => match command.id {
            "new-seed" => true,
            "replay" | "reset-trials" => knobs::acts(scene),
            id if SEARCHES.contains(&id) => knobs::is_trajectory(scene),
            _ => knobs::is_diffuser(scene),
        },
        _ if command.id.starts_with("tool-") => {
            knobs::is_diffuser(scene) && scene.environment.id == "maze2d"
        }
        _ if command.id == "distill" => scene.distill.is_some(),
        _ if EXPORTS.contains(&command.id) => knobs::acts(scene),
        _ => knobs::is_diffuser(scene) || !TOOLS.contains(&command.id),
    }
}

/// The row called `id`.
pub fn find(id: &str) -> Option<&'static Command> {
    ALL.iter().find(|command| command.id == id)
}

fn step(app: &mut App, steps: i32) {
    let extent = app.extent();
    app.transport.step(steps, &extent);
}

fn jump(app: &mut App, forward: bool) {
    let extent = app.extent();
    app.transport.jump(forward, &extent);
}

fn scale(ctx: &egui::Context, factor: f32) {
    ctx.set_zoom_factor((ctx.zoom_factor() * factor).clamp(0.7, 2.5));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_keys_are_unique() {
        for (i, a) in ALL.iter().enumerate() {
            for b in &ALL[i + 1..] {
                assert_ne!(a.id, b.id);
                assert!(a.key.is_none() || a.key != b.key, "{} and {} share a key", a.id, b.id);
            }
        }
    }
}
