//! Fields as files.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::layout::Layout;
use super::{Field, Mode, Palette, PictureError};
use crate::picture::canvas::Pixels;
use crate::picture::check_size;
use crate::picture::encode::film;
use crate::picture::svg::Svg;

/// A PNG of a field whose longer side has so many pixels.
///
/// # Errors
/// Axes without extent, values that do not fit the cells, or a size that makes
/// no picture.
pub fn field_png(field: &Field, long_side: u32, mode: Mode) -> Result<Vec<u8>, PictureError> {
    let ([width, height], pixels) = field.paint(long_side, mode)?;
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(&pixels, width, height, ExtendedColorType::Rgba8)?;
    Ok(bytes)
}

/// The same shapes as an SVG.
///
/// # Errors
/// As for [`field_png`].
pub fn field_svg(field: &Field, long_side: u32, mode: Mode) -> Result<Vec<u8>, PictureError> {
    field.check()?;
    let layout = Layout::new(field, long_side);
    let canvas = Svg::new(layout.size, Palette::of(mode).background)?;
    let canvas = field.draw(canvas, &layout, mode)?;
    Ok(canvas.finish(&field.title, &field.caption).into_bytes())
}

/// An endlessly repeating GIF of fields over the same axes, each with the
/// milliseconds it is shown for.
///
/// # Errors
/// No frames, frames of different sizes, or as for [`field_png`].
pub fn field_gif(
    frames: &[(Field, u32)],
    long_side: u32,
    mode: Mode,
) -> Result<Vec<u8>, PictureError> {
    let Some((first, _)) = frames.first() else { return Err(PictureError::NoFrames) };
    first.check()?;
    let size = Layout::new(first, long_side).size;
    let shown = frames.iter().map(|(field, ms)| (field, *ms));
    film(shown, size, mode, &|field, _| {
        let (found, pixels) = field.paint(long_side, mode)?;
        let [width, height] = found;
        if found == size { Ok(pixels) } else { Err(PictureError::Size { width, height }) }
    })
}

impl Field {
    /// Size across and down, and red, green, blue and alpha row by row.
    pub(super) fn paint(
        &self,
        long_side: u32,
        mode: Mode,
    ) -> Result<([u32; 2], Vec<u8>), PictureError> {
        self.check()?;
        let layout = Layout::new(self, long_side);
        check_size(layout.size)?;
        let canvas = Pixels::new(layout.size, Palette::of(mode).background)?;
        Ok((layout.size, self.draw(canvas, &layout, mode)?.into_rgba()))
    }
}
