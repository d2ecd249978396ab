//! Colors by role, so that a start, a goal or an infeasible plan looks the same
//! in the window, in a picture and in a film.
//!
//! Categories use the Okabe-Ito set, which stays distinct for color-blind
//! readers; time uses viridis, which is also ordered in gray.

/// A color with straight (not premultiplied) alpha, in sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgba {
    /// Red.
    pub r: u8,
    /// Green.
    pub g: u8,
    /// Blue.
    pub b: u8,
    /// Opacity; 255 is opaque.
    pub a: u8,
}

impl Rgba {
    /// An opaque color from `0xRRGGBB`.
    pub const fn hex(rgb: u32) -> Self {
        Self { r: (rgb >> 16) as u8, g: (rgb >> 8) as u8, b: rgb as u8, a: 255 }
    }

    /// The same color at another opacity in `[0, 1]`.
    #[must_use]
    pub fn with_alpha(self, alpha: f32) -> Self {
        Self { a: (alpha.clamp(0.0, 1.0) * 255.0).round() as u8, ..self }
    }

    /// A mix of two colors; `fraction` 0 is `self`, 1 is `other`.
    #[must_use]
    pub fn mix(self, other: Self, fraction: f32) -> Self {
        let part = |a: u8, b: u8| {
            (f32::from(a) + (f32::from(b) - f32::from(a)) * fraction.clamp(0.0, 1.0)).round() as u8
        };
        Self {
            r: part(self.r, other.r),
            g: part(self.g, other.g),
            b: part(self.b, other.b),
            a: part(self.a, other.a),
        }
    }

    /// Red, green, blue and alpha.
    pub const fn to_array(self) -> [u8; 4] {
        [self.r, self.g, self.b, self.a]
    }
}

/// Okabe and Ito's colors, in the order categories are handed out.
pub const CATEGORIES: [Rgba; 7] = [
    Rgba::hex(0x0072b2),
    Rgba::hex(0xe69f00),
    Rgba::hex(0x009e73),
    Rgba::hex(0xcc79a7),
    Rgba::hex(0x56b4e9),
    Rgba::hex(0xd55e00),
    Rgba::hex(0xf0e442),
];

/// Light or dark surroundings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Light drawing on dark ground.
    #[default]
    Dark,
    /// Dark drawing on light ground.
    Light,
}

/// Every color the program uses, named by what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Behind everything.
    pub background: Rgba,
    /// Panels and other raised surfaces.
    pub panel: Rgba,
    /// Surfaces under the pointer, input fields and separators' ground.
    pub raised: Rgba,
    /// Hairlines and grid lines.
    pub line: Rgba,
    /// Text.
    pub ink: Rgba,
    /// Secondary text.
    pub muted_ink: Rgba,
    /// Interactive emphasis: selection, links, focus.
    pub accent: Rgba,
    /// Something to know about.
    pub warning: Rgba,
    /// Something that failed.
    pub error: Rgba,
    /// Something that went well.
    pub success: Rgba,
    /// Free space of an environment.
    pub floor: Rgba,
    /// Walls.
    pub wall: Rgba,
    /// Where a plan starts.
    pub start: Rgba,
    /// Where it should end.
    pub goal: Rgba,
    /// The body that acts.
    pub agent: Rgba,
    /// Where the body has been.
    pub trail: Rgba,
    /// The plan that was selected.
    pub chosen: Rgba,
    /// Drawn around the chosen plan so that it stands out from candidates.
    pub chosen_halo: Rgba,
    /// A plan that hits a wall or is too fast.
    pub infeasible: Rgba,
    /// What pulls a plan (a guide's gradient, a value).
    pub guidance: Rgba,
    /// Noise that has not become a plan yet.
    pub noise: Rgba,
    /// Samples of a data set.
    pub data: Rgba,
    /// The true quantity, next to a model's.
    pub truth: Rgba,
    /// The model's quantity, next to the true one.
    pub model: Rgba,
}

static DARK: Palette = Palette {
    background: Rgba::hex(0x14161a),
    panel: Rgba::hex(0x1b1e24),
    raised: Rgba::hex(0x262a32),
    line: Rgba::hex(0x363c47),
    ink: Rgba::hex(0xe8eaee),
    muted_ink: Rgba::hex(0x9aa2b0),
    accent: Rgba::hex(0x56b4e9),
    warning: Rgba::hex(0xe69f00),
    error: Rgba::hex(0xf0704a),
    success: Rgba::hex(0x2fbf94),
    floor: Rgba::hex(0x1d2127),
    wall: Rgba::hex(0x454c59),
    start: Rgba::hex(0x56b4e9),
    goal: Rgba::hex(0xe69f00),
    agent: Rgba::hex(0xf7f8fa),
    trail: Rgba::hex(0xcc79a7),
    chosen: Rgba::hex(0xffffff),
    chosen_halo: Rgba::hex(0x0b0c0f),
    infeasible: Rgba::hex(0xd55e00),
    guidance: Rgba::hex(0xf0e442),
    noise: Rgba::hex(0x8d97a8),
    data: Rgba::hex(0x6f7a8c),
    truth: Rgba::hex(0xe8eaee),
    model: Rgba::hex(0x56b4e9),
};

static LIGHT: Palette = Palette {
    background: Rgba::hex(0xf6f7f9),
    panel: Rgba::hex(0xffffff),
    raised: Rgba::hex(0xe9ecf1),
    line: Rgba::hex(0xd0d6df),
    ink: Rgba::hex(0x1b1f26),
    muted_ink: Rgba::hex(0x5b6472),
    accent: Rgba::hex(0x0072b2),
    warning: Rgba::hex(0x9a6700),
    error: Rgba::hex(0xb54a00),
    success: Rgba::hex(0x007a59),
    floor: Rgba::hex(0xffffff),
    wall: Rgba::hex(0xaab3c0),
    start: Rgba::hex(0x0072b2),
    goal: Rgba::hex(0xe69f00),
    agent: Rgba::hex(0x1b1f26),
    trail: Rgba::hex(0xb65a90),
    chosen: Rgba::hex(0x11141a),
    chosen_halo: Rgba::hex(0xffffff),
    infeasible: Rgba::hex(0xd55e00),
    guidance: Rgba::hex(0x8f7a00),
    noise: Rgba::hex(0x8b95a4),
    data: Rgba::hex(0x9aa4b2),
    truth: Rgba::hex(0x1b1f26),
    model: Rgba::hex(0x0072b2),
};

impl Palette {
    /// The colors of `mode`.
    pub fn of(mode: Mode) -> &'static Self {
        match mode {
            Mode::Dark => &DARK,
            Mode::Light => &LIGHT,
        }
    }
}

/// Viridis for a fraction of a plan's duration, 0 at its start.
///
/// The ends are trimmed: the darkest tone vanishes on a dark floor and the
/// lightest on a light one.
pub fn time_color(fraction: f32) -> Rgba {
    let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
    let color = colorous::VIRIDIS.eval_continuous(f64::from(0.18 + 0.72 * fraction));
    Rgba { r: color.r, g: color.g, b: color.b, a: 255 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, as the accessibility guidelines define it.
    fn luminance(color: Rgba) -> f32 {
        let linear = |channel: u8| {
            let value = f32::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(color.r) + 0.7152 * linear(color.g) + 0.0722 * linear(color.b)
    }

    fn contrast(a: Rgba, b: Rgba) -> f32 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_is_readable_on_every_surface() {
        for mode in [Mode::Dark, Mode::Light] {
            let palette = Palette::of(mode);
            for surface in [palette.background, palette.panel, palette.raised] {
                assert!(contrast(palette.ink, surface) > 7.0, "{mode:?} ink");
                assert!(contrast(palette.muted_ink, surface) > 4.5, "{mode:?} muted ink");
            }
            for surface in [palette.background, palette.panel] {
                for color in [palette.warning, palette.error, palette.success, palette.accent] {
                    assert!(contrast(color, surface) > 4.5, "{mode:?} {color:?}");
                }
            }
        }
    }

    #[test]
    fn time_runs_from_dark_to_light_and_forgives_bad_fractions() {
        assert!(luminance(time_color(0.0)) < luminance(time_color(0.5)));
        assert!(luminance(time_color(0.5)) < luminance(time_color(1.0)));
        assert_eq!(time_color(f32::NAN), time_color(-3.0));
    }

    #[test]
    fn mixing_ends_at_both_colors() {
        let (a, b) = (Rgba::hex(0x102030), Rgba::hex(0xf0e0d0).with_alpha(0.5));
        assert_eq!(a.mix(b, 0.0), a);
        assert_eq!(a.mix(b, 1.0), b);
        assert_eq!(Rgba::hex(0x123456).to_array(), [0x12, 0x34, 0x56, 255]);
    }
}
