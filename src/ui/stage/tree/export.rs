//! The stage as a picture: what the window shows, cut out of it.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use eframe::egui::{ColorImage, Context};

use crate::lab::files::{FileTask, Make};
use crate::ui::app::App;
use crate::ui::layers::Renderer;
use crate::ui::overlays::notices::Notice;

/// A picture that is on its way to a file.
#[derive(Default)]
pub struct Pending {
    path: Option<PathBuf>,
    /// Frames until the window is asked for its picture: what is open now, such
    /// as the dialog that asked for the path, is still in the present one.
    wait: u8,
    /// Where the window's picture arrives.
    shot: Arc<OnceLock<Arc<ColorImage>>>,
}

/// Frames in which a dialog may still be seen.
const CLEAR: u8 = 2;

/// Write the stage as it is now, as pixels.
pub fn png(app: &mut App, path: PathBuf, ctx: &Context) {
    if app.renderer() == Renderer::Shapes || app.tree.frame.is_none() {
        let advice = "A tree leaves as the picture in the window, once there is one.";
        return app.notify(Notice::failed("That was not exported", advice));
    }
    app.tree.export = Pending { path: Some(path), wait: CLEAR, ..Pending::default() };
    ctx.request_repaint();
}

/// Ask for the window's picture when it is clear, and cut the stage out of it
/// when it is there.
pub fn take(app: &mut App, ctx: &Context) {
    if app.tree.export.path.is_none() {
        return;
    }
    if app.tree.export.wait > 0 {
        app.tree.export.wait -= 1;
        if app.tree.export.wait == 0 {
            let (shot, waker) = (app.tree.export.shot.clone(), ctx.clone());
            ctx.request_screenshot(move |image| {
                // There is one picture for each request.
                shot.set(image).ok();
                waker.request_repaint();
            });
        }
        return ctx.request_repaint();
    }
    let shot = app.tree.export.shot.get().cloned();
    let (Some(shot), Some(rect)) = (shot, app.stage.rect()) else { return };
    let Some(path) = app.tree.export.path.take() else { return };
    let pixels_per_point = ctx.pixels_per_point();
    let make: Make = Box::new(move || encode(shot, rect, pixels_per_point));
    app.submit(FileTask::Write { path, make });
}

fn encode(
    shot: Arc<ColorImage>,
    rect: eframe::egui::Rect,
    pixels_per_point: f32,
) -> Result<Vec<u8>, String> {
    let stage = shot.region(&rect, Some(pixels_per_point));
    let [width, height] = stage.size.map(|side| side as u32);
    let bytes: Vec<u8> = stage.pixels.iter().flat_map(|pixel| pixel.to_array()).collect();
    let mut file = std::io::Cursor::new(Vec::new());
    image::write_buffer_with_format(
        &mut file,
        &bytes,
        width,
        height,
        image::ExtendedColorType::Rgba8,
        image::ImageFormat::Png,
    )
    .map_err(|error| error.to_string())?;
    Ok(file.into_inner())
}
