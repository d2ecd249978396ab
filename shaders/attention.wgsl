// Attention maps: a matrix of weights as color.
//
// One rectangle; every pixel looks up the cell it lies in, without mixing
// neighbors, which are different tokens. Cells below 0 hold nothing.

struct View {
    // clip.x = dot(row_x.xy, world) + row_x.z, and the same for y.
    row_x: vec4<f32>,
    row_y: vec4<f32>,
    // Viewport in pixels, pixels per point, opacity.
    extent: vec4<f32>,
}

@group(0) @binding(0) var<uniform> view: View;
// Shares of the color scale's end: rows down, columns to the right.
@group(0) @binding(1) var shares: texture_2d<f32>;

struct Matrix {
    // World position of two opposite corners.
    @location(0) corners: vec4<f32>,
}

struct Varying {
    @builtin(position) clip: vec4<f32>,
    @location(0) at: vec2<f32>,
}

@vertex
fn vs_main(matrix: Matrix, @builtin(vertex_index) corner: u32) -> Varying {
    let at = vec2(f32(corner >> 1u), f32(corner & 1u));
    let world = mix(matrix.corners.xy, matrix.corners.zw, at);
    var out: Varying;
    out.clip = vec4(
        dot(view.row_x.xy, world) + view.row_x.z,
        dot(view.row_y.xy, world) + view.row_y.z,
        0.0,
        1.0,
    );
    out.at = at;
    return out;
}

// A least-squares polynomial through viridis (van der Walt, Smith, Firing).
fn viridis(t: f32) -> vec3<f32> {
    var c = vec3(-1.14599, 6.78540, 32.12552);
    c = c * t + vec3(-9.68460, -19.89725, -82.44074);
    c = c * t + vec3(24.79281, 20.59920, 75.53508);
    c = c * t + vec3(-15.85845, -8.70732, -28.99461);
    c = c * t + vec3(2.81211, 0.73641, 2.38741);
    c = c * t + vec3(-0.21135, 1.38622, 1.18621);
    return clamp(c * t + vec3(0.27796, 0.00374, 0.33492), vec3(0.0), vec3(1.0));
}

// Premultiplied, in the gamma space egui blends in. The square root shows what
// is thin beside what is dense.
fn shade(in: Varying) -> vec4<f32> {
    let size = vec2<i32>(textureDimensions(shares));
    let cell = clamp(vec2<i32>(floor(in.at * vec2<f32>(size))), vec2(0), size - vec2(1));
    let share = textureLoad(shares, cell, 0).x;
    let alpha = select(0.0, view.extent.w, share >= 0.0);
    return vec4(viridis(sqrt(clamp(share, 0.0, 1.0))) * alpha, alpha);
}

@fragment
fn fs_gamma(in: Varying) -> @location(0) vec4<f32> {
    return shade(in);
}

// For surfaces that apply the sRGB curve themselves.
@fragment
fn fs_linear(in: Varying) -> @location(0) vec4<f32> {
    let color = shade(in);
    let straight = color.rgb / max(color.a, 1e-5);
    let linear = select(
        pow((straight + 0.055) / 1.055, vec3(2.4)),
        straight / 12.92,
        straight < vec3(0.04045),
    );
    return vec4(linear * color.a, color.a);
}
