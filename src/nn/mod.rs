//! Building blocks with no algorithm in them. Sequences are `[batch, time,
//! channel]` throughout: on a CPU that layout turns every convolution into one
//! wide matrix product.

pub mod adam;
pub mod decoder;
pub mod ema;
pub mod embedding;
pub mod fused;
pub mod gan;
pub mod init;
pub mod layers;
pub mod mixer;
pub mod mlp;
pub mod softmax;
pub mod spline_flow;
pub mod temporal_encoder;
pub mod temporal_unet;
pub mod transformer;
pub mod weights;
