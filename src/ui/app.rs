//! The window's state and one frame of it.
//!
//! Panels read the state and propose changes; this file and [`super::actions`]
//! apply them. The session, which owns the workers, is asked but never waited
//! for.

use eframe::egui;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::lab::files::FileWorker;
use crate::lab::pairs::{self, World};
use crate::lab::training::Shown;
use crate::lab::{DeviceChoice, Scene, Session, SessionOptions, knobs};

use super::compare::Compare;
use super::data::{self, DataView};
use super::history::{EditTag, History};
use super::layers::{self, Renderer};
use super::live::{Live, Wish};
use super::overlays::Overlay;
use super::overlays::notices::Notice;
use super::panels::denoise::FilmStrip;
use super::panels::frontier::FrontierView;
use super::place::Place;
use super::probe::Probe;
use super::stage::Stage;
use super::stage::field::{self, Field};
use super::stage::tree as tree_stage;
use super::training::Training;
use super::transport::{Extent, Transport};
use super::tree::Tree;
use super::workspace::Workspace;
use super::{keys, overlays, panels, theme};

/// Wakes the window from other threads once it exists.
pub type Waker = Arc<OnceLock<egui::Context>>;

/// A change a panel would like.
pub enum Proposal {
    /// Another value in the scene, and the plan that should follow.
    Edit(EditTag, Box<Scene>, Option<Wish>),
    /// Another scene; the name is for the title.
    Open(Box<Scene>, String, Option<PathBuf>),
    /// A file to open.
    OpenPath(PathBuf),
    /// Where the models run.
    Device(DeviceChoice),
    /// A row of the command table.
    Run(&'static super::command::Command),
}

/// Everything the window knows.
pub struct App {
    /// Owner of the workers.
    pub session: Session,
    /// Walls and constants of the scene's environment.
    pub place: Place,
    /// The plan on the stage.
    pub live: Live,
    /// The clocks.
    pub transport: Transport,
    /// Camera, tool and drag.
    pub stage: Stage,
    /// What a gamma-model is asked, and its answers.
    pub field: Field,
    /// The beam search of a Trajectory Transformer.
    pub tree: Tree,
    /// The built-in world of the scene, if it is one.
    pub world: Option<&'static World>,
    /// What is wanted of training, and how it is looked at.
    pub training: Training,
    /// Episodes of the data set, and demonstrations.
    pub data: DataView,
    /// How the trade-off between score and time is looked at.
    pub frontier: FrontierView,
    /// Undo and redo.
    pub history: History,
    /// What lies over the window.
    pub overlay: Option<Overlay>,
    /// Messages to dismiss.
    pub notices: Vec<Notice>,
    /// Reads and writes files.
    pub files: FileWorker,
    /// Name shown for the scene.
    pub name: String,
    /// Where the scene was opened from or saved to.
    pub path: Option<PathBuf>,
    /// What the scene's weights are relative to; `None` for a shipped scene.
    pub(super) folder: Option<PathBuf>,
    /// Recently opened files, newest first.
    pub recent: VecDeque<PathBuf>,
    /// Where the models should run.
    pub device: DeviceChoice,
    /// Whether there are unsaved edits.
    pub is_edited: bool,
    /// A second side to compare with.
    pub compare: Compare,
    /// Where the panels stand.
    pub workspace: Workspace,
    /// Show the controls.
    pub show_controls: bool,
    /// Show the inspector.
    pub show_inspector: bool,
    /// Show x_t (true) or the clean prediction while denoising.
    pub show_noisy: bool,
    /// The denoising chain in small pictures.
    pub strip: FilmStrip,
    /// Measures the window from inside, when asked to.
    pub probe: Option<Probe>,
    pub(super) proposals: Vec<Proposal>,
    pub(super) state_folder: Option<PathBuf>,
    pub(super) autosave_due: Option<Instant>,
    /// The title the window has.
    title: String,
    renderer: Renderer,
    frame_pause: Duration,
    last_frame: Option<Instant>,
}

/// What an [`App`] starts with.
pub struct AppOptions {
    /// The scene to open.
    pub scene: Scene,
    /// Its name.
    pub name: String,
    /// The folder weights are relative to.
    pub folder: Option<PathBuf>,
    /// The scene's file, if it has one.
    pub path: Option<PathBuf>,
    /// The run that was open the last time.
    pub run: Option<PathBuf>,
    /// Where the models run.
    pub device: DeviceChoice,
    /// Where recent files and the autosave live; `None` keeps neither.
    pub state_folder: Option<PathBuf>,
    /// Measure the window from inside.
    pub probe: Option<Probe>,
}

/// A session and what wakes its window. Made before the window is, so that the
/// first plan is under way while the window opens.
pub struct Prepared {
    session: Session,
    place: Place,
    live: Live,
    tree: Tree,
    transport: Transport,
    waker: Waker,
    files: FileWorker,
    options: AppOptions,
}

impl Prepared {
    /// Open the session and ask for the first plan.
    ///
    /// # Errors
    /// A scene that cannot be used.
    pub fn new(options: AppOptions) -> anyhow::Result<Self> {
        let waker: Waker = Arc::default();
        let wake: Arc<dyn Fn() + Send + Sync> = {
            let waker = waker.clone();
            Arc::new(move || {
                if let Some(ctx) = waker.get() {
                    ctx.request_repaint();
                }
            })
        };
        let mut session = Session::open(
            options.scene.clone(),
            options.folder.clone(),
            SessionOptions { device: options.device, wake: wake.clone() },
        )?;
        // A run that is gone by now is no reason not to open.
        if let Some(run) = &options.run
            && session.look_at_run(run).is_ok()
            && session.trains_this()
        {
            session.show_weights(Shown::Newest);
        }
        let place = Place::new(&session.scene().environment)?;
        let files = FileWorker::start(wake)?;
        let (live, tree) = (Live::default(), Tree::default());
        let transport = Transport::default();
        let mut prepared = Self { session, place, live, tree, transport, waker, files, options };
        prepared.live.want(Wish::REPLAY);
        prepared.ask();
        Ok(prepared)
    }

    fn ask(&mut self) {
        super::actions::pump(
            &mut self.session,
            &mut self.live,
            &mut self.transport,
            &self.place,
            None,
            0.0,
        );
        if knobs::is_trajectory(self.session.scene()) {
            let stage = self.session.scene().stage.clone();
            self.tree.pump(&mut self.session, &self.place, &stage, false, 0.0);
        }
    }

    /// The window's app.
    pub fn into_app(self, cc: &eframe::CreationContext<'_>) -> App {
        let Self { session, place, live, tree, transport, waker, mut files, options } = self;
        theme::install(&cc.egui_ctx);
        cc.egui_ctx.options_mut(|egui| egui.zoom_with_keyboard = false);
        let renderer = layers::install(cc);
        // The first setter wins; there is one window.
        waker.set(cc.egui_ctx.clone()).ok();
        if let Some(folder) = &options.state_folder {
            files.load_recent(folder);
        }
        App {
            stage: Stage::default(),
            field: Field::default(),
            tree,
            world: pairs::world_of(session.scene()),
            training: Training::default(),
            data: DataView::default(),
            frontier: FrontierView::default(),
            history: History::default(),
            overlay: None,
            notices: Vec::new(),
            path: options.path,
            folder: options.folder,
            name: options.name,
            recent: VecDeque::new(),
            device: options.device,
            is_edited: false,
            compare: Compare::default(),
            workspace: Workspace::remembered(options.state_folder.as_deref()),
            show_controls: true,
            show_inspector: true,
            show_noisy: true,
            strip: FilmStrip::default(),
            probe: options.probe,
            proposals: Vec::new(),
            state_folder: options.state_folder,
            autosave_due: None,
            title: String::new(),
            renderer,
            frame_pause: frame_pause(renderer),
            last_frame: None,
            session,
            place,
            live,
            transport,
            files,
        }
    }
}

/// How long to rest between frames of an animation. A software renderer shares
/// the processor with the planner, so there smoothness is worth less.
fn frame_pause(renderer: Renderer) -> Duration {
    match renderer {
        Renderer::Software { .. } => Duration::from_millis(33),
        Renderer::Card { .. } | Renderer::Shapes => Duration::ZERO,
    }
}

impl App {
    /// Propose a change; it is applied at the end of the frame.
    pub fn propose(&mut self, proposal: Proposal) {
        self.proposals.push(proposal);
    }

    /// What paints the window.
    pub fn renderer(&self) -> Renderer {
        self.renderer
    }

    pub(super) fn set_renderer(&mut self, renderer: Renderer) {
        self.renderer = renderer;
    }

    /// Ask again what is asked already: another model answers.
    pub(super) fn ask_again(&mut self) {
        self.live.want(Wish::full(super::live::Origin::Same));
        self.field.asking.forget();
        self.tree.ask_again();
    }

    /// The stage as it is this instant: the scene's, with what is being dragged.
    pub fn stage_now(&self) -> crate::lab::scene::StageConfig {
        self.stage.with_drag(&self.session.scene().stage)
    }

    /// What the scene's weights are relative to; `None` for a shipped scene.
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    /// What there is to play.
    pub fn extent(&self) -> Extent {
        let extent = if field::is_here(self) {
            self.field.run.extent()
        } else if tree_stage::is_here(self) {
            self.tree.extent(&self.transport)
        } else {
            self.live.extent()
        };
        Extent { checkpoints: super::training::checkpoints(self), ..extent }
    }

    /// The open scene's title, and whether it has unsaved edits.
    pub fn scene_title(&self) -> String {
        let edited = if self.is_edited { " (edited)" } else { "" };
        format!("{}{edited}", self.session.scene().title)
    }

    /// The window is called after the scene.
    fn follow_title(&mut self, ctx: &egui::Context) {
        let title = format!("{} - foresight", self.scene_title());
        if title != self.title {
            self.title.clone_from(&title);
            ctx.send_viewport_cmd(egui::ViewportCommand::Title(title));
        }
    }

    /// The session gives a GPU up by itself where it fails.
    fn follow_device(&mut self, ctx: &egui::Context) {
        self.device = self.session.device_choice();
        if let Some(took) = self.session.take_prepared() {
            let secs = took.as_secs_f32();
            self.notify(Notice::done(format!("The GPU is in use, prepared in {secs:.0} s")));
        }
        if self.session.status().preparing.is_some() {
            // Seconds are counted.
            ctx.request_repaint_after(Duration::from_millis(500));
        }
    }

    fn advance(&mut self, ctx: &egui::Context) {
        let now = Instant::now();
        // A frame after a pause must not make the clocks leap.
        let dt = self.last_frame.map_or(0.0, |last| (now - last).as_secs_f32()).min(0.1);
        self.last_frame = Some(now);
        let now_secs = ctx.input(|input| input.time);
        self.session.poll();
        self.follow_device(ctx);
        super::training::follow(self);
        super::compare::advance(self, dt, now_secs);
        self.live.take(&self.session, &mut self.transport, now_secs);
        if tree_stage::is_here(self) {
            self.tree.take(&self.session, &mut self.transport);
        }
        let extent = self.extent();
        let runs = self.transport.advance(dt, &extent);
        let settles = self.live.settle(dt);
        if tree_stage::is_here(self) {
            self.tree.follow(&mut self.transport);
        }
        if runs || settles {
            ctx.request_repaint_after(self.frame_pause);
        }
        if ctx.input(|input| !input.pointer.any_down()) {
            self.history.seal();
        }
    }

    /// One frame of everything.
    fn frame(&mut self, ui: &mut egui::Ui) {
        let ctx = ui.ctx().clone();
        self.take_files(&ctx);
        self.take_dropped(&ctx);
        keys::run(self, &ctx);
        self.advance(&ctx);
        panels::show(self, ui);
        overlays::show(self, &ctx);
        self.apply_proposals(&ctx);
        data::pump(self);
        let wish = self.live.wished();
        self.pump(ctx.input(|input| input.time));
        field::pump(self, &ctx);
        tree_stage::pump(self, &ctx);
        super::compare::pump(self, &ctx, wish, ctx.input(|input| input.time));
        self.autosave(&ctx);
        self.follow_title(&ctx);
        if self.probe.is_some() {
            super::probe::frame(self, &ctx);
        }
    }
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.frame(ui);
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }

    fn raw_input_hook(&mut self, ctx: &egui::Context, input: &mut egui::RawInput) {
        if self.probe.is_some() {
            super::probe::inject(self, ctx, input);
        }
    }
}
