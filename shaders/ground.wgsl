// Plain colored triangles: the maze and whatever else is large and still.
//
// egui's own shader samples a texture for every pixel, which a software
// renderer pays for over the whole stage, frame after frame; this one does not.

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
    out.clip = vec4(clip_from_world(corner.position), 0.0, 1.0);
    out.color = corner.color * view.extent.w;
    return out;
}

fn shade(in: Varying) -> vec4<f32> {
    return in.color;
}
