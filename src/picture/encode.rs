//! From drawings to bytes.

use image::codecs::gif::{GifEncoder, Repeat};
use image::codecs::png::PngEncoder;
use image::{Delay, ExtendedColorType, Frame, ImageEncoder, RgbaImage};

use super::PictureError;
use super::palette::Mode;
use super::scene_picture::Drawing;

/// How hard the GIF encoder looks for colors, from 1 (best) to 30 (fastest).
const GIF_SPEED: i32 = 10;

/// A PNG of `size` pixels across and down.
///
/// # Errors
/// A size or bounds that make no picture.
pub fn png(drawing: &Drawing, size: [u32; 2], mode: Mode) -> Result<Vec<u8>, PictureError> {
    let pixels = drawing.paint(size, mode)?;
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(&pixels, size[0], size[1], ExtendedColorType::Rgba8)?;
    Ok(bytes)
}

/// An endlessly repeating GIF that shows every frame for `delay_ms` and the
/// last one for `rest_ms` more. Frames are taken one at a time, so the iterator
/// may make them on the way and report progress.
///
/// # Errors
/// No frames, or a size or bounds that make no picture.
pub fn gif(
    frames: impl IntoIterator<Item = Drawing>,
    size: [u32; 2],
    mode: Mode,
    delay_ms: u32,
    rest_ms: u32,
) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, GIF_SPEED);
    encoder.set_repeat(Repeat::Infinite)?;
    let mut frames = frames.into_iter().peekable();
    if frames.peek().is_none() {
        return Err(PictureError::NoFrames);
    }
    while let Some(drawing) = frames.next() {
        let pixels = drawing.paint(size, mode)?;
        let image = RgbaImage::from_raw(size[0], size[1], pixels)
            .ok_or(PictureError::Size { width: size[0], height: size[1] })?;
        let rest = if frames.peek().is_none() { rest_ms } else { 0 };
        let delay = Delay::from_numer_denom_ms(delay_ms.saturating_add(rest), 1);
        encoder.encode_frame(Frame::from_parts(image, 0, 0, delay))?;
    }
    drop(encoder);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use image::AnimationDecoder;
    use image::codecs::gif::GifDecoder;

    use super::*;

    fn drawing(x: f32) -> Drawing {
        Drawing {
            bounds: [0.0, 0.0, 3.0, 3.0],
            walls: vec![[0.0, 0.0, 1.0, 1.0]],
            agent: Some([x, 1.5]),
            ..Drawing::default()
        }
    }

    #[test]
    fn a_png_has_the_size_asked_for_and_is_the_same_every_time() {
        let bytes = png(&drawing(1.0), [200, 160], Mode::Light).unwrap();
        let image = image::load_from_memory(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (200, 160));
        assert_eq!(bytes, png(&drawing(1.0), [200, 160], Mode::Light).unwrap());
        assert_ne!(bytes, png(&drawing(1.0), [200, 160], Mode::Dark).unwrap());
    }

    #[test]
    fn a_gif_has_its_frames_and_rests_on_the_last() {
        let frames = [0.5, 1.0, 1.5].map(drawing);
        let bytes = gif(frames, [120, 100], Mode::Dark, 50, 500).unwrap();
        let decoder = GifDecoder::new(std::io::Cursor::new(bytes)).unwrap();
        let delays: Vec<_> = decoder
            .into_frames()
            .map(|frame| frame.unwrap().delay().numer_denom_ms())
            .map(|(numerator, denominator)| numerator / denominator)
            .collect();
        assert_eq!(delays, [50, 50, 550]);
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let none: [Drawing; 0] = [];
        assert!(matches!(gif(none, [100, 100], Mode::Dark, 10, 0), Err(PictureError::NoFrames)));
        assert!(png(&drawing(1.0), [9, 9], Mode::Dark).is_err());
        assert!(png(&Drawing::default(), [100, 100], Mode::Dark).is_err());
    }
}
