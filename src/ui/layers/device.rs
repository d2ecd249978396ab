//! Buffers, bindings and pipelines, as the layers and [`super::software`] need
//! them.

use eframe::egui_wgpu::wgpu;

/// One entry of a bind group layout.
pub fn entry(
    binding: u32,
    visibility: wgpu::ShaderStages,
    ty: wgpu::BindingType,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry { binding, visibility, ty, count: None }
}

/// A uniform buffer of at least `least_size` bytes, as a binding.
pub fn uniform(least_size: u64) -> wgpu::BindingType {
    wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Uniform,
        has_dynamic_offset: false,
        min_binding_size: wgpu::BufferSize::new(least_size),
    }
}

/// A buffer of `size` bytes that can be written to.
pub fn buffer(
    device: &wgpu::Device,
    label: &'static str,
    size: usize,
    usage: wgpu::BufferUsages,
) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: size as u64,
        usage: usage | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// What layers bind: a view of that many bytes, alone or with an image of
/// numbers that are read cell by cell and not mixed.
pub fn layouts(device: &wgpu::Device, view_size: u64) -> [wgpu::BindGroupLayout; 2] {
    let view = entry(0, wgpu::ShaderStages::VERTEX_FRAGMENT, uniform(view_size));
    let numbers = wgpu::BindingType::Texture {
        sample_type: wgpu::TextureSampleType::Float { filterable: false },
        view_dimension: wgpu::TextureViewDimension::D2,
        multisampled: false,
    };
    let image = entry(1, wgpu::ShaderStages::FRAGMENT, numbers);
    [("layer view", &[view][..]), ("layer view and image", &[view, image])].map(
        |(label, entries)| {
            let label = Some(label);
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries })
        },
    )
}

/// Bind a view and, for the second of [`layouts`], an image.
pub fn bind(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    view: &wgpu::Buffer,
    image: Option<&wgpu::Texture>,
) -> wgpu::BindGroup {
    let cells = image.map(|image| image.create_view(&wgpu::TextureViewDescriptor::default()));
    let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: view.as_entire_binding() }];
    entries.extend(cells.as_ref().map(|cells| wgpu::BindGroupEntry {
        binding: 1,
        resource: wgpu::BindingResource::TextureView(cells),
    }));
    let label = Some("layer");
    device.create_bind_group(&wgpu::BindGroupDescriptor { label, layout, entries: &entries })
}

/// A square image of `side` numbers a side.
pub fn image(device: &wgpu::Device, label: &'static str, side: usize) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some(label),
        size: square(side),
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::R32Float,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    })
}

/// Fill an image row by row.
pub fn write_image(queue: &wgpu::Queue, image: &wgpu::Texture, side: usize, numbers: &[f32]) {
    if side == 0 || numbers.len() != side * side {
        return;
    }
    queue.write_texture(
        image.as_image_copy(),
        bytemuck::cast_slice(numbers),
        wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some((side * size_of::<f32>()) as u32),
            rows_per_image: None,
        },
        square(side),
    );
}

fn square(side: usize) -> wgpu::Extent3d {
    let side = side.max(1) as u32;
    wgpu::Extent3d { width: side, height: side, depth_or_array_layers: 1 }
}

/// Replace a buffer that has become too small.
pub fn grow(
    device: &wgpu::Device,
    held: &mut wgpu::Buffer,
    label: &'static str,
    size: usize,
    usage: wgpu::BufferUsages,
) {
    if held.size() < size as u64 {
        *held = buffer(device, label, size.next_power_of_two(), usage);
    }
}

/// The view, for layers of the stage.
pub const VIEW: &str = include_str!("../../../shaders/view.wgsl");
/// The entry points that write a pixel.
pub const SURFACE: &str = include_str!("../../../shaders/surface.wgsl");
/// A color map.
pub const VIRIDIS: &str = include_str!("../../../shaders/viridis.wgsl");

/// What tells one pipeline from another.
pub struct PipelineConfig<'a> {
    /// For error messages.
    pub label: &'static str,
    /// WGSL in parts, with entry points `vs_main`, `fs_gamma` and `fs_linear`.
    pub shader: &'static [&'static str],
    /// Bind group 0.
    pub layout: &'a wgpu::BindGroupLayout,
    /// Where corners come from.
    pub buffers: &'a [Option<wgpu::VertexBufferLayout<'a>>],
    /// How corners become triangles.
    pub topology: wgpu::PrimitiveTopology,
}

/// A pipeline that blends premultiplied colors over a surface of `format`.
pub fn pipeline(
    device: &wgpu::Device,
    format: wgpu::TextureFormat,
    config: &PipelineConfig<'_>,
) -> wgpu::RenderPipeline {
    let label = Some(config.label);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label,
        source: wgpu::ShaderSource::Wgsl(config.shader.concat().into()),
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(config.layout)],
        immediate_size: 0,
    });
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label,
        layout: Some(&layout),
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("vs_main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: config.buffers,
        },
        primitive: wgpu::PrimitiveState { topology: config.topology, ..Default::default() },
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some(if format.is_srgb() { "fs_linear" } else { "fs_gamma" }),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            targets: &[Some(wgpu::ColorTargetState {
                format,
                blend: Some(wgpu::BlendState::PREMULTIPLIED_ALPHA_BLENDING),
                write_mask: wgpu::ColorWrites::ALL,
            })],
        }),
        multiview_mask: None,
        cache: None,
    })
}
