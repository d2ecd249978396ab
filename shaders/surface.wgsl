// What a surface wants: `shade` gives premultiplied colors in the gamma space
// egui blends in.

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
