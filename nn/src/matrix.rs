//! Matrix products on slices: a safe face for the `gemm` crate.

use gemm::Parallelism;
use rayon::prelude::*;
use std::marker::PhantomData;

/// Products of at least this many multiplications are shared among threads.
const SHARED_WORK: usize = 64 * 1024;
/// Blocks of columns are as wide as the kernel's registers, or a multiple of that.
const COLUMNS_MULTIPLE: usize = 16;

/// A matrix of any strides inside a slice.
#[derive(Clone, Copy)]
pub(crate) struct MatrixRef<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> MatrixRef<'a> {
    /// Row-major and dense.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Row-major, `row_stride` values from one row to the next.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(
            spans(data.len(), rows, columns, row_stride),
            "matrix outside its slice"
        );
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// The transposed view.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// `count` columns from `first` on.
    fn columns_from(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.columns, "columns outside a matrix");
        let start = (first * self.column_stride).min(self.data.len());
        Self {
            data: &self.data[start..],
            columns: count,
            ..self
        }
    }
}

/// A row-major matrix that is written; its rows may lie apart.
pub(crate) struct MatrixMut<'a> {
    pointer: *mut f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

#[expect(
    unsafe_code,
    reason = "column blocks of one matrix are written by several threads"
)]
// SAFETY: a `MatrixMut` owns its elements exclusively, as `&mut [f32]` does, and that may be sent.
unsafe impl Send for MatrixMut<'_> {}

impl<'a> MatrixMut<'a> {
    /// Dense.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// `row_stride` values from one row to the next.
    pub(crate) fn strided(
        data: &'a mut [f32],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(
            spans(data.len(), rows, columns, row_stride),
            "matrix outside its slice"
        );
        Self {
            pointer: data.as_mut_ptr(),
            rows,
            columns,
            row_stride,
            lifetime: PhantomData,
        }
    }

    /// Number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "a row outside the matrix");
        #[expect(unsafe_code, reason = "rows of a column block are not one slice")]
        // SAFETY: the row lies inside the matrix, whose elements are borrowed exclusively.
        unsafe {
            std::slice::from_raw_parts_mut(self.pointer.add(row * self.row_stride), self.columns)
        }
    }

    /// Blocks of at most `width` columns, with the first column of each.
    pub(crate) fn column_blocks(self, width: usize) -> Vec<(usize, MatrixMut<'a>)> {
        (0..self.columns)
            .step_by(width.max(1))
            .map(|first| {
                let block = MatrixMut {
                    // Within the matrix, since `first < columns <= row_stride`: blocks share no element.
                    pointer: self.pointer.wrapping_add(first),
                    columns: width.max(1).min(self.columns - first),
                    ..self
                };
                (first, block)
            })
            .collect()
    }

    /// The first rows, borrowed.
    pub(crate) fn first_rows(&mut self, rows: usize) -> MatrixMut<'_> {
        assert!(rows <= self.rows, "more rows than the matrix has");
        MatrixMut { rows, ..*self }
    }

    /// Hands out the rows from the first to the last.
    pub(crate) fn into_rows(self) -> Rows<'a> {
        Rows { rest: self }
    }

    /// `self = scale * left * right`, plus `self` when `accumulate`.
    pub(crate) fn product(
        &mut self,
        left: MatrixRef<'_>,
        right: MatrixRef<'_>,
        scale: f32,
        accumulate: bool,
        threads: Threads,
    ) {
        assert_eq!(left.columns, right.rows, "inner sizes of a product");
        assert_eq!(
            (self.rows, self.columns),
            (left.rows, right.columns),
            "outer sizes of a product"
        );
        let work = self.rows * self.columns * left.columns;
        let pieces = match threads {
            Threads::All if work >= SHARED_WORK => rayon::current_num_threads(),
            _ => 1,
        };
        if pieces == 1 {
            return self.piece(left, right, scale, accumulate);
        }
        // The gemm crate's own division among threads took 1.1 to 1.3 times as long at a transformer's sizes.
        let whole = MatrixMut { ..*self };
        if self.columns >= pieces * COLUMNS_MULTIPLE {
            let width = self.columns.div_ceil(pieces);
            whole
                .column_blocks(width.next_multiple_of(COLUMNS_MULTIPLE))
                .into_par_iter()
                .for_each(|(first, mut block)| {
                    let right = right.columns_from(first, block.columns);
                    block.piece(left, right, scale, accumulate);
                });
        } else {
            let height = self.rows.div_ceil(pieces);
            let mut rest = whole.into_rows();
            let blocks: Vec<_> = (0..self.rows)
                .step_by(height)
                .map(|first| (first, rest.next_rows(height.min(self.rows - first))))
                .collect();
            blocks.into_par_iter().for_each(|(first, mut block)| {
                let left = left.t().columns_from(first, block.rows).t();
                block.piece(left, right, scale, accumulate);
            });
        }
    }

    /// [`product`](Self::product) on this thread.
    fn piece(&mut self, left: MatrixRef<'_>, right: MatrixRef<'_>, scale: f32, accumulate: bool) {
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        #[expect(unsafe_code, reason = "the gemm crate takes pointers")]
        // SAFETY: the sizes agree (asserted by the caller), each view lies inside its slice (asserted when it was made),
        // and the destination is borrowed exclusively.
        unsafe {
            gemm::gemm(
                self.rows,
                self.columns,
                left.columns,
                self.pointer,
                1,
                self.row_stride as isize,
                accumulate,
                left.data.as_ptr(),
                left.column_stride as isize,
                left.row_stride as isize,
                right.data.as_ptr(),
                right.column_stride as isize,
                right.row_stride as isize,
                1.0,
                scale,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

/// What is left of a matrix whose rows are handed out one block after another.
pub(crate) struct Rows<'a> {
    rest: MatrixMut<'a>,
}

impl<'a> Rows<'a> {
    /// The next block of rows; no two blocks share an element.
    pub(crate) fn next_rows(&mut self, rows: usize) -> MatrixMut<'a> {
        assert!(rows <= self.rest.rows, "more rows than are left");
        let block = MatrixMut { rows, ..self.rest };
        self.rest.rows -= rows;
        self.rest.pointer = self.rest.pointer.wrapping_add(rows * self.rest.row_stride);
        block
    }
}

/// How many threads one product may use: all of them, or its own when it is itself one of many parallel pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Threads {
    One,
    All,
}

fn spans(length: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    rows == 0
        || columns == 0
        || (columns <= row_stride || rows == 1) && (rows - 1) * row_stride + columns <= length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(length: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 7) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn products_with_strides_match_the_definition() {
        for (rows, inner, columns) in [(1, 1, 1), (3, 5, 2), (17, 9, 33), (2, 1, 40)] {
            let (left, right) = (ramp(rows * inner), ramp(columns * inner));
            let mut out = ramp(rows * (columns + 3));
            let before = out.clone();
            MatrixMut::strided(&mut out, rows, columns, columns + 3).product(
                MatrixRef::new(&left, rows, inner),
                MatrixRef::new(&right, columns, inner).t(),
                0.5,
                true,
                Threads::All,
            );
            for row in 0..rows {
                for column in 0..columns + 3 {
                    let place = row * (columns + 3) + column;
                    let sum: f32 = if column < columns {
                        (0..inner)
                            .map(|k| left[row * inner + k] * right[column * inner + k])
                            .sum()
                    } else {
                        0.0
                    };
                    assert!((out[place] - before[place] - 0.5 * sum).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "outside its slice")]
    fn a_matrix_cannot_leave_its_slice() {
        MatrixRef::strided(&[0.0; 10], 3, 4, 4);
    }
}
