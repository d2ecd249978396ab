//! What a map shows: which numbers, on which scale, and whether they answer the
//! present question.

use std::sync::Arc;

use super::{Compare, Map, ValueOf};
use crate::lab::occupancy::OccupancyFrame;
use crate::lab::values::ValueFrame;
use crate::plan::occupancy::MapGrid;
use crate::ui::app::App;
use crate::ui::layers::{ColorMap, Scale};

/// This share of the truth's cells may lie beyond the scale's end: single cells
/// of a histogram stand out by chance.
const BEYOND: f32 = 0.001;

/// Where the numbers of a map come from.
#[derive(Clone)]
pub enum Answer {
    /// The model.
    Model(Arc<OccupancyFrame>),
    /// Real rollouts.
    Truth(Arc<OccupancyFrame>),
    /// Model minus real rollouts.
    Difference(Arc<OccupancyFrame>),
    /// A value map, and an older one for what has not come yet.
    Value(Arc<ValueFrame>, Option<Arc<ValueFrame>>, ValueOf),
}

/// One map to draw.
#[derive(Clone)]
pub struct Shot {
    /// Shown above it.
    pub title: String,
    /// Ends of the color scale.
    pub range: [f32; 2],
    /// Whether some numbers lie beyond the upper end.
    pub is_clipped: bool,
    /// Colors and scale.
    pub look: (ColorMap, Scale),
    /// Whether it answers the present question.
    pub is_fresh: bool,
    /// Shown where there is no map yet.
    pub note: &'static str,
    /// Its numbers, once they are there.
    pub from: Option<Answer>,
}

impl Shot {
    /// The numbers and their cells.
    pub fn numbers(&self) -> Option<(&MapGrid, Vec<f32>)> {
        Some(match self.from.as_ref()? {
            Answer::Model(frame) => (&frame.grid, frame.model.clone()),
            Answer::Truth(frame) => (&frame.grid, frame.best_truth().cloned()?),
            Answer::Difference(frame) => {
                let pairs = frame.model.iter().zip(frame.best_truth()?);
                (&frame.grid, pairs.map(|(model, truth)| model - truth).collect())
            }
            Answer::Value(frame, old, which) => {
                (&frame.grid, values(frame, old.as_deref(), *which)?)
            }
        })
    }

    /// Changes whenever the picture does.
    pub fn key(&self) -> Option<Key> {
        let (kind, id, progress) = match self.from.as_ref()? {
            Answer::Model(frame) => (0, frame.id, 0),
            Answer::Truth(frame) => (1, frame.id, u32::from(frame.exact.is_some())),
            Answer::Difference(frame) => (2, frame.id, u32::from(frame.exact.is_some())),
            Answer::Value(frame, _, which) => {
                let is_complete =
                    u32::from(frame.evaluation.is_some()) + 2 * u32::from(frame.optimal.is_some());
                (3 + *which as u32, frame.id, frame.done.to_bits() ^ is_complete)
            }
        };
        Some((kind, id, progress, self.range.map(f32::to_bits), self.look))
    }

    /// The number at a place.
    pub fn at(&self, place: [f32; 2]) -> Option<f32> {
        let (grid, numbers) = self.numbers()?;
        numbers.get(grid.cell_of(place)?).copied().filter(|number| number.is_finite())
    }
}

/// What tells one picture from another.
pub type Key = (u32, u64, u32, [u32; 2], (ColorMap, Scale));

/// A value map's numbers; what has not come yet is taken from an older map.
fn values(frame: &ValueFrame, old: Option<&ValueFrame>, which: ValueOf) -> Option<Vec<f32>> {
    let model = || -> Vec<f32> {
        let cells = frame.model.iter().enumerate();
        cells
            .map(|(index, &value)| match old {
                Some(old) if value.is_nan() && frame.done < 1.0 => {
                    let cell = old.grid.cell_of(frame.grid.center(index));
                    cell.and_then(|cell| old.model.get(cell).copied()).unwrap_or(f32::NAN)
                }
                _ => value,
            })
            .collect()
    };
    match which {
        ValueOf::Model => Some(model()),
        ValueOf::Evaluation => frame.evaluation.clone(),
        ValueOf::Optimal => frame.optimal.clone(),
        ValueOf::Difference => {
            let truth = frame.evaluation.as_ref()?;
            Some(model().iter().zip(truth).map(|(model, truth)| model - truth).collect())
        }
    }
}

/// What to draw in `n` panes.
pub fn shots(app: &App, n: usize) -> Vec<Shot> {
    match app.field.map {
        Map::Occupancy => densities(app, n),
        Map::Value => vec![value(app)],
    }
}

fn densities(app: &App, n: usize) -> Vec<Shot> {
    let field = &app.field;
    let frame = field.asking.frame().cloned();
    let truth = field.asking.truth();
    let is_fresh = truth.is_some_and(|(_, is_same)| is_same);
    let truth = truth.map(|(frame, _)| frame.clone());
    let fresh_truth = truth.as_ref().filter(|_| is_fresh).and_then(|frame| frame.best_truth());
    let model = frame.as_ref().map(|frame| &frame.model);
    // The density of a chain is a histogram too.
    let is_chain = frame.as_ref().is_some_and(|frame| frame.request.settings.steps > 1);
    let (smooth, drawn) = if is_chain { (None, model) } else { (model, None) };
    let (most, is_clipped) = end(smooth, [drawn, fresh_truth]);
    let model = Shot {
        title: "γ-model".into(),
        range: [0.0, most],
        is_clipped,
        look: (ColorMap::Density, field.scale),
        is_fresh: true,
        note: "The first map is on its way",
        from: frame.map(Answer::Model),
    };
    let name = truth.as_ref().map(|frame| frame.truth_name());
    let real = Shot {
        title: name.clone().unwrap_or_else(|| "Truth".into()),
        is_fresh,
        note: match field.asking.asked() {
            Some(asked) if asked.is_drag => "The truth comes when the mouse rests",
            _ => "The truth is on its way",
        },
        from: truth.clone().map(Answer::Truth),
        ..model
    };
    let difference = || {
        let from = truth.clone().map(Answer::Difference);
        let off = truth.as_ref().and_then(|frame| {
            let pairs = frame.model.iter().zip(frame.best_truth()?);
            Some(pairs.map(|(model, truth)| (model - truth).abs()).collect::<Vec<_>>())
        });
        let (most, is_clipped) = end(None, [off.as_ref(), None]);
        Shot {
            title: name.as_ref().map_or_else(
                || "γ-model minus truth".into(),
                |name| format!("γ-model minus {name}"),
            ),
            range: [0.0, most],
            is_clipped,
            look: (ColorMap::Difference, field.scale),
            from,
            ..real
        }
    };
    match (field.compare, n) {
        (Compare::Both, 2) => vec![model, real],
        (Compare::Both | Compare::Model, _) => vec![model],
        (Compare::Truth, _) => vec![real],
        (Compare::Difference, _) => vec![difference()],
    }
}

/// The scale's end for a smooth map and histograms, and whether the latter go
/// beyond.
fn end(smooth: Option<&Vec<f32>>, histograms: [Option<&Vec<f32>>; 2]) -> (f32, bool) {
    let most = |values: &Vec<f32>| values.iter().copied().fold(0.0, f32::max);
    let mut end = smooth.map_or(0.0, most);
    let mut largest = end;
    for values in histograms.into_iter().flatten() {
        let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        let beyond = (BEYOND * sorted.len() as f32) as usize;
        let index = sorted.len().saturating_sub(1 + beyond);
        end = end.max(sorted.get(index).copied().unwrap_or(0.0));
        largest = largest.max(sorted.last().copied().unwrap_or(0.0));
    }
    if end > 0.0 { (end, largest > end) } else { (1.0, false) }
}

fn value(app: &App) -> Shot {
    let field = &app.field;
    let frame = field.asking.values().cloned();
    let old = field.asking.complete_values().cloned();
    let which = field.value_of;
    let is_complete = frame.as_ref().is_some_and(|frame| frame.done >= 1.0);
    let mut shot = Shot {
        title: match which {
            ValueOf::Model => "Value from the γ-model".into(),
            ValueOf::Evaluation => "Value by policy evaluation".into(),
            ValueOf::Optimal => "Best value, by value iteration".into(),
            ValueOf::Difference => "γ-model minus policy evaluation".into(),
        },
        range: [0.0, 1.0],
        is_clipped: false,
        look: (ColorMap::Value, Scale::Linear),
        is_fresh: true,
        note: match which {
            ValueOf::Model => "The first rows are on their way",
            _ if is_complete => "There is no exact map of this scene",
            _ => "The exact map comes after the model's",
        },
        from: None,
    };
    let Some(frame) = frame else { return shot };
    let finite = |all: Option<Vec<f32>>| -> Vec<f32> {
        all.into_iter().flatten().filter(|value| value.is_finite()).collect()
    };
    let mut shown = finite(values(&frame, old.as_deref(), which));
    if shown.is_empty() {
        return shot;
    }
    if which == ValueOf::Difference {
        let most = shown.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        shot.range = [0.0, if most > 0.0 { most } else { 1.0 }];
        shot.look.0 = ColorMap::Difference;
    } else {
        // One scale for all maps, so that switching compares them.
        for other in [ValueOf::Model, ValueOf::Evaluation, ValueOf::Optimal] {
            shown.extend(finite(values(&frame, old.as_deref(), other)));
        }
        let low = shown.iter().copied().fold(f32::INFINITY, f32::min);
        let high = shown.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        shot.range = [low, if high > low { high } else { low + 1.0 }];
    }
    shot.from = Some(Answer::Value(frame, old, which));
    shot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_cells_of_a_histogram_do_not_dim_the_map() {
        let smooth = vec![0.5; 4000];
        let mut histogram = vec![0.4; 4000];
        histogram[7] = 90.0;
        assert_eq!(end(Some(&smooth), [Some(&histogram), None]), (0.5, true));
        assert_eq!(end(Some(&smooth), [None, None]), (0.5, false));
        assert_eq!(end(None, [Some(&vec![0.0; 4]), None]), (1.0, false), "nothing has no scale");
        assert_eq!(end(None, [None, None]), (1.0, false));
    }
}
