//! A chain on the host.

use std::ops::ControlFlow;

use super::{Chain, OnStep, Step};
use crate::model::ModelError;
use crate::model::inpainting::Inpainting;
use crate::model::transition::Transition;
use crate::rng::Rng;

/// What a model says of plans at diffusion time t, in their shape: the clean
/// plans, or the gradient of their return.
pub type Answer<'a> = dyn FnMut(&[f32], usize) -> Result<Vec<f32>, ModelError> + 'a;

/// Plans as slices, and a model as closures.
pub struct OnHost<'a> {
    /// What is known of every plan.
    pub known: &'a Inpainting,
    /// The clean plans of noisy ones.
    pub denoiser: &'a mut Answer<'a>,
    /// The gradient of every plan's return, where there is a guide.
    pub gradient: Option<&'a mut Answer<'a>>,
    /// Sees every step at once.
    pub on_step: &'a mut OnStep<'a>,
}

impl Chain for OnHost<'_> {
    type Plans = Vec<f32>;

    fn join(&self, plans: Option<Vec<f32>>, more: Vec<f32>) -> Vec<f32> {
        match plans {
            Some(mut plans) => {
                plans.extend(more);
                plans
            }
            None => more,
        }
    }

    fn fix(&self, mut plans: Vec<f32>) -> Vec<f32> {
        self.known.apply(&mut plans);
        plans
    }

    fn predict(&mut self, noisy: &Vec<f32>, t: usize) -> Result<Vec<f32>, ModelError> {
        (self.denoiser)(noisy, t)
    }

    fn climb(&mut self, mut plans: Vec<f32>, t: usize, rate: f32) -> Result<Vec<f32>, ModelError> {
        if let Some(gradient) = &mut self.gradient {
            let slopes = gradient(&plans, t)?;
            plans.iter_mut().zip(slopes).for_each(|(x, slope)| *x += rate * slope);
        }
        Ok(plans)
    }

    fn advance(
        &self,
        transition: &Transition,
        mut noisy: Vec<f32>,
        clean: &Vec<f32>,
        before: Option<Vec<f32>>,
    ) -> Vec<f32> {
        transition.apply(&mut noisy, clean, before.as_deref());
        noisy
    }

    fn shake(&self, mut plans: Vec<f32>, deviation: f32, rng: &mut Rng) -> Vec<f32> {
        plans.iter_mut().for_each(|x| *x += deviation * rng.normal());
        plans
    }

    fn show(
        &mut self,
        t: usize,
        noisy: &Vec<f32>,
        clean: &Vec<f32>,
    ) -> Result<ControlFlow<()>, ModelError> {
        Ok((self.on_step)(Step { t, noisy, clean }))
    }
}
