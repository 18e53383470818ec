//! Elements of a strided tensor, row by row, a bounded piece at a time.

use crate::TensorEntry;

/// Calls `take` with the tensor's bytes in pieces of at most about `piece_bytes`, each a whole number of elements.
///
/// `bytes` is the whole source. A contiguous tensor is not copied.
pub(crate) fn for_each_piece<E>(
    bytes: &[u8],
    entry: &TensorEntry,
    piece_bytes: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let size = entry.dtype.size_bytes();
    let piece_bytes = (piece_bytes / size).max(1) * size;
    if entry.is_contiguous() {
        return bytes[entry.span()].chunks(piece_bytes).try_for_each(take);
    }
    let mut piece = Vec::with_capacity(piece_bytes.min(entry.byte_length()));
    for run in Runs::new(entry) {
        for part in bytes[run..][..run_bytes(entry)].chunks(piece_bytes) {
            if piece.len() + part.len() > piece_bytes {
                take(&piece)?;
                piece.clear();
            }
            piece.extend_from_slice(part);
        }
    }
    if piece.is_empty() {
        Ok(())
    } else {
        take(&piece)
    }
}

/// How many of the last dimensions lie one after another.
fn dense_dimensions(entry: &TensorEntry) -> usize {
    let mut expected = 1;
    let pairs = std::iter::zip(&entry.shape, entry.strides()).rev();
    pairs
        .take_while(|&(&size, &stride)| {
            let is_dense = size == 1 || stride == expected;
            expected *= size;
            is_dense
        })
        .count()
}

fn run_bytes(entry: &TensorEntry) -> usize {
    let dense = dense_dimensions(entry);
    let run = &entry.shape[entry.shape.len() - dense..];
    run.iter().product::<usize>() * entry.dtype.size_bytes()
}

/// Where each run of neighbouring elements starts, in bytes.
struct Runs<'a> {
    shape: &'a [usize],
    strides: &'a [usize],
    size: usize,
    index: Vec<usize>,
    next: Option<usize>,
}

impl<'a> Runs<'a> {
    fn new(entry: &'a TensorEntry) -> Self {
        let outer = entry.shape.len() - dense_dimensions(entry);
        Self {
            shape: &entry.shape[..outer],
            strides: &entry.strides()[..outer],
            size: entry.dtype.size_bytes(),
            index: vec![0; outer],
            next: (entry.byte_length() > 0).then_some(entry.start()),
        }
    }

    /// Counts up like an odometer; `None` after the last place.
    fn following(&mut self, mut place: usize) -> Option<usize> {
        for dimension in (0..self.shape.len()).rev() {
            let step = self.strides[dimension] * self.size;
            self.index[dimension] += 1;
            if self.index[dimension] < self.shape[dimension] {
                return Some(place + step);
            }
            place -= step * (self.shape[dimension] - 1);
            self.index[dimension] = 0;
        }
        None
    }
}

impl Iterator for Runs<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let place = self.next?;
        self.next = self.following(place);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ElementType;
    use crate::entry::Claim;
    use proptest::prelude::*;

    fn gather(bytes: &[u8], shape: &[i64], strides: &[i64], piece: usize) -> Vec<u8> {
        let entry = TensorEntry::check(
            "a",
            &Claim {
                dtype: ElementType::I16,
                shape,
                strides: Some(strides),
                offset: 0,
                storage: 0..bytes.len(),
                source: 0,
            },
        )
        .unwrap();
        let mut all = Vec::new();
        for_each_piece(bytes, &entry, piece, |piece| {
            all.extend_from_slice(piece);
            Ok::<(), ()>(())
        })
        .unwrap();
        all
    }

    #[test]
    fn transposed_and_expanded() {
        let bytes: Vec<u8> = (0..12).collect();
        assert_eq!(gather(&bytes, &[2, 3], &[3, 1], 4), bytes);
        assert_eq!(
            gather(&bytes, &[3, 2], &[1, 3], 4),
            [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]
        );
        assert_eq!(
            gather(&bytes, &[2, 2], &[0, 1], 100),
            [0, 1, 2, 3, 0, 1, 2, 3]
        );
    }

    proptest! {
        #[test]
        fn like_indexing(
            pairs in prop::collection::vec((0i64..4, 0i64..6), 0..4),
            piece in 1usize..40,
        ) {
            let (shape, strides): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
            let bytes: Vec<u8> = (0..200).collect();
            let mut places = vec![0i64];
            for (size, stride) in shape.iter().zip(&strides) {
                places = places.iter().flat_map(|place| (0..*size).map(move |i| place + i * stride)).collect();
            }
            let expected: Vec<u8> = places
                .iter()
                .flat_map(|&place| bytes[place as usize * 2..][..2].to_vec())
                .collect();
            prop_assert_eq!(gather(&bytes, &shape, &strides, piece), expected);
        }
    }
}
