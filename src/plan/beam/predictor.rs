//! A Trajectory Transformer as the search sees it: with a cache, and without
//! one for comparison.

use super::TokenModel;
use crate::data::TokenLayout;
use crate::model::trajectory::TrajectoryModel;
use crate::nn::decoder::Cache;

/// Keys and values of every row are kept, so that a token costs one step.
pub struct CachedModel<'a> {
    model: &'a TrajectoryModel,
    cache: Cache,
}

impl<'a> CachedModel<'a> {
    /// A search's view of `model`.
    pub fn new(model: &'a TrajectoryModel) -> Self {
        Self { model, cache: Cache::default() }
    }
}

impl TokenModel for CachedModel<'_> {
    fn layout(&self) -> TokenLayout {
        self.model.config.layout
    }

    fn block(&self) -> usize {
        self.model.config.network().positions
    }

    fn restart(&mut self, goal: &[u16], rows: &[&[u16]]) -> Vec<f32> {
        self.model.decoder().restart(&mut self.cache, goal, rows)
    }

    fn step(&mut self, parents: &[usize], tokens: &[u16]) -> Vec<f32> {
        self.model.decoder().step(&mut self.cache, parents, tokens)
    }

    fn center(&self, dim: usize, token: u16) -> f32 {
        self.model.discretizer.center(dim, token)
    }

    fn expectation(&self, dim: usize, probabilities: &[f32]) -> f32 {
        self.model.discretizer.expectation(dim, probabilities)
    }
}

/// Every row is read from its beginning for every token: what the cache is
/// measured against.
pub struct UncachedModel<'a> {
    cached: CachedModel<'a>,
    goal: Vec<u16>,
    rows: Vec<Vec<u16>>,
}

impl<'a> UncachedModel<'a> {
    /// A search's view of `model`.
    pub fn new(model: &'a TrajectoryModel) -> Self {
        Self { cached: CachedModel::new(model), goal: Vec::new(), rows: Vec::new() }
    }

    fn read(&mut self) -> Vec<f32> {
        let rows: Vec<&[u16]> = self.rows.iter().map(Vec::as_slice).collect();
        self.cached.restart(&self.goal, &rows)
    }
}

impl TokenModel for UncachedModel<'_> {
    fn layout(&self) -> TokenLayout {
        self.cached.layout()
    }

    fn block(&self) -> usize {
        self.cached.block()
    }

    fn restart(&mut self, goal: &[u16], rows: &[&[u16]]) -> Vec<f32> {
        self.goal = goal.to_vec();
        self.rows = rows.iter().map(|row| row.to_vec()).collect();
        self.read()
    }

    fn step(&mut self, parents: &[usize], tokens: &[u16]) -> Vec<f32> {
        let continued = parents.iter().zip(tokens).map(|(parent, token)| {
            let mut row = self.rows[*parent].clone();
            row.push(*token);
            row
        });
        self.rows = continued.collect();
        self.read()
    }

    fn center(&self, dim: usize, token: u16) -> f32 {
        self.cached.center(dim, token)
    }

    fn expectation(&self, dim: usize, probabilities: &[f32]) -> f32 {
        self.cached.expectation(dim, probabilities)
    }
}
