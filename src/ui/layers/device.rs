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

/// What tells one pipeline from another.
pub struct PipelineConfig<'a> {
    /// For error messages.
    pub label: &'static str,
    /// WGSL with entry points `vs_main`, `fs_gamma` and `fs_linear`.
    pub shader: &'static str,
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
        source: wgpu::ShaderSource::Wgsl(config.shader.into()),
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
