// Soft round points: the noise a plan condenses out of.
//
// One instance is one point and becomes a triangle around its disk: half the
// triangles of a quad, and a software renderer pays by the triangle.

struct Particle {
    @location(0) position: vec2<f32>,
    @location(1) color: vec4<f32>,
    @location(2) radius: f32,
}

struct Varying {
    @builtin(position) clip: vec4<f32>,
    @location(0) color: vec4<f32>,
    // The unit disk.
    @location(1) disk: vec2<f32>,
}

@vertex
fn vs_main(particle: Particle, @builtin(vertex_index) corner: u32) -> Varying {
    // The corners of an equilateral triangle around the unit disk.
    let x = select(select(-1.7320508, 1.7320508, corner == 1u), 0.0, corner == 2u);
    let disk = vec2(x, select(-1.0, 2.0, corner == 2u));
    let center = clip_from_world(particle.position);
    let reach = particle.radius * view.extent.z * 2.0 / view.extent.xy;
    var out: Varying;
    out.clip = vec4(center + disk * reach, 0.0, 1.0);
    out.color = particle.color;
    out.disk = disk;
    return out;
}

// Straight alpha in, premultiplied out.
fn shade(in: Varying) -> vec4<f32> {
    let inside = max(1.0 - dot(in.disk, in.disk), 0.0);
    let alpha = in.color.a * inside * inside * view.extent.w;
    return vec4(in.color.rgb * alpha, alpha);
}
