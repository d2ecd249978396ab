//! The top bar: which scene, which seed, which device, which colors.

use eframe::egui::{
    Align, Button, ComboBox, Context, DragValue, Layout, Rect, Shape, Stroke, Theme, Ui, vec2,
};

use crate::lab::files::AUTOSAVE;
use crate::lab::pairs::{self, WORLDS};
use crate::lab::{DeviceChoice, SHIPPED, Scene, ShippedScene};
use crate::model;
use crate::ui::actions::file_name;
use crate::ui::app::{App, Proposal};
use crate::ui::command;
use crate::ui::history::EditTag;
use crate::ui::icons::{self, Icon};
use crate::ui::live::Wish;
use crate::ui::overlays::notices::Notice;
use crate::ui::theme::{BODY, Colors, GRID, TITLE, small, strong};
use crate::ui::training;
use crate::ui::widgets::{key_name, muted, tip_of};

/// Most runs in the menu.
const MOST_RUNS: usize = 5;
const DEVICES: [(DeviceChoice, &str); 3] =
    [(DeviceChoice::Auto, "auto"), (DeviceChoice::Cpu, "CPU"), (DeviceChoice::Gpu, "GPU")];

/// Show the bar.
pub fn show(app: &mut App, ui: &mut Ui) {
    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
        ui.label(strong("foresight", TITLE));
        ui.add_space(GRID);
        scene_menu(app, ui);
        ui.add_space(GRID);
        pair(app, ui);
        ui.add_space(GRID * 2.0);
        seed(app, ui);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            palette_button(app, ui);
            theme_button(app, ui);
            device(app, ui);
        });
    });
}

fn scene_menu(app: &mut App, ui: &mut Ui) {
    // Room for the arrow painted below.
    let label = format!("{}      ", app.scene_title());
    let response = ui.menu_button(small(label).size(BODY), |ui| {
        ui.set_min_width(264.0);
        for scene in SHIPPED {
            if ui.button(scene.title).clicked() {
                open_shipped(app, scene);
                ui.close();
            }
        }
        ui.separator();
        for id in ["open", "save", "save-as", "png", "svg", "csv", "gif-chain", "gif-time"] {
            menu_row(app, ui, id);
        }
        recent(app, ui);
        runs(app, ui);
    });
    let button = response.response.rect;
    let arrow = Rect::from_center_size(button.right_center() - vec2(14.0, 0.0), vec2(8.0, 5.0));
    let ink = Colors::of(ui.ctx()).muted_ink();
    let corners = vec![arrow.left_top(), arrow.right_top(), arrow.center_bottom()];
    ui.painter().add(Shape::convex_polygon(corners, ink, Stroke::NONE));
    response.response.on_hover_text("Open, save and export scenes");
}

/// Which world and which model: nine pairs and more, trained or still to be.
fn pair(app: &mut App, ui: &mut Ui) {
    let world = app.world;
    let model = app.session.scene().model.id();
    let mut wanted = None;
    let title = world.map_or("another world", |world| world.title);
    ui.name_inputs("World", |ui| {
        ComboBox::from_id_salt("world").width(124.0).selected_text(title).show_ui(ui, |ui| {
            for row in WORLDS {
                let is_here = world.is_some_and(|world| world.id == row.id);
                if ui.selectable_label(is_here, row.title).clicked() {
                    wanted = Some((row, model));
                }
            }
        })
    });
    let title = model::ALL.iter().find(|row| row.id == model).map_or("", |row| row.title);
    ui.name_inputs("Model", |ui| {
        ComboBox::from_id_salt("model").width(150.0).selected_text(title).show_ui(ui, |ui| {
            for row in model::ALL {
                let response = ui.selectable_label(row.id == model, row.title);
                if response.on_hover_text(row.help).clicked() {
                    wanted = world.or(WORLDS.first()).map(|world| (world, row.id));
                }
            }
        })
    });
    let Some((world, model)) = wanted else { return };
    match pairs::pair(world, model) {
        Ok(pair) => app.propose(Proposal::Open(Box::new(pair.scene), pair.name, None)),
        Err(error) => app.notify(Notice::failed("That pair cannot be had", error.to_string())),
    }
}

fn menu_row(app: &mut App, ui: &mut Ui, id: &str) {
    let Some(command) = command::find(id) else { return };
    if !command::applies(command, app.session.scene()) {
        return;
    }
    let key = command.key.map(|key| key_name(ui.ctx(), &key)).unwrap_or_default();
    if ui.add(Button::new(command.title).shortcut_text(key)).clicked() {
        app.propose(Proposal::Run(command));
        ui.close();
    }
}

fn recent(app: &mut App, ui: &mut Ui) {
    let autosave = app.state_folder.as_ref().map(|folder| folder.join(AUTOSAVE));
    if app.recent.is_empty() && autosave.is_none() {
        return;
    }
    ui.separator();
    for path in app.recent.clone() {
        let response = ui.button(file_name(&path)).on_hover_text(path.display().to_string());
        if response.clicked() {
            app.propose(Proposal::OpenPath(path));
            ui.close();
        }
    }
    if let Some(path) = autosave
        && ui.button("Last autosave").on_hover_text("The scene as it was last edited").clicked()
    {
        app.propose(Proposal::OpenPath(path));
        ui.close();
    }
}

/// Runs to look at and to go on with.
fn runs(app: &mut App, ui: &mut Ui) {
    let runs = training::recent_runs(app.state_folder.as_deref(), MOST_RUNS);
    if runs.is_empty() {
        return;
    }
    ui.separator();
    for run in runs {
        let title = format!("Run {}", file_name(&run));
        let response = ui.button(title).on_hover_text(run.display().to_string());
        if response.clicked() {
            app.propose(Proposal::OpenPath(run.join("run.json")));
            ui.close();
        }
    }
}

/// Propose to open a shipped scene.
pub fn open_shipped(app: &mut App, shipped: &ShippedScene) {
    match Scene::parse(shipped.text) {
        Ok(scene) => {
            app.propose(Proposal::Open(Box::new(scene), shipped.name.to_owned(), None));
        }
        Err(error) => app.notify(Notice::failed("That scene is broken", error.to_string())),
    }
}

fn seed(app: &mut App, ui: &mut Ui) {
    ui.label(muted(ui, "seed"));
    let mut scene = app.session.scene().clone();
    let field = DragValue::new(&mut scene.stage.seed).speed(0.1).update_while_editing(false);
    let response = ui.name_inputs("Seed", |ui| ui.add(field));
    if response.on_hover_text("Seed of everything that is drawn").changed() {
        app.propose(Proposal::Edit(EditTag::Seed, Box::new(scene), Some(Wish::REPLAY)));
    }
    ui.spacing_mut().item_spacing.x = 4.0;
    for (label, id) in [("same", "replay"), ("new", "new-seed")] {
        let Some(command) = command::find(id) else { continue };
        if !command::applies(command, app.session.scene()) {
            continue;
        }
        if ui.button(label).on_hover_text(tip_of(ui.ctx(), id)).clicked() {
            app.propose(Proposal::Run(command));
        }
    }
}

fn device(app: &mut App, ui: &mut Ui) {
    let mut index = DEVICES.iter().position(|(choice, _)| *choice == app.device).unwrap_or(0);
    let reason = app.session.status().device_reason.clone();
    let response = ui.name_inputs("Device", |ui| {
        ComboBox::from_id_salt("device").width(72.0).show_index(
            ui,
            &mut index,
            DEVICES.len(),
            |i| DEVICES.get(i).map_or("", |(_, label)| *label),
        )
    });
    if response.on_hover_text(reason).changed()
        && let Some((choice, _)) = DEVICES.get(index)
    {
        app.propose(Proposal::Device(*choice));
    }
    ui.label(muted(ui, "device"));
}

fn theme_button(app: &mut App, ui: &mut Ui) {
    let icon = if ui.ctx().theme() == Theme::Dark { Icon::Sun } else { Icon::Moon };
    let name = tip_of(ui.ctx(), "theme");
    if icons::button(ui, icon, &name, false).clicked()
        && let Some(command) = command::find("theme")
    {
        app.propose(Proposal::Run(command));
    }
}

fn palette_button(app: &mut App, ui: &mut Ui) {
    let colors = Colors::of(ui.ctx());
    let Some(command) = command::find("palette") else { return };
    let key = command.key.map(|key| key_name(ui.ctx(), &key)).unwrap_or_default();
    let label = small(key).color(colors.muted_ink());
    if ui.button(label).on_hover_text("All commands").clicked() {
        app.propose(Proposal::Run(command));
    }
}

/// Switch between light and dark.
pub fn toggle_theme(ctx: &Context) {
    let next = if ctx.theme() == Theme::Dark { Theme::Light } else { Theme::Dark };
    ctx.set_theme(next);
}
