// Density fields: numbers on a grid as color.
//
// One instance is the rectangle between four neighboring numbers. They are
// mixed bilinearly, scaled and turned into a color at every pixel: colors mixed
// between corners would skip those that lie between. No texture is read, which
// is what a software renderer pays for most.

struct Cell {
    // World position of two opposite corners.
    @location(0) corners: vec4<f32>,
    // Shares of the scale at (x0, y0), (x0, y1), (x1, y0) and (x1, y1).
    @location(1) shares: vec4<f32>,
}

struct Varying {
    @builtin(position) clip: vec4<f32>,
    @location(0) at: vec2<f32>,
    @location(1) @interpolate(flat) shares: vec4<f32>,
}

@vertex
fn vs_main(cell: Cell, @builtin(vertex_index) corner: u32) -> Varying {
    let at = vec2(f32(corner >> 1u), f32(corner & 1u));
    let world = mix(cell.corners.xy, cell.corners.zw, at);
    var out: Varying;
    out.clip = vec4(clip_from_world(world), 0.0, 1.0);
    out.at = at;
    out.shares = cell.shares;
    return out;
}

// Cividis (Nuñez, Anderton, Renslow), which is given as a polynomial.
fn cividis(t: f32) -> vec3<f32> {
    var c = vec3(-2710.57, -67.37, 2475.67);
    c = c * t + vec3(7024.72, 176.58, -6614.94);
    c = c * t + vec3(-6402.70, -131.46, 6167.24);
    c = c * t + vec3(2381.73, 52.82, -2482.43);
    c = c * t + vec3(-35.34, 170.73, 442.36);
    c = c * t + vec3(-4.54, 32.49, 81.24);
    return clamp(c / 255.0, vec3(0.0), vec3(1.0));
}

// Linear, square root, or three decades of the logarithm.
fn scaled(share: f32) -> f32 {
    if view.row_y.w < 0.5 {
        return share;
    }
    if view.row_y.w < 1.5 {
        return sqrt(share);
    }
    return max(1.0 + log2(max(share, 1e-6)) / 9.9657843, 0.0);
}

// Straight alpha in, premultiplied out.
fn shade(in: Varying) -> vec4<f32> {
    let edge = mix(in.shares.xy, in.shares.zw, vec2(in.at.x));
    let share = mix(edge.x, edge.y, in.at.y);
    let t = scaled(clamp(abs(share), 0.0, 1.0));
    var color = vec4(viridis(t), 1.0);
    if view.row_x.w > 1.5 {
        // Orange above, blue below, nothing in the middle.
        color = vec4(select(vec3(0.337, 0.706, 0.914), vec3(0.902, 0.624, 0.0), share > 0.0), t);
    } else if view.row_x.w > 0.5 {
        color = vec4(cividis(t), 1.0);
    }
    let alpha = color.a * view.extent.w;
    return vec4(color.rgb * alpha, alpha);
}
