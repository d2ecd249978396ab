//! Measures the window from inside: time to the first live frame, latency from
//! a mouse move to the plan or map that answers it, and frame times meanwhile.
//!
//! Moves are put into the raw input at the start of a frame, where a mouse's
//! would be. A frame counts as painted when the next one begins, because that
//! is the first moment at which it surely is on the screen.

use eframe::egui;
use std::time::{Duration, Instant};

use eframe::egui::{Context, Event, Modifiers, PointerButton, RawInput};

use super::app::App;
use super::stage::{self, field};

/// Moves in the drag.
const MOVES: usize = 40;
/// Rest between the first plan and the drag, so that start-up is over.
const SETTLE: Duration = Duration::from_millis(1500);
/// After this long, answers that have not come never will.
const DRAIN: Duration = Duration::from_secs(5);
/// The whole measurement gives up after this long.
const GIVE_UP: Duration = Duration::from_secs(90);
/// Optimizer steps before the drag, where the model trains.
const STEPS_FIRST: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Opening,
    Settling(Instant),
    Pressing,
    Dragging,
    Draining(Instant),
    Done,
}

struct Move {
    at: Instant,
    goal: [f32; 2],
    answered: bool,
    latency_ms: Option<f64>,
}

/// The measurement in progress.
pub struct Probe {
    started: Instant,
    /// Whether the scene's model trains meanwhile.
    trains: bool,
    phase: Phase,
    is_live: bool,
    first_frame_ms: Option<f64>,
    path: Vec<[f32; 2]>,
    injected: usize,
    injected_at: Option<Instant>,
    moves: Vec<Move>,
    frame_ms: Vec<f64>,
    last_frame: Option<Instant>,
    steps_per_sec: Option<f64>,
}

impl Probe {
    /// Measure from `started`, when the process began; `trains` puts a run in
    /// training beside it.
    pub fn new(started: Instant, trains: bool) -> Self {
        Self {
            started,
            trains,
            phase: Phase::Opening,
            is_live: false,
            first_frame_ms: None,
            path: Vec::new(),
            injected: 0,
            injected_at: None,
            moves: Vec::new(),
            frame_ms: Vec::new(),
            last_frame: None,
            steps_per_sec: None,
        }
    }

    /// What the last frame showed is on the screen now.
    fn painted(&mut self, now: Instant) {
        if self.is_live && self.first_frame_ms.is_none() {
            self.first_frame_ms = Some(ms(now - self.started));
        }
        for step in &mut self.moves {
            if step.answered && step.latency_ms.is_none() {
                step.latency_ms = Some(ms(now - step.at));
            }
        }
        if let Some(last) = self.last_frame.replace(now)
            && self.phase == Phase::Dragging
        {
            self.frame_ms.push(ms(now - last));
        }
    }

    fn report(&self) -> String {
        let latencies: Vec<f64> = self.moves.iter().filter_map(|step| step.latency_ms).collect();
        serde_json::json!({
            "first_frame_ms": self.first_frame_ms,
            "drag_latency_ms": latencies,
            "frame_ms": self.frame_ms,
            "steps_per_sec": self.steps_per_sec,
            "peak_memory_mib": crate::lab::bench::peak_memory_mib(),
        })
        .to_string()
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// At the start of a frame: note what was painted, and move the mouse.
pub fn inject(app: &mut App, _ctx: &Context, input: &mut RawInput) {
    let now = Instant::now();
    let view = view(app);
    let rested =
        |probe: &Probe| matches!(probe.phase, Phase::Settling(since) if now - since > SETTLE);
    let has_rested = app.probe.as_ref().is_some_and(rested);
    let trains = app.probe.as_ref().is_some_and(|probe| probe.trains);
    if trains && has_rested && app.session.training().is_none() {
        super::training::start(app);
    }
    let is_settled = has_rested && (!trains || steps_taken(app) >= STEPS_FIRST);
    let path = if is_settled { path(app) } else { Vec::new() };
    let from = subject(app);
    // A map follows the mouse; a goal has to be held.
    let is_held = !field::is_here(app);
    let Some(probe) = &mut app.probe else { return };
    probe.painted(now);
    let Some(view) = view else { return };
    match probe.phase {
        Phase::Settling(_) if is_settled => {
            probe.path = path;
            input.events.push(Event::PointerMoved(view(from)));
            probe.phase = Phase::Pressing;
        }
        Phase::Pressing => {
            if is_held {
                input.events.push(button(view(from), true));
            }
            probe.phase = Phase::Dragging;
        }
        Phase::Dragging => {
            if let Some(position) = probe.path.get(probe.injected).copied() {
                input.events.push(Event::PointerMoved(view(position)));
                probe.injected += 1;
                probe.injected_at = Some(now);
            } else {
                probe.phase = Phase::Draining(now);
            }
        }
        _ => {}
    }
}

/// Optimizer steps of the run in training.
fn steps_taken(app: &App) -> usize {
    app.session.training().and_then(|frame| Some(frame.last?.step)).unwrap_or(0)
}

/// Where places of the world are on the screen, once there is a stage.
fn view(app: &App) -> Option<Box<dyn Fn([f32; 2]) -> egui::Pos2>> {
    if field::is_here(app) {
        let pane = *app.field.panes().first()?;
        return Some(Box::new(move |place| pane.screen_from_world(place)));
    }
    let camera = stage::camera(app)?;
    Some(Box::new(move |place| camera.screen_from_world(place)))
}

/// Where the moves begin: the goal that is dragged, or the source of a map.
fn subject(app: &App) -> [f32; 2] {
    let stage = &app.session.scene().stage;
    if field::is_here(app) { stage.start } else { stage.goal }
}

/// Where the mouse goes.
fn path(app: &App) -> Vec<[f32; 2]> {
    let from = subject(app);
    if !field::is_here(app) {
        return drag_path(&app.place.layout, from);
    }
    let [x_min, y_min, x_max, y_max] = app.field.panes().first().map_or([0.0; 4], |p| p.bounds);
    let to = [x_min + x_max - from[0], y_min + y_max - from[1]];
    let place = |index: usize| {
        let share = index as f32 / MOVES as f32;
        let at = [0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis]));
        field::input::legal(app, at)
    };
    (1..=MOVES).filter_map(place).collect()
}

fn button(pos: egui::Pos2, pressed: bool) -> Event {
    Event::PointerButton {
        pos,
        button: PointerButton::Primary,
        pressed,
        modifiers: Modifiers::NONE,
    }
}

/// A drag through the maze's corridors, away from the goal.
fn drag_path(layout: &crate::env::MazeLayout, goal: [f32; 2]) -> Vec<[f32; 2]> {
    let from = layout.cell_at(goal).unwrap_or_else(|| layout.goal_cell());
    let far = layout
        .free_cells()
        .into_iter()
        .filter_map(|cell| layout.shortest_path(from, cell))
        .filter(|path| path.len() <= 10)
        .max_by_key(Vec::len)
        .unwrap_or_default();
    let mut corners = vec![goal];
    corners.extend(far.iter().skip(1).map(|&cell| layout.center_of_cell(cell)));
    let legs = corners.len().saturating_sub(1).max(1) as f32;
    (1..=MOVES)
        .map(|index| {
            let at = index as f32 / MOVES as f32 * legs;
            let leg = (at.floor() as usize).min(corners.len().saturating_sub(2));
            let [a, b] = [corners[leg], corners[(leg + 1).min(corners.len() - 1)]];
            let fraction = (at - leg as f32).clamp(0.0, 1.0);
            [a[0] + (b[0] - a[0]) * fraction, a[1] + (b[1] - a[1]) * fraction]
        })
        .collect()
}

/// At the end of a frame: note what it shows.
pub fn frame(app: &mut App, ctx: &Context) {
    let (answer, dragged) = match field::is_here(app) {
        true => {
            let place = |state: &[f32]| Some([*state.first()?, *state.get(1)?]);
            let frame = app.field.asking.frame();
            (frame.and_then(|frame| place(&frame.request.state)), place(&field::source(app)))
        }
        false => {
            let film = app.live.complete();
            let goal = film.and_then(|film| <[f32; 2]>::try_from(film.request.goal.clone()).ok());
            (goal, app.stage.drag().map(|drag| drag.position))
        }
    };
    let speed = app.session.training().and_then(|frame| Some(frame.last?.steps_per_sec));
    let Some(probe) = &mut app.probe else { return };
    probe.steps_per_sec = speed.or(probe.steps_per_sec);
    ctx.request_repaint();
    let now = Instant::now();
    if answer.is_some() && !probe.is_live {
        probe.is_live = true;
        probe.phase = Phase::Settling(now);
    }
    if let (Some(at), Some(goal)) = (probe.injected_at.take(), dragged) {
        probe.moves.push(Move { at, goal, answered: false, latency_ms: None });
    }
    if let Some(answer) = answer {
        let answered = probe
            .moves
            .iter()
            .rposition(|step| step.goal.iter().zip(&answer).all(|(a, b)| (a - b).abs() < 1e-5));
        // An answer for a newer place answers the moves before it too.
        for step in probe.moves.iter_mut().take(answered.map_or(0, |index| index + 1)) {
            step.answered = true;
        }
    }
    let drained = probe.moves.iter().all(|step| step.latency_ms.is_some());
    let finished = match probe.phase {
        Phase::Draining(since) => drained || now - since > DRAIN,
        Phase::Done => false,
        _ => now - probe.started > GIVE_UP,
    };
    if finished {
        probe.phase = Phase::Done;
        // The report is what the caller reads; a log line may not mix with it.
        use std::io::Write as _;
        writeln!(std::io::stdout(), "{}", probe.report()).ok();
        ctx.send_viewport_cmd(egui::ViewportCommand::Close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{LARGE, MazeLayout, Workspace};

    #[test]
    fn the_drag_stays_in_the_corridors() {
        let layout = MazeLayout::parse(LARGE).unwrap();
        let path = drag_path(&layout, [7.0, 9.0]);
        assert_eq!(path.len(), MOVES);
        assert!(path.iter().all(|&at| layout.is_free(at)));
        assert!(path.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
