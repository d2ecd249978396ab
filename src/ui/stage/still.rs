//! A picture of the maze that is turned into triangles only when it changes.

use std::sync::Arc;

use eframe::egui::{Painter, Shape};

use super::camera::Camera;
use crate::env::MazeLayout;
use crate::ui::layers::{self, Batch, Ground, Points, Renderer};
use crate::ui::theme::Colors;

/// Makes the shapes of a still.
pub type Draw = fn(&MazeLayout, &Camera, Colors) -> Vec<Shape>;

#[derive(PartialEq)]
struct Key {
    layout: MazeLayout,
    camera: Camera,
    is_dark: bool,
    pixels_per_point: f32,
}

/// The picture and what it was made from.
#[derive(Default)]
pub struct Still {
    key: Option<Key>,
    generation: u64,
    ground: Arc<Ground>,
}

impl Still {
    /// Make the picture again if anything it shows has changed.
    pub fn update(
        &mut self,
        layout: &MazeLayout,
        camera: &Camera,
        colors: Colors,
        pixels_per_point: f32,
        draw: Draw,
    ) {
        let key = Key {
            layout: layout.clone(),
            camera: *camera,
            is_dark: colors.is_dark(),
            pixels_per_point,
        };
        if self.key.as_ref() != Some(&key) {
            self.ground = Arc::new(Ground::new(draw(layout, camera, colors), pixels_per_point));
            self.generation += 1;
            self.key = Some(key);
        }
    }

    /// Paint it; `slot` is its buffer.
    pub fn paint(&self, painter: &Painter, slot: u64, renderer: Renderer) {
        let Some(key) = &self.key else { return };
        if renderer != Renderer::Shapes {
            let points = Points::Ground(self.ground.clone());
            let batch = Batch { slot, generation: self.generation, points };
            let view = layers::screen_view(key.camera.rect, key.pixels_per_point);
            painter.add(layers::callback(key.camera.rect, batch, view, renderer));
        } else {
            painter.extend(self.ground.shapes().iter().cloned());
        }
    }
}
