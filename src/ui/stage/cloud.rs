//! The candidates at one position of the denoising chain: a cloud of points
//! where there is noise, curves where there are plans, and a blend on the way.

use std::sync::Arc;

use eframe::egui::Shape;

use super::camera::Camera;
use crate::picture::time_color;
use crate::plan::Film;
use crate::ui::layers::{self, Batch, Particles, Points, Renderer, Ribbons, fallback};
use crate::ui::theme::Colors;

/// How a cloud is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CloudStyle {
    /// Most candidates drawn.
    pub max_candidates: usize,
    /// Most points drawn.
    pub max_particles: usize,
    /// Width of curves in points.
    pub width: f32,
    /// Radius of points.
    pub radius: f32,
    /// Opacity of everything.
    pub strength: f32,
}

#[derive(Clone, Copy, PartialEq)]
struct Key {
    film: u64,
    /// Tells the plans of one episode apart, which share the film's id.
    seed: u64,
    /// How far the film had come: a growing one changes under the same id.
    steps: usize,
    complete: bool,
    position: f32,
    noisy: bool,
    is_dark: bool,
    style: CloudStyle,
}

/// Points and curves, rebuilt only when what they show changes.
#[derive(Default)]
pub struct Cloud {
    key: Option<Key>,
    generation: u64,
    ribbons: Arc<Ribbons>,
    particles: Arc<Particles>,
}

impl Cloud {
    /// Show `film` at `position` of its chain.
    pub fn update(
        &mut self,
        film: &Film,
        position: f32,
        noisy: bool,
        colors: Colors,
        style: &CloudStyle,
    ) {
        let key = Key {
            film: film.id,
            seed: film.request.seed,
            steps: film.steps.len(),
            complete: film.is_complete(),
            position,
            noisy,
            is_dark: colors.is_dark(),
            style: *style,
        };
        if self.key == Some(key) {
            return;
        }
        self.key = Some(key);
        self.generation += 1;
        let sample = Sample::new(film, position, noisy);
        self.ribbons = Arc::new(ribbons(film, &sample, colors, style));
        self.particles = Arc::new(particles(film, &sample, colors, style));
    }

    /// Forget what is shown.
    pub fn clear(&mut self) {
        *self = Self { generation: self.generation, ..Self::default() };
    }

    /// Shapes that draw the cloud; `slot` and the one after it are its buffers.
    pub fn shapes(
        &self,
        camera: &Camera,
        pixels_per_point: f32,
        slot: u64,
        opacity: f32,
        renderer: Renderer,
    ) -> Vec<Shape> {
        let batch = |slot, points| Batch { slot, generation: self.generation, points };
        let mut shapes = Vec::new();
        if !self.ribbons.points().is_empty() {
            let batch = batch(slot, Points::Ribbons(self.ribbons.clone()));
            draw(&mut shapes, batch, camera, pixels_per_point, opacity, renderer);
        }
        if !self.particles.points().is_empty() {
            let batch = batch(slot + 1, Points::Particles(self.particles.clone()));
            draw(&mut shapes, batch, camera, pixels_per_point, opacity, renderer);
        }
        shapes
    }
}

/// Add a batch to `shapes`, by GPU if there is one.
pub fn draw(
    shapes: &mut Vec<Shape>,
    batch: Batch,
    camera: &Camera,
    pixels_per_point: f32,
    opacity: f32,
    renderer: Renderer,
) {
    if renderer == Renderer::Shapes {
        shapes.extend(fallback::shapes(&batch, |world| camera.screen_from_world(world)));
    } else {
        let view = camera.view(pixels_per_point, opacity);
        shapes.push(layers::callback(camera.rect, batch, view, renderer));
    }
}

/// Two neighboring states of the chain and how far between them we are.
struct Sample<'a> {
    from: &'a [f32],
    to: &'a [f32],
    fraction: f32,
    /// Standard deviation of the noise left.
    noise: f32,
}

impl<'a> Sample<'a> {
    fn new(film: &'a Film, position: f32, noisy: bool) -> Self {
        let index = position.max(0.0).floor() as usize;
        let (from, noise_from) = state(film, index, noisy);
        let (to, noise_to) = state(film, index + 1, noisy);
        let fraction = if from.len() == to.len() { position.fract().max(0.0) } else { 0.0 };
        let noise = noise_from + (noise_to - noise_from) * fraction;
        Self { from, to, fraction, noise: if noisy { noise } else { 0.35 * noise } }
    }

    fn position(&self, film: &Film, candidate: usize, waypoint: usize) -> [f32; 2] {
        let from = film.observation(self.from, candidate, waypoint);
        if self.fraction <= 0.0 {
            return film.view.plane(from);
        }
        let to = film.observation(self.to, candidate, waypoint);
        // The first four numbers hold the first two coordinates in any case.
        let mut mixed = [0.0; 4];
        let n = from.len().min(to.len()).min(mixed.len());
        for ((mixed, from), to) in mixed.iter_mut().zip(from).zip(to) {
            *mixed = from + (to - from) * self.fraction;
        }
        film.view.plane(&mixed[..n])
    }
}

/// Standard deviation of the noise left at a position of the chain.
pub fn noise_level(film: &Film, position: f32) -> f32 {
    Sample::new(film, position, true).noise
}

/// Where a waypoint of a candidate is at a position of the chain.
pub fn position_at(film: &Film, position: f32, candidate: usize, waypoint: usize) -> [f32; 2] {
    Sample::new(film, position, true).position(film, candidate, waypoint)
}

/// The chain at a whole position: before step `index`, or the finished plan.
fn state(film: &Film, index: usize, noisy: bool) -> (&[f32], f32) {
    match film.steps.get(index) {
        Some(step) if noisy => (&step.noisy, step.noise_level),
        Some(step) => (&step.clean, step.noise_level),
        None => match film.steps.last() {
            Some(last) if film.is_complete() => (&last.clean, 0.0),
            Some(last) if noisy => (&last.noisy, last.noise_level),
            Some(last) => (&last.clean, last.noise_level),
            None => (&[], 1.0),
        },
    }
}

/// Candidates to draw: all that are there yet, or evenly spread ones.
fn shown(film: &Film, sample: &Sample<'_>, style: &CloudStyle) -> impl Iterator<Item = usize> {
    let n = film.n_candidates().min(film.n_in(sample.from));
    let stride = n.div_ceil(style.max_candidates.max(1)).max(1);
    (0..n).step_by(stride)
}

fn fraction(film: &Film, waypoint: usize) -> f32 {
    waypoint as f32 / film.waypoints.saturating_sub(1).max(1) as f32
}

fn ribbons(film: &Film, sample: &Sample<'_>, colors: Colors, style: &CloudStyle) -> Ribbons {
    let mut ribbons = Ribbons::default();
    // Curves come out of the cloud as its noise goes.
    let clarity = (1.0 - sample.noise).clamp(0.0, 1.0).powf(1.5);
    if clarity < 0.02 {
        return ribbons;
    }
    let infeasible = colors.palette().infeasible;
    // Infeasible ones first, so that feasible ones lie on top.
    for pass in [false, true] {
        for candidate in shown(film, sample, style) {
            let known = film.candidates.get(candidate);
            let feasible = known.is_none_or(|known| known.feasible);
            if feasible != pass {
                continue;
            }
            // A few plans may each be as visible as many together.
            let few = (96.0 / film.n_candidates().max(1) as f32).sqrt().clamp(1.0, 2.0);
            let alpha = clarity * style.strength * few * if feasible { 0.36 } else { 0.15 };
            let points: Vec<_> = (0..film.waypoints)
                .map(|waypoint| {
                    let time = time_color(fraction(film, waypoint));
                    let tone = if feasible { time } else { infeasible };
                    let color = tone.with_alpha(alpha).to_array();
                    (sample.position(film, candidate, waypoint), color, style.width)
                })
                .collect();
            // An angle that goes around leaves at one side and comes in at the
            // other.
            for line in points.chunk_by(|a, b| !film.view.wraps(a.0, b.0)) {
                ribbons.line(line.iter().copied());
            }
        }
    }
    ribbons
}

fn particles(film: &Film, sample: &Sample<'_>, colors: Colors, style: &CloudStyle) -> Particles {
    let mut particles = Particles::default();
    let amount = sample.noise.clamp(0.0, 1.0).sqrt();
    if amount < 0.03 {
        return particles;
    }
    let total = film.n_candidates().min(style.max_candidates) * film.waypoints;
    let stride = total.div_ceil(style.max_particles.max(1)).max(1);
    let noise = colors.palette().noise;
    // Points shrink and take on the color of their time as they condense.
    let radius = style.radius * (0.55 + 0.45 * amount);
    let mut count = 0;
    for candidate in shown(film, sample, style) {
        for waypoint in 0..film.waypoints {
            count += 1;
            if count % stride == 0 {
                let tone = time_color(fraction(film, waypoint)).mix(noise, 0.35 * amount);
                let color = tone.with_alpha(0.75 * amount * style.strength).to_array();
                particles.push(sample.position(film, candidate, waypoint), color, radius);
            }
        }
    }
    particles
}
