//! The block as an operation on a row of inputs, with and without a skip
//! convolution.

use super::super::HostOp;
use super::{Gradients, Inputs, Residual};

/// Without a skip convolution. Inputs: x `[batch, time, channels]`, offset
/// `[batch, outputs]`, then convolution `[TAPS, channels, outputs]`, bias,
/// scale and shift `[outputs]` of both halves.
impl HostOp<10> for Residual {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.batch, self.time, self.outputs]
    }

    fn forward(&self, inputs: [&[f32]; 10]) -> Vec<f32> {
        self.run(&same_width(inputs), None)
    }

    fn forward_keeping(&self, inputs: [&[f32]; 10]) -> (Vec<f32>, Vec<f32>) {
        self.run_keeping(&same_width(inputs))
    }

    fn backward(&self, inputs: [&[f32]; 10], grad: &[f32]) -> [Vec<f32>; 10] {
        let (_, kept) = self.run_keeping(&same_width(inputs));
        self.backward_keeping(inputs, &kept, grad)
    }

    fn backward_keeping(&self, inputs: [&[f32]; 10], kept: &[f32], grad: &[f32]) -> [Vec<f32>; 10] {
        let Gradients { x, offset, halves: [[w1, b1, s1, t1], [w2, b2, s2, t2]], .. } =
            self.gradients(&same_width(inputs), kept, grad);
        [x, offset, w1, b1, s1, t1, w2, b2, s2, t2]
    }
}

/// With a skip convolution, whose weight `[1, channels, outputs]` and bias
/// come last.
impl HostOp<12> for Residual {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.batch, self.time, self.outputs]
    }

    fn forward(&self, inputs: [&[f32]; 12]) -> Vec<f32> {
        self.run(&other_width(inputs), None)
    }

    fn forward_keeping(&self, inputs: [&[f32]; 12]) -> (Vec<f32>, Vec<f32>) {
        self.run_keeping(&other_width(inputs))
    }

    fn backward(&self, inputs: [&[f32]; 12], grad: &[f32]) -> [Vec<f32>; 12] {
        let (_, kept) = self.run_keeping(&other_width(inputs));
        self.backward_keeping(inputs, &kept, grad)
    }

    fn backward_keeping(&self, inputs: [&[f32]; 12], kept: &[f32], grad: &[f32]) -> [Vec<f32>; 12] {
        let Gradients { x, offset, halves: [[w1, b1, s1, t1], [w2, b2, s2, t2]], skip } =
            self.gradients(&other_width(inputs), kept, grad);
        let [wr, br] = skip.unwrap_or_default();
        [x, offset, w1, b1, s1, t1, w2, b2, s2, t2, wr, br]
    }
}

fn same_width([x, offset, w1, b1, s1, t1, w2, b2, s2, t2]: [&[f32]; 10]) -> Inputs<'_> {
    Inputs { x, offset, halves: [[w1, b1, s1, t1], [w2, b2, s2, t2]], skip: None }
}

fn other_width([x, offset, w1, b1, s1, t1, w2, b2, s2, t2, wr, br]: [&[f32]; 12]) -> Inputs<'_> {
    Inputs { x, offset, halves: [[w1, b1, s1, t1], [w2, b2, s2, t2]], skip: Some([wr, br]) }
}
