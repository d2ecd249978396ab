//! The tree, the plan it chose and the agent's trail, as curves that are made
//! again only when they change.

use std::sync::Arc;

use eframe::egui::{Painter, Stroke, Ui};

use super::branches::{Branch, Branches, lines, pieces};
use crate::env::EnvironmentSpec;
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
/// Opacity of a branch that was given up, and of live ones from the least to
/// the most probable.
const PRUNED: f32 = 0.22;
const LIVE: [f32; 2] = [0.38, 0.95];
/// Width of branches in points, likewise.
const PRUNED_WIDTH: f32 = 1.0;
const LIVE_WIDTH: [f32; 2] = [1.3, 2.8];
/// Probabilities of long plans differ by orders of magnitude; this brings them
/// closer.
const CONTRAST: f32 = 0.35;
/// Radius of the states that live branches have come to, in points.
const END_RADIUS: f32 = 2.6;
/// Width of the chosen plan and of the trail in points.
const CHOSEN_WIDTH: f32 = 2.6;
const HALO_WIDTH: f32 = 6.0;
const TRAIL_WIDTH: f32 = 3.2;
/// How opaque the oldest part of the trail is.
const OLDEST_TRAIL: f32 = 0.15;
/// The chosen plan appears over this last part of a search.
const REVEAL: f32 = 0.1;

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

/// How many tokens of a search are shown, and how much of the plan it chose.
fn reach(chain: f32, tokens: usize) -> (usize, f32) {
    let last = tokens as f32;
    let reveal = (chain - (1.0 - REVEAL) * last) / (REVEAL * last).max(1e-3);
    let visible = (chain.max(0.0).floor() as usize).min(tokens);
    (visible, if tokens == 0 { 0.0 } else { reveal.clamp(0.0, 1.0) })
}

/// How alive a branch is once `visible` tokens are known: 1 while continuations
/// through it are kept, then fading over a transition. `None` before it is.
pub(super) fn life(branch: &Branch, visible: usize, per_transition: usize) -> Option<f32> {
    let newest = visible.checked_sub(1)?;
    if branch.depth > newest {
        return None;
    }
    let since = newest.saturating_sub(branch.lives_to.unwrap_or(branch.depth));
    Some((1.0 - since as f32 / per_transition.max(1) as f32).max(0.0))
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
        let share = branch.share.powf(CONTRAST);
        let alpha = mix([PRUNED, mix(LIVE, share)], life);
        let width = mix([PRUNED_WIDTH, mix(LIVE_WIDTH, share)], life);
        let ink = |transition: usize| {
            let faded = tone(transition).mix(palette.noise, 0.75 * (1.0 - life));
            faded.with_alpha(alpha).to_array()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(depth: usize, lives_to: Option<usize>) -> Branch {
        Branch {
            node: 0,
            parent: None,
            from: [0.0; 2],
            to: [1.0; 2],
            depth,
            transition: 1,
            lives_to,
            share: 1.0,
            total: 0.0,
            value: None,
            is_chosen: false,
        }
    }

    #[test]
    fn branches_come_with_their_token_and_fade_when_they_are_given_up() {
        let kept = branch(3, Some(7));
        assert_eq!(life(&kept, 3, 4), None, "its token is not there yet");
        assert_eq!(life(&kept, 4, 4), Some(1.0));
        assert_eq!(life(&kept, 8, 4), Some(1.0), "kept down to there");
        assert_eq!(life(&kept, 10, 4), Some(0.5));
        assert_eq!(life(&kept, 99, 4), Some(0.0));
        let rejected = branch(3, None);
        assert_eq!([life(&rejected, 4, 4), life(&rejected, 6, 4)], [Some(1.0), Some(0.5)]);
        assert_eq!(life(&branch(3, Some(usize::MAX)), 99, 4), Some(1.0), "it ended at its goal");
    }

    #[test]
    fn the_plan_appears_at_the_end_of_the_search() {
        assert_eq!(reach(0.0, 60), (0, 0.0));
        assert_eq!(reach(57.0, 60).0, 57);
        assert!(reach(57.0, 60).1 > 0.0 && reach(50.0, 60).1 == 0.0);
        assert_eq!(reach(60.0, 60), (60, 1.0));
        assert_eq!(reach(3.0, 0), (0, 0.0));
    }
}
