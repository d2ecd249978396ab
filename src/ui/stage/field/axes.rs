//! Ticks, names and units, the color bar, and the numbers under the pointer.

use std::f32::consts::PI;

use eframe::egui::{
    Align2, Color32, FontId, Mesh, Painter, Pos2, Rect, Shape, Ui, lerp, pos2, vec2,
};

use super::pane::Pane;
use super::shots::Shot;
use super::{Map, ValueOf};
use crate::env::StateDimension;
pub use crate::env::symbol;
use crate::ui::app::App;
use crate::ui::layers::{ColorMap, field_color};
use crate::ui::theme::{self, Colors, SMALL, strong_family};

/// Least distance between two ticks in points.
const TICK_GAP: f32 = 44.0;
/// The color bar.
const BAR: [f32; 2] = [184.0, 8.0];
const SLICES: usize = 48;
/// Size of numbers.
const TICK: f32 = 10.0;

/// A coordinate's name and unit.
pub fn label(dimension: &StateDimension) -> String {
    let name = symbol(&dimension.name);
    if dimension.unit.is_empty() { name.into() } else { format!("{name} ({})", dimension.unit) }
}

/// Unit of a density over two coordinates.
pub fn density_unit(state: &[StateDimension]) -> String {
    match state {
        [a, b, ..] if a.unit.is_empty() && b.unit.is_empty() => String::new(),
        [a, b, ..] if a.unit == b.unit => format!("1/{}²", a.unit),
        [a, b, ..] => format!("1/({}·{})", a.unit, b.unit),
        _ => String::new(),
    }
}

/// Ticks at round numbers from `low` to `high`, at most one every `TICK_GAP` of
/// `length` points.
fn ticks(dimension: &StateDimension, low: f32, high: f32, length: f32) -> Vec<(f32, String)> {
    if dimension.periodic && dimension.unit == "rad" {
        let halves = [(-PI, "-π"), (-PI / 2.0, "-π/2"), (0.0, "0"), (PI / 2.0, "π/2"), (PI, "π")];
        return halves.map(|(at, text)| (at, text.to_owned())).to_vec();
    }
    let rough = (high - low) / (length / TICK_GAP).max(1.0);
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let decade = 10_f32.powf(rough.log10().floor());
    let nice = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
    let step = nice.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let (first, last) = ((low / step - 1e-3).ceil() as i32, (high / step + 1e-3).floor() as i32);
    (first..=last)
        .map(|index| {
            let at = index as f32 * step;
            (at, format!("{at:.decimals$}"))
        })
        .collect()
}

/// Ticks, names and the title of a map.
pub fn frame(app: &App, painter: &Painter, pane: &Pane, title: &str, colors: Colors) {
    let [x, y, ..] = app.place.spec.state.as_slice() else { return };
    let [x_min, y_min, x_max, y_max] = pane.bounds;
    let font = FontId::monospace(TICK);
    let ink = colors.muted_ink();
    let plot = pane.plot;
    let (across, up) = if pane.is_rows { (y, x) } else { (x, y) };
    let (across_ends, up_ends) = if pane.is_rows {
        ([y_min, y_max], [x_min, x_max])
    } else {
        ([x_min, x_max], [y_min, y_max])
    };
    let at = |along: f32, other: f32| -> Pos2 {
        let world = if pane.is_rows { [other, along] } else { [along, other] };
        pane.screen_from_world(world)
    };
    for (value, text) in ticks(across, across_ends[0], across_ends[1], plot.width()) {
        let place = at(value, up_ends[0]).x;
        painter.text(pos2(place, plot.bottom() + 6.0), Align2::CENTER_TOP, text, font.clone(), ink);
    }
    for (value, text) in ticks(up, up_ends[0], up_ends[1], plot.height()) {
        let place = at(across_ends[0], value).y;
        painter.text(pos2(plot.left() - 6.0, place), Align2::RIGHT_CENTER, text, font.clone(), ink);
    }
    let name = FontId::proportional(SMALL);
    let below = pos2(plot.center().x, plot.bottom() + 20.0);
    painter.text(below, Align2::CENTER_TOP, label(across), name.clone(), ink);
    let above = pos2(plot.left() - 24.0, plot.top() - 8.0);
    painter.text(above, Align2::LEFT_BOTTOM, label(up), name, ink);
    let title_font = FontId::new(theme::BODY, strong_family());
    let place = pos2(plot.center().x, plot.top() - 8.0);
    painter.text(place, Align2::CENTER_BOTTOM, title, title_font, colors.ink());
}

/// The color bar, a hint, and what is under the pointer.
pub fn strip(app: &App, ui: &Ui, strip: Rect, shot: Option<&Shot>, panes: &[Pane]) {
    let colors = Colors::of(ui.ctx());
    let painter = ui.painter_at(strip);
    let is_sampled = app.field.as_samples && app.field.map == Map::Occupancy;
    let mut left = strip.left() + 16.0;
    if is_sampled {
        left = sample_legend(&painter, pos2(left, strip.center().y), colors);
    } else if let Some(shot) = shot {
        let bar = Rect::from_min_size(pos2(left + 8.0, strip.top() + 14.0), BAR.into());
        color_bar(app, &painter, bar, shot, colors);
        left = bar.right();
    }
    let right = pointer(app, ui, &painter, strip, shot, panes, colors);
    let hint = painter.layout_no_wrap(
        hint(app).to_owned(),
        FontId::proportional(SMALL),
        colors.muted_ink(),
    );
    let middle = (left + 64.0 + right) / 2.0;
    // A hint that would run into its neighbors is left out.
    if left + 72.0 + hint.size().x < right {
        let place = pos2(middle - hint.size().x / 2.0, strip.center().y - hint.size().y / 2.0);
        painter.galley(place, hint, colors.muted_ink());
    }
}

fn hint(app: &App) -> &'static str {
    let field = &app.field;
    match (field.map, field.rewards.brush, field.is_pinned()) {
        (Map::Value, Some(_), _) => "Drag to paint; Esc puts the brush away",
        (Map::Value, None, _) => "Pick a brush in the inspector to paint rewards",
        (Map::Occupancy, _, true) => "Drag the ring; click or Esc releases it",
        (Map::Occupancy, _, false) => "Move the mouse to ask; click pins the state",
    }
}

fn sample_legend(painter: &Painter, mut at: Pos2, colors: Colors) -> f32 {
    for (ink, text) in [(colors.model(), "γ-model"), (colors.truth(), "real rollouts")] {
        painter.circle_filled(at + vec2(4.0, 0.0), 3.5, ink);
        let font = FontId::proportional(SMALL);
        let place = at + vec2(12.0, 0.0);
        let shown = painter.text(place, Align2::LEFT_CENTER, text, font, colors.muted_ink());
        at.x = shown.right() + 16.0;
    }
    at.x
}

fn color_bar(app: &App, painter: &Painter, bar: Rect, shot: &Shot, colors: Colors) {
    let (map, scale) = shot.look;
    let mut mesh = Mesh::default();
    // From the scale's lower end to its upper; a difference has two arms.
    let share = |position: f32| match map {
        ColorMap::Difference => {
            let signed = 2.0 * position - 1.0;
            scale.share(signed.abs()).copysign(signed)
        }
        _ => scale.share(position),
    };
    for slice in 0..=SLICES {
        let position = slice as f32 / SLICES as f32;
        let x = lerp(bar.x_range(), position);
        let ink = over(theme::color(field_color(map, scale, share(position))), colors.floor());
        mesh.colored_vertex(pos2(x, bar.top()), ink);
        mesh.colored_vertex(pos2(x, bar.bottom()), ink);
        if slice > 0 {
            let at = 2 * slice as u32;
            mesh.add_triangle(at - 2, at - 1, at);
            mesh.add_triangle(at - 1, at, at + 1);
        }
    }
    painter.add(Shape::mesh(mesh));
    let [low, high] = shot.range;
    let font = FontId::monospace(TICK);
    for position in [0.0, 0.5, 1.0] {
        let value = low + share(position) * (high - low);
        let mark = if position == 1.0 && shot.is_clipped { "≥" } else { "" };
        let at = pos2(lerp(bar.x_range(), position), bar.bottom() + 4.0);
        let text = format!("{mark}{}", figure(value));
        painter.text(at, Align2::CENTER_TOP, text, font.clone(), colors.muted_ink());
    }
    let unit = match app.field.map {
        Map::Occupancy => density_unit(&app.place.spec.state),
        Map::Value if app.field.value_of == ValueOf::Difference => "off by".into(),
        Map::Value => "value".into(),
    };
    let at = pos2(bar.right() + 10.0, bar.center().y);
    let font = FontId::proportional(SMALL);
    painter.text(at, Align2::LEFT_CENTER, unit, font, colors.muted_ink());
}

/// A translucent color as it looks on an opaque one.
fn over(ink: Color32, ground: Color32) -> Color32 {
    ground.blend(ink)
}

/// A number with three figures.
pub fn figure(value: f32) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".into()
    } else if size < 0.0095 {
        format!("{value:.0e}")
    } else if size < 1.0 {
        format!("{value:.2}")
    } else if size < 99.5 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// The state under the pointer and the number there. Returns where the text
/// begins.
fn pointer(
    app: &App,
    ui: &Ui,
    painter: &Painter,
    strip: Rect,
    shot: Option<&Shot>,
    panes: &[Pane],
    colors: Colors,
) -> f32 {
    let right = strip.right() - 16.0;
    let hover = ui.input(|input| input.pointer.hover_pos());
    let Some((at, pane)) = hover.and_then(|at| {
        let pane = panes.iter().find(|pane| pane.plot.contains(at))?;
        Some((at, pane))
    }) else {
        return right;
    };
    let place = pane.world_from_screen(at);
    let mut text = String::new();
    for (dimension, value) in app.place.spec.state.iter().zip(place) {
        text += &format!("{} {value:6.2}  ", symbol(&dimension.name));
    }
    let number = shot.filter(|_| !app.field.as_samples || app.field.map == Map::Value);
    if let Some(number) = number.and_then(|shot| shot.at(place)) {
        text += &format!(" {:>6}", figure(number));
    }
    let font = FontId::monospace(SMALL);
    let at = pos2(right, strip.center().y);
    painter.text(at, Align2::RIGHT_CENTER, text, font, colors.muted_ink()).left()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimension(unit: &str, periodic: bool) -> StateDimension {
        StateDimension {
            name: "x".into(),
            unit: unit.into(),
            low: -0.6,
            high: 0.6,
            periodic,
            rate_of: None,
        }
    }

    #[test]
    fn ticks_are_round_and_angles_have_theirs() {
        let values: Vec<String> =
            ticks(&dimension("m", false), -0.6, 0.6, 400.0).into_iter().map(|t| t.1).collect();
        assert_eq!(values, ["-0.6", "-0.4", "-0.2", "0.0", "0.2", "0.4", "0.6"]);
        let angles = ticks(&dimension("rad", true), -PI, PI, 400.0);
        assert_eq!(angles.len(), 5);
        assert!(ticks(&dimension("m", false), 1.0, 1.0, 400.0).is_empty());
    }

    #[test]
    fn densities_have_the_unit_of_one_over_both() {
        let of = |a, b| density_unit(&[dimension(a, false), dimension(b, false)]);
        assert_eq!(of("m", "m"), "1/m²");
        assert_eq!(of("rad", "rad/s"), "1/(rad·rad/s)");
        assert_eq!(of("", ""), "");
    }

    #[test]
    fn figures_are_short_at_every_size() {
        let all = [0.0, 0.004, 0.25, 3.16, 123.4, -2.0].map(figure);
        assert_eq!(all, ["0", "4e-3", "0.25", "3.2", "123", "-2.0"]);
    }
}
