//! The look: colors by role, four text sizes, an 8-point grid.
//!
//! The only file of the window that makes colors. Roles come from
//! [`crate::picture::palette`], so a picture that leaves the program looks like
//! the window it left.

use eframe::egui;
use std::collections::BTreeMap;
use std::sync::Arc;

use eframe::egui::epaint::Shadow;
use eframe::egui::{
    Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, Stroke, Style,
    TextStyle, Theme, Visuals, style::HandleShape, style::WidgetVisuals, vec2,
};

use crate::data::TokenKind;
use crate::picture::{Mode, Palette, Rgba, time_color};

/// The grid everything aligns to, in points.
pub const GRID: f32 = 8.0;
/// Small text: units, marks and axes.
pub const SMALL: f32 = 11.0;
/// Body text.
pub const BODY: f32 = 13.0;
/// Titles of panels and dialogs.
pub const TITLE: f32 = 15.0;
/// The one large number or name in a view.
pub const LARGE: f32 = 20.0;
/// A slider's handle.
const HANDLE: HandleShape = HandleShape::Rect { aspect_ratio: 0.55 };
/// How long a transition takes, in seconds.
pub const TRANSITION_SECS: f32 = 0.15;

/// The heavier cut of the text font.
pub fn strong_family() -> FontFamily {
    FontFamily::Name("strong".into())
}

/// Text in the heavier cut.
pub fn strong(text: impl Into<String>, size: f32) -> egui::RichText {
    egui::RichText::new(text).font(FontId::new(size, strong_family()))
}

/// Numbers: tabular figures.
pub fn number(text: impl Into<String>) -> egui::RichText {
    egui::RichText::new(text).font(FontId::new(12.0, FontFamily::Monospace))
}

/// Secondary text in the small size.
pub fn small(text: impl Into<String>) -> egui::RichText {
    egui::RichText::new(text).size(SMALL)
}

/// Every color of the current theme, ready to paint.
#[derive(Clone, Copy, Debug)]
pub struct Colors {
    palette: &'static Palette,
}

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident),* $(,)?) => {
        impl Colors {
            $($(#[$doc])* pub fn $role(&self) -> Color32 { color(self.palette.$role) })*
        }
    };
}

roles! {
    /// Behind everything.
    background,
    /// Panels.
    panel,
    /// Buttons and fields.
    raised,
    /// Hairlines.
    line,
    /// Text.
    ink,
    /// Secondary text.
    muted_ink,
    /// The one accent.
    accent,
    /// Something to know about.
    warning,
    /// Something that failed.
    error,
    /// Something that went well.
    success,
    /// Free space.
    floor,
    /// Walls.
    wall,
    /// Where a plan starts.
    start,
    /// Where it should end.
    goal,
    /// The ball.
    agent,
    /// Where the ball has been.
    trail,
    /// The chosen plan.
    chosen,
    /// Around the chosen plan.
    chosen_halo,
    /// A plan that hits a wall or is too fast.
    infeasible,
    /// What a person pulls a plan through.
    guidance,
    /// Noise.
    noise,
    /// The model's quantity, next to the true one.
    model,
    /// The true quantity.
    truth,
}

impl Colors {
    /// The colors of the theme `ctx` shows.
    pub fn of(ctx: &egui::Context) -> Self {
        Self { palette: Palette::of(mode(ctx.theme())) }
    }

    /// The palette behind the colors.
    pub fn palette(&self) -> &'static Palette {
        self.palette
    }

    /// Shade for depth under walls and the ball; fainter on light ground.
    pub fn shade(&self, alpha: f32) -> Color32 {
        let alpha = if self.is_dark() { alpha } else { 0.4 * alpha };
        color(Rgba::hex(0x05070a).with_alpha(alpha))
    }

    /// Text on a deep shade, in either theme.
    pub fn on_shade(&self) -> Color32 {
        Color32::WHITE
    }

    /// A mark on a color map and what sets it off; maps are the same in both
    /// themes.
    pub fn on_map(&self) -> [Color32; 2] {
        [Color32::WHITE, color(Rgba::hex(0x05070a).with_alpha(0.6))]
    }

    /// Whether this is the dark theme.
    pub fn is_dark(&self) -> bool {
        std::ptr::eq(self.palette, Palette::of(Mode::Dark))
    }

    /// The accent as a fill behind text.
    pub fn accent_fill(&self) -> Color32 {
        color(self.palette.panel.mix(self.palette.accent, 0.22))
    }

    /// A token of that kind: s, a, r or R; `None` is a token of the goal.
    pub fn token(&self, kind: Option<TokenKind>) -> Color32 {
        let tones = match kind {
            None => return self.goal(),
            Some(TokenKind::State) => [0x56b4e9, 0x0072b2],
            Some(TokenKind::Action) => [0x2fbf94, 0x009e73],
            Some(TokenKind::Reward) => [0xcc79a7, 0xb65a90],
            Some(TokenKind::Return) => [0xf0e442, 0x8f7a00],
        };
        color(Rgba::hex(tones[usize::from(!self.is_dark())]))
    }

    /// The model with a context of one transition, beside [`Colors::model`].
    pub fn short_memory(&self) -> Color32 {
        color(Rgba::hex(if self.is_dark() { 0x2fbf94 } else { 0x009e73 }))
    }

    /// An ensemble that the model is compared with.
    pub fn ensemble(&self) -> Color32 {
        color(Rgba::hex(if self.is_dark() { 0xe8793f } else { 0xd55e00 }))
    }

    /// A row of a table in a plot.
    pub fn category(&self, index: usize) -> Color32 {
        const TONES: [[u32; 2]; 5] = [
            [0x56b4e9, 0x0072b2],
            [0xe69f00, 0xb87400],
            [0x2fbf94, 0x009e73],
            [0xcc79a7, 0xb65a90],
            [0xe8793f, 0xd55e00],
        ];
        color(Rgba::hex(TONES[index % TONES.len()][usize::from(!self.is_dark())]))
    }

    /// A plot's first and second coordinate.
    pub fn coordinate(&self, index: usize) -> Color32 {
        if index == 0 { self.accent() } else { self.trail() }
    }
}

/// The palette's mode for an egui theme.
pub fn mode(theme: Theme) -> Mode {
    match theme {
        Theme::Dark => Mode::Dark,
        Theme::Light => Mode::Light,
    }
}

/// A palette color as egui paints it.
pub fn color(rgba: Rgba) -> Color32 {
    Color32::from_rgba_unmultiplied(rgba.r, rgba.g, rgba.b, rgba.a)
}

/// The color of a fraction of a plan's duration.
pub fn time(fraction: f32) -> Color32 {
    color(time_color(fraction))
}

/// Give `ctx` the fonts and both themes.
pub fn install(ctx: &egui::Context) {
    ctx.set_fonts(fonts());
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| apply(style, mode(theme)));
    }
}

fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let shipped: [(&str, &'static [u8], FontFamily); 3] = [
        ("Inter", include_bytes!("../../assets/fonts/Inter-Regular.ttf"), FontFamily::Proportional),
        (
            "Inter SemiBold",
            include_bytes!("../../assets/fonts/Inter-SemiBold.ttf"),
            strong_family(),
        ),
        (
            "JetBrains Mono",
            include_bytes!("../../assets/fonts/JetBrainsMono-Regular.ttf"),
            FontFamily::Monospace,
        ),
    ];
    // What our fonts lack, egui's may have.
    let spare = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    for (name, bytes, family) in shipped {
        fonts.font_data.insert(name.to_owned(), Arc::new(FontData::from_static(bytes)));
        let names = fonts.families.entry(family).or_insert_with(|| spare.clone());
        names.insert(0, name.to_owned());
    }
    fonts
}

fn apply(style: &mut Style, mode: Mode) {
    let palette = Palette::of(mode);
    style.text_styles = text_styles();
    style.visuals = visuals(palette, mode);
    style.animation_time = TRANSITION_SECS;
    style.interaction.tooltip_delay = 0.35;
    style.interaction.selectable_labels = false;
    let spacing = &mut style.spacing;
    spacing.item_spacing = vec2(GRID, GRID);
    spacing.button_padding = vec2(10.0, 4.0);
    spacing.interact_size = vec2(40.0, 24.0);
    spacing.window_margin = Margin::same(16);
    spacing.menu_margin = Margin::same(8);
    spacing.menu_spacing = 4.0;
    spacing.slider_rail_height = 4.0;
    spacing.slider_width = 136.0;
    spacing.icon_width = 16.0;
    spacing.tooltip_width = 320.0;
}

fn text_styles() -> BTreeMap<TextStyle, FontId> {
    use FontFamily::{Monospace, Proportional};
    [
        (TextStyle::Small, FontId::new(SMALL, Proportional)),
        (TextStyle::Body, FontId::new(BODY, Proportional)),
        (TextStyle::Button, FontId::new(BODY, Proportional)),
        (TextStyle::Heading, FontId::new(TITLE, strong_family())),
        (TextStyle::Monospace, FontId::new(12.0, Monospace)),
    ]
    .into()
}

fn visuals(palette: &Palette, mode: Mode) -> Visuals {
    let base = match mode {
        Mode::Dark => Visuals::dark(),
        Mode::Light => Visuals::light(),
    };
    let shadow_alpha = if mode == Mode::Dark { 0.5 } else { 0.16 };
    let shadow = Shadow {
        offset: [0, 8],
        blur: 24,
        spread: 0,
        color: color(Rgba::hex(0x000000).with_alpha(shadow_alpha)),
    };
    let mut visuals = Visuals {
        panel_fill: color(palette.panel),
        window_fill: color(palette.panel),
        window_stroke: Stroke::new(1.0, color(palette.line)),
        window_corner_radius: CornerRadius::same(12),
        menu_corner_radius: CornerRadius::same(8),
        window_shadow: shadow,
        popup_shadow: shadow,
        extreme_bg_color: color(palette.background),
        text_edit_bg_color: Some(color(palette.background)),
        faint_bg_color: color(palette.panel.mix(palette.raised, 0.5)),
        code_bg_color: color(palette.raised),
        hyperlink_color: color(palette.accent),
        warn_fg_color: color(palette.warning),
        error_fg_color: color(palette.error),
        weak_text_color: Some(color(palette.muted_ink)),
        slider_trailing_fill: true,
        handle_shape: HANDLE,
        ..base
    };
    visuals.selection.bg_fill = color(palette.panel.mix(palette.accent, 0.32));
    visuals.selection.stroke = Stroke::new(1.0, color(palette.accent));
    visuals.text_cursor.stroke = Stroke::new(2.0, color(palette.accent));
    let widgets = &mut visuals.widgets;
    widgets.noninteractive = widget(palette.panel, palette.ink, palette.line, 1.0);
    widgets.inactive = widget(palette.raised, palette.ink, palette.raised, 0.0);
    let hovered = palette.raised.mix(palette.ink, 0.10);
    widgets.hovered = widget(hovered, palette.ink, hovered, 0.0);
    let pressed = palette.raised.mix(palette.accent, 0.35);
    widgets.active = widget(pressed, palette.ink, palette.accent, 1.0);
    widgets.open = widget(hovered, palette.ink, hovered, 0.0);
    visuals
}

fn widget(fill: Rgba, ink: Rgba, stroke: Rgba, stroke_width: f32) -> WidgetVisuals {
    WidgetVisuals {
        bg_fill: color(fill),
        weak_bg_fill: color(fill),
        bg_stroke: Stroke::new(stroke_width, color(stroke)),
        fg_stroke: Stroke::new(1.0, color(ink)),
        // Beyond 5 egui doubles the corners' triangles, and every widget has some.
        corner_radius: CornerRadius::same(5),
        expansion: 0.0,
    }
}
