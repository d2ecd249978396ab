//! The chosen plan in numbers.

use crate::env::StateDimension;
use crate::plan::Plan;

/// A plan's states at the environment's steps, one a row: seconds, then every
/// coordinate of a state under its name.
pub fn csv(plan: &Plan, dimensions: &[StateDimension]) -> String {
    let mut text = String::from("secs");
    for dimension in dimensions {
        text.push(',');
        text.push_str(&dimension.name);
    }
    text.push('\n');
    for (step, state) in plan.states.iter().enumerate() {
        let secs = step as f32 * plan.dt_secs;
        let numbers: Vec<String> = state.iter().map(|value| format!("{value:.6}")).collect();
        text.push_str(&format!("{secs:.4},{}\n", numbers.join(",")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::shot::tests::film;
    use super::*;

    #[test]
    fn a_row_is_a_state_at_its_time() {
        let plan = film().plan.unwrap();
        let dimensions = ["x", "y"].map(|name| StateDimension {
            name: name.into(),
            unit: "m".into(),
            low: 0.0,
            high: 1.0,
            periodic: false,
            rate_of: None,
        });
        let text = csv(&plan, &dimensions);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "secs,x,y");
        assert_eq!(rows[2], "0.0100,1.200000,1.300000");
        assert_eq!(rows.len(), 1 + plan.states.len());
    }
}
