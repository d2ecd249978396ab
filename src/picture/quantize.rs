//! Fewer colors, for GIF: the most frequent ones, so that flat surfaces keep
//! their exact tone, and a median cut of the rest.

use std::cmp::Reverse;
use std::collections::HashMap;

/// Most colors of a palette; one of GIF's 256 is left for "as before".
pub(super) const MAX_COLORS: usize = 255;
/// So many of them are there exactly: surfaces, shades and words.
const EXACT_COLORS: usize = 64;

type Rgb = [u8; 3];

/// How often each color occurs.
#[derive(Default)]
pub(super) struct Census(HashMap<Rgb, u32>);

impl Census {
    /// Count the colors of RGBA pixels.
    pub(super) fn count(&mut self, pixels: &[u8]) {
        for pixel in pixels.chunks_exact(4) {
            *self.0.entry([pixel[0], pixel[1], pixel[2]]).or_default() += 1;
        }
    }

    /// Choose at most [`MAX_COLORS`]: those to keep and the most frequent ones
    /// as they are, and what stands for all others.
    pub(super) fn palette(mut self, kept: &[Rgb]) -> Colors {
        let mut palette: Vec<Rgb> = Vec::new();
        for &color in kept.iter().take(EXACT_COLORS) {
            if self.0.remove(&color).is_some() {
                palette.push(color);
            }
        }
        let mut all: Vec<(Rgb, u32)> = self.0.into_iter().collect();
        // The order of a hash map is not the same twice.
        all.sort_unstable_by_key(|(color, count)| (Reverse(*count), *color));
        let others = all.split_off(all.len().min(EXACT_COLORS - palette.len()));
        palette.extend(all.into_iter().map(|(color, _)| color));
        palette.extend(cut(others, MAX_COLORS - EXACT_COLORS));
        Colors { palette, known: HashMap::new() }
    }
}

/// At most `room` colors for these, by median cut.
fn cut(colors: Vec<(Rgb, u32)>, room: usize) -> Vec<Rgb> {
    let mut boxes = vec![ColorBox::new(colors)];
    while boxes.len() < room {
        let widest = boxes
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.colors.len() > 1)
            .max_by(|(_, a), (_, b)| a.urgency.total_cmp(&b.urgency));
        let Some((at, _)) = widest else { break };
        let [low, high] = boxes.swap_remove(at).split();
        boxes.extend([low, high]);
    }
    let face = |members: ColorBox| {
        members.colors.iter().max_by_key(|(_, count)| *count).map(|(color, _)| *color)
    };
    boxes.into_iter().filter_map(face).collect()
}

/// A palette, and what colors became in it.
pub(super) struct Colors {
    pub palette: Vec<Rgb>,
    known: HashMap<Rgb, u8>,
}

impl Colors {
    /// Place in the palette of the color nearest to this one.
    pub(super) fn index_of(&mut self, color: Rgb) -> u8 {
        let palette = &self.palette;
        *self.known.entry(color).or_insert_with(|| {
            let distance = |candidate: &Rgb| -> u32 {
                // Eyes tell greens apart best and blues least.
                let difference = |c: usize| u32::from(candidate[c].abs_diff(color[c])).pow(2);
                3 * difference(0) + 4 * difference(1) + 2 * difference(2)
            };
            let nearest = palette.iter().enumerate().min_by_key(|(_, one)| distance(one));
            nearest.map_or(0, |(index, _)| index as u8)
        })
    }
}

/// Colors that are not told apart yet.
struct ColorBox {
    colors: Vec<(Rgb, u32)>,
    /// The channel along which they differ most.
    channel: usize,
    /// How much it matters to tell them apart.
    urgency: f32,
}

/// Rare colors count too, if less: they are lines and dots.
fn weight((_, count): &(Rgb, u32)) -> f32 {
    (*count as f32).sqrt()
}

impl ColorBox {
    fn new(colors: Vec<(Rgb, u32)>) -> Self {
        let span = |channel: usize| {
            let values = || colors.iter().map(|(color, _)| color[channel]);
            f32::from(values().max().unwrap_or(0) - values().min().unwrap_or(0))
        };
        let spans = [0, 1, 2].map(span);
        let channel = (0..3).max_by(|a, b| spans[*a].total_cmp(&spans[*b])).unwrap_or(0);
        let total: f32 = colors.iter().map(weight).sum();
        let urgency = spans[channel] * total;
        Self { colors, channel, urgency }
    }

    /// Two boxes of about the same weight, neither of them empty.
    fn split(self) -> [Self; 2] {
        let Self { mut colors, channel, .. } = self;
        colors.sort_unstable_by_key(|(color, _)| (color[channel], *color));
        let half = colors.iter().map(weight).sum::<f32>() / 2.0;
        let mut below = 0.0;
        let middle = colors.iter().position(|color| {
            below += weight(color);
            below > half
        });
        let last = colors.len().saturating_sub(1).max(1);
        let upper = colors.split_off(middle.unwrap_or(1).clamp(1, last));
        [Self::new(colors), Self::new(upper)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgba(pixels: &[Rgb]) -> Vec<u8> {
        pixels.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect()
    }

    #[test]
    fn few_colors_stay_exactly_themselves() {
        let pixels = [[1, 2, 3], [200, 0, 9], [1, 2, 3]];
        let mut census = Census::default();
        census.count(&rgba(&pixels));
        let mut colors = census.palette(&[]);
        assert_eq!(colors.palette.len(), 2);
        for pixel in pixels {
            let index = usize::from(colors.index_of(pixel));
            assert_eq!(colors.palette[index], pixel);
        }
        assert!(Census::default().palette(&[[1; 3]]).palette.is_empty());
    }

    #[test]
    fn rare_colors_can_be_kept() {
        let rare = [255, 0, 255];
        let ramp = (0..4096_u32).map(|i| [(i % 64 * 4) as u8, (i / 64 * 4) as u8, 90]);
        let all: Vec<Rgb> = ramp.flat_map(|color| [color; 9]).chain([rare]).collect();
        let mut census = Census::default();
        census.count(&rgba(&all));
        let mut colors = census.palette(&[rare, [1, 1, 1]]);
        let index = usize::from(colors.index_of(rare));
        assert_eq!(colors.palette[index], rare);
        // What does not occur takes no room.
        assert!(!colors.palette.contains(&[1, 1, 1]));
    }

    #[test]
    fn many_colors_become_near_ones_and_flat_surfaces_stay_exact() {
        let flat = [40, 44, 52];
        let ramp = (0..4096_u32).map(|i| [(i % 64 * 4) as u8, (i / 64 * 4) as u8, 90]);
        let all: Vec<Rgb> = ramp.chain(std::iter::repeat_n(flat, 5000)).collect();
        let mut census = Census::default();
        census.count(&rgba(&all));
        let mut colors = census.palette(&[]);
        assert_eq!(colors.palette.len(), MAX_COLORS);
        for pixel in all {
            let index = usize::from(colors.index_of(pixel));
            let near = colors.palette[index];
            let far = (0..3).map(|c| near[c].abs_diff(pixel[c])).max().unwrap();
            assert!(far <= if pixel == flat { 0 } else { 32 }, "{pixel:?} became {near:?}");
        }
    }
}
