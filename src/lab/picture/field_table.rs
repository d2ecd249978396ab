//! Maps as tables: one cell a row.

use crate::env::StateDimension;
use crate::lab::occupancy::OccupancyFrame;
use crate::lab::values::ValueFrame;
use crate::plan::occupancy::MapGrid;

/// The densities of an occupancy at the middle of every cell: both coordinates
/// under their names, then `model` and, where they are known, `truth` and
/// `exact`.
pub fn occupancy_csv(frame: &OccupancyFrame, state: &[StateDimension]) -> String {
    let columns = [
        ("model", Some(&frame.model)),
        ("truth", frame.truth.as_ref()),
        ("exact", frame.exact.as_ref()),
    ];
    table(&frame.grid, state, &columns)
}

/// The values of the states in the middle of every cell: both coordinates, then
/// `model` and, where they are known, `evaluation` and `iteration`. A state that
/// is not legal has none.
pub fn values_csv(frame: &ValueFrame, state: &[StateDimension]) -> String {
    let columns = [
        ("model", Some(&frame.model)),
        ("evaluation", frame.evaluation.as_ref()),
        ("iteration", frame.optimal.as_ref()),
    ];
    table(&frame.grid, state, &columns)
}

fn table(
    grid: &MapGrid,
    state: &[StateDimension],
    columns: &[(&str, Option<&Vec<f32>>)],
) -> String {
    let known = || columns.iter().filter_map(|(name, values)| Some((*name, (*values)?)));
    let names = state.iter().take(2).map(|dimension| dimension.name.as_str());
    let header: Vec<&str> = names.chain(known().map(|(name, _)| name)).collect();
    let mut text = header.join(",");
    text.push('\n');
    let number = |value: f32| if value.is_finite() { value.to_string() } else { String::new() };
    for index in 0..grid.len() {
        let values = known().map(|(_, values)| values.get(index).copied().unwrap_or(f32::NAN));
        let row: Vec<String> = grid.center(index).into_iter().chain(values).map(number).collect();
        text.push_str(&row.join(","));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_cell_with_what_is_known_of_it() {
        let dimension = |name: &str| StateDimension {
            name: name.into(),
            unit: "m".into(),
            low: 0.0,
            high: 2.0,
            periodic: false,
            rate_of: None,
        };
        let state = [dimension("x"), dimension("y")];
        let grid = MapGrid::of(&state, [1, 2]);
        let (model, exact) = (vec![0.25, f32::NAN], vec![1.0, 2.0]);
        let columns = [("model", Some(&model)), ("truth", None), ("exact", Some(&exact))];
        assert_eq!(table(&grid, &state, &columns), "x,y,model,exact\n1,0.5,0.25,1\n1,1.5,,2\n");
    }
}
