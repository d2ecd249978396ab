//! Asking for a path: the system's dialog opens if there is one, and a path can
//! always be typed.

use eframe::egui;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use eframe::egui::{Context, Key, TextEdit, Ui, vec2};

use super::{Outcome, dialog, title};
use crate::lab::files::{FileTask, Pick};
use crate::ui::transport::Clock;

/// What the path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Open a scene.
    OpenScene,
    /// Write the scene.
    SaveScene,
    /// Write a picture of the stage in pixels.
    Png,
    /// Write a picture of the stage in shapes.
    Svg,
    /// Write the chosen plan as a table.
    Csv,
    /// Write a film of one clock.
    Gif(Clock),
}

impl Purpose {
    fn title(self) -> &'static str {
        match self {
            Self::OpenScene => "Open scene",
            Self::SaveScene => "Save scene",
            Self::Png => "Export picture",
            Self::Svg => "Export drawing",
            Self::Csv => "Export numbers",
            Self::Gif(Clock::Denoising) => "Export steps",
            Self::Gif(Clock::Environment | Clock::Training) => "Export the way",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::OpenScene => "Open",
            Self::SaveScene => "Save",
            Self::Png | Self::Svg | Self::Csv | Self::Gif(_) => "Export",
        }
    }

    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenScene | Self::SaveScene => ("Scenes", "toml"),
            Self::Png => ("Pictures", "png"),
            Self::Svg => ("Drawings", "svg"),
            Self::Csv => ("Tables", "csv"),
            Self::Gif(_) => ("Animations", "gif"),
        }
    }

    /// The ending its files have, without the dot.
    pub fn extension(self) -> &'static str {
        self.file().1
    }

    /// What a file at `path` is for: an export takes the form its ending names,
    /// or the one asked for if it has none. `None` for an ending that no export
    /// writes. `clock` is the one a film is made of if none was asked for.
    pub fn of(self, path: &Path, clock: Clock) -> Option<Self> {
        let gif = if let Self::Gif(_) = self { self } else { Self::Gif(clock) };
        let Some(ending) = path.extension() else { return Some(self) };
        match self {
            Self::OpenScene | Self::SaveScene => Some(self),
            Self::Png | Self::Svg | Self::Csv | Self::Gif(_) => {
                [Self::Png, Self::Svg, Self::Csv, gif]
                    .into_iter()
                    .find(|form| ending.eq_ignore_ascii_case(form.extension()))
            }
        }
    }
}

/// The dialog.
#[derive(Clone)]
pub struct PathDialog {
    purpose: Purpose,
    text: String,
    suggestion: String,
    token: u64,
    is_new: bool,
    /// The system's dialog was asked for and could not open.
    is_alone: bool,
}

static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);

impl PathDialog {
    /// Ask for a path for `purpose`; `name` is the scene's.
    pub fn new(purpose: Purpose, name: &str) -> Self {
        let extension = purpose.extension();
        let stem = name.trim_end_matches(".toml");
        let kind = match purpose {
            Purpose::Gif(Clock::Denoising) => "-steps",
            Purpose::Gif(Clock::Environment | Clock::Training) => "-way",
            _ => "",
        };
        let suggestion = format!("{stem}{kind}.{extension}");
        let text = if purpose == Purpose::OpenScene { String::new() } else { suggestion.clone() };
        let token = NEXT_TOKEN.fetch_add(1, Ordering::Relaxed);
        Self { purpose, text, suggestion, token, is_new: true, is_alone: false }
    }

    /// Tells this dialog's answers from an older one's.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// What the path is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The question for the system's dialog.
    pub fn pick(&self) -> Pick {
        let (filter, extension) = self.purpose.file();
        Pick {
            token: self.token,
            save: self.purpose != Purpose::OpenScene,
            title: self.purpose.title(),
            filter,
            extension,
            file_name: self.suggestion.clone(),
        }
    }

    /// The system's dialog closed without an answer.
    pub fn browse_ended(&mut self) {
        self.is_new = true;
    }

    /// The system has no dialog; the field remains.
    pub fn browse_failed(&mut self) {
        self.is_new = true;
        self.is_alone = true;
    }

    /// What to do here.
    fn hint(&self, is_picking: bool) -> &'static str {
        if is_picking {
            "Choose in the system's file dialog, or type a path here."
        } else if self.is_alone {
            "The system offers no file dialog here; type a path. The home folder is ~."
        } else {
            "Type a path; the home folder is ~."
        }
    }

    /// Show it.
    pub fn show(&mut self, ctx: &Context, is_picking: bool) -> Outcome {
        dialog(ctx, "path", 480.0, |ui| {
            title(ui, self.purpose.title());
            ui.weak(self.hint(is_picking));
            let enter = self.field(ui);
            ui.add_space(8.0);
            self.buttons(ui, is_picking, enter)
        })
    }

    fn field(&mut self, ui: &mut Ui) -> bool {
        let field = TextEdit::singleline(&mut self.text)
            .hint_text("Path")
            .desired_width(f32::INFINITY)
            .margin(vec2(10.0, 8.0));
        let response = ui.add(field);
        if std::mem::take(&mut self.is_new) {
            response.request_focus();
        }
        response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter))
    }

    fn buttons(&mut self, ui: &mut Ui, is_picking: bool, enter: bool) -> Outcome {
        let path = expand(self.text.trim());
        let mut outcome = Outcome::Stay;
        ui.horizontal(|ui| {
            let action = egui::Button::new(self.purpose.action());
            let go = ui.add_enabled(path.is_some(), action).clicked() || enter;
            if let Some(path) = path.filter(|_| go) {
                let purpose = self.purpose;
                outcome = Outcome::Then(Box::new(move |app, ctx| app.use_path(purpose, path, ctx)));
            }
            if ui.button("Cancel").clicked() {
                outcome = Outcome::Close;
            }
            if ui.add_enabled(!is_picking, egui::Button::new("Browse…")).clicked() {
                let dialog = self.clone();
                outcome = Outcome::Then(Box::new(move |app, _| {
                    app.submit(FileTask::Pick(dialog.pick()));
                    app.overlay = Some(super::Overlay::Path(dialog));
                }));
            }
        });
        outcome
    }
}

/// A typed path, with `~` for the home folder; `None` if nothing was typed.
fn expand(text: &str) -> Option<PathBuf> {
    if text.is_empty() {
        return None;
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => Some(home.join(rest)),
        _ => Some(PathBuf::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_say_what_the_file_is() {
        let dialog = PathDialog::new(Purpose::Gif(Clock::Denoising), "maze.toml");
        assert_eq!(dialog.pick().file_name, "maze-steps.gif");
        let open = PathDialog::new(Purpose::OpenScene, "maze");
        assert!(!open.pick().save && open.text.is_empty());
        assert_ne!(dialog.token(), open.token());
    }

    #[test]
    fn an_exports_ending_decides_its_form() {
        let of = |purpose: Purpose, path: &str| purpose.of(Path::new(path), Clock::Environment);
        assert_eq!(of(Purpose::Png, "plan"), Some(Purpose::Png));
        assert_eq!(of(Purpose::Png, "a/plan.SVG"), Some(Purpose::Svg));
        assert_eq!(of(Purpose::Svg, "plan.csv"), Some(Purpose::Csv));
        let chain = Purpose::Gif(Clock::Denoising);
        assert_eq!(of(chain, "plan.gif"), Some(chain));
        assert_eq!(of(Purpose::Csv, "plan.gif"), Some(Purpose::Gif(Clock::Environment)));
        assert_eq!(of(Purpose::Png, "plan.jpg"), None);
        assert_eq!(of(Purpose::SaveScene, "scene.txt"), Some(Purpose::SaveScene));
    }

    #[test]
    fn nothing_typed_is_no_path() {
        assert_eq!(expand(""), None);
        assert_eq!(expand("a/b"), Some(PathBuf::from("a/b")));
    }
}
