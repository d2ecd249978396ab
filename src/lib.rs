//! foresight: a desktop lab for planning with generative models.
//!
//! # Code map, in reading order
//!
//! Arrows point one way only; `tests/layers.rs` checks them.
//!
//! ```text
//! env <- data <- nn <- model <- plan <- eval <- lab <- { ui, cli }
//! ```
//!
//! - [`env`]: dynamics, rewards, resets, policies, and the tabular twins whose
//!   occupancies and values are exact.
//! - [`data`]: episodes, stretches, paths, collecting, windows, normalizers,
//!   bins and tokens, `.npz`, and other people's HDF5.
//! - [`nn`]: building blocks without an algorithm in them: the temporal U-Net,
//!   spline flows, GANs, the transformer and its cached decoder, fused CPU
//!   operations, averages, weights by PyTorch name.
//! - [`model`]: one algorithm per file, its paper on top: Diffuser,
//!   gamma-models and the Trajectory Transformer, each with its learner, and
//!   the ensemble it is compared with.
//! - [`plan`]: samplers, candidates, selection, following; horizons, chains
//!   and values of gamma-models; beam search and acting by it.
//! - [`eval`]: scores and error measures with n and standard error; exact
//!   optimal transport.
//! - [`lab`]: scene files, checkpoints, training runs, devices, and the session
//!   with its planner thread.
//! - [`ui`]: the window. [`cli`]: the command line.
//! - Leaves that anybody may use: [`rng`], [`files`], [`picture`].
//!
//! # Invariants
//!
//! - `env` and `data` know neither burn nor wgpu nor egui: plain `f32`.
//! - `nn`, `model` and `plan` know burn, never wgpu or egui, and never a
//!   concrete environment.
//! - `lab` knows threads and channels, not egui; it wakes the front through a
//!   callback.
//! - `ui` never runs a tensor operation and never blocks.
//! - One file names rapier2d, one names rfd, one knows the scene syntax.
//! - Every function that needs a device takes one.
//! - Nothing panics on data from a file, a user or a device.
//! - Every random number comes from [`rng`], on the host, from a visible seed.

pub mod rng;

pub mod files;

pub mod env;

pub mod data;

pub mod nn;

pub mod model;

pub mod plan;

pub mod eval;

pub mod picture;

pub mod lab;

pub mod ui;

pub mod cli;
