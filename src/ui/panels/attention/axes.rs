//! A map's axes: kinds of tokens by color, numbers of transitions, names where
//! there is room, and the color scale.

use eframe::egui::{Align2, FontId, Mesh, Painter, Rect, Sense, Shape, Ui, lerp, pos2, vec2};

use super::answer::Answer;
use super::lens::{Lens, Plot};
use super::words;
use crate::ui::layers::{ColorMap, Scale, field_color};
use crate::ui::theme::{self, Colors, SMALL};

/// Thickness of the band that tells kinds of tokens by color.
const BAND: f32 = 5.0;
/// Room for numbers of transitions, and for tokens' names.
const NUMBERS: f32 = 23.0;
const NAMES: f32 = 36.0;
/// Least distance of two numbers, and least height of a name.
const NUMBER_GAP: f32 = 20.0;
const NAME_GAP: f32 = 11.0;
/// Size of numbers and names.
const TICK: f32 = 10.0;
/// The color bar.
const BAR: [f32; 2] = [120.0, 6.0];
const SLICES: usize = 32;

/// Room that axes take at the left and below.
pub fn margin(has_names: bool) -> f32 {
    NUMBERS + BAND + if has_names { NAMES } else { 0.0 }
}

/// Runs of tokens of one transition, `(its number, from, to)`; `None` is the
/// goal.
pub fn blocks(answer: &Answer) -> Vec<(Option<i32>, usize, usize)> {
    let of = |index: usize| {
        let token = answer.tokens.get(index)?;
        token.kind.map(|_| token.transition)
    };
    let mut blocks: Vec<(Option<i32>, usize, usize)> = Vec::new();
    for index in 0..answer.tokens.len() {
        match blocks.last_mut() {
            Some((transition, _, to)) if *transition == of(index) => *to = index + 1,
            _ => blocks.push((of(index), index, index + 1)),
        }
    }
    blocks
}

/// How to read it, where there is no map.
pub fn legend(painter: &Painter, plot: &Plot, colors: Colors) {
    if plot.lens != Lens::default() {
        return;
    }
    let font = FontId::proportional(SMALL);
    for (line, words) in ["rows attend", "to columns"].into_iter().enumerate() {
        let at = plot.rect.right_top() + vec2(-2.0, 2.0 + 14.0 * line as f32);
        painter.text(at, Align2::RIGHT_TOP, words, font.clone(), colors.muted_ink());
    }
}

/// Bands of kinds, numbers of transitions, and names where they have room.
pub fn show(painter: &Painter, plot: &Plot, answer: &Answer, has_names: bool, colors: Colors) {
    let place = plot.rect;
    let down = Rect::from_min_max(
        place.left_top() - vec2(BAND + 1.0, 0.0),
        place.left_bottom() - vec2(1.0, 0.0),
    );
    let across = Rect::from_min_max(
        place.left_bottom() + vec2(0.0, 1.0),
        place.right_bottom() + vec2(0.0, BAND + 1.0),
    );
    let mut mesh = Mesh::default();
    for (index, token) in answer.tokens.iter().enumerate() {
        let ink = colors.token(token.kind);
        // A hair of ground tells tokens of one kind apart where cells are large.
        let gap = if plot.cell() > 4.0 { 0.5 } else { 0.0 };
        let (x0, x1) = (plot.x(index as f32), plot.x(index as f32 + 1.0));
        let (y0, y1) = (plot.y(index as f32), plot.y(index as f32 + 1.0));
        let column =
            Rect::from_min_max(pos2(x0 + gap, across.top()), pos2(x1 - gap, across.bottom()));
        let row = Rect::from_min_max(pos2(down.left(), y0 + gap), pos2(down.right(), y1 - gap));
        for (cell, band) in [(column, across), (row, down)] {
            let cell = cell.intersect(band);
            if cell.is_positive() {
                mesh.add_colored_rect(cell, ink);
            }
        }
    }
    painter.add(Shape::mesh(mesh));
    let [across, down] = [names_fit_across(plot, answer), plot.cell() >= NAME_GAP];
    let names = [has_names && across, has_names && down];
    numbers(painter, plot, answer, names, colors);
    write_names(painter, plot, answer, names, colors);
}

/// Whether even the longest name is narrower than a column.
fn names_fit_across(plot: &Plot, answer: &Answer) -> bool {
    let names = answer.tokens.iter().map(|token| words::name(&answer.beam.bins, token));
    let longest = names.map(|name| name.chars().count()).max().unwrap_or(0);
    plot.cell() >= TICK * 0.62 * longest as f32 + 3.0
}

/// Numbers of transitions below and at the left, beyond names where these are.
fn numbers(painter: &Painter, plot: &Plot, answer: &Answer, names: [bool; 2], colors: Colors) {
    let font = FontId::monospace(TICK);
    let [below, beside] = names.map(|are_there| BAND + 4.0 + if are_there { NAMES } else { 0.0 });
    let place = plot.rect;
    let mut last = [f32::NEG_INFINITY; 2];
    for (transition, from, to) in blocks(answer) {
        let text = transition.map_or_else(|| "G".to_owned(), words::transition);
        let ink = if transition.is_none() { colors.goal() } else { colors.muted_ink() };
        // In the middle of what is seen of it.
        let seen = plot.cells([from, to], [from, to]).intersect(place);
        let (x, y) = (seen.center().x, seen.center().y);
        if seen.height() > 0.0 && y - last[1] >= NUMBER_GAP * 0.7 {
            last[1] = y;
            let at = pos2(place.left() - beside, y);
            painter.text(at, Align2::RIGHT_CENTER, &text, font.clone(), ink);
        }
        if seen.width() > 0.0 && x - last[0] >= NUMBER_GAP {
            last[0] = x;
            let at = pos2(x, place.bottom() + (below - 2.0).min(BAND + 18.0));
            painter.text(at, Align2::CENTER_TOP, &text, font.clone(), ink);
        }
    }
}

fn write_names(
    painter: &Painter,
    plot: &Plot,
    answer: &Answer,
    [across, down]: [bool; 2],
    colors: Colors,
) {
    let font = FontId::proportional(TICK);
    let place = plot.rect;
    for (index, token) in answer.tokens.iter().enumerate() {
        let name = words::name(&answer.beam.bins, token);
        let ink = colors.token(token.kind);
        let middle = index as f32 + 0.5;
        let (x, y) = (plot.x(middle), plot.y(middle));
        if down && place.y_range().contains(y) {
            let at = pos2(place.left() - BAND - 4.0, y);
            painter.text(at, Align2::RIGHT_CENTER, &name, font.clone(), ink);
        }
        if across && place.x_range().contains(x) {
            let at = pos2(x, place.bottom() + BAND + 3.0);
            painter.text(at, Align2::CENTER_TOP, &name, font.clone(), ink);
        }
    }
}

/// The color bar.
pub fn scale(ui: &mut Ui, end: f32) {
    let colors = Colors::of(ui.ctx());
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 16.0), Sense::hover());
    let painter = ui.painter_at(rect);
    let font = FontId::proportional(SMALL);
    let middle = rect.center().y;
    let zero = painter.text(
        pos2(rect.left(), middle),
        Align2::LEFT_CENTER,
        "0 %",
        font.clone(),
        colors.muted_ink(),
    );
    let left = zero.right() + 6.0;
    let bar = Rect::from_min_size(pos2(left, middle - BAR[1] / 2.0), BAR.into());
    let mut mesh = Mesh::default();
    for slice in 0..=SLICES {
        let position = slice as f32 / SLICES as f32;
        let share = Scale::SquareRoot.share(position);
        let ink = theme::color(field_color(ColorMap::Density, Scale::SquareRoot, share));
        let x = lerp(bar.x_range(), position);
        mesh.colored_vertex(pos2(x, bar.top()), ink);
        mesh.colored_vertex(pos2(x, bar.bottom()), ink);
        if slice > 0 {
            let at = 2 * slice as u32;
            mesh.add_triangle(at - 2, at - 1, at);
            mesh.add_triangle(at - 1, at, at + 1);
        }
    }
    painter.add(Shape::mesh(mesh));
    let mark = if end < 1.0 { "≥ " } else { "" };
    let text = format!("{mark}{:.0} %", 100.0 * end);
    painter.text(
        pos2(bar.right() + 6.0, middle),
        Align2::LEFT_CENTER,
        text,
        font,
        colors.muted_ink(),
    );
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::*;

    #[test]
    fn tokens_are_grouped_by_transition_behind_the_goal() {
        assert_eq!(blocks(&answer()), [(None, 0, 1), (Some(-1), 1, 3), (Some(0), 3, 4)]);
    }
}
