// Anti-aliased ribbons along polylines.
//
// One instance is one segment and becomes a quad. The same point buffer is
// bound four times, each time one point further on, so a segment sees its
// neighbors and shares its corner with them: translucent ribbons must not
// overlap at their joints, or every joint would show as a dot.

struct Tap {
    @location(0) previous: vec2<f32>,
    @location(1) previous_line: u32,
    @location(2) from_position: vec2<f32>,
    @location(3) from_line: u32,
    @location(4) from_color: vec4<f32>,
    @location(5) from_width: f32,
    @location(6) to_position: vec2<f32>,
    @location(7) to_line: u32,
    @location(8) to_color: vec4<f32>,
    @location(9) to_width: f32,
    @location(10) following: vec2<f32>,
    @location(11) following_line: u32,
}

struct Varying {
    @builtin(position) clip: vec4<f32>,
    @location(0) color: vec4<f32>,
    // Distance from the center line and half the width, in pixels.
    @location(1) across: f32,
    @location(2) half_width: f32,
}

fn pixels_from_world(world: vec2<f32>) -> vec2<f32> {
    return clip_from_world(world) * 0.5 * view.extent.xy;
}

fn direction_or(from_point: vec2<f32>, to_point: vec2<f32>, fallback: vec2<f32>) -> vec2<f32> {
    let along = to_point - from_point;
    let length_pixels = length(along);
    return select(fallback, along / max(length_pixels, 1e-6), length_pixels > 1e-3);
}

// The offset of unit distance at a corner between two directions.
fn miter(before: vec2<f32>, after: vec2<f32>) -> vec2<f32> {
    let normal = vec2(-after.y, after.x);
    let sum = before + after;
    let bisector = direction_or(vec2(0.0), vec2(-sum.y, sum.x), normal);
    // A sharp turn would send the corner to infinity.
    return bisector / max(dot(bisector, normal), 0.5);
}

@vertex
fn vs_main(tap: Tap, @builtin(vertex_index) corner: u32) -> Varying {
    var out: Varying;
    let from_point = pixels_from_world(tap.from_position);
    let to_point = pixels_from_world(tap.to_position);
    if tap.from_line != tap.to_line || distance(from_point, to_point) < 1e-3 {
        // Between two lines: a quad of no area outside the view.
        out.clip = vec4(2.0, 2.0, 0.0, 1.0);
        return out;
    }
    let along = normalize(to_point - from_point);
    let at_end = corner >= 2u;
    let side = select(-1.0, 1.0, (corner & 1u) == 1u);

    var before = along;
    var after = along;
    if at_end {
        if tap.following_line == tap.to_line {
            after = direction_or(to_point, pixels_from_world(tap.following), along);
        }
    } else if tap.previous_line == tap.from_line {
        before = direction_or(pixels_from_world(tap.previous), from_point, along);
    }

    let half_width = select(tap.from_width, tap.to_width, at_end) * 0.5 * view.extent.z;
    // One more pixel holds the soft edge.
    let reach = half_width + 1.0;
    let point = select(from_point, to_point, at_end);
    let pixel = point + miter(before, after) * (side * reach);
    out.clip = vec4(pixel * 2.0 / view.extent.xy, 0.0, 1.0);
    out.color = select(tap.from_color, tap.to_color, at_end);
    out.across = side * reach;
    out.half_width = half_width;
    return out;
}

// Straight alpha in, premultiplied out.
fn shade(in: Varying) -> vec4<f32> {
    // Ribbons thinner than a pixel keep a pixel's shape and lose opacity.
    let solid = max(in.half_width, 0.5);
    let thinness = min(in.half_width / 0.5, 1.0);
    let coverage = clamp(solid + 0.5 - abs(in.across), 0.0, 1.0) * thinness;
    let alpha = in.color.a * coverage * view.extent.w;
    return vec4(in.color.rgb * alpha, alpha);
}
