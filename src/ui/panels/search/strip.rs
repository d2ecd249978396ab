//! The sequence of a search as small cells, a group for each transition: as
//! high as the number is large, colored by what it stands for.

use std::sync::Arc;

use eframe::egui::{
    Align2, EventFilter, FontId, Key, Mesh, Pos2, Rect, Response, Role, Sense, Shape, Stroke,
    StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use crate::data::TokenKind;
use crate::lab::beam::{BeamFrame, Bins, SequenceToken};
use crate::plan::beam::EditKind;
use crate::plan::beam::drive::SearchRecord;
use crate::ui::app::App;
use crate::ui::stage::field::symbol;
use crate::ui::stage::tree::input;
use crate::ui::theme::{Colors, SMALL};

/// Size of a cell.
const CELL: Vec2 = vec2(12.0, 18.0);
/// Room for a group's number before it, and between groups.
const LABEL: f32 = 20.0;
const GAP: f32 = 6.0;
const ROW_GAP: f32 = 4.0;
/// Opacity of a cell behind its bar, and of what lies in the past.
const GROUND: f32 = 0.22;
const PAST: f32 = 0.6;

/// Where the cells are.
struct Layout {
    cells: Vec<Rect>,
    labels: Vec<(Pos2, String)>,
    height: f32,
}

impl Layout {
    /// Groups side by side, as many as fit into `width`.
    fn new(tokens: &[SequenceToken], per_transition: usize, origin: Pos2, width: f32) -> Self {
        let group = LABEL + per_transition as f32 * CELL.x + GAP;
        let columns = ((width + GAP) / group).floor().max(1.0) as usize;
        let (mut cells, mut labels) = (Vec::with_capacity(tokens.len()), Vec::new());
        let mut row_height = 0.0;
        let is_one = |a: &SequenceToken, b: &SequenceToken| {
            (a.kind.is_none(), a.transition) == (b.kind.is_none(), b.transition)
        };
        for (index, tokens) in tokens.chunk_by(is_one).enumerate() {
            let (row, column) = (index / columns, index % columns);
            let corner = origin + vec2(column as f32 * group, row as f32 * (CELL.y + ROW_GAP));
            let Some(first) = tokens.first() else { continue };
            let label = match (first.kind, first.transition) {
                (None, _) => "g".to_owned(),
                (_, 0) => "0".to_owned(),
                (_, transition) => format!("{transition:+}"),
            };
            labels.push((corner + vec2(LABEL - 4.0, CELL.y / 2.0), label));
            let left = |at: usize| corner + vec2(LABEL + at as f32 * CELL.x, 0.0);
            cells.extend((0..tokens.len()).map(|at| Rect::from_min_size(left(at), CELL)));
            row_height = corner.y + CELL.y - origin.y;
        }
        Self { cells, labels, height: row_height }
    }

    fn at(&self, place: Pos2) -> Option<usize> {
        self.cells.iter().position(|cell| cell.contains(place))
    }
}

/// Show the strip.
pub fn show(app: &mut App, ui: &mut Ui, frame: &BeamFrame, shown: &SearchRecord) {
    let Some(tokens) = app.tree.sequence(&app.transport) else { return };
    let (d, width) = (frame.bins.layout.per_transition(), ui.available_width());
    let height = Layout::new(&tokens, d, Pos2::ZERO, width).height;
    let (rect, response) = ui.allocate_exact_size(vec2(width, height), Sense::click());
    let layout = Layout::new(&tokens, d, rect.min, width);
    let picked = app.tree.selected.and_then(|index| tokens.get(index));
    let name = picked.map_or_else(
        || "Tokens: none is picked".to_owned(),
        |token| format!("Tokens: {}", describe(token, &frame.bins)),
    );
    response.widget_info(|| WidgetInfo::labeled(Role::Canvas, true, name.clone()));
    let over = response.hover_pos().and_then(|at| layout.at(at));
    if let Some(index) = over {
        app.tree.hovered = Some(index);
    }
    if response.clicked() {
        app.tree.select(over, &app.transport);
    }
    if response.has_focus() {
        keys(app, ui, &response, tokens.len(), d);
    }
    paint(app, ui, &layout, &tokens, frame);
    if response.has_focus() {
        let stroke = Stroke::new(1.0, Colors::of(ui.ctx()).accent());
        ui.painter().rect_stroke(rect.expand(2.0), 3.0, stroke, StrokeKind::Outside);
    }
    if let Some(token) = over.and_then(|index| tokens.get(index)) {
        let node = over.and_then(|index| app.tree.node_of(index, &app.transport));
        let p = node.map(|node| shown.tree.nodes[node].log_prob.exp());
        let text = tip(token, &frame.bins, p);
        response.on_hover_text_at_pointer(text);
    }
    legend(ui, frame);
    let drive = &frame.drive;
    let is_over = drive.finished
        && app.tree.moment(&app.transport).is_some_and(|(step, _)| step + 1 == drive.states.len());
    let hint = match is_over {
        true => "The episode is over: these are the tokens of its last search.",
        false => "Click a token, or a branch on the stage.",
    };
    let words = picked.map_or_else(|| hint.to_owned(), |token| describe(token, &frame.bins));
    ui.label(crate::ui::widgets::muted(ui, words));
}

/// Arrow keys go from token to token, up and down from transition to
/// transition.
fn keys(app: &mut App, ui: &Ui, response: &Response, n: usize, per_transition: usize) {
    let filter =
        EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
    ui.ctx().memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let pressed = |key| ui.input(|input| input.num_presses(key) as isize);
    let along = pressed(Key::ArrowRight) - pressed(Key::ArrowLeft);
    let down = pressed(Key::ArrowDown) - pressed(Key::ArrowUp);
    let by = along + down * per_transition as isize;
    if by != 0 {
        let last = n.saturating_sub(1);
        let to = app.tree.selected.map_or(0, |at| at.saturating_add_signed(by).min(last));
        app.tree.select(Some(to), &app.transport);
    }
    if ui.input(|input| input.key_pressed(Key::Delete)) {
        input::edit(app, EditKind::Prune);
    }
    if ui.input(|input| input.key_pressed(Key::Enter)) {
        input::edit(app, EditKind::Force);
    }
}

fn paint(app: &App, ui: &Ui, layout: &Layout, tokens: &Arc<[SequenceToken]>, frame: &BeamFrame) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter();
    let last_bin = f32::from(frame.bins.layout.stop().max(2) - 1);
    // One mesh: hundreds of rounded rectangles would be thousands of triangles.
    let mut mesh = Mesh::default();
    for (cell, token) in layout.cells.iter().zip(tokens.iter()) {
        let is_past = token.kind.is_some()
            && (token.transition < 0
                || token.transition == 0 && token.kind == Some(TokenKind::State));
        let ink = colors.token(token.kind).gamma_multiply(if is_past { PAST } else { 1.0 });
        let cell = cell.shrink2(vec2(0.5, 0.0));
        mesh.add_colored_rect(cell, ink.gamma_multiply(GROUND));
        let share = if token.value.is_none() { 1.0 } else { f32::from(token.token) / last_bin };
        let top = cell.bottom() - cell.height() * share.clamp(0.08, 1.0);
        mesh.add_colored_rect(Rect::from_min_max(pos2(cell.left(), top), cell.max), ink);
    }
    painter.add(Shape::mesh(mesh));
    for (at, label) in &layout.labels {
        let font = FontId::monospace(SMALL - 2.0);
        painter.text(*at, Align2::RIGHT_CENTER, label, font, colors.muted_ink());
    }
    for (index, ink, width) in
        [(app.tree.hovered, colors.ink(), 1.0), (app.tree.selected, colors.accent(), 2.0)]
    {
        if let Some(cell) = index.and_then(|index| layout.cells.get(index)) {
            let stroke = Stroke::new(width, ink);
            painter.rect_stroke(cell.expand(0.5), 1.0, stroke, StrokeKind::Outside);
        }
    }
}

/// What the colors mean.
fn legend(ui: &mut Ui, frame: &BeamFrame) {
    let colors = Colors::of(ui.ctx());
    let layout = frame.bins.layout;
    let mut words = vec![(Some(TokenKind::State), "state"), (Some(TokenKind::Action), "action")];
    if layout.rewards {
        words.push((Some(TokenKind::Reward), "reward"));
        words.push((Some(TokenKind::Return), "reward-to-go"));
    }
    if layout.goals > 0 {
        words.push((None, "goal"));
    }
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (kind, word) in words {
            let (rect, _) = ui.allocate_exact_size(vec2(8.0, 8.0), Sense::hover());
            ui.painter().rect_filled(rect, 1.0, colors.token(kind));
            ui.label(crate::ui::widgets::muted(ui, word));
            ui.add_space(6.0);
        }
    });
}

/// "ux of transition +3: 0.42".
fn describe(token: &SequenceToken, bins: &Bins) -> String {
    let value = token.value.map_or_else(|| "the end".to_owned(), |value| format!("{value:.2}"));
    format!("{}: {value}", named(token, bins))
}

fn named(token: &SequenceToken, bins: &Bins) -> String {
    let name = bins.names.get(token.dim).map_or("", |name| symbol(name));
    match (token.kind, token.transition) {
        (None, _) => format!("{name} of the goal"),
        (_, 0) => format!("{name} of transition 0"),
        (_, transition) => format!("{name} of transition {transition:+}"),
    }
}

fn tip(token: &SequenceToken, bins: &Bins, p: Option<f32>) -> String {
    let mut text =
        format!("{}\nbin {} of {}", describe(token, bins), token.token, bins.layout.bins);
    text += &match p {
        Some(p) => format!("\nprobability {:.1} %", 100.0 * p),
        None => "\nread, not planned".to_owned(),
    };
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::TokenLayout;
    use crate::plan::ControlSettings;
    use crate::plan::beam::BeamSettings;
    use crate::plan::beam::drive::{Drive, DriveRequest};

    /// A frame without searches: states `x, y`, action `ux`, ten bins.
    pub fn frame() -> BeamFrame {
        let layout = TokenLayout { states: 2, actions: 1, rewards: false, goals: 1, bins: 10 };
        BeamFrame {
            id: 1,
            request: Arc::new(DriveRequest {
                start: vec![0.0; 2],
                goal: vec![0.0; 2],
                beam: BeamSettings::default(),
                control: ControlSettings::default(),
                seed: 0,
                edits: Vec::new(),
                shows_pruned: true,
                max_steps: 1,
            }),
            drive: Drive::default(),
            growing: None,
            bins: Arc::new(Bins {
                layout,
                centers: vec![(0..10).map(|bin| bin as f32 / 10.0).collect(); 3],
                names: vec!["x".into(), "y".into(), "ux".into()],
                goal_dims: vec![0],
                stride: 1,
                observation: vec![0, 1],
            }),
        }
    }

    fn tokens() -> Vec<SequenceToken> {
        let token = |kind, dim, transition| {
            let value = Some(0.1);
            SequenceToken { kind, dim, transition, token: 1, value }
        };
        let mut tokens = vec![token(None, 0, 0)];
        for transition in -1..9 {
            for (dim, kind) in
                [TokenKind::State, TokenKind::State, TokenKind::Action].into_iter().enumerate()
            {
                tokens.push(token(Some(kind), dim, transition));
            }
        }
        tokens
    }

    #[test]
    fn every_token_has_its_own_cell_and_every_transition_its_number() {
        let tokens = tokens();
        let layout = Layout::new(&tokens, 3, pos2(10.0, 20.0), 280.0);
        assert_eq!(layout.cells.len(), tokens.len());
        for (index, cell) in layout.cells.iter().enumerate() {
            assert_eq!(layout.at(cell.center()), Some(index));
            assert!(cell.right() <= 290.5 && cell.bottom() <= 20.0 + layout.height + 1e-3);
        }
        let labels: Vec<&str> = layout.labels.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["g", "-1", "0", "+1", "+2", "+3", "+4", "+5", "+6", "+7", "+8"]);
    }

    #[test]
    fn tokens_are_described_in_words() {
        let (frame, tokens) = (frame(), tokens());
        let words: Vec<String> =
            [0, 3, 9].iter().map(|index| describe(&tokens[*index], &frame.bins)).collect();
        assert_eq!(
            words,
            ["x of the goal: 0.10", "ux of transition -1: 0.10", "ux of transition +1: 0.10"]
        );
        let text = tip(&tokens[3], &frame.bins, Some(0.314));
        assert!(text.contains("bin 1 of 10") && text.contains("31.4 %"), "{text}");
    }
}
