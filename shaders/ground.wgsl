// Plain colored triangles: the maze and whatever else is large and still.
//
// egui's own shader samples a texture for every pixel, which a software
// renderer pays for over the whole stage, frame after frame; this one does not.

struct View {
    // clip.x = dot(row_x.xy, position) + row_x.z, and the same for y.
    row_x: vec4<f32>,
    row_y: vec4<f32>,
    // Viewport in pixels, pixels per point, opacity.
    extent: vec4<f32>,
}

@group(0) @binding(0) var<uniform> view: View;

struct Corner {
    @location(0) position: vec2<f32>,
    // Premultiplied alpha.
    @location(1) color: vec4<f32>,
}

struct Varying {
    @builtin(position) clip: vec4<f32>,
    @location(0) color: vec4<f32>,
}

@vertex
fn vs_main(corner: Corner) -> Varying {
    var out: Varying;
    out.clip = vec4(
        dot(view.row_x.xy, corner.position) + view.row_x.z,
        dot(view.row_y.xy, corner.position) + view.row_y.z,
        0.0,
        1.0,
    );
    out.color = corner.color * view.extent.w;
    return out;
}

@fragment
fn fs_gamma(in: Varying) -> @location(0) vec4<f32> {
    return in.color;
}

// For surfaces that apply the sRGB curve themselves.
@fragment
fn fs_linear(in: Varying) -> @location(0) vec4<f32> {
    let straight = in.color.rgb / max(in.color.a, 1e-5);
    let linear = select(
        pow((straight + 0.055) / 1.055, vec3(2.4)),
        straight / 12.92,
        straight < vec3(0.04045),
    );
    return vec4(linear * in.color.a, in.color.a);
}
