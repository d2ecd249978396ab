//! Pictures without a window: the command line and the window's export draw
//! with the same code. Plain shapes and colors come in, PNG, SVG or GIF bytes go
//! out.
//!
//! Pictures of mazes lie as the window's stage does: x down and y to the right,
//! like the rows and columns of a maze's text. Others have axes of their own.

mod canvas;
mod drawing;
mod encode;
mod field;
mod frame;
mod legend;
mod map;
mod marks;
pub mod palette;
mod plans;
mod quantize;
mod svg;
mod text;

pub use drawing::{Capsule, Drawing, Polyline, Speck, Strengths, Twig, Wall, Waypoint};
pub use encode::{gif, png, svg};
pub use field::{
    Axis, Field, HeatMap, Obstacle, Orientation, Scale, density_color, field_gif, field_png,
    field_svg,
};
pub use palette::{Mode, Palette, Rgba, time_color};

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The size makes no picture.
    #[error(
        "a picture of {width} x {height} pixels cannot be made; use {MIN_SIDE} to {MAX_SIDE} each"
    )]
    Size {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// The map to draw has no extent.
    #[error("the bounds {0:?} span no area to draw")]
    Bounds([f32; 4]),
    /// A film of no frames.
    #[error("there is no frame to show; make a plan first")]
    NoFrames,
    /// The PNG encoder gave up.
    #[error("the picture could not be encoded: {0}")]
    Png(#[from] image::ImageError),
    /// The GIF encoder gave up.
    #[error("the film could not be encoded: {0}")]
    Gif(#[from] gif::EncodingError),
}

/// The least pixels a side may have.
pub const MIN_SIDE: u32 = 64;
/// The most pixels a side may have.
pub const MAX_SIDE: u32 = 8192;

/// Refuse sizes beyond these.
fn check_size([width, height]: [u32; 2]) -> Result<(), PictureError> {
    let sides = MIN_SIDE..=MAX_SIDE;
    if sides.contains(&width) && sides.contains(&height) {
        Ok(())
    } else {
        Err(PictureError::Size { width, height })
    }
}
