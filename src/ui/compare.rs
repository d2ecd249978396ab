//! Two of anything side by side: the same question to another checkpoint,
//! model, sampler or preset.
//!
//! There is one side that a person works with, [`App`]'s own fields, and one
//! that mirrors it, kept in [`Other`]: start, goal, waypoints, seed, cameras,
//! wishes and clocks are those of the first. A click on the mirror swaps the
//! two, and everything in the window, panels included, is about it.

use eframe::egui::{self, Align2, FontId, Rect, Sense, Stroke, StrokeKind, Ui, UiBuilder, vec2};

use super::actions::retire;
use super::app::{App, Proposal};
use super::history::History;
use super::live::{Live, Wish};
use super::overlays::notices::Notice;
use super::place::Place;
use super::stage::field::{self, Field};
use super::stage::tree as tree_stage;
use super::stage::{self, Stage};
use super::theme::{Colors, SMALL};
use super::tree::Tree;
use crate::lab::pairs::World;
use crate::lab::training::Shown;
use crate::lab::{Session, SessionOptions};
use std::path::PathBuf;

/// Height of the line above each side.
const HEADER: f32 = 24.0;

/// Everything of the side that is not worked with.
pub struct Other {
    session: Session,
    place: Place,
    live: Live,
    field: Field,
    tree: Tree,
    stage: Stage,
    history: History,
    name: String,
    path: Option<PathBuf>,
    folder: Option<PathBuf>,
    world: Option<&'static World>,
    is_edited: bool,
    reweighted: u64,
}

/// The mirror, if there is one, and where it stands.
#[derive(Default)]
pub struct Compare {
    other: Option<Box<Other>>,
    /// Whether the side that is worked with stands on the right.
    is_right: bool,
}

impl Compare {
    /// Whether there are two sides.
    pub fn is_on(&self) -> bool {
        self.other.is_some()
    }

    /// The session of the mirror.
    pub fn mirror(&self) -> Option<&Session> {
        self.other.as_ref().map(|other| &other.session)
    }

    /// The plans of the mirror.
    pub fn mirror_live(&self) -> Option<&Live> {
        self.other.as_ref().map(|other| &other.live)
    }
}

impl Other {
    fn swap(&mut self, app: &mut App) {
        use std::mem::swap;
        swap(&mut self.session, &mut app.session);
        swap(&mut self.place, &mut app.place);
        swap(&mut self.live, &mut app.live);
        swap(&mut self.field, &mut app.field);
        swap(&mut self.tree, &mut app.tree);
        swap(&mut self.stage, &mut app.stage);
        swap(&mut self.history, &mut app.history);
        swap(&mut self.name, &mut app.name);
        swap(&mut self.path, &mut app.path);
        swap(&mut self.folder, &mut app.folder);
        swap(&mut self.world, &mut app.world);
        swap(&mut self.is_edited, &mut app.is_edited);
        swap(&mut self.reweighted, &mut app.training.reweighted);
    }
}

/// Open a second side that starts as a copy of the first, or close it.
pub fn toggle(app: &mut App) {
    if app.compare.is_on() {
        return close(app);
    }
    let options = SessionOptions { device: app.device, wake: app.files.wake() };
    let scene = app.session.scene().clone();
    let opened = Session::open(scene, app.folder.clone(), options)
        .map_err(|error| error.to_string())
        .and_then(|session| {
            let place = Place::new(&session.scene().environment).map_err(|e| e.to_string())?;
            Ok((session, place))
        });
    let (mut session, place) = match opened {
        Ok(opened) => opened,
        Err(why) => return app.notify(Notice::failed("There is no second side", why)),
    };
    // The same run can be looked at from both sides, at different times.
    if app.session.training().is_some() {
        session.watch_training(&app.session);
    }
    let mut live = Live::default();
    live.want(Wish::REPLAY);
    app.live.want(Wish::REPLAY);
    app.compare.other = Some(Box::new(Other {
        session,
        place,
        live,
        field: Field::default(),
        tree: Tree::default(),
        stage: Stage::mirror(),
        history: History::default(),
        name: app.name.clone(),
        path: app.path.clone(),
        folder: app.folder.clone(),
        world: app.world,
        is_edited: false,
        reweighted: 0,
    }));
}

/// Back to one side, the one that is worked with. What trains goes on.
fn close(app: &mut App) {
    app.compare.is_right = false;
    let Some(other) = app.compare.other.take() else { return };
    let mut session = other.session;
    if session.owns_training() && !app.session.owns_training() {
        app.session.adopt_training(&mut session);
    }
    retire(session);
}

/// Work with the other side.
pub fn swap(app: &mut App) {
    let Some(mut other) = app.compare.other.take() else { return };
    other.swap(app);
    let is_mirror = std::mem::take(&mut app.stage.is_mirror);
    other.stage.is_mirror = is_mirror;
    app.training.reset_clock();
    app.compare.other = Some(other);
    app.compare.is_right = !app.compare.is_right;
}

/// Do something as if the mirror were the side that is worked with. What it
/// proposes and what it does to the clocks is dropped: a mirror has no hands.
fn in_mirror(app: &mut App, work: impl FnOnce(&mut App)) {
    let Some(mut other) = app.compare.other.take() else { return };
    let (transport, renderer) = (app.transport.clone(), app.renderer());
    let proposals = std::mem::take(&mut app.proposals);
    let ours = app.extent().chain_steps.max(1) as f32;
    other.swap(app);
    // Chains of other lengths are as far along.
    let theirs = app.extent().chain_steps as f32;
    app.transport.chain = (app.transport.chain / ours).min(1.0) * theirs;
    app.set_renderer(renderer.on_side(1));
    work(app);
    app.set_renderer(renderer);
    other.swap(app);
    app.proposals = proposals;
    app.transport = transport;
    app.compare.other = Some(other);
}

/// Once a frame, before anything is shown: hand over what is linked, and take
/// what the mirror's workers have made.
pub(super) fn advance(app: &mut App, dt_secs: f32, now_secs: f64) {
    let Some(other) = &mut app.compare.other else { return };
    if other.place.spec.id != app.place.spec.id {
        // Another world has other states: there is nothing to compare.
        close(app);
        return app.notify(Notice::done("Another world: the second side was closed".to_owned()));
    }
    let linked = app.session.scene().stage.clone();
    let is_linked = other.session.scene().stage == linked
        && other.session.scene().environment == app.session.scene().environment;
    if !is_linked {
        let mut scene = other.session.scene().clone();
        scene.stage = linked;
        scene.environment = app.session.scene().environment.clone();
        // A goal that one side takes the other takes too.
        if other.session.apply(scene).is_ok()
            && let Ok(place) = Place::new(&other.session.scene().environment)
        {
            other.place = place;
        }
    }
    // A run that began later is seen from both sides too.
    if other.session.training().is_none() && app.session.training().is_some() {
        other.session.watch_training(&app.session);
    }
    other.stage.link(&app.stage);
    other.field.link(&app.field);
    link_checkpoints(app);
    in_mirror(app, |app| {
        app.session.poll();
        let reweighted = app.session.status().reweighted;
        if std::mem::replace(&mut app.training.reweighted, reweighted) != reweighted {
            app.ask_again();
        }
        app.live.take(&app.session, &mut app.transport, now_secs);
        app.live.settle(dt_secs);
        if tree_stage::is_here(app) {
            app.tree.take(&app.session, &mut app.transport);
            app.tree.follow(&mut app.transport);
        }
    });
}

/// Two runs on one clock: where the side that is worked with shows the
/// checkpoint of a step, a mirror with another run shows its nearest.
fn link_checkpoints(app: &mut App) {
    let Shown::Checkpoint(id) = *app.session.shown_weights() else { return };
    let Some(ours) = app.session.training() else { return };
    let Some(other) = &mut app.compare.other else { return };
    let Some(theirs) = other.session.training().filter(|theirs| theirs.run != ours.run) else {
        return;
    };
    let step = ours.manifest.as_ref().and_then(|manifest| Some(manifest.entry(id)?.step));
    let nearest = step.zip(theirs.manifest.as_ref()).and_then(|(step, manifest)| {
        manifest.checkpoints.iter().min_by_key(|entry| entry.step.abs_diff(step))
    });
    if let Some(entry) = nearest
        && *other.session.shown_weights() != Shown::Checkpoint(entry.id)
    {
        other.session.show_weights(Shown::Checkpoint(entry.id));
    }
}

/// Once a frame, after everything was shown: ask what the mirror wants to know,
/// with the wish of the side that is worked with.
pub(super) fn pump(app: &mut App, ctx: &egui::Context, wish: Option<Wish>, now_secs: f64) {
    let Some(other) = &mut app.compare.other else { return };
    if let Some(wish) = wish {
        other.live.want(wish);
    }
    let dragged = app.stage_now();
    in_mirror(app, |app| {
        super::actions::pump(
            &mut app.session,
            &mut app.live,
            &mut app.transport,
            &app.place,
            Some(dragged),
            now_secs,
        );
        field::pump(app, ctx);
        tree_stage::pump(app, ctx);
    });
}

/// Show one stage, or both beside each other.
pub fn show(app: &mut App, ui: &mut Ui) {
    if !app.compare.is_on() {
        return stage::show(app, ui);
    }
    let whole = ui.available_rect_before_wrap();
    let (left, right) = whole.split_left_right_at_fraction(0.5);
    let (left, right) = (left.with_max_x(left.max.x - 1.0), right.with_min_x(right.min.x + 1.0));
    let is_right = app.compare.is_right;
    let (ours, theirs) = if is_right { (right, left) } else { (left, right) };
    ui.allocate_rect(whole, Sense::hover());
    let titles = titles(app);
    side(ui, ours, "worked with", |ui| stage::show(app, ui));
    header(ui, ours, &titles.0, true);
    in_mirror(app, |app| side(ui, theirs, "mirror", |ui| stage::show(app, ui)));
    header(ui, theirs, &titles.1, false);
    let response = ui.interact(theirs, ui.scope_id().with("mirror"), Sense::click());
    let label = "Mirror: click to work with this side";
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, label));
    if response.on_hover_text("Click to work with this side.").clicked()
        && let Some(command) = super::command::find("sides-swap")
    {
        app.propose(Proposal::Run(command));
    }
}

fn side(ui: &mut Ui, rect: Rect, name: &str, show: impl FnOnce(&mut Ui)) {
    let inner = rect.with_min_y(rect.min.y + HEADER);
    let mut child = ui.new_child(UiBuilder::new().max_rect(inner).id_salt(name));
    child.set_clip_rect(inner.intersect(ui.clip_rect()));
    show(&mut child);
}

fn header(ui: &Ui, rect: Rect, title: &str, is_ours: bool) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter_at(rect);
    let line = rect.with_max_y(rect.min.y + HEADER);
    painter.rect_filled(line, 0.0, colors.panel());
    let ink = if is_ours { colors.ink() } else { colors.muted_ink() };
    let at = line.left_center() + vec2(12.0, 0.0);
    painter.text(at, Align2::LEFT_CENTER, title, FontId::proportional(SMALL), ink);
    if is_ours {
        painter.hline(line.x_range(), line.max.y - 1.0, Stroke::new(2.0, colors.accent()));
    } else {
        let stroke = Stroke::new(1.0, colors.line());
        painter.rect_stroke(rect, 0.0, stroke, StrokeKind::Inside);
    }
}

/// What each side is: what differs first.
fn titles(app: &App) -> (String, String) {
    let Some(other) = &app.compare.other else { return Default::default() };
    let of = |session: &Session| {
        let scene = session.scene();
        let model = crate::model::ALL.iter().find(|row| row.id == scene.model.id());
        let mut words = vec![model.map_or("", |row| row.title).to_owned()];
        words.push(scene.model.preset().name().to_owned());
        if let Some(card) = &session.status().model {
            let steps = super::panels::status::thousands(card.trained_steps);
            words.push(format!("{steps} steps trained"));
        }
        words
    };
    let ours = [of(&app.session), differing(app.session.scene(), other.session.scene())].concat();
    let theirs =
        [of(&other.session), differing(other.session.scene(), app.session.scene())].concat();
    (ours.join(", "), theirs.join(", "))
}

/// Settings of `scene` that the other one has otherwise.
fn differing(scene: &crate::lab::Scene, other: &crate::lab::Scene) -> Vec<String> {
    crate::lab::knobs::all()
        .filter(|knob| knob.group != crate::lab::knobs::training::GROUP)
        .filter(|knob| (knob.applies)(scene) && (knob.applies)(other))
        .filter(|knob| ((knob.get)(scene) - (knob.get)(other)).abs() > 1e-9)
        .take(3)
        .map(|knob| {
            let value = (knob.get)(scene);
            match knob.kind {
                crate::lab::KnobKind::Choice(labels) => {
                    labels.get(value as usize).copied().unwrap_or_default().to_owned()
                }
                _ => format!(
                    "{} {}",
                    knob.title.to_lowercase(),
                    super::panels::controls::compact(value)
                ),
            }
        })
        .collect()
}
