//! Heat maps by their pixels.

use super::*;

fn field(orientation: Orientation) -> Field {
    let axis = |name: &str, high: f32| Axis {
        name: name.into(),
        unit: "m".into(),
        low: 0.0,
        high,
        is_angle: false,
    };
    // One full cell of 4 x 2: the last along the first coordinate, the
    // first along the second.
    let mut values = vec![0.0; 8];
    values[6] = 3.0;
    Field {
        axes: [axis("x", 4.0), axis("y", 2.0)],
        cells: [4, 2],
        maps: vec![HeatMap { title: "model".into(), values }],
        unit: "1/m²".into(),
        orientation,
        ..Field::default()
    }
}

/// The color in the middle of a cell.
fn color_at(field: &Field, cell: [usize; 2]) -> [u8; 3] {
    let (size, pixels) = field.paint(700, Mode::Dark).unwrap();
    let [left, top, right, bottom] = Layout::new(field, 700).plot(0);
    let share = |axis: usize| (cell[axis] as f32 + 0.5) / field.cells[axis] as f32;
    let [x, y] = match field.orientation {
        Orientation::Plane => [share(0), 1.0 - share(1)],
        Orientation::Rows => [share(1), share(0)],
    };
    let [x, y] = [left + x * (right - left), top + y * (bottom - top)];
    let at = 4 * (y as usize * size[0] as usize + x as usize);
    [pixels[at], pixels[at + 1], pixels[at + 2]]
}

fn rgb(ink: Rgba) -> [u8; 3] {
    [ink.r, ink.g, ink.b]
}

#[test]
fn a_full_cell_is_light_where_its_coordinates_say_and_nowhere_else() {
    for orientation in [Orientation::Plane, Orientation::Rows] {
        let field = field(orientation);
        for cell in (0..4).flat_map(|i| [[i, 0], [i, 1]]) {
            let expected = density_color(if cell == [3, 0] { 1.0 } else { 0.0 });
            assert_eq!(color_at(&field, cell), rgb(expected), "{orientation:?} {cell:?}");
        }
    }
}

#[test]
fn maps_share_one_scale_and_walls_cover_them() {
    let mut field = field(Orientation::Plane);
    field.maps.push(HeatMap { title: "truth".into(), values: vec![12.0; 8] });
    // A quarter of the largest value, whose root is a half.
    assert_eq!(color_at(&field, [3, 0]), rgb(density_color(0.25)));
    field.obstacles = vec![
        Obstacle::Rectangle([3.0, 0.0, 4.0, 1.0]),
        Obstacle::Capsule { ends: [[0.5, 1.5], [0.5, 1.5001]], radius: 0.2 },
    ];
    let wall = rgb(Palette::of(Mode::Dark).wall);
    assert_eq!([color_at(&field, [3, 0]), color_at(&field, [0, 1])], [wall; 2]);
    assert_ne!(color_at(&field, [1, 1]), wall);
}

#[test]
fn the_picture_has_the_long_side_asked_for_and_is_a_png() {
    let (size, _) = field(Orientation::Plane).paint(900, Mode::Light).unwrap();
    assert_eq!(size[0].max(size[1]), 900);
    let bytes = field_png(&field(Orientation::Rows), 300, Mode::Dark).unwrap();
    assert_eq!(&bytes[1..4], b"PNG");
}

#[test]
fn fields_without_extent_or_with_other_cells_are_refused() {
    let mut flat = field(Orientation::Plane);
    flat.axes[0].high = 0.0;
    assert!(matches!(field_png(&flat, 300, Mode::Dark), Err(PictureError::Bounds(_))));
    let mut short = field(Orientation::Plane);
    short.cells = [5, 2];
    assert!(field_png(&short, 300, Mode::Dark).is_err());
    short.cells = [usize::MAX, 2];
    assert!(field_png(&short, 300, Mode::Dark).is_err());
}

#[test]
fn densities_that_are_no_numbers_do_not_break_the_picture() {
    let mut odd = field(Orientation::Plane);
    odd.maps[0].values = vec![f32::NAN, f32::INFINITY, -1.0, 0.0, 0.0, 0.0, 2.0, 0.0];
    assert_eq!(odd.range(), [0.0, 2.0]);
    assert!(field_png(&odd, 300, Mode::Dark).is_ok());
    odd.maps[0].values = vec![0.0; 8];
    assert!(field_png(&odd, 300, Mode::Dark).is_ok());
}

#[test]
fn values_are_spread_evenly_from_least_to_largest_and_gaps_stay_empty() {
    let mut values = field(Orientation::Plane);
    values.scale = Scale::Linear;
    values.maps[0].values = vec![-4.0, f32::NAN, -3.0, -2.0, -2.0, -2.0, 0.0, -2.0];
    assert_eq!(values.range(), [-4.0, 0.0]);
    assert_eq!(color_at(&values, [0, 0]), rgb(values.ink(0.0)));
    assert_eq!(color_at(&values, [1, 0]), rgb(values.ink(0.25)));
    assert_eq!(color_at(&values, [3, 0]), rgb(values.ink(1.0)));
    assert_eq!(color_at(&values, [0, 1]), rgb(Palette::of(Mode::Dark).floor));
    values.maps[0].values = vec![f32::NAN; 8];
    assert!(field_png(&values, 300, Mode::Dark).is_ok());
}

#[test]
fn a_drawing_holds_every_cell_that_is_not_empty_axes_and_the_color_bar() {
    let text = String::from_utf8(field_svg(&field(Orientation::Plane), 900, Mode::Dark).unwrap());
    let text = text.unwrap();
    let full = viridis(1.0);
    let hex = format!("#{:02x}{:02x}{:02x}", full.r, full.g, full.b);
    assert!(text.starts_with("<svg") && text.contains(&hex), "the full cell");
    for word in ["x (m)", "y (m)", "1/m²", ">model<"] {
        assert!(text.contains(word), "{word}");
    }
    let mut flat = field(Orientation::Plane);
    flat.axes[0].high = 0.0;
    assert!(field_svg(&flat, 900, Mode::Dark).is_err());
}

#[test]
fn a_film_shows_the_agent_move_and_refuses_frames_of_other_sizes() {
    let mut there = field(Orientation::Plane);
    there.agent = Some([0.5, 1.5]);
    let mut here = there.clone();
    here.agent = Some([2.5, 1.5]);
    here.trail = vec![[0.5, 1.5], [2.5, 1.5]];
    assert_ne!(color_at(&there, [2, 1]), color_at(&here, [2, 1]), "the agent is there");
    let agent = rgb(Palette::of(Mode::Dark).agent);
    assert_eq!([color_at(&there, [0, 1]), color_at(&here, [2, 1])], [agent; 2]);
    let film = field_gif(&[(there.clone(), 50), (here, 500)], 500, Mode::Dark).unwrap();
    assert_eq!(&film[..3], b"GIF");
    let mut wide = there.clone();
    wide.maps.push(wide.maps[0].clone());
    assert!(field_gif(&[(there, 50), (wide, 50)], 500, Mode::Dark).is_err());
    assert!(matches!(field_gif(&[], 500, Mode::Dark), Err(PictureError::NoFrames)));
}
