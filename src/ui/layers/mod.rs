//! GPU layers: what the stage draws too much of for shapes.
//!
//! A layer is one file that says how its points lie in memory, one WGSL file
//! in `shaders/`, and one row in [`ALL`]; this file turns rows into pipelines
//! and batches of points into draws. Where there is no GPU state (tests), the
//! same batches become egui shapes in [`fallback`].

mod attention;
mod device;
pub mod fallback;
mod field;
mod ground;
mod particles;
pub mod software;
mod trajectories;

use eframe::egui;
use std::collections::HashMap;
use std::sync::Arc;

use eframe::egui_wgpu::{self, wgpu};

pub use attention::{Matrix, MatrixCorners};
use device::{PipelineConfig, buffer, image, pipeline};
pub use field::{ColorMap, Field, FieldCell, Scale, color as field_color, view as field_view};
pub use ground::{Ground, GroundVertex, screen_view};
pub use particles::{Particle, Particles};
pub use trajectories::{RibbonPoint, Ribbons};

/// A row of the layer table.
pub struct Layer {
    /// Key, and the name of the shader file.
    pub id: &'static str,
    /// One sentence on what it draws.
    pub help: &'static str,
    /// The shader, in parts: entry points `vs_main`, `fs_gamma` and `fs_linear`,
    /// and the view's uniform buffer at group 0, binding 0.
    pub shader: &'static [&'static str],
    /// Bytes between points.
    stride: usize,
    geometry: Geometry,
}

/// What becomes of a layer's points.
enum Geometry {
    /// A strip of `corners` corners each. The point buffer is bound once for
    /// each list of attributes; binding `k` starts `k` points further on.
    Strips { corners: u32, taps: &'static [&'static [wgpu::VertexAttribute]] },
    /// Corners of indexed triangles.
    Triangles(&'static [wgpu::VertexAttribute]),
    /// A strip of four corners each, over an image of numbers at binding 1.
    Image(&'static [wgpu::VertexAttribute]),
}

impl Geometry {
    fn taps(&self) -> usize {
        match self {
            Self::Strips { taps, .. } => taps.len(),
            Self::Triangles(_) | Self::Image(_) => 1,
        }
    }

    fn buffers(&self, stride: usize) -> Vec<Option<wgpu::VertexBufferLayout<'static>>> {
        let layout = |step_mode, attributes| {
            Some(wgpu::VertexBufferLayout { array_stride: stride as u64, step_mode, attributes })
        };
        match self {
            Self::Strips { taps, .. } => taps
                .iter()
                .map(|&attributes| layout(wgpu::VertexStepMode::Instance, attributes))
                .collect(),
            Self::Triangles(attributes) => {
                vec![layout(wgpu::VertexStepMode::Vertex, attributes)]
            }
            Self::Image(attributes) => vec![layout(wgpu::VertexStepMode::Instance, attributes)],
        }
    }

    fn topology(&self) -> wgpu::PrimitiveTopology {
        match self {
            Self::Strips { .. } | Self::Image(_) => wgpu::PrimitiveTopology::TriangleStrip,
            Self::Triangles(_) => wgpu::PrimitiveTopology::TriangleList,
        }
    }
}

/// Every layer there is.
pub const ALL: &[Layer] =
    &[trajectories::LAYER, particles::LAYER, ground::LAYER, field::LAYER, attention::LAYER];

/// Slots that one stage and its panels may use.
const SLOTS_A_SIDE: u64 = 1_000_000;

/// Points of one layer, shared with the renderer.
#[derive(Clone)]
pub enum Points {
    /// Polylines.
    Ribbons(Arc<Ribbons>),
    /// Soft round points.
    Particles(Arc<Particles>),
    /// Plain triangles.
    Ground(Arc<Ground>),
    /// Numbers on a grid.
    Field(Arc<Field>),
    /// A matrix of weights.
    Matrix(Arc<Matrix>),
}

impl Points {
    fn layer(&self) -> usize {
        match self {
            Self::Ribbons(_) => 0,
            Self::Particles(_) => 1,
            Self::Ground(_) => 2,
            Self::Field(_) => 3,
            Self::Matrix(_) => 4,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Ribbons(ribbons) => bytemuck::cast_slice(ribbons.points()),
            Self::Particles(particles) => bytemuck::cast_slice(particles.points()),
            Self::Ground(ground) => bytemuck::cast_slice(ground.vertices()),
            Self::Field(field) => bytemuck::cast_slice(field.cells()),
            Self::Matrix(matrix) => bytemuck::cast_slice(matrix.points()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Ribbons(ribbons) => ribbons.points().len(),
            Self::Particles(particles) => particles.points().len(),
            Self::Ground(ground) => ground.vertices().len(),
            Self::Field(field) => field.cells().len(),
            Self::Matrix(matrix) => matrix.points().len(),
        }
    }

    fn indices(&self) -> &[u32] {
        match self {
            Self::Ground(ground) => ground.indices(),
            Self::Ribbons(_) | Self::Particles(_) | Self::Field(_) | Self::Matrix(_) => &[],
        }
    }

    /// Cells a side and numbers of the image the layer reads, if it does.
    fn image(&self) -> Option<(usize, &[f32])> {
        match self {
            Self::Matrix(matrix) => Some((matrix.side(), matrix.shares())),
            Self::Ribbons(_) | Self::Particles(_) | Self::Ground(_) | Self::Field(_) => None,
        }
    }
}

/// Points with the name of the buffer they live in and the version of its
/// content: the upload happens when the version changes.
#[derive(Clone)]
pub struct Batch {
    /// Which buffer. One draw a frame for each.
    pub slot: u64,
    /// Changes whenever `points` do.
    pub generation: u64,
    /// What to draw.
    pub points: Points,
}

/// From world to the clip space of the viewport, and its size.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct View {
    /// `clip.x = row_x[0] * x + row_x[1] * y + row_x[2]`; the fourth is the color
    /// map of [`field_view`].
    pub row_x: [f32; 4],
    /// The same for `clip.y`, which points up; the fourth is the scale.
    pub row_y: [f32; 4],
    /// Viewport width and height in pixels, pixels per point, opacity.
    pub extent: [f32; 4],
}

struct Slot {
    generation: u64,
    layer: usize,
    n_points: usize,
    n_indices: usize,
    buffer: wgpu::Buffer,
    indices: wgpu::Buffer,
    view: wgpu::Buffer,
    image: Option<wgpu::Texture>,
    bind_group: wgpu::BindGroup,
}

impl Slot {
    /// Whether a batch needs nothing new but its content.
    fn fits(&self, points: &Points) -> bool {
        let side = |image: &wgpu::Texture| image.width() as usize;
        self.layer == points.layer()
            && self.buffer.size() >= points.bytes().len() as u64
            && self.indices.size() >= size_of_val(points.indices()) as u64
            && self.image.as_ref().map(side) == points.image().map(|(side, _)| side.max(1))
    }
}

/// Pipelines and buffers of all layers on one device.
pub struct Layers {
    pipelines: Vec<wgpu::RenderPipeline>,
    view_layout: wgpu::BindGroupLayout,
    /// For layers that also read an image.
    image_layout: wgpu::BindGroupLayout,
    slots: HashMap<u64, Slot>,
}

impl Layers {
    /// Compile every layer for surfaces of `format`.
    pub fn new(device: &wgpu::Device, format: wgpu::TextureFormat) -> Self {
        let [view_layout, image_layout] = device::layouts(device, size_of::<View>() as u64);
        let pipelines = ALL
            .iter()
            .map(|layer| {
                let config = PipelineConfig {
                    label: layer.id,
                    shader: layer.shader,
                    layout: match layer.geometry {
                        Geometry::Image(_) => &image_layout,
                        Geometry::Strips { .. } | Geometry::Triangles(_) => &view_layout,
                    },
                    buffers: &layer.geometry.buffers(layer.stride),
                    topology: layer.geometry.topology(),
                };
                pipeline(device, format, &config)
            })
            .collect();
        Self { pipelines, view_layout, image_layout, slots: HashMap::new() }
    }

    /// Bring a batch and its view to the device; points only if they changed.
    pub fn upload(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        batch: &Batch,
        view: &View,
    ) {
        let bytes = batch.points.bytes();
        let indices: &[u8] = bytemuck::cast_slice(batch.points.indices());
        let fits = self.slots.get(&batch.slot).is_some_and(|slot| slot.fits(&batch.points));
        if !fits {
            let slot = self.make_slot(device, batch);
            self.slots.insert(batch.slot, slot);
        }
        let Some(slot) = self.slots.get_mut(&batch.slot) else { return };
        if !fits || slot.generation != batch.generation {
            slot.generation = batch.generation;
            slot.n_points = batch.points.len();
            slot.n_indices = batch.points.indices().len();
            queue.write_buffer(&slot.buffer, 0, bytes);
            queue.write_buffer(&slot.indices, 0, indices);
            if let (Some(image), Some((side, numbers))) = (&slot.image, batch.points.image()) {
                device::write_image(queue, image, side, numbers);
            }
        }
        queue.write_buffer(&slot.view, 0, bytemuck::bytes_of(view));
    }

    /// Draw a slot that [`Layers::upload`] filled.
    pub fn draw(&self, pass: &mut wgpu::RenderPass<'_>, slot: u64) {
        let Some(slot) = self.slots.get(&slot) else { return };
        let (Some(layer), Some(pipeline)) = (ALL.get(slot.layer), self.pipelines.get(slot.layer))
        else {
            return;
        };
        let taps = layer.geometry.taps();
        let strips = (slot.n_points + 1).saturating_sub(taps);
        if slot.n_points == 0 || strips == 0 {
            return;
        }
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &slot.bind_group, &[]);
        for tap in 0..taps {
            let offset = (tap * layer.stride) as u64;
            pass.set_vertex_buffer(tap as u32, slot.buffer.slice(offset..));
        }
        match layer.geometry {
            Geometry::Strips { corners, .. } => pass.draw(0..corners, 0..strips as u32),
            Geometry::Image(_) => pass.draw(0..4, 0..strips as u32),
            Geometry::Triangles(_) => {
                pass.set_index_buffer(slot.indices.slice(..), wgpu::IndexFormat::Uint32);
                pass.draw_indexed(0..slot.n_indices as u32, 0, 0..1);
            }
        }
    }

    fn make_slot(&self, device: &wgpu::Device, batch: &Batch) -> Slot {
        let make = |label, bytes: usize, usage| {
            // Room to grow: a chain's batches differ little in size.
            buffer(device, label, bytes.next_power_of_two().max(256), usage)
        };
        let n_bytes = batch.points.bytes().len();
        let points = make("layer points", n_bytes, wgpu::BufferUsages::VERTEX);
        let n_bytes = size_of_val(batch.points.indices());
        let indices = make("layer indices", n_bytes, wgpu::BufferUsages::INDEX);
        let view = make("layer view", size_of::<View>(), wgpu::BufferUsages::UNIFORM);
        let image = batch.points.image().map(|(side, _)| image(device, "layer image", side));
        let layout = if image.is_some() { &self.image_layout } else { &self.view_layout };
        let bind_group = device::bind(device, layout, &view, image.as_ref());
        Slot {
            generation: 0,
            layer: batch.points.layer(),
            n_points: 0,
            n_indices: 0,
            buffer: points,
            indices,
            view,
            image,
            bind_group,
        }
    }
}

/// What paints the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renderer {
    /// egui alone, from shapes; layers become shapes too.
    Shapes,
    /// A graphics card.
    Card {
        /// Which of two stages it draws for.
        side: u8,
    },
    /// A processor that stands in for one.
    Software {
        /// Which of two stages it draws for.
        side: u8,
    },
}

impl Renderer {
    /// The same renderer with buffers of its own: two stages draw in one frame.
    #[must_use]
    pub fn on_side(self, side: u8) -> Self {
        match self {
            Self::Shapes => Self::Shapes,
            Self::Card { .. } => Self::Card { side },
            Self::Software { .. } => Self::Software { side },
        }
    }
}

/// Compile the layers into egui's renderer, and say which one there is.
pub fn install(cc: &eframe::CreationContext<'_>) -> Renderer {
    let Some(state) = &cc.wgpu_render_state else { return Renderer::Shapes };
    let layers = Layers::new(&state.device, state.target_format);
    state.renderer.write().callback_resources.insert(layers);
    if state.adapter.get_info().device_type == wgpu::DeviceType::Cpu {
        software::install(&cc.egui_ctx, state);
        Renderer::Software { side: 0 }
    } else {
        Renderer::Card { side: 0 }
    }
}

/// Draws one batch when egui paints.
struct Draw {
    batch: Batch,
    view: View,
}

impl egui_wgpu::CallbackTrait for Draw {
    fn prepare(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        _screen: &egui_wgpu::ScreenDescriptor,
        _encoder: &mut wgpu::CommandEncoder,
        resources: &mut egui_wgpu::CallbackResources,
    ) -> Vec<wgpu::CommandBuffer> {
        if let Some(layers) = resources.get_mut::<Layers>() {
            layers.upload(device, queue, &self.batch, &self.view);
        }
        Vec::new()
    }

    fn paint(
        &self,
        _info: egui::PaintCallbackInfo,
        pass: &mut wgpu::RenderPass<'static>,
        resources: &egui_wgpu::CallbackResources,
    ) {
        if let Some(layers) = resources.get::<Layers>() {
            layers.draw(pass, self.batch.slot);
        }
    }
}

/// A shape that draws `batch` over `rect`, which is what `view` maps to.
pub fn callback(rect: egui::Rect, mut batch: Batch, view: View, renderer: Renderer) -> egui::Shape {
    if let Renderer::Card { side } | Renderer::Software { side } = renderer {
        batch.slot += u64::from(side) * SLOTS_A_SIDE;
    }
    let draw = Draw { batch, view };
    match renderer {
        Renderer::Software { .. } => egui::PaintCallback { rect, callback: Arc::new(draw) }.into(),
        _ => egui_wgpu::Callback::new_paint_callback(rect, draw).into(),
    }
}
