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
