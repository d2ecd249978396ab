//! From drawings to bytes.

use std::borrow::Cow;

use gif::{DisposalMethod, Encoder, Frame, Repeat};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::drawing::{Drawing, Ground};
use super::palette::{Mode, Palette};
use super::quantize::{Census, Colors};
use super::{PictureError, check_size};

/// One frame in so many is looked at to choose a film's colors.
const CENSUS_STRIDE: usize = 5;

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

/// An SVG in which `size` counts units across and down, with the same shapes as
/// the PNG of that size.
///
/// # Errors
/// A size or bounds that make no picture.
pub fn svg(drawing: &Drawing, size: [u32; 2], mode: Mode) -> Result<Vec<u8>, PictureError> {
    Ok(drawing.write(size, mode)?.into_bytes())
}

/// An endlessly repeating GIF of drawings, each with the milliseconds it is
/// shown for. Some are painted twice: first to choose the colors of the whole
/// film, so that nothing flickers. Every frame holds only what differs from the
/// one before.
///
/// # Errors
/// No frames, or a size or bounds that make no picture.
pub fn gif(
    frames: impl Iterator<Item = (Drawing, u32)> + Clone,
    size: [u32; 2],
    mode: Mode,
) -> Result<Vec<u8>, PictureError> {
    film(frames, size, mode, &|drawing, ground| drawing.paint_over(ground, size, mode))
}

/// What paints a frame: pixels of the film's size.
type Paint<'a, P> = &'a dyn Fn(&P, &mut Ground) -> Result<Vec<u8>, PictureError>;

/// As [`gif`], of anything that can be painted.
pub(super) fn film<P>(
    frames: impl Iterator<Item = (P, u32)> + Clone,
    size: [u32; 2],
    mode: Mode,
    paint: Paint<'_, P>,
) -> Result<Vec<u8>, PictureError> {
    check_size(size)?;
    let [width, height] = size;
    let refuse = |_| PictureError::Size { width, height };
    let across = u16::try_from(width).map_err(refuse)?;
    let down = u16::try_from(height).map_err(refuse)?;
    let mut colors = choose_colors(frames.clone(), mode, paint)?;
    let table: Vec<u8> = colors.palette.iter().copied().chain([[0; 3]]).flatten().collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, across, down, &table)?;
    encoder.set_repeat(Repeat::Infinite)?;
    let mut ground = Ground::default();
    let mut before: Option<Vec<u8>> = None;
    for (drawing, delay_ms) in frames {
        let pixels = paint(&drawing, &mut ground)?;
        let rgb = pixels.chunks_exact(4).map(|pixel| [pixel[0], pixel[1], pixel[2]]);
        let after: Vec<u8> = rgb.map(|color| colors.index_of(color)).collect();
        let clear = colors.palette.len() as u8;
        let mut frame = difference(before.as_deref(), &after, width as usize, clear);
        // GIF counts in hundredths of a second.
        frame.delay = u16::try_from(delay_ms / 10).unwrap_or(u16::MAX);
        encoder.write_frame(&frame)?;
        before = Some(after);
    }
    drop(encoder);
    match before {
        Some(_) => Ok(bytes),
        None => Err(PictureError::NoFrames),
    }
}

/// Colors that suit a film, from a few of its frames.
fn choose_colors<P>(
    frames: impl Iterator<Item = (P, u32)>,
    mode: Mode,
    paint: Paint<'_, P>,
) -> Result<Colors, PictureError> {
    let mut census = Census::default();
    let mut ground = Ground::default();
    for (drawing, _) in frames.step_by(CENSUS_STRIDE) {
        census.count(&paint(&drawing, &mut ground)?);
    }
    Ok(census.palette(&roles(mode)))
}

/// Colors that mean something and must not be taken for another.
fn roles(mode: Mode) -> Vec<[u8; 3]> {
    let palette = Palette::of(mode);
    let roles = [
        palette.ink,
        palette.muted_ink,
        palette.start,
        palette.goal,
        palette.agent,
        palette.trail,
        palette.chosen,
        palette.infeasible,
        palette.guidance,
        palette.noise,
    ];
    roles.iter().map(|role| [role.r, role.g, role.b]).collect()
}

/// The smallest frame that turns the picture `before` into `after`, both given
/// as places in the palette; `clear` is the place for "as before".
fn difference(before: Option<&[u8]>, after: &[u8], width: usize, clear: u8) -> Frame<'static> {
    let same = |at: usize| before.is_some_and(|before| before[at] == after[at]);
    let [left, top, right, bottom] = changed(after.len() / width.max(1), width, &same);
    let places = (top..bottom).flat_map(|row| (left..right).map(move |x| row * width + x));
    let buffer: Vec<u8> = places.map(|at| if same(at) { clear } else { after[at] }).collect();
    // What was checked to fit the whole picture fits its parts.
    let narrow = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
    Frame {
        dispose: DisposalMethod::Keep,
        transparent: Some(clear),
        left: narrow(left),
        top: narrow(top),
        width: narrow(right - left),
        height: narrow(bottom - top),
        buffer: Cow::Owned(buffer),
        ..Frame::default()
    }
}

/// Left, top, right and bottom of what is not the same; a pixel if all is.
fn changed(height: usize, width: usize, same: &impl Fn(usize) -> bool) -> [usize; 4] {
    let mut edges = [width, height, 0, 0];
    for row in 0..height {
        let differs = |x: &usize| !same(row * width + *x);
        if let Some(first) = (0..width).find(differs) {
            let last = (0..width).rev().find(differs).unwrap_or(first);
            edges = [edges[0].min(first), edges[1].min(row), edges[2].max(last + 1), row + 1];
        }
    }
    if edges[2] == 0 { [0, 0, 1, 1] } else { edges }
}

#[cfg(test)]
mod tests {
    use image::AnimationDecoder;
    use image::codecs::gif::GifDecoder;

    use super::*;
    use crate::picture::Wall;

    fn drawing(y: f32) -> Drawing {
        Drawing {
            bounds: [0.0, 0.0, 3.0, 3.0],
            walls: vec![Wall { rect: [0.0, 0.0, 1.0, 1.0], round: [true; 4] }],
            agent: Some([1.5, y]),
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
    fn a_gif_shows_every_drawing_for_its_time() {
        let (size, mode) = ([120, 100], Mode::Dark);
        let shown = [(0.5, 50), (1.0, 20), (1.0, 80), (2.5, 550)];
        let bytes = gif(shown.into_iter().map(|(y, ms)| (drawing(y), ms)), size, mode).unwrap();
        let again = gif(shown.into_iter().map(|(y, ms)| (drawing(y), ms)), size, mode).unwrap();
        assert_eq!(bytes, again);
        let decoder = GifDecoder::new(std::io::Cursor::new(bytes)).unwrap();
        let frames: Vec<_> = decoder.into_frames().map(Result::unwrap).collect();
        assert_eq!(frames.len(), shown.len());
        for (frame, (y, ms)) in frames.iter().zip(shown) {
            assert_eq!(frame.delay().numer_denom_ms(), (ms, 1));
            let wanted = drawing(y).paint(size, mode).unwrap();
            let far = |(a, b): (&u8, &u8)| a.abs_diff(*b);
            let worst = frame.buffer().as_raw().iter().zip(&wanted).map(far).max().unwrap();
            assert!(worst <= 24, "a color is off by {worst}");
        }
    }

    #[test]
    fn what_does_not_change_costs_next_to_nothing() {
        let once = gif([(drawing(1.0), 50)].into_iter(), [300, 300], Mode::Dark).unwrap().len();
        let still = std::iter::repeat_n((drawing(1.0), 50), 21);
        let often = gif(still, [300, 300], Mode::Dark).unwrap().len();
        assert!(often < once + 20 * 64, "{once} and {often}");
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let none: [(Drawing, u32); 0] = [];
        assert!(matches!(
            gif(none.into_iter(), [100, 100], Mode::Dark),
            Err(PictureError::NoFrames)
        ));
        assert!(gif([(drawing(1.0), 50)].into_iter(), [9000, 100], Mode::Dark).is_err());
        assert!(png(&drawing(1.0), [9, 9], Mode::Dark).is_err());
        assert!(png(&Drawing::default(), [100, 100], Mode::Dark).is_err());
    }
}
