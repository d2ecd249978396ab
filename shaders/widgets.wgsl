// egui's own triangles, for software renderers: one texel a pixel and nothing
// else. egui's shader also holds the sampling its picture tests need, and a
// software renderer evaluates both sides of a branch for every pixel.

struct Screen {
    // Width and height in points.
    size: vec4<f32>,
}

@group(0) @binding(0) var<uniform> screen: Screen;
@group(0) @binding(1) var atlas: texture_2d<f32>;

struct Varying {
    @builtin(position) clip: vec4<f32>,
    @location(0) texel: vec2<f32>,
    // Premultiplied alpha, gamma space.
    @location(1) color: vec4<f32>,
}

@vertex
fn vs_main(
    @location(0) position: vec2<f32>,
    @location(1) uv: vec2<f32>,
    @location(2) color: vec4<f32>,
) -> Varying {
    var out: Varying;
    out.clip = vec4(
        2.0 * position.x / screen.size.x - 1.0,
        1.0 - 2.0 * position.y / screen.size.y,
        0.0,
        1.0,
    );
    out.texel = uv * vec2<f32>(textureDimensions(atlas));
    out.color = color;
    return out;
}

// Glyphs lie on whole pixels, so the nearest texel is the right one.
fn shade(in: Varying) -> vec4<f32> {
    return in.color * textureLoad(atlas, vec2<i32>(in.texel), 0);
}
