//! A lighter way to paint egui on software renderers.
//!
//! egui's fragment shader carries a second way of sampling, for its picture
//! tests. A graphics card skips it; a software renderer evaluates both sides of
//! a branch for every pixel, and then a window of text and sliders costs more
//! than planning. So where the adapter is a processor, a plugin takes a frame's
//! shapes, and one paint callback draws them with `shaders/widgets.wgsl`.
//! On graphics cards none of this is installed.

use std::sync::Arc;

use eframe::egui::epaint::{
    ClippedPrimitive, ClippedShape, ImageDelta, Primitive, Vertex, ViewportInPixels,
};
use eframe::egui::mutex::Mutex;
use eframe::egui::{Context, FullOutput, PaintCallbackInfo, Plugin, Rect, TextureId, pos2, vec2};
use eframe::egui_wgpu::{self, wgpu};

use super::device::{PipelineConfig, SURFACE, buffer, entry, grow, pipeline, uniform};
use super::{Draw, Layers};

/// What the painter's objects are called in error messages.
const LABEL: &str = "widgets";
/// Width and height in points, and padding.
const SCREEN_BYTES: u64 = 16;

/// Texture changes that have not reached the device. A pass may be run twice,
/// and then the first one's shapes are dropped but its glyphs are not.
type Pending = Arc<Mutex<Vec<(TextureId, ImageDelta)>>>;

/// Takes over painting.
struct Takeover {
    pending: Pending,
}

impl Plugin for Takeover {
    fn debug_name(&self) -> &'static str {
        "software painter"
    }

    fn output_hook(&mut self, ctx: &Context, output: &mut FullOutput) {
        self.pending.lock().extend(texture_changes(output));
        let shapes = std::mem::take(&mut output.shapes);
        let primitives = ctx.tessellate(shapes, output.pixels_per_point);
        let rect = ctx.content_rect();
        let frame = Frame { primitives, pending: self.pending.clone() };
        let shape = egui_wgpu::Callback::new_paint_callback(rect, frame);
        output.shapes.push(ClippedShape::new(rect, shape));
    }
}

/// What a frame changes in textures, in order.
pub fn texture_changes(output: &FullOutput) -> Vec<(TextureId, ImageDelta)> {
    let changes = output.textures_delta.set.iter();
    changes.flat_map(|(id, deltas)| deltas.iter().map(|delta| (*id, delta.clone()))).collect()
}

/// Paint `ctx` this way from now on.
pub fn install(ctx: &Context, state: &egui_wgpu::RenderState) {
    let painter = Painter::new(&state.device, state.target_format);
    state.renderer.write().callback_resources.insert(painter);
    // Small disks come from the texture, which is only read at whole pixels.
    ctx.tessellation_options_mut(|options| options.prerasterized_discs = false);
    ctx.add_plugin(Takeover { pending: Pending::default() });
}

/// Pipeline, font texture and this frame's triangles.
pub struct Painter {
    pipeline: wgpu::RenderPipeline,
    layout: wgpu::BindGroupLayout,
    screen: wgpu::Buffer,
    atlas: Option<(wgpu::Texture, wgpu::BindGroup)>,
    vertices: wgpu::Buffer,
    indices: wgpu::Buffer,
}

impl Painter {
    /// Compile for surfaces of `format`.
    pub fn new(device: &wgpu::Device, format: wgpu::TextureFormat) -> Self {
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(LABEL),
            entries: &[
                entry(0, wgpu::ShaderStages::VERTEX, uniform(SCREEN_BYTES)),
                entry(
                    1,
                    wgpu::ShaderStages::VERTEX_FRAGMENT,
                    wgpu::BindingType::Texture {
                        sample_type: wgpu::TextureSampleType::Float { filterable: false },
                        view_dimension: wgpu::TextureViewDimension::D2,
                        multisampled: false,
                    },
                ),
            ],
        });
        let buffer = |size, usage| buffer(device, LABEL, size, usage);
        Self {
            pipeline: widget_pipeline(device, format, &layout),
            screen: buffer(SCREEN_BYTES as usize, wgpu::BufferUsages::UNIFORM),
            vertices: buffer(1 << 20, wgpu::BufferUsages::VERTEX),
            indices: buffer(1 << 19, wgpu::BufferUsages::INDEX),
            atlas: None,
            layout,
        }
    }

    /// Bring a texture change to the device. Only the font texture is used.
    fn apply(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        id: TextureId,
        delta: &ImageDelta,
    ) {
        if id != TextureId::default() {
            return;
        }
        let eframe::egui::ImageData::Color(image) = &delta.image;
        let size = wgpu::Extent3d {
            width: image.width() as u32,
            height: image.height() as u32,
            depth_or_array_layers: 1,
        };
        if delta.pos.is_none() {
            self.atlas = Some(self.make_atlas(device, size));
        }
        let Some((texture, _)) = &self.atlas else { return };
        let [x, y] = delta.pos.unwrap_or([0, 0]);
        queue.write_texture(
            wgpu::TexelCopyTextureInfo {
                texture,
                mip_level: 0,
                origin: wgpu::Origin3d { x: x as u32, y: y as u32, z: 0 },
                aspect: wgpu::TextureAspect::All,
            },
            bytemuck::cast_slice(&image.pixels),
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(4 * size.width),
                rows_per_image: Some(size.height),
            },
            size,
        );
    }

    fn make_atlas(
        &self,
        device: &wgpu::Device,
        size: wgpu::Extent3d,
    ) -> (wgpu::Texture, wgpu::BindGroup) {
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("fonts"),
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(LABEL),
            layout: &self.layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: self.screen.as_entire_binding() },
                wgpu::BindGroupEntry {
                    binding: 1,
                    resource: wgpu::BindingResource::TextureView(&view),
                },
            ],
        });
        (texture, bind_group)
    }

    /// Bring a frame's textures and triangles to the device. `size` is the
    /// screen's in points.
    pub fn upload(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        changes: impl IntoIterator<Item = (TextureId, ImageDelta)>,
        primitives: &[ClippedPrimitive],
        [width, height]: [f32; 2],
    ) {
        for (id, delta) in changes {
            self.apply(device, queue, id, &delta);
        }
        let mut vertices: Vec<Vertex> = Vec::new();
        let mut indices: Vec<u32> = Vec::new();
        for clipped in primitives {
            if let Primitive::Mesh(mesh) = &clipped.primitive {
                vertices.extend_from_slice(&mesh.vertices);
                indices.extend_from_slice(&mesh.indices);
            }
        }
        let (vertices, indices): (&[u8], &[u8]) =
            (bytemuck::cast_slice(&vertices), bytemuck::cast_slice(&indices));
        grow(device, &mut self.vertices, LABEL, vertices.len(), wgpu::BufferUsages::VERTEX);
        grow(device, &mut self.indices, LABEL, indices.len(), wgpu::BufferUsages::INDEX);
        queue.write_buffer(&self.vertices, 0, vertices);
        queue.write_buffer(&self.indices, 0, indices);
        queue.write_buffer(&self.screen, 0, bytemuck::bytes_of(&[width, height, 0.0, 0.0]));
    }

    /// Paint what was uploaded.
    pub fn paint(
        &self,
        pass: &mut wgpu::RenderPass<'_>,
        layers: &Layers,
        primitives: &[ClippedPrimitive],
        info: &PaintCallbackInfo,
    ) {
        let Some((_, atlas)) = &self.atlas else { return };
        let (mut first_vertex, mut first_index) = (0_i32, 0_u32);
        for clipped in primitives {
            let scissor = scissor(clipped.clip_rect, info);
            if let Some([x, y, width, height]) = scissor {
                pass.set_scissor_rect(x, y, width, height);
            }
            match &clipped.primitive {
                Primitive::Mesh(mesh) => {
                    let indices = first_index..first_index + mesh.indices.len() as u32;
                    if scissor.is_some() {
                        self.bind(pass, atlas, info);
                        pass.draw_indexed(indices.clone(), first_vertex, 0..1);
                    }
                    first_vertex += mesh.vertices.len() as i32;
                    first_index = indices.end;
                }
                Primitive::Callback(callback) => {
                    if let Some(draw) = callback.callback.downcast_ref::<Draw>()
                        && scissor.is_some()
                    {
                        set_viewport(pass, callback.rect, info);
                        layers.draw(pass, draw.batch.slot);
                    }
                }
            }
        }
    }

    fn bind(
        &self,
        pass: &mut wgpu::RenderPass<'_>,
        atlas: &wgpu::BindGroup,
        info: &PaintCallbackInfo,
    ) {
        let [width, height] = info.screen_size_px.map(|pixels| pixels as f32);
        pass.set_viewport(0.0, 0.0, width, height, 0.0, 1.0);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, atlas, &[]);
        pass.set_vertex_buffer(0, self.vertices.slice(..));
        pass.set_index_buffer(self.indices.slice(..), wgpu::IndexFormat::Uint32);
    }
}

/// What its pipeline is made of.
pub const SHADER: &[&str] = &[SURFACE, include_str!("../../../shaders/widgets.wgsl")];

/// The pipeline of egui's triangles.
fn widget_pipeline(
    device: &wgpu::Device,
    format: wgpu::TextureFormat,
    layout: &wgpu::BindGroupLayout,
) -> wgpu::RenderPipeline {
    let corners = wgpu::VertexBufferLayout {
        array_stride: size_of::<Vertex>() as u64,
        step_mode: wgpu::VertexStepMode::Vertex,
        attributes: &wgpu::vertex_attr_array![0 => Float32x2, 1 => Float32x2, 2 => Unorm8x4],
    };
    let config = PipelineConfig {
        label: LABEL,
        shader: SHADER,
        layout,
        buffers: &[Some(corners)],
        topology: wgpu::PrimitiveTopology::TriangleList,
    };
    pipeline(device, format, &config)
}

fn set_viewport(pass: &mut wgpu::RenderPass<'_>, rect: Rect, info: &PaintCallbackInfo) {
    let port = ViewportInPixels::from_points(&rect, info.pixels_per_point, info.screen_size_px);
    pass.set_viewport(
        port.left_px as f32,
        port.top_px as f32,
        port.width_px as f32,
        port.height_px as f32,
        0.0,
        1.0,
    );
}

/// Everything one frame paints.
struct Frame {
    primitives: Vec<ClippedPrimitive>,
    pending: Pending,
}

impl egui_wgpu::CallbackTrait for Frame {
    fn prepare(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        screen: &egui_wgpu::ScreenDescriptor,
        _encoder: &mut wgpu::CommandEncoder,
        resources: &mut egui_wgpu::CallbackResources,
    ) -> Vec<wgpu::CommandBuffer> {
        if let Some(painter) = resources.get_mut::<Painter>() {
            let size = screen.size_in_pixels.map(|pixels| pixels as f32 / screen.pixels_per_point);
            let changes = std::mem::take(&mut *self.pending.lock());
            painter.upload(device, queue, changes, &self.primitives, size);
        }
        if let Some(layers) = resources.get_mut::<Layers>() {
            for draw in self.draws() {
                layers.upload(device, queue, &draw.batch, &draw.view);
            }
        }
        Vec::new()
    }

    fn paint(
        &self,
        info: PaintCallbackInfo,
        pass: &mut wgpu::RenderPass<'static>,
        resources: &egui_wgpu::CallbackResources,
    ) {
        let both = (resources.get::<Painter>(), resources.get::<Layers>());
        if let (Some(painter), Some(layers)) = both {
            painter.paint(pass, layers, &self.primitives, &info);
        }
    }
}

impl Frame {
    fn draws(&self) -> impl Iterator<Item = &Draw> {
        self.primitives.iter().filter_map(|clipped| match &clipped.primitive {
            Primitive::Callback(callback) => callback.callback.downcast_ref::<Draw>(),
            Primitive::Mesh(_) => None,
        })
    }
}

/// A clip rectangle in whole pixels of the screen; `None` if nothing is left.
fn scissor(clip: Rect, info: &PaintCallbackInfo) -> Option<[u32; 4]> {
    let [width, height] = info.screen_size_px.map(|pixels| pixels as f32);
    let screen = Rect::from_min_size(pos2(0.0, 0.0), vec2(width, height));
    let scaled = Rect::from_min_max(
        (clip.min.to_vec2() * info.pixels_per_point).round().to_pos2(),
        (clip.max.to_vec2() * info.pixels_per_point).round().to_pos2(),
    );
    let shown = scaled.intersect(screen);
    (shown.width() >= 1.0 && shown.height() >= 1.0).then(|| {
        [shown.left() as u32, shown.top() as u32, shown.width() as u32, shown.height() as u32]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_rectangles_become_whole_pixels_inside_the_screen() {
        let info = PaintCallbackInfo {
            viewport: Rect::EVERYTHING,
            clip_rect: Rect::EVERYTHING,
            pixels_per_point: 2.0,
            screen_size_px: [200, 100],
        };
        let clip = Rect::from_min_max(pos2(10.2, -5.0), pos2(30.0, 20.0));
        assert_eq!(scissor(clip, &info), Some([20, 0, 40, 40]));
        assert_eq!(scissor(Rect::EVERYTHING, &info), Some([0, 0, 200, 100]));
        let outside = Rect::from_min_max(pos2(500.0, 0.0), pos2(600.0, 20.0));
        assert_eq!(scissor(outside, &info), None);
    }
}
