//! Products of the small matrices of one head, on this thread.

use gemm::Parallelism;

/// A strided view of a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that start every `stride` numbers.
    pub(super) fn rows(data: &'a [f32], stride: usize) -> Self {
        Matrix { data, row_stride: stride, column_stride: 1 }
    }

    /// The transpose of [`Matrix::rows`].
    pub(super) fn columns(data: &'a [f32], stride: usize) -> Self {
        Matrix { data, row_stride: 1, column_stride: stride }
    }

    fn last(&self, rows: usize, columns: usize) -> usize {
        (rows - 1) * self.row_stride + (columns - 1) * self.column_stride
    }
}

/// What a product does with the numbers its output held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    Replace,
    Add,
}

/// `out = scale lhs rhs` or `out += scale lhs rhs` for `[m, k] x [k, n]`; the
/// rows of `out` start every `stride` numbers.
pub(super) fn product(
    (out, stride): (&mut [f32], usize),
    onto: Onto,
    [m, k, n]: [usize; 3],
    scale: f32,
    lhs: Matrix,
    rhs: Matrix,
) {
    assert!(m > 0 && k > 0 && n > 0 && n <= stride);
    assert!(
        lhs.last(m, k) < lhs.data.len()
            && rhs.last(k, n) < rhs.data.len()
            && (m - 1) * stride + n <= out.len()
    );
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
            stride as isize,
            onto == Onto::Add,
            lhs.data.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
