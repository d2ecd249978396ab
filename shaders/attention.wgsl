// Attention maps: a matrix of weights as color.
//
// One rectangle; every pixel looks up the cell it lies in, without mixing
// neighbors, which are different tokens. Cells below 0 hold nothing.

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
    out.clip = vec4(clip_from_world(world), 0.0, 1.0);
    out.at = at;
    return out;
}

// The square root shows what is thin beside what is dense.
fn shade(in: Varying) -> vec4<f32> {
    let size = vec2<i32>(textureDimensions(shares));
    let cell = clamp(vec2<i32>(floor(in.at * vec2<f32>(size))), vec2(0), size - vec2(1));
    let share = textureLoad(shares, cell, 0).x;
    let alpha = select(0.0, view.extent.w, share >= 0.0);
    return vec4(viridis(sqrt(clamp(share, 0.0, 1.0))) * alpha, alpha);
}
