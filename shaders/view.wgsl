// Where things are: what every layer of the stage sees of the view.

struct View {
    // clip.x = dot(row_x.xy, world) + row_x.z, and the same for y. The fourth
    // numbers are a density's color map and scale.
    row_x: vec4<f32>,
    row_y: vec4<f32>,
    // Viewport in pixels, pixels per point, opacity.
    extent: vec4<f32>,
}

@group(0) @binding(0) var<uniform> view: View;

fn clip_from_world(world: vec2<f32>) -> vec2<f32> {
    return vec2(
        dot(view.row_x.xy, world) + view.row_x.z,
        dot(view.row_y.xy, world) + view.row_y.z,
    );
}
