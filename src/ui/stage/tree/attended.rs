//! What the picked token attends to, where it is: earlier states light up by
//! the share of attention that their transitions get.

use std::sync::Arc;

use eframe::egui::{Align2, FontId, Painter, Pos2, Rect, Stroke, Vec2, vec2};

use crate::ui::app::App;
use crate::ui::panels::attention::{Answer, AttentionView};
use crate::ui::stage::field::pane::Pane;
use crate::ui::theme::{Colors, SMALL};

/// Radius of next to none of the attention and of all of it, in points.
const RADII: [f32; 2] = [8.0, 38.0];
/// Distance of states at which discs have their full size.
const ROOM: f32 = 40.0;
/// Shares that are not worth a disc, and those that are worth a number.
const LEAST: f32 = 0.005;
const WORTH_A_NUMBER: f32 = 0.08;
/// A glow is made of so many discs.
const RINGS: usize = 5;
/// The ring around the token's own state.
const OWN_RADIUS: f32 = 11.0;

/// Light up what the token under the pointer, or else the picked one, attends
/// to: with the picked head, or with the mean over all.
pub fn paint(app: &App, painter: &Painter, pane: &Pane) {
    let view = &app.tree.attention;
    let Some(answer) = view.answer() else { return };
    let Some(row) = app.tree.hovered.or(app.tree.selected) else { return };
    // The answer to another search would light up states that are not drawn.
    let shown = app.tree.shown(&app.transport);
    if !shown.is_some_and(|search| Arc::ptr_eq(&search, &answer.search)) {
        return;
    }
    let colors = Colors::of(painter.ctx());
    let painter = painter.with_clip_rect(pane.rect.intersect(painter.clip_rect()));
    let lights = lights(app, view, answer, row, pane);
    for light in &lights {
        glow(&painter, light, colors);
    }
    // No number is covered by a neighbor's glow.
    let mut worth: Vec<&Light> =
        lights.iter().filter(|light| light.share >= WORTH_A_NUMBER).collect();
    worth.sort_by(|a, b| b.share.total_cmp(&a.share));
    let mut taken = Vec::new();
    for light in worth {
        number(&painter, light, &mut taken, colors);
    }
    if let Some(place) = own_place(answer, row) {
        let at = pane.screen_from_world(place);
        painter.circle_stroke(at, OWN_RADIUS, Stroke::new(4.5, colors.shade(0.45)));
        painter.circle_stroke(at, OWN_RADIUS, Stroke::new(2.0, colors.accent()));
    }
}

/// A state on the screen and its share.
struct Light {
    at: Pos2,
    share: f32,
    radius: f32,
    /// Where there is room beside the path, of length 1.
    aside: Vec2,
}

fn lights(app: &App, view: &AttentionView, answer: &Answer, row: usize, pane: &Pane) -> Vec<Light> {
    let head = view.picked.filter(|head| answer.has(*head));
    let (goal, sums) = answer.by_transition(head, row);
    let places: Vec<(Pos2, f32)> = sums
        .into_iter()
        .filter_map(|(transition, share)| {
            let state = answer.beam.place_of(&answer.search, transition)?;
            Some((pane.screen_from_world(plane(state)?), share))
        })
        .collect();
    let crowd = crowd(&places);
    let mut lights: Vec<Light> = places
        .iter()
        .enumerate()
        .map(|(index, &(at, share))| {
            let last = places.len() - 1;
            let along = places[(index + 1).min(last)].0 - places[index.saturating_sub(1)].0;
            Light { at, share, radius: radius(share, crowd), aside: aside(along) }
        })
        .collect();
    if answer.tokens.iter().any(|token| token.kind.is_none()) {
        let at = pane.screen_from_world(app.stage_now().goal);
        let (radius, aside) = (radius(goal, 1.0), vec2(0.0, -1.0));
        lights.push(Light { at, share: goal, radius, aside });
    }
    lights.retain(|light| light.share >= LEAST);
    lights
}

fn radius(share: f32, crowd: f32) -> f32 {
    crowd * (RADII[0] + (RADII[1] - RADII[0]) * share.clamp(0.0, 1.0).sqrt())
}

/// How much smaller discs are where states are close: a half at least.
fn crowd(places: &[(Pos2, f32)]) -> f32 {
    let gaps: f32 = places.windows(2).map(|pair| pair[0].0.distance(pair[1].0)).sum();
    let mean = gaps / places.len().saturating_sub(1).max(1) as f32;
    if places.len() < 2 { 1.0 } else { (mean / ROOM).clamp(0.5, 1.0) }
}

/// Upwards or to the right, across a path that runs along this way.
fn aside(along: Vec2) -> Vec2 {
    let across = vec2(along.y, -along.x).normalized();
    if across == Vec2::ZERO {
        vec2(0.0, -1.0)
    } else if across.y > 0.2 || (across.y.abs() <= 0.2 && across.x < 0.0) {
        -across
    } else {
        across
    }
}

/// Where the token's own transition begins; a goal's token has none.
fn own_place(answer: &Answer, row: usize) -> Option<[f32; 2]> {
    let token = answer.tokens.get(row).filter(|token| token.kind.is_some())?;
    plane(answer.beam.place_of(&answer.search, token.transition)?)
}

fn plane(state: &[f32]) -> Option<[f32; 2]> {
    Some([*state.first()?, *state.get(1)?])
}

fn glow(painter: &Painter, light: &Light, colors: Colors) {
    let strength = 0.22 + 0.55 * light.share.clamp(0.0, 1.0).sqrt();
    let ink = colors.accent().gamma_multiply(1.8 * strength / RINGS as f32);
    for ring in 0..RINGS {
        let part = 1.0 - ring as f32 / RINGS as f32;
        painter.circle_filled(light.at, light.radius * part, ink);
    }
    painter.circle_filled(light.at, 2.5, colors.accent());
}

/// Write a share beside its disc, if that place is not taken.
fn number(painter: &Painter, light: &Light, taken: &mut Vec<Rect>, colors: Colors) {
    let font = FontId::monospace(SMALL);
    let text = format!("{:.0} %", 100.0 * light.share);
    let galley = painter.layout_no_wrap(text, font, colors.ink());
    let reach = light.radius + 2.0 + (galley.size() / 2.0 * light.aside.abs()).length();
    let rect = Align2::CENTER_CENTER.anchor_size(light.at + light.aside * reach, galley.size());
    if taken.iter().any(|other| other.intersects(rect)) {
        return;
    }
    taken.push(rect);
    let ground = colors.floor().gamma_multiply(0.7);
    painter.rect_filled(rect.expand2(vec2(3.0, 0.0)), 3.0, ground);
    painter.galley(rect.min, galley, colors.ink());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_beside_the_path_above_or_to_its_right() {
        for (along, side) in [
            (vec2(1.0, 0.0), vec2(0.0, -1.0)),
            (vec2(-3.0, 0.0), vec2(0.0, -1.0)),
            (vec2(0.0, 2.0), vec2(1.0, 0.0)),
            (vec2(0.0, -2.0), vec2(1.0, 0.0)),
            (Vec2::ZERO, vec2(0.0, -1.0)),
        ] {
            assert!((aside(along) - side).length() < 1e-6, "{along:?}");
        }
    }
}
