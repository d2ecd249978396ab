//! What needs a Vulkan driver, real or software. Where there is none, every
//! test here is reported as ignored, with the reason.
//!
//! One process and one thread: Vulkan loaders crash when instances come and go
//! on several. Burn starts threads of its own, so the comparison of our layers
//! with the CPU is a process of its own, which also lets it be stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::future::Future;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use eframe::egui::{self, Color32, Rect, Shape, pos2};
use eframe::egui_wgpu;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use foresight::lab::device::self_test::{CHECKS, agrees, relative_difference};
use foresight::lab::open::{self, OpenedModel};
use foresight::lab::{DeviceChoice, Phase, Scene, device, shipped};
use foresight::plan::occupancy::MapGrid;
use foresight::plan::{DurationSearch, Film, Previous, Sampler};
use foresight::ui::App;
use foresight::ui::layers::software;
use foresight::ui::layers::{
    self, Batch, ColorMap, Field, Ground, Layers, Matrix, Particles, Points, Ribbons, Scale, View,
};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if std::env::var_os(PARITY).is_some() {
        return parity::run();
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let gpu = Gpu::open().map(Arc::new);
    if let (Err(reason), Some(_)) = (&gpu, std::env::var_os("FORESIGHT_REQUIRE_VULKAN")) {
        eprintln!("FORESIGHT_REQUIRE_VULKAN is set, but there is no Vulkan: {reason}");
        return ExitCode::FAILURE;
    }
    let mut trials = Vec::new();
    for (name, test) in TESTS {
        trials.push(match &gpu {
            Ok(gpu) => {
                let gpu = gpu.clone();
                Trial::test(*name, move || test(&gpu))
            }
            Err(reason) => Trial::test(*name, || Ok(())).with_kind(reason).with_ignored_flag(true),
        });
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Test = fn(&Gpu) -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[
    ("ribbons_have_their_width_and_color", ribbons_have_their_width_and_color),
    ("translucent_ribbons_do_not_double_at_joints", translucent_ribbons_do_not_double_at_joints),
    ("separate_lines_are_not_joined", separate_lines_are_not_joined),
    ("particles_are_round_and_soft", particles_are_round_and_soft),
    ("ground_fills_its_triangles", ground_fills_its_triangles),
    ("fields_have_the_colors_of_their_numbers", fields_have_the_colors_of_their_numbers),
    ("maps_have_a_color_for_every_cell", maps_have_a_color_for_every_cell),
    ("maps_of_another_size_take_the_place_of_the_old", maps_of_another_size),
    ("seventeen_maps_draw_fast", seventeen_maps_draw_fast),
    ("points_upload_only_when_they_change", points_upload_only_when_they_change),
    ("software_painting_looks_like_eguis", software_painting_looks_like_eguis),
    ("every_layer_compiles_for_both_kinds_of_surface", every_layer_compiles),
    ("a_gpu_agrees_with_the_cpu_and_takes_over_from_it_when_asked", a_gpu_takes_over),
];

/// Side of the pictures, in pixels.
const SIDE: u32 = 128;
const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Gpu {
    fn open() -> Result<Self, String> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        let instance = wgpu::Instance::new(descriptor);
        let adapter = ready(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
            .map_err(|_| "no Vulkan driver; install mesa-vulkan-drivers".to_owned())?;
        let (device, queue) = ready(adapter.request_device(&wgpu::DeviceDescriptor::default()))
            .map_err(|error| format!("the Vulkan driver gives no device: {error}"))?;
        Ok(Self { device, queue })
    }

    /// Draw batches over black and read the pixels back.
    fn draw(&self, layers: &mut Layers, batches: &[Batch], view: &View) -> Picture {
        for batch in batches {
            layers.upload(&self.device, &self.queue, batch, view);
        }
        self.paint(|_, pass| {
            for batch in batches {
                layers.draw(pass, batch.slot);
            }
        })
    }

    /// Paint over black and read the pixels back.
    fn paint(&self, paint: impl FnOnce(&Self, &mut wgpu::RenderPass<'static>)) -> Picture {
        let size = wgpu::Extent3d { width: SIDE, height: SIDE, depth_or_array_layers: 1 };
        let target = self.device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let view = target.create_view(&Default::default());
        {
            let mut pass = encoder
                .begin_render_pass(&wgpu::RenderPassDescriptor {
                    color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                        view: &view,
                        depth_slice: None,
                        resolve_target: None,
                        ops: wgpu::Operations {
                            load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                            store: wgpu::StoreOp::Store,
                        },
                    })],
                    ..Default::default()
                })
                .forget_lifetime();
            paint(self, &mut pass);
        }
        self.read(&target, encoder, size)
    }

    fn read(
        &self,
        target: &wgpu::Texture,
        mut encoder: wgpu::CommandEncoder,
        size: wgpu::Extent3d,
    ) -> Picture {
        let bytes_per_row = SIDE * 4;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(bytes_per_row * SIDE),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        encoder.copy_texture_to_buffer(
            target.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(bytes_per_row),
                    rows_per_image: Some(SIDE),
                },
            },
            size,
        );
        self.queue.submit([encoder.finish()]);
        buffer.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        Picture(buffer.get_mapped_range(..).unwrap().to_vec())
    }
}

/// wgpu's futures are ready at once on native platforms.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::yield_now();
    }
}

struct Picture(Vec<u8>);

impl Picture {
    fn at(&self, x: u32, y: u32) -> [u8; 4] {
        let at = ((y * SIDE + x) * 4) as usize;
        [self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]]
    }

    /// Sum of the red channel, in units of full pixels.
    fn red(&self) -> f32 {
        self.0.chunks(4).map(|pixel| f32::from(pixel[0]) / 255.0).sum()
    }
}

/// World units are pixels, the origin in the upper left corner.
fn pixels() -> View {
    let side = SIDE as f32;
    View {
        row_x: [2.0 / side, 0.0, -1.0, 0.0],
        row_y: [0.0, -2.0 / side, 1.0, 0.0],
        extent: [side, side, 1.0, 1.0],
    }
}

fn ribbons(build: impl FnOnce(&mut Ribbons)) -> Batch {
    let mut ribbons = Ribbons::default();
    build(&mut ribbons);
    Batch { slot: 1, generation: 1, points: Points::Ribbons(Arc::new(ribbons)) }
}

fn check(condition: bool, message: impl Into<String>) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(message.into().into()) }
}

fn near(value: u8, expected: u8) -> bool {
    value.abs_diff(expected) <= 3
}

fn ribbons_have_their_width_and_color(gpu: &Gpu) -> Result<(), Failed> {
    let mut layers = Layers::new(&gpu.device, FORMAT);
    let blue = [0, 0, 255, 255];
    let red = [255, 0, 0, 255];
    let batch = ribbons(|ribbons| {
        ribbons.line([([16.0, 64.0], red, 8.0), ([112.0, 64.0], blue, 8.0)]);
    });
    let picture = gpu.draw(&mut layers, &[batch], &pixels());
    let first = picture.at(20, 64);
    check(first[0] > 230 && first[2] < 25, format!("it starts red, not {first:?}"))?;
    let last = picture.at(108, 64);
    check(last[2] > 230 && last[0] < 25, format!("it ends blue, not {last:?}"))?;
    check(picture.at(64, 61)[3] == 255, "it is solid within its width")?;
    check(picture.at(64, 70) == [0, 0, 0, 255], "and not drawn beyond")?;
    check(picture.at(8, 64) == [0, 0, 0, 255], "nor before its start")
}

fn translucent_ribbons_do_not_double_at_joints(gpu: &Gpu) -> Result<(), Failed> {
    let mut layers = Layers::new(&gpu.device, FORMAT);
    let half = [255, 255, 255, 128];
    // A bent line, so that no point is dropped as superfluous.
    let batch = ribbons(|ribbons| {
        ribbons.line((0..=10).map(|i| {
            let x = 14.0 + 10.0 * i as f32;
            ([x, 64.0 + (i as f32 - 5.0).powi(2) * 0.4], half, 10.0)
        }));
    });
    let picture = gpu.draw(&mut layers, &[batch], &pixels());
    let brightest = picture.0.chunks(4).map(|pixel| pixel[0]).max().unwrap_or(0);
    check(near(brightest, 128), format!("no pixel is covered twice: {brightest}"))
}

fn separate_lines_are_not_joined(gpu: &Gpu) -> Result<(), Failed> {
    let mut layers = Layers::new(&gpu.device, FORMAT);
    let white = [255; 4];
    let batch = ribbons(|ribbons| {
        ribbons.line([([10.0, 30.0], white, 6.0), ([50.0, 30.0], white, 6.0)]);
        ribbons.line([([70.0, 100.0], white, 6.0), ([120.0, 100.0], white, 6.0)]);
    });
    let picture = gpu.draw(&mut layers, &[batch], &pixels());
    check(picture.at(30, 30)[0] == 255 && picture.at(95, 100)[0] == 255, "both are drawn")?;
    check(picture.at(60, 65)[0] == 0, "nothing lies between them")?;
    let area = picture.red();
    check((area - 90.0 * 6.0).abs() < 30.0, format!("their area is their own: {area}"))
}

fn particles_are_round_and_soft(gpu: &Gpu) -> Result<(), Failed> {
    let mut layers = Layers::new(&gpu.device, FORMAT);
    let mut particles = Particles::default();
    particles.push([64.0, 64.0], [255, 0, 0, 255], 20.0);
    let points = Points::Particles(Arc::new(particles));
    let batch = Batch { slot: 2, generation: 1, points };
    let picture = gpu.draw(&mut layers, &[batch], &pixels());
    let center = picture.at(64, 64)[0];
    check(center > 245, format!("the middle is bright: {center}"))?;
    let middle = picture.at(74, 64)[0];
    check(middle > 90 && middle < 200, format!("it fades on the way out: {middle}"))?;
    check(picture.at(86, 64)[0] == 0, "and is gone at its radius")?;
    let ring = [(73, 63), (54, 63), (63, 73), (63, 54)].map(|(x, y)| picture.at(x, y)[0]);
    let spread = ring.iter().max().unwrap_or(&0) - ring.iter().min().unwrap_or(&0);
    check(spread < 14, format!("it is the same all around: {ring:?}"))
}

fn ground_fills_its_triangles(gpu: &Gpu) -> Result<(), Failed> {
    let mut layers = Layers::new(&gpu.device, FORMAT);
    let side = SIDE as f32;
    let rect = Rect::from_min_max(pos2(32.0, 32.0), pos2(96.0, 96.0));
    let ground = Ground::new(vec![Shape::rect_filled(rect, 0.0, Color32::RED)], 1.0);
    let points = Points::Ground(Arc::new(ground));
    let batch = Batch { slot: 3, generation: 1, points };
    let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(side, side));
    let picture = gpu.draw(&mut layers, &[batch], &layers::screen_view(whole, 1.0));
    check(picture.at(64, 64) == [255, 0, 0, 255], "the inside is filled")?;
    check(picture.at(20, 64)[0] == 0, "the outside is not")?;
    let area = picture.red();
    check((area - 64.0 * 64.0).abs() < 140.0, format!("the area is right: {area}"))
}

fn fields_have_the_colors_of_their_numbers(gpu: &Gpu) -> Result<(), Failed> {
    let side = SIDE as f32;
    let grid = MapGrid { low: [0.0; 2], high: [side; 2], cells: [3, 32] };
    // A ramp along the second coordinate, through zero.
    let number = |y: f32| 2.0 * (y / side) - 1.0;
    let numbers: Vec<f32> = (0..grid.len()).map(|cell| number(grid.center(cell)[1])).collect();
    let mut layers = Layers::new(&gpu.device, FORMAT);
    let mut generation = 0;
    for map in [ColorMap::Density, ColorMap::Value, ColorMap::Difference] {
        for scale in Scale::ALL {
            let field = Field::new(&grid, [false; 2], &numbers, [0.0, 1.0], map, scale);
            generation += 1;
            let batch = Batch { slot: 5, generation, points: Points::Field(Arc::new(field)) };
            let view = layers::field_view(pixels(), map, scale);
            let picture = gpu.draw(&mut layers, &[batch], &view);
            // Beyond the outermost middles the numbers stay the same.
            for y in 4..SIDE - 4 {
                let expected = layers::field_color(map, scale, number(y as f32 + 0.5));
                let over_black = |part: u8| f32::from(part) * f32::from(expected.a) / 255.0;
                let expected = [expected.r, expected.g, expected.b].map(over_black);
                let shown = picture.at(64, y);
                let off = (0..3).map(|i| (f32::from(shown[i]) - expected[i]).abs());
                let off = off.fold(0.0, f32::max);
                check(
                    off < 6.0,
                    format!("{map:?} {scale:?} at {y}: {shown:?} and not {expected:?}"),
                )?;
            }
        }
    }
    Ok(())
}

/// `[n, n]`, rising along the rows below.
fn matrix(n: usize) -> Vec<f32> {
    let weight = |row: usize, column: usize| (1 + row * n + column) as f32 / (n * n) as f32;
    (0..n * n).map(|at| weight(at / n, at % n)).collect()
}

fn map_batch(slot: u64, generation: u64, n: usize, end: f32) -> Batch {
    let map = Matrix::causal(&matrix(n), n, end, usize::MAX);
    Batch { slot, generation, points: Points::Matrix(Arc::new(map)) }
}

/// Cells are `size` pixels.
fn cells(size: f32) -> View {
    let mut view = pixels();
    view.row_x[0] *= size;
    view.row_y[1] *= size;
    view
}

fn maps_have_a_color_for_every_cell(gpu: &Gpu) -> Result<(), Failed> {
    let (n, size, end) = (8, 16, 0.7);
    let mut layers = Layers::new(&gpu.device, FORMAT);
    let batch = map_batch(6, 1, n, end);
    let picture = gpu.draw(&mut layers, &[batch], &cells(size as f32));
    for row in 0..n {
        for column in 0..n {
            // A cell is of one color up to its edges.
            for inside in [1, size / 2, size - 2] {
                let at = |index: usize| (index * size + inside) as u32;
                let shown = picture.at(at(column), at(row));
                if column > row {
                    check(shown == [0, 0, 0, 255], format!("{row}, {column} is later: {shown:?}"))?;
                    continue;
                }
                let share = (matrix(n)[row * n + column] / end).min(1.0);
                let expected = layers::field_color(ColorMap::Density, Scale::SquareRoot, share);
                let off = [expected.r, expected.g, expected.b].into_iter().zip(shown);
                let off = off.map(|(a, b)| a.abs_diff(b)).max().unwrap_or(255);
                check(off < 6, format!("{row}, {column}: {shown:?} and not {expected:?}"))?;
            }
        }
    }
    Ok(())
}

fn maps_of_another_size(gpu: &Gpu) -> Result<(), Failed> {
    let mut layers = Layers::new(&gpu.device, FORMAT);
    for (generation, n) in [(1, 4), (2, 64), (3, 0), (4, 5)] {
        let batch = map_batch(6, generation, n, 1.0);
        let picture = gpu.draw(&mut layers, &[batch], &cells(SIDE as f32 / n.max(1) as f32));
        let has_last = picture.at(SIDE - 1, SIDE - 1) != [0, 0, 0, 255];
        check(has_last == (n > 0), format!("a map of {n} is drawn"))?;
    }
    let mixed = [
        map_batch(6, 5, 4, 1.0),
        ribbons(|ribbons| {
            ribbons.line([([0.0, 2.0], [255; 4], 8.0), ([4.0, 2.0], [255; 4], 8.0)]);
        }),
    ];
    let picture = gpu.draw(&mut layers, &mixed, &cells(32.0));
    check(picture.at(4, 64)[0] > 240, "other layers are drawn beside it")
}

/// A window of attention: sixteen small maps and a large one, of 250 tokens.
fn seventeen_maps_draw_fast(gpu: &Gpu) -> Result<(), Failed> {
    const FRAMES: u32 = 20;
    let mut layers = Layers::new(&gpu.device, FORMAT);
    let maps: Vec<Batch> = (0..17).map(|slot| map_batch(slot, 1, 250, 1.0)).collect();
    let view = cells(SIDE as f32 / 250.0);
    gpu.draw(&mut layers, &maps, &view);
    let started = Instant::now();
    for _ in 0..FRAMES {
        gpu.draw(&mut layers, &maps, &view);
    }
    let each = started.elapsed() / FRAMES;
    println!("{:.2} ms a frame", each.as_secs_f64() * 1e3);
    // Uploaded every time it would be some hundred on a software driver.
    check(each < Duration::from_millis(200), format!("a frame takes {each:?}"))
}

fn points_upload_only_when_they_change(gpu: &Gpu) -> Result<(), Failed> {
    let mut layers = Layers::new(&gpu.device, FORMAT);
    let at = |y: f32, generation| {
        let mut batch = ribbons(|ribbons| {
            ribbons.line([([0.0, y], [255; 4], 8.0), ([128.0, y], [255; 4], 8.0)]);
        });
        batch.generation = generation;
        batch
    };
    gpu.draw(&mut layers, &[at(32.0, 1)], &pixels());
    let same = gpu.draw(&mut layers, &[at(96.0, 1)], &pixels());
    check(same.at(64, 32)[0] == 255, "the same generation is not sent again")?;
    let newer = gpu.draw(&mut layers, &[at(96.0, 2)], &pixels());
    check(newer.at(64, 96)[0] == 255 && newer.at(64, 32)[0] == 0, "a newer one is")
}

fn every_layer_compiles(gpu: &Gpu) -> Result<(), Failed> {
    for format in [FORMAT, wgpu::TextureFormat::Bgra8UnormSrgb] {
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        Layers::new(&gpu.device, format);
        let error = ready(scope.pop());
        check(error.is_none(), format!("{format:?}: {error:?}"))?;
    }
    Ok(())
}

/// A window of everything our panels use: text, fields, sliders, curves.
fn widgets(ctx: &egui::Context) -> egui::FullOutput {
    foresight::ui::theme::install(ctx);
    ctx.tessellation_options_mut(|options| options.prerasterized_discs = false);
    let side = SIDE as f32;
    let screen = Rect::from_min_max(pos2(0.0, 0.0), pos2(side, side));
    let input = egui::RawInput { screen_rect: Some(screen), ..Default::default() };
    ctx.run_ui(input, |ui| {
        let (mut speed, mut chosen) = (1.5, true);
        ui.label("Denoise 0.42");
        ui.small("plan 38 ms");
        ui.add(egui::Slider::new(&mut speed, 0.0..=2.0).show_value(false));
        ui.checkbox(&mut chosen, "loop");
        let _ = ui.button("new");
        ui.painter().circle_filled(pos2(100.0, 100.0), 12.0, Color32::GOLD);
    })
}

fn software_painting_looks_like_eguis(gpu: &Gpu) -> Result<(), Failed> {
    let ctx = egui::Context::default();
    let mut output = widgets(&ctx);
    let changes = software::texture_changes(&output);
    output.textures_delta.clear();
    let primitives = ctx.tessellate(output.shapes, 1.0);
    let ours = gpu.paint(|gpu, pass| {
        let mut painter = software::Painter::new(&gpu.device, FORMAT);
        let layers = Layers::new(&gpu.device, FORMAT);
        let changes = changes.clone();
        painter.upload(&gpu.device, &gpu.queue, changes, &primitives, [SIDE as f32; 2]);
        let info = egui::PaintCallbackInfo {
            viewport: Rect::EVERYTHING,
            clip_rect: Rect::EVERYTHING,
            pixels_per_point: 1.0,
            screen_size_px: [SIDE; 2],
        };
        painter.paint(pass, &layers, &primitives, &info);
    });
    let theirs = gpu.paint(|gpu, pass| {
        let options = egui_wgpu::RendererOptions { dithering: false, ..Default::default() };
        let mut renderer = egui_wgpu::Renderer::new(&gpu.device, FORMAT, options);
        for (id, delta) in &changes {
            renderer.update_texture(&gpu.device, &gpu.queue, *id, delta);
        }
        let screen =
            egui_wgpu::ScreenDescriptor { size_in_pixels: [SIDE; 2], pixels_per_point: 1.0 };
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        renderer.update_buffers(&gpu.device, &gpu.queue, &mut encoder, &primitives, &screen);
        renderer.render(pass, &primitives, &screen);
    });
    check(theirs.0.iter().any(|&byte| byte > 200), "something is drawn")?;
    let worst = ours.0.iter().zip(&theirs.0).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    check(worst <= 2, format!("no pixel differs by more than rounding, but one by {worst}"))
}

/// Set for the process that computes on burn's wgpu device.
const PARITY: &str = "FORESIGHT_PARITY";
/// A software driver compiles some hundred kernels, two minutes on two quiet
/// cores. One that hangs must not hold up the tests for ever.
const PARITY_SECS: u64 = 600;

fn a_gpu_takes_over(_: &Gpu) -> Result<(), Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(PARITY, "1")
        // Timing every kernel is not what is tested.
        .env("CUBECL_AUTOTUNE_LEVEL", "minimal")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(PARITY_SECS);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let mut said = String::new();
    if let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) {
        out.read_to_string(&mut said)?;
        err.read_to_string(&mut said)?;
    }
    print!("{said}");
    let ended = status.map_or_else(|| format!("not done in {PARITY_SECS} s"), |s| s.to_string());
    check(status.is_some_and(|status| status.success()), format!("{ended}: {said}"))
}

/// Everything that the self-test compares on burn's wgpu device, and the window
/// that prepares it. One process for both: what is compiled for one is there
/// for the other.
mod parity {
    use super::*;

    pub fn run() -> ExitCode {
        let started = Instant::now();
        let kept = tempfile::tempdir().unwrap();
        assert!(device::caches::keep_measurements_in(kept.path()), "something computed before");
        let chosen = match device::choose(DeviceChoice::Gpu) {
            Ok(chosen) => chosen,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        println!("{} after {:.1} s", chosen.name, started.elapsed().as_secs_f32());
        let mut all_agree = true;
        for check in CHECKS {
            let started = Instant::now();
            let difference = check.difference(&chosen.device);
            let secs = started.elapsed().as_secs_f32();
            println!("{}: {difference:.1e}, {secs:.1} s", check.name);
            all_agree &= agrees(difference);
        }
        let started = Instant::now();
        every_sampler_takes_the_cpus_way(&chosen.device);
        println!("samplers: {:.1} s", started.elapsed().as_secs_f32());
        let started = Instant::now();
        a_person_chooses_the_gpu_cancels_and_chooses_it_again();
        println!("the window: {:.1} s", started.elapsed().as_secs_f32());
        let bytes: u64 = std::fs::read_dir(kept.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        println!("kept: {bytes} bytes");
        assert!(bytes > 0, "nothing that was measured is kept");
        if all_agree { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    use super::common::wait;

    type Window = Harness<'static, App>;

    fn choose(window: &mut Window, device: &str) {
        // A list that is open already would close.
        if window.query_by_label(device).is_none() {
            window.get_by_label("Device").click_accesskit();
            window.step();
            window.step();
        }
        window.get_by_label(device).click_accesskit();
        window.step();
        window.step();
    }

    fn press(window: &mut Window, label: &str) {
        window.get_by_label(label).click_accesskit();
        window.step();
        window.step();
    }

    fn film(app: &App) -> Arc<Film> {
        app.live.complete().unwrap().clone()
    }

    /// A small network with random weights, and few plans.
    fn small_scene() -> Scene {
        let mut scene = Scene::parse(shipped::find("maze2d-umaze-diffuser").unwrap().text).unwrap();
        scene.model.set_weights(None);
        scene.model.diffuser_mut().unwrap().waypoints = Some(16);
        scene.model.diffuser_mut().unwrap().multipliers = Some(vec![1, 2]);
        scene.model.diffuser_mut().unwrap().diffusion_steps = Some(16);
        scene.plan.search = DurationSearch::Grid;
        scene.plan.durations = 8;
        scene.plan.candidates_per_duration = 2;
        scene.plan.denoising_steps = 3;
        scene
    }

    /// Whole chains, which stay on the device from noise to the end, with
    /// earlier plans that join on the way.
    fn every_sampler_takes_the_cpus_way(gpu: &Device) {
        let scene = small_scene();
        let opened = [&Device::flex(), gpu].map(|device| open::open(&scene, None, device).unwrap());
        let planners = opened.each_ref().map(|opened| match &opened.model {
            OpenedModel::Diffuser(planner) => planner,
            _ => panic!("a Diffuser"),
        });
        let spec = opened[0].environment.spec();
        for sampler in [Sampler::Ddim, Sampler::DpmSolver, Sampler::Ddpm] {
            let mut request = open::stage_request(&scene, spec);
            request.settings.sampler = sampler;
            let mut on_step = |_: &Film| ControlFlow::Continue(());
            let cold = Arc::new(request.clone());
            let first = planners[0].plan(0, Arc::clone(&cold), &mut on_step).unwrap().unwrap();
            request.previous = Previous::of_film(&first, 0.0).map(Arc::new);
            request.settings.warm_steps = 2;
            for request in [cold, Arc::new(request)] {
                let films = planners.map(|planner| {
                    planner.plan(0, Arc::clone(&request), &mut on_step).unwrap().unwrap()
                });
                assert_eq!(films[0].steps.len(), films[1].steps.len());
                for (here, there) in films[0].steps.iter().zip(&films[1].steps) {
                    assert_eq!(here.diffusion_time, there.diffusion_time);
                    let noisy = relative_difference(&here.noisy, &there.noisy);
                    let clean = relative_difference(&here.clean, &there.clean);
                    let worst = noisy.max(clean);
                    assert!(worst < 0.02, "{sampler:?} at {}: {worst}", here.diffusion_time);
                }
            }
        }
    }

    fn a_person_chooses_the_gpu_cancels_and_chooses_it_again() {
        let scene = small_scene();
        let mut window = common::open(common::options(scene), 900.0, |_| {});
        wait(&mut window, "the first plan", |app| app.live.rollout().is_some());

        choose(&mut window, "GPU");
        wait(&mut window, "the notice", |app| app.session.status().preparing.is_some());
        assert!(window.query_by_label_contains("Preparing the GPU").is_some());
        // The CPU plans meanwhile.
        assert!(window.state().session.status().device.starts_with("CPU"));
        let before = film(window.state()).id;
        press(&mut window, "new");
        wait(&mut window, "a plan meanwhile", |app| film(app).id > before);

        press(&mut window, "Cancel");
        let status = window.state().session.status();
        assert!(status.preparing.is_none() && status.device.starts_with("CPU"));
        assert_eq!(window.state().device, DeviceChoice::Cpu);
        assert!(status.problems.is_empty(), "{:?}", status.problems);

        wait(&mut window, "rest", |app| app.session.status().phase == Phase::Ready);
        let known = film(window.state());
        let seed = window.state().session.scene().stage.seed;
        choose(&mut window, "GPU");
        wait(&mut window, "the GPU", |app| {
            assert!(app.session.status().problems.is_empty(), "{:?}", app.session.status());
            app.session.status().device.starts_with("GPU")
        });
        assert!(window.state().session.status().preparing.is_none());
        // Nothing that was on the stage is lost, and nothing was planned again.
        assert!(Arc::ptr_eq(&known, &film(window.state())));
        assert_eq!(window.state().session.scene().stage.seed, seed);

        // The same request gives the same plans there.
        press(&mut window, "same");
        wait(&mut window, "a plan by the GPU", |app| film(app).id > known.id);
        let found = film(window.state());
        assert_eq!(found.durations, known.durations);
        for (there, here) in found.steps.iter().zip(&known.steps) {
            let difference = relative_difference(&here.clean, &there.clean);
            assert!(difference < 0.02, "at {}: {difference}", here.diffusion_time);
        }
        choose(&mut window, "CPU");
        wait(&mut window, "the CPU", |app| app.session.status().device.starts_with("CPU"));
    }
}
