//! The tree, the plan it chose and the agent's trail, as curves that are made
//! again only when they change.

use std::sync::Arc;

use eframe::egui::{Painter, Stroke, Ui};

use crate::env::EnvironmentSpec;
use crate::lab::branches::{Branch, Branches, Look, life, lines, pieces, reach};
use crate::picture::time_color;
use crate::ui::app::App;
use crate::ui::layers::{Batch, Particles, Points, Ribbons};
use crate::ui::stage::field::paint;
use crate::ui::stage::field::pane::Pane;
use crate::ui::theme::Colors;

/// Buffer slots.
const TREE_SLOT: u64 = 300;
const ENDS_SLOT: u64 = 301;
const CHOSEN_SLOT: u64 = 302;
const TRAIL_SLOT: u64 = 303;
/// Radius of the states that live branches have come to, in points.
const END_RADIUS: f32 = 2.6;
/// Width of the chosen plan and of the trail in points.
const CHOSEN_WIDTH: f32 = 2.6;
const HALO_WIDTH: f32 = 6.0;
const TRAIL_WIDTH: f32 = 3.2;
/// How opaque the oldest part of the trail is.
const OLDEST_TRAIL: f32 = 0.15;
/// One kind of curves with the name of its state.
#[derive(Default)]
struct Layer<K> {
    key: Option<K>,
    generation: u64,
    ribbons: Arc<Ribbons>,
    ends: Arc<Particles>,
}

impl<K: PartialEq> Layer<K> {
    fn update(&mut self, key: K, make: impl FnOnce() -> (Ribbons, Particles)) {
        if self.key.as_ref() != Some(&key) {
            let (ribbons, ends) = make();
            (self.ribbons, self.ends) = (Arc::new(ribbons), Arc::new(ends));
            self.generation += 1;
            self.key = Some(key);
        }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub struct Pictures {
    branches: Option<Branches>,
    /// Grows with every search, so that curves know theirs.
    search: u64,
    tree: Layer<(u64, usize, bool)>,
    chosen: Layer<(u64, bool)>,
    trail: Layer<(u64, usize, u32, bool)>,
}

impl Pictures {
    /// The branches of the shown search.
    pub fn branches(&self) -> Option<&Branches> {
        self.branches.as_ref()
    }

    /// Take up the search that is now shown.
    pub(super) fn follow(app: &mut App) {
        let App { tree, transport, place, .. } = app;
        let (Some(frame), Some(shown)) = (tree.frame.clone(), tree.shown(transport)) else {
            tree.pictures.branches = None;
            return;
        };
        let pictures = &mut tree.pictures;
        let known = pictures.branches.as_ref().map(|branches| &branches.record);
        if known.is_none_or(|known| !Arc::ptr_eq(known, &shown)) {
            pictures.branches = Some(Branches::new(&shown, &frame.bins, &place.spec));
            pictures.search += 1;
        }
    }

    /// Draw everything the clocks show.
    pub(super) fn show(app: &mut App, ui: &Ui, painter: &Painter, pane: &Pane, opacity: f32) {
        let colors = Colors::of(ui.ctx());
        let (ppp, renderer) = (ui.pixels_per_point(), app.renderer());
        let agent = super::state(app);
        let App { tree, transport, place, .. } = app;
        let (visible, reveal) = reach(transport.chain, tree.extent(transport).chain_steps);
        let moment = tree.moment(transport);
        let Some(frame) = tree.frame.clone() else { return };
        let pictures = &mut tree.pictures;
        let Some(branches) = &pictures.branches else { return };
        let (spec, is_dark, search) = (&place.spec, colors.is_dark(), pictures.search);
        pictures.tree.update((search, visible, is_dark), || grown(branches, visible, spec, colors));
        pictures.chosen.update((search, is_dark), || chosen(branches, spec, colors));
        if let (Some((step, share)), Some(agent)) = (moment, agent) {
            let key = (frame.id, step, share.to_bits(), is_dark);
            let states = frame.drive.states.iter().take(step + 1).chain([&agent]);
            let places: Vec<[f32; 2]> = states.filter_map(|state| place_of(state)).collect();
            pictures.trail.update(key, || trail(&places, spec, colors));
        }
        let draw = |slot, generation, points, opacity| {
            let batch = Batch { slot, generation, points };
            paint::draw(painter, batch, pane, ppp, opacity, renderer);
        };
        let Pictures { tree, chosen, trail, .. } = pictures;
        draw(TREE_SLOT, tree.generation, Points::Ribbons(tree.ribbons.clone()), opacity);
        draw(ENDS_SLOT, tree.generation, Points::Particles(tree.ends.clone()), opacity);
        if reveal > 0.0 {
            let ribbons = Points::Ribbons(chosen.ribbons.clone());
            draw(CHOSEN_SLOT, chosen.generation, ribbons, reveal * opacity.max(0.8));
        }
        draw(TRAIL_SLOT, trail.generation, Points::Ribbons(trail.ribbons.clone()), 1.0);
        highlights(app, painter, pane, colors);
    }
}

fn mix([low, high]: [f32; 2], share: f32) -> f32 {
    low + (high - low) * share
}

fn grown(
    branches: &Branches,
    visible: usize,
    spec: &EnvironmentSpec,
    colors: Colors,
) -> (Ribbons, Particles) {
    let palette = colors.palette();
    let per_transition = branches.record.tree.layout.per_transition();
    let last = branches.all.iter().map(|branch| branch.transition).max().unwrap_or(1).max(1);
    let tone = |transition: usize| time_color(transition as f32 / last as f32);
    let known = branches.all.iter();
    let mut shown: Vec<(f32, &Branch)> =
        known.filter_map(|branch| Some((life(branch, visible, per_transition)?, branch))).collect();
    // The likeliest on top.
    shown.sort_by(|(a, x), (b, y)| {
        (a, x.share).partial_cmp(&(b, y.share)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let (mut ribbons, mut ends) = (Ribbons::default(), Particles::default());
    for (life, branch) in shown {
        let Look { alpha, width, gray } = branch.look(life);
        let ink = |transition: usize| {
            tone(transition).mix(palette.noise, gray).with_alpha(alpha).to_array()
        };
        let inks = [ink(branch.transition.saturating_sub(1)), ink(branch.transition)];
        for piece in pieces(branch.from, branch.to, spec) {
            ribbons.line(piece.into_iter().zip(inks).map(|(at, ink)| (at, ink, width)));
        }
        if life >= 1.0 {
            ends.push(branch.to, inks[1], END_RADIUS);
        }
    }
    (ribbons, ends)
}

fn chosen(branches: &Branches, spec: &EnvironmentSpec, colors: Colors) -> (Ribbons, Particles) {
    let palette = colors.palette();
    let states = &branches.record.plan.states;
    let places: Vec<[f32; 2]> = states.iter().filter_map(|state| place_of(state)).collect();
    let lines = lines(&places, spec);
    let mut ribbons = Ribbons::default();
    let halo = palette.chosen_halo.with_alpha(0.65);
    for (ink, width) in [(halo, HALO_WIDTH), (palette.chosen, CHOSEN_WIDTH)] {
        for line in &lines {
            ribbons.line(line.iter().map(|&at| (at, ink.to_array(), width)));
        }
    }
    (ribbons, Particles::default())
}

fn trail(places: &[[f32; 2]], spec: &EnvironmentSpec, colors: Colors) -> (Ribbons, Particles) {
    let ink = colors.palette().trail;
    let lines = lines(places, spec);
    let last = lines.iter().map(Vec::len).sum::<usize>().saturating_sub(1).max(1) as f32;
    let mut ribbons = Ribbons::default();
    let mut index = 0.0;
    for line in lines {
        ribbons.line(line.into_iter().map(|at| {
            let alpha = mix([OLDEST_TRAIL, 0.95], index / last);
            index += 1.0;
            (at, ink.with_alpha(alpha).to_array(), TRAIL_WIDTH)
        }));
    }
    (ribbons, Particles::default())
}

fn place_of(state: &[f32]) -> Option<[f32; 2]> {
    Some([*state.first()?, *state.get(1)?])
}

/// The way to the picked branch and to the one under the pointer.
fn highlights(app: &App, painter: &Painter, pane: &Pane, colors: Colors) {
    let Some(branches) = app.tree.pictures.branches() else { return };
    let ink = colors.accent();
    let wanted = [(app.tree.pointed, ink.gamma_multiply(0.8), 2.0), (app.tree.node, ink, 3.0)];
    for (node, ink, width) in wanted {
        let Some(branch) = node.and_then(|node| branches.of(node)) else { continue };
        for part in branches.way(branch) {
            for piece in pieces(part.from, part.to, &app.place.spec) {
                let ends = piece.map(|at| pane.screen_from_world(at));
                painter.line_segment(ends, Stroke::new(width, ink));
            }
        }
        if let Some(end) = branches.all.get(branch) {
            let at = pane.screen_from_world(end.to);
            painter.circle_filled(at, width + 3.0, colors.chosen_halo());
            painter.circle_filled(at, width + 1.5, ink);
        }
    }
}
