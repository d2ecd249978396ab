//! 1-D convolution over `[batch, time, channel]` as one matrix product.
//!
//! With zeros between the sequences, the window of output row `r` is the
//! `kernel * channels` numbers that start at padded row `r * stride`: the
//! matrix of all windows is a strided view of the padded input, overlapping
//! rows and all, and needs no copy. The few rows that straddle two sequences
//! cost `(kernel / 2) / time` extra arithmetic and are dropped.

use gemm::Parallelism;

use super::HostOp;

/// `y[b, t] = bias + sum_k x[b, t * stride + k - kernel / 2] w[k]`, zeros
/// outside the sequence.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Sequences.
    pub batch: usize,
    /// Steps per input sequence; a multiple of `stride`.
    pub time: usize,
    /// Input channels.
    pub channels: usize,
    /// Output channels.
    pub outputs: usize,
    /// Taps, odd.
    pub kernel: usize,
    /// 1, or 2 to halve the sequence.
    pub stride: usize,
}

/// The padded layout: where sequences stand, in rows.
struct Layout {
    /// Zero rows before the first sequence.
    lead: usize,
    /// Rows from one padded input sequence to the next.
    pitch: usize,
    /// Rows from one output sequence to the next.
    output_pitch: usize,
    /// Windows, junk included.
    windows: usize,
}

impl Convolution {
    /// Steps per output sequence.
    pub fn output_time(&self) -> usize {
        self.time.div_ceil(self.stride)
    }

    fn layout(&self) -> Layout {
        let lead = self.kernel / 2;
        // The zeros after a sequence serve as those before the next one, and
        // the pitch must be whole strides for windows to line up.
        let pitch = (self.time + lead).next_multiple_of(self.stride);
        let output_pitch = pitch / self.stride;
        Layout {
            lead,
            pitch,
            output_pitch,
            windows: (self.batch - 1) * output_pitch + self.output_time(),
        }
    }

    fn pad(&self, x: &[f32], layout: &Layout) -> Vec<f32> {
        let row = self.channels;
        let mut padded = vec![0.0; (2 * layout.lead + self.batch * layout.pitch) * row];
        for (b, sequence) in x.chunks_exact(self.time * row).enumerate() {
            let start = (layout.lead + b * layout.pitch) * row;
            padded[start..start + sequence.len()].copy_from_slice(sequence);
        }
        padded
    }

    /// `grad` spread over the output rows, zeros in the junk rows and `lead`
    /// zero rows before and after.
    fn pad_grad(&self, grad: &[f32], layout: &Layout) -> Vec<f32> {
        let row = self.outputs;
        let rows = 2 * layout.lead + self.batch * layout.output_pitch;
        let mut padded = vec![0.0; rows * row];
        for (b, sequence) in grad.chunks_exact(self.output_time() * row).enumerate() {
            let start = (layout.lead + b * layout.output_pitch) * row;
            padded[start..start + sequence.len()].copy_from_slice(sequence);
        }
        padded
    }

    fn input_grad(&self, weight: &[f32], grad_padded: &[f32], layout: &Layout) -> Vec<f32> {
        if self.stride == 1 {
            self.input_grad_dense(weight, grad_padded, layout)
        } else {
            self.input_grad_strided(weight, grad_padded, layout)
        }
    }

    /// Stride 1: the gradient is a convolution with the flipped, transposed
    /// kernel.
    fn input_grad_dense(&self, weight: &[f32], grad_padded: &[f32], layout: &Layout) -> Vec<f32> {
        let (c, o, k) = (self.channels, self.outputs, self.kernel);
        let mut flipped = vec![0.0; weight.len()];
        for tap in 0..k {
            let from = &weight[tap * c * o..(tap + 1) * c * o];
            let to = &mut flipped[(k - 1 - tap) * o * c..(k - tap) * o * c];
            for (channel, row) in from.chunks_exact(o).enumerate() {
                for (output, value) in row.iter().enumerate() {
                    to[output * c + channel] = *value;
                }
            }
        }
        let mut rows = vec![0.0; layout.windows * c];
        let windows = Matrix { data: grad_padded, row_stride: o, column_stride: 1 };
        let flipped = Matrix { data: &flipped, row_stride: c, column_stride: 1 };
        multiply(&mut rows, [layout.windows, k * o, c], windows, flipped);
        compact(&rows, self.batch, self.time, layout.output_pitch, c, None)
    }

    /// Any stride: gradients of the windows, added back where they overlap.
    fn input_grad_strided(&self, weight: &[f32], grad_padded: &[f32], layout: &Layout) -> Vec<f32> {
        let (c, o, k) = (self.channels, self.outputs, self.kernel);
        let mut windows = vec![0.0; layout.windows * k * c];
        let grad =
            Matrix { data: &grad_padded[layout.lead * o..], row_stride: o, column_stride: 1 };
        let transposed = Matrix { data: weight, row_stride: 1, column_stride: o };
        multiply(&mut windows, [layout.windows, o, k * c], grad, transposed);
        let mut padded = vec![0.0; (2 * layout.lead + self.batch * layout.pitch) * c];
        for (r, window) in windows.chunks_exact(k * c).enumerate() {
            let start = r * self.stride * c;
            for (sum, value) in padded[start..start + k * c].iter_mut().zip(window) {
                *sum += value;
            }
        }
        compact(&padded[layout.lead * c..], self.batch, self.time, layout.pitch, c, None)
    }
}

impl HostOp<3> for Convolution {
    fn output_shape(&self) -> Vec<usize> {
        vec![self.batch, self.output_time(), self.outputs]
    }

    /// Inputs: x `[batch, time, channels]`, weight `[kernel, channels,
    /// outputs]`, bias `[outputs]`.
    fn forward(&self, [x, weight, bias]: [&[f32]; 3]) -> Vec<f32> {
        let layout = self.layout();
        let width = self.kernel * self.channels;
        let padded;
        let data = if self.kernel == 1 && self.stride == 1 {
            x
        } else {
            padded = self.pad(x, &layout);
            &padded
        };
        let windows = Matrix { data, row_stride: self.stride * self.channels, column_stride: 1 };
        let weight = Matrix { data: weight, row_stride: self.outputs, column_stride: 1 };
        let mut rows = vec![0.0; layout.windows * self.outputs];
        multiply(&mut rows, [layout.windows, width, self.outputs], windows, weight);
        compact(
            &rows,
            self.batch,
            self.output_time(),
            layout.output_pitch,
            self.outputs,
            Some(bias),
        )
    }

    fn backward(&self, [x, weight, _bias]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
        let layout = self.layout();
        let padded = self.pad(x, &layout);
        let grad_padded = self.pad_grad(grad, &layout);
        let width = self.kernel * self.channels;

        let windows_transposed =
            Matrix { data: &padded, row_stride: 1, column_stride: self.stride * self.channels };
        let output_rows = Matrix {
            data: &grad_padded[layout.lead * self.outputs..],
            row_stride: self.outputs,
            column_stride: 1,
        };
        let mut weight_grad = vec![0.0; width * self.outputs];
        multiply(
            &mut weight_grad,
            [width, layout.windows, self.outputs],
            windows_transposed,
            output_rows,
        );

        let mut bias_grad = vec![0.0; self.outputs];
        for row in grad.chunks_exact(self.outputs) {
            for (sum, value) in bias_grad.iter_mut().zip(row) {
                *sum += value;
            }
        }
        [self.input_grad(weight, &grad_padded, &layout), weight_grad, bias_grad]
    }
}

/// Drop the junk rows and add the bias.
fn compact(
    rows: &[f32],
    batch: usize,
    time: usize,
    pitch: usize,
    width: usize,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut output = Vec::with_capacity(batch * time * width);
    for b in 0..batch {
        let start = b * pitch * width;
        let sequence = &rows[start..start + time * width];
        match bias {
            None => output.extend_from_slice(sequence),
            Some(bias) => {
                for row in sequence.chunks_exact(width) {
                    output.extend(row.iter().zip(bias).map(|(value, bias)| value + bias));
                }
            }
        }
    }
    output
}

/// A strided view of a slice; rows may overlap.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    data: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl Matrix<'_> {
    fn last(&self, rows: usize, columns: usize) -> usize {
        (rows - 1) * self.row_stride + (columns - 1) * self.column_stride
    }
}

/// `out = lhs rhs`, `out` row-major, for `[m, k] x [k, n]`.
fn multiply(out: &mut [f32], [m, k, n]: [usize; 3], lhs: Matrix, rhs: Matrix) {
    assert!(
        out.len() >= m * n && lhs.last(m, k) < lhs.data.len() && rhs.last(k, n) < rhs.data.len()
    );
    // Below this the hand-over to a second thread costs more than it saves.
    let parallelism = if m * k * n > 1 << 18 { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: the assertion above bounds every element the product touches;
    // `out` is an exclusive borrow and so cannot overlap the inputs.
    #[expect(unsafe_code, reason = "gemm takes raw pointers; bounds are asserted above")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            lhs.data.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
