//! Small vector icons and the button that shows one.
//!
//! Painted, not typed: no font has to have them, and they align to the grid.

use eframe::egui;
use eframe::egui::{
    Color32, Painter, Pos2, Rect, Response, Role, Sense, Shape, Stroke, Ui, WidgetInfo,
};
use eframe::egui::{pos2, vec2};

use super::theme::Colors;

/// What a button can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// Start a clock.
    Play,
    /// Stop it.
    Pause,
    /// One step back.
    StepBack,
    /// One step on.
    StepForward,
    /// To the beginning.
    ToStart,
    /// To the end.
    ToEnd,
    /// Start over at the end.
    Loop,
    /// Light colors.
    Sun,
    /// Dark colors.
    Moon,
    /// Move things.
    Move,
    /// Build walls.
    Brush,
    /// Remove walls.
    Eraser,
    /// Go away.
    Close,
    /// Take back.
    Undo,
    /// Do again.
    Redo,
    /// The whole maze.
    Fit,
}

/// Side of an icon button in points.
pub const BUTTON_SIDE: f32 = 28.0;

/// A square button with an icon. `name` is its accessible name and tooltip.
pub fn button(ui: &mut Ui, icon: Icon, name: &str, selected: bool) -> Response {
    let enabled = ui.is_enabled();
    let (rect, response) = ui.allocate_exact_size(vec2(BUTTON_SIDE, BUTTON_SIDE), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, enabled, selected, name));
    if ui.is_rect_visible(rect) {
        let colors = Colors::of(ui.ctx());
        let visuals = ui.style().interact(&response);
        let fill = if selected {
            colors.accent_fill()
        } else if response.hovered() || response.has_focus() {
            visuals.weak_bg_fill
        } else {
            Color32::TRANSPARENT
        };
        let ink = if selected { colors.accent() } else { visuals.text_color() };
        ui.painter().rect_filled(rect, 5.0, fill);
        if response.has_focus() {
            let stroke = Stroke::new(1.0, colors.accent());
            ui.painter().rect_stroke(rect, 5.0, stroke, egui::StrokeKind::Inside);
        }
        paint(ui.painter(), Rect::from_center_size(rect.center(), vec2(16.0, 16.0)), icon, ink);
    }
    response.on_hover_text(name)
}

/// Paint an icon into `rect`.
pub fn paint(painter: &Painter, rect: Rect, icon: Icon, ink: Color32) {
    let pen = Pen { painter, rect, ink };
    match icon {
        Icon::Play => pen.triangle(0.28, 0.84, 0.14, 0.86),
        Icon::Pause => {
            pen.bar(0.26, 0.18);
            pen.bar(0.58, 0.18);
        }
        Icon::StepForward => {
            pen.triangle(0.18, 0.64, 0.20, 0.80);
            pen.bar(0.72, 0.12);
        }
        Icon::StepBack => {
            pen.triangle(0.82, 0.36, 0.20, 0.80);
            pen.bar(0.16, 0.12);
        }
        Icon::ToEnd => {
            pen.triangle(0.06, 0.44, 0.20, 0.80);
            pen.triangle(0.44, 0.82, 0.20, 0.80);
            pen.bar(0.84, 0.10);
        }
        Icon::ToStart => {
            pen.triangle(0.94, 0.56, 0.20, 0.80);
            pen.triangle(0.56, 0.18, 0.20, 0.80);
            pen.bar(0.06, 0.10);
        }
        Icon::Loop => pen.turn(0.0, 290.0),
        Icon::Undo => pen.arrow_back(false),
        Icon::Redo => pen.arrow_back(true),
        Icon::Sun => pen.sun(),
        Icon::Moon => pen.moon(),
        Icon::Move => pen.cross_arrows(),
        Icon::Brush => pen.brush(),
        Icon::Eraser => pen.eraser(),
        Icon::Close => {
            pen.line(&[[0.22, 0.22], [0.78, 0.78]]);
            pen.line(&[[0.78, 0.22], [0.22, 0.78]]);
        }
        Icon::Fit => pen.corners(),
    }
}

struct Pen<'a> {
    painter: &'a Painter,
    rect: Rect,
    ink: Color32,
}

impl Pen<'_> {
    fn at(&self, [x, y]: [f32; 2]) -> Pos2 {
        pos2(
            egui::lerp(self.rect.left()..=self.rect.right(), x),
            egui::lerp(self.rect.top()..=self.rect.bottom(), y),
        )
    }

    fn stroke(&self) -> Stroke {
        Stroke::new(1.6, self.ink)
    }

    fn line(&self, points: &[[f32; 2]]) {
        let points = points.iter().map(|&point| self.at(point)).collect();
        self.painter.add(Shape::line(points, self.stroke()));
    }

    fn polygon(&self, points: &[[f32; 2]]) {
        let points = points.iter().map(|&point| self.at(point)).collect();
        self.painter.add(Shape::convex_polygon(points, self.ink, Stroke::NONE));
    }

    /// A triangle with its base at `base` and its tip at `tip`.
    fn triangle(&self, base: f32, tip: f32, top: f32, bottom: f32) {
        self.polygon(&[[base, top], [tip, 0.5], [base, bottom]]);
    }

    fn bar(&self, left: f32, width: f32) {
        let rect = Rect::from_min_max(self.at([left, 0.18]), self.at([left + width, 0.82]));
        self.painter.rect_filled(rect, 1.0, self.ink);
    }

    fn arc(&self, center: [f32; 2], radius: f32, from: f32, to: f32) -> Vec<[f32; 2]> {
        (0..=20)
            .map(|i| {
                let angle = egui::lerp(from..=to, i as f32 / 20.0).to_radians();
                [center[0] + radius * angle.cos(), center[1] + radius * angle.sin()]
            })
            .collect()
    }

    fn turn(&self, from: f32, to: f32) {
        self.line(&self.arc([0.5, 0.5], 0.34, from, to));
        self.polygon(&[[0.52, 0.02], [0.80, 0.18], [0.54, 0.36]]);
    }

    fn arrow_back(&self, mirrored: bool) {
        let flip = |points: Vec<[f32; 2]>| -> Vec<[f32; 2]> {
            points.into_iter().map(|[x, y]| [if mirrored { 1.0 - x } else { x }, y]).collect()
        };
        let mut hook = vec![[0.16, 0.38], [0.60, 0.38]];
        hook.extend(self.arc([0.60, 0.60], 0.22, -90.0, 90.0));
        hook.push([0.36, 0.82]);
        self.line(&flip(hook));
        self.line(&flip(vec![[0.36, 0.16], [0.14, 0.38], [0.36, 0.60]]));
    }

    fn sun(&self) {
        self.painter.circle_stroke(self.at([0.5, 0.5]), self.rect.width() * 0.19, self.stroke());
        for ray in 0..8 {
            let (sin, cos) = (ray as f32 * std::f32::consts::FRAC_PI_4).sin_cos();
            self.line(&[
                [0.5 + 0.34 * cos, 0.5 + 0.34 * sin],
                [0.5 + 0.46 * cos, 0.5 + 0.46 * sin],
            ]);
        }
    }

    fn moon(&self) {
        // A disk's rim, then back along the rim of the disk that covers it.
        let mut outline = self.arc([0.48, 0.52], 0.40, -60.0, -330.0);
        outline.extend(self.arc([0.753, 0.447], 0.2826, 75.0, 255.0));
        self.line(&outline);
    }

    fn cross_arrows(&self) {
        self.line(&[[0.5, 0.06], [0.5, 0.94]]);
        self.line(&[[0.06, 0.5], [0.94, 0.5]]);
        for (tip, a, b) in [
            ([0.5, 0.04], [0.36, 0.20], [0.64, 0.20]),
            ([0.5, 0.96], [0.36, 0.80], [0.64, 0.80]),
            ([0.04, 0.5], [0.20, 0.36], [0.20, 0.64]),
            ([0.96, 0.5], [0.80, 0.36], [0.80, 0.64]),
        ] {
            self.line(&[a, tip, b]);
        }
    }

    fn brush(&self) {
        self.line(&[[0.90, 0.10], [0.46, 0.54]]);
        self.polygon(&[[0.10, 0.90], [0.20, 0.58], [0.34, 0.50], [0.50, 0.66], [0.42, 0.80]]);
    }

    fn eraser(&self) {
        self.line(&[
            [0.34, 0.84],
            [0.12, 0.62],
            [0.58, 0.14],
            [0.88, 0.44],
            [0.50, 0.84],
            [0.34, 0.84],
        ]);
        self.line(&[[0.34, 0.38], [0.66, 0.68]]);
        self.line(&[[0.34, 0.84], [0.90, 0.84]]);
    }

    fn corners(&self) {
        for (x, y) in [(0.12, 0.12), (0.88, 0.12), (0.12, 0.88), (0.88, 0.88)] {
            let (dx, dy) = (if x < 0.5 { 0.22 } else { -0.22 }, if y < 0.5 { 0.22 } else { -0.22 });
            self.line(&[[x + dx, y], [x, y], [x, y + dy]]);
        }
    }
}
