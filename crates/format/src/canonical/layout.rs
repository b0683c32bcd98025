//! Maps the elements of a stored tensor to the elements of the Hugging Face tensor.
//!
//! Shapes are row-major with the outermost dimension first (GGUF lists the dimensions in reverse order). All
//! numbers come from headers and are checked here; nothing panics.

/// How the elements of a tensor in another container are arranged, compared with the Hugging Face tensor.
///
/// This is only about the arrangement: values may differ by more than rounding. The Gemma family stores 1 + g for
/// the gain g of a norm. For this reason, and because they are small, norms carry no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightLayout {
    /// The same order of elements.
    Plain,
    /// The rows of each head are interleaved for rotary position embedding on neighbouring pairs: the Hugging Face
    /// rows of a head, seen as (2, half), are stored as (half, 2)
    /// (`LlamaModel.permute` of llama.cpp's `conversion/llama.py`).
    RotaryRows(Projection),
    /// The matrix is transposed (`Conv1D` of GPT-2 in transformers stores its weight as (in, out), and other
    /// modules as (out, in)).
    Transposed,
    /// The matrices of all experts are stacked; each is one Hugging Face tensor.
    Experts,
}

/// The kind of heads that the rows of a projection belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Projection {
    /// One group of rows for each attention head.
    Query,
    /// One group of rows for each key-value head (grouped-query attention has fewer of these).
    Key,
}

/// The numbers of heads: `attention.head_count` and `attention.head_count_kv` in the GGUF metadata. A file without
/// the second has as many key-value heads as attention heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heads {
    /// The number of attention (query) heads.
    pub attention: u32,
    /// The number of key-value heads.
    pub key_value: u32,
}

/// The reason why a layout does not fit a shape or a number of heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The layout needs a different number of dimensions.
    #[error("a tensor of {0} dimensions cannot have this layout")]
    Dimensions(usize),
    /// The number of elements overflows 64 bits.
    #[error("the tensor has too many elements")]
    TooLarge,
    /// The number of heads is zero.
    #[error("the number of heads is zero")]
    NoHeads,
    /// The number of rows is not a multiple of twice the number of heads.
    #[error("{rows} rows cannot be divided into pairs for {heads} heads")]
    UnevenHeads {
        /// The number of rows of the tensor.
        rows: u64,
        /// The number of heads.
        heads: u32,
    },
}

/// An element of a Hugging Face tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Element {
    /// The expert whose tensor holds the element; 0 if there is only one tensor.
    pub expert: u64,
    /// The row-major index in that tensor.
    pub index: u64,
}

/// The order of the elements in one matrix, with the numbers that a kernel needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementOrder {
    /// The order of the Hugging Face tensor.
    Same,
    /// The order of [`WeightLayout::RotaryRows`].
    Rotary {
        /// Half the number of rows per head. It is 0 only if there are no rows.
        half: u64,
    },
    /// The order of [`WeightLayout::Transposed`].
    Transposed,
}

/// A layout applied to a shape: a one-to-one mapping between the elements of the stored tensor and the elements of
/// the Hugging Face tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrangement {
    experts: u64,
    rows: u64,
    columns: u64,
    order: ElementOrder,
}

impl WeightLayout {
    /// Applies the layout to a stored tensor of the given dimensions.
    ///
    /// `dimensions` are row-major, outermost first. `heads` only matter for [`WeightLayout::RotaryRows`].
    ///
    /// # Errors
    /// Returns a [`LayoutError`] if the layout does not fit the dimensions or the number of heads.
    pub fn arrange(self, dimensions: &[u64], heads: Heads) -> Result<Arrangement, LayoutError> {
        // A zero counts as one, because it must not hide an overflow of the other dimensions.
        let elements = dimensions.iter().try_fold(1u64, |all, &size| all.checked_mul(size.max(1)));
        elements.ok_or(LayoutError::TooLarge)?;
        let (experts, rows, columns) = match (self, dimensions) {
            (WeightLayout::Plain, []) => (1, 1, 1),
            (WeightLayout::Plain, [outer @ .., columns]) => (1, outer.iter().product(), *columns),
            // A bias has the rows of its weight in the same order.
            (WeightLayout::RotaryRows(_), &[rows]) => (1, rows, 1),
            (WeightLayout::RotaryRows(_) | WeightLayout::Transposed, &[rows, columns]) => {
                (1, rows, columns)
            }
            (WeightLayout::Experts, &[experts, rows, columns]) => (experts, rows, columns),
            _ => return Err(LayoutError::Dimensions(dimensions.len())),
        };
        let order = match self {
            WeightLayout::Plain | WeightLayout::Experts => ElementOrder::Same,
            WeightLayout::Transposed => ElementOrder::Transposed,
            WeightLayout::RotaryRows(projection) => {
                let heads = match projection {
                    Projection::Query => heads.attention,
                    Projection::Key => heads.key_value,
                };
                ElementOrder::Rotary { half: pairs_of_rows(rows, heads)? }
            }
        };
        Ok(Arrangement { experts, rows, columns, order })
    }
}

/// Half the number of rows per head.
fn pairs_of_rows(rows: u64, heads: u32) -> Result<u64, LayoutError> {
    if heads == 0 {
        return Err(LayoutError::NoHeads);
    }
    let halves = 2 * u64::from(heads);
    if !rows.is_multiple_of(halves) {
        return Err(LayoutError::UnevenHeads { rows, heads });
    }
    Ok(rows / halves)
}

impl Arrangement {
    /// The number of matrices in the stored tensor, each of which is a Hugging Face tensor; 1 unless experts are
    /// stacked.
    pub fn experts(&self) -> u64 {
        self.experts
    }

    /// The number of rows of each stored matrix. For more than two dimensions, this is the product of all but the
    /// last.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The number of columns of each stored matrix.
    pub fn columns(&self) -> u64 {
        self.columns
    }

    /// The numbers of rows and columns of the Hugging Face tensor.
    pub fn source_shape(&self) -> (u64, u64) {
        match self.order {
            ElementOrder::Transposed => (self.columns, self.rows),
            ElementOrder::Same | ElementOrder::Rotary { .. } => (self.rows, self.columns),
        }
    }

    /// The order of the elements in each matrix.
    pub fn order(&self) -> ElementOrder {
        self.order
    }

    /// The number of elements of one matrix. [`WeightLayout::arrange`] has checked the product.
    fn matrix(&self) -> u64 {
        self.rows * self.columns
    }

    /// The row of the Hugging Face tensor that corresponds to a stored row. Returns `None` past the end and for
    /// [`ElementOrder::Transposed`], where rows become columns.
    pub fn source_row(&self, row: u64) -> Option<u64> {
        if row >= self.rows {
            return None;
        }
        match self.order {
            ElementOrder::Same => Some(row),
            ElementOrder::Rotary { half } => {
                let (head, at) = (row / (2 * half), row % (2 * half));
                Some(head * 2 * half + at % 2 * half + at / 2)
            }
            ElementOrder::Transposed => None,
        }
    }

    /// The stored row that corresponds to a row of the Hugging Face tensor: the inverse of
    /// [`Arrangement::source_row`].
    pub fn stored_row(&self, row: u64) -> Option<u64> {
        if row >= self.rows {
            return None;
        }
        match self.order {
            ElementOrder::Same => Some(row),
            ElementOrder::Rotary { half } => {
                let (head, at) = (row / (2 * half), row % (2 * half));
                Some(head * 2 * half + at % half * 2 + at / half)
            }
            ElementOrder::Transposed => None,
        }
    }

    /// The element that is stored at a row-major index, or `None` past the end.
    pub fn source(&self, stored: u64) -> Option<Element> {
        let matrix = self.matrix();
        let expert = stored.checked_div(matrix).filter(|&expert| expert < self.experts)?;
        let (row, column) = (stored % matrix / self.columns, stored % matrix % self.columns);
        let index = match self.order {
            ElementOrder::Transposed => column * self.rows + row,
            ElementOrder::Same | ElementOrder::Rotary { .. } => {
                self.source_row(row)? * self.columns + column
            }
        };
        Some(Element { expert, index })
    }

    /// The row-major index at which an element is stored, or `None` if there is no such element: the inverse of
    /// [`Arrangement::source`].
    pub fn stored(&self, element: Element) -> Option<u64> {
        let matrix = self.matrix();
        let Element { expert, index } = element;
        if expert >= self.experts || index >= matrix {
            return None;
        }
        let (_, columns) = self.source_shape();
        let (row, column) = (index / columns, index % columns);
        let within = match self.order {
            ElementOrder::Transposed => column * self.columns + row,
            ElementOrder::Same | ElementOrder::Rotary { .. } => {
                self.stored_row(row)? * self.columns + column
            }
        };
        Some(expert * matrix + within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUERY: WeightLayout = WeightLayout::RotaryRows(Projection::Query);
    const KEY: WeightLayout = WeightLayout::RotaryRows(Projection::Key);
    const ALL: &[WeightLayout] =
        &[WeightLayout::Plain, QUERY, KEY, WeightLayout::Transposed, WeightLayout::Experts];

    fn heads(attention: u32, key_value: u32) -> Heads {
        Heads { attention, key_value }
    }

    fn source_rows(arrangement: &Arrangement) -> Vec<u64> {
        (0..arrangement.rows()).map(|row| arrangement.source_row(row).unwrap()).collect()
    }

    fn source_indices(arrangement: &Arrangement) -> Vec<(u64, u64)> {
        let elements = arrangement.experts() * arrangement.rows() * arrangement.columns();
        let source = |stored| arrangement.source(stored).unwrap();
        (0..elements).map(source).map(|at| (at.expert, at.index)).collect()
    }

    #[test]
    fn rotary_rows_by_hand() {
        // One head of eight rows: (2, 4) is [0 1 2 3 / 4 5 6 7], read down its columns.
        let one = QUERY.arrange(&[8, 3], heads(1, 1)).unwrap();
        assert_eq!(source_rows(&one), [0, 4, 1, 5, 2, 6, 3, 7]);
        assert_eq!(one.source(3), Some(Element { expert: 0, index: 12 }));
        assert_eq!(one.stored(Element { expert: 0, index: 5 }), Some(8));
        // Two heads of six rows.
        let two = QUERY.arrange(&[12, 1], heads(2, 1)).unwrap();
        assert_eq!(source_rows(&two), [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        // The key has the heads of its own number; a bias goes like its weight.
        let key = KEY.arrange(&[12], heads(2, 3)).unwrap();
        assert_eq!(source_rows(&key), [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11]);
        assert_eq!(key.columns(), 1);
    }

    #[test]
    fn a_transposed_matrix_by_hand() {
        // Stored (2, 3); the Hugging Face tensor is (3, 2).
        let arrangement = WeightLayout::Transposed.arrange(&[2, 3], heads(0, 0)).unwrap();
        let indices: Vec<u64> =
            source_indices(&arrangement).into_iter().map(|(_, index)| index).collect();
        assert_eq!(indices, [0, 2, 4, 1, 3, 5]);
        assert_eq!(arrangement.source_shape(), (3, 2));
        assert_eq!(arrangement.source_row(0), None);
    }

    #[test]
    fn stacked_experts_by_hand() {
        let arrangement = WeightLayout::Experts.arrange(&[3, 2, 2], heads(0, 0)).unwrap();
        let expected: Vec<(u64, u64)> =
            (0..3).flat_map(|expert| (0..4).map(move |index| (expert, index))).collect();
        assert_eq!(source_indices(&arrangement), expected);
        assert_eq!(arrangement.source(12), None);
        assert_eq!(arrangement.stored(Element { expert: 3, index: 0 }), None);
        assert_eq!(arrangement.stored(Element { expert: 2, index: 4 }), None);
    }

    #[test]
    fn plain_tensors_have_any_shape() {
        for (dimensions, shape) in
            [(&[][..], (1, 1)), (&[7], (1, 7)), (&[2, 3, 5], (6, 5)), (&[0, 4], (0, 4))]
        {
            let arrangement = WeightLayout::Plain.arrange(dimensions, heads(0, 0)).unwrap();
            assert_eq!(arrangement.source_shape(), shape);
            let elements = shape.0 * shape.1;
            let source = |stored| arrangement.source(stored).map(|element| element.index);
            assert!((0..elements).all(|stored| source(stored) == Some(stored)));
            assert_eq!(source(elements), None);
        }
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let arrange = |layout: WeightLayout, dimensions: &[u64], heads| {
            layout.arrange(dimensions, heads).err()
        };
        let uneven = |rows, heads| Some(LayoutError::UnevenHeads { rows, heads });
        assert_eq!(arrange(QUERY, &[8, 2], heads(0, 1)), Some(LayoutError::NoHeads));
        assert_eq!(arrange(KEY, &[8, 2], heads(1, 0)), Some(LayoutError::NoHeads));
        assert_eq!(arrange(QUERY, &[8, 2], heads(3, 1)), uneven(8, 3));
        assert_eq!(arrange(QUERY, &[6, 2], heads(2, 1)), uneven(6, 2));
        assert_eq!(arrange(QUERY, &[8, 2], heads(u32::MAX, 1)), uneven(8, u32::MAX));
        assert_eq!(arrange(QUERY, &[], heads(1, 1)), Some(LayoutError::Dimensions(0)));
        assert_eq!(arrange(KEY, &[2, 2, 2], heads(1, 1)), Some(LayoutError::Dimensions(3)));
        assert_eq!(
            arrange(WeightLayout::Transposed, &[8], heads(1, 1)),
            Some(LayoutError::Dimensions(1))
        );
        assert_eq!(
            arrange(WeightLayout::Experts, &[8, 2], heads(1, 1)),
            Some(LayoutError::Dimensions(2))
        );
        let large = 1 << 32;
        for dimensions in [&[large, large, 1][..], &[large, 1, large], &[0, large, large]] {
            for layout in [WeightLayout::Plain, WeightLayout::Experts] {
                assert_eq!(arrange(layout, dimensions, heads(1, 1)), Some(LayoutError::TooLarge));
            }
        }
        assert_eq!(arrange(QUERY, &[large, large], heads(1, 1)), Some(LayoutError::TooLarge));
    }

    #[test]
    fn tensors_without_elements_have_none() {
        for (layout, dimensions) in [
            (QUERY, &[0, 4][..]),
            (QUERY, &[4, 0]),
            (WeightLayout::Transposed, &[0, 4]),
            (WeightLayout::Experts, &[0, 4, 4]),
            (WeightLayout::Experts, &[4, 4, 0]),
        ] {
            let arrangement = layout.arrange(dimensions, heads(1, 1)).unwrap();
            assert_eq!(arrangement.source(0), None, "{layout:?} {dimensions:?}");
            assert_eq!(arrangement.stored(Element { expert: 0, index: 0 }), None);
        }
    }

    #[test]
    fn the_largest_tensors_do_not_overflow() {
        let last = u64::MAX - 1;
        for (layout, dimensions) in [
            (WeightLayout::Plain, &[u64::MAX][..]),
            (WeightLayout::Transposed, &[u64::MAX / 3, 3]),
            (WeightLayout::Transposed, &[3, u64::MAX / 3]),
            (WeightLayout::Experts, &[3, 5, u64::MAX / 15]),
            (QUERY, &[u64::MAX - 1, 1]),
        ] {
            let arrangement = layout.arrange(dimensions, heads(1, 1)).unwrap();
            for stored in [last, last - 1, last / 2] {
                if let Some(element) = arrangement.source(stored) {
                    assert_eq!(arrangement.stored(element), Some(stored), "{layout:?}");
                }
            }
            assert_eq!(arrangement.source(u64::MAX), None);
        }
    }

    /// Reshape to (heads, 2, half, columns), exchange the middle axes: as the converter does it.
    fn permuted(rows: u64, columns: u64, heads: u64) -> Vec<u64> {
        let half = rows / heads / 2;
        let mut stored = Vec::new();
        for head in 0..heads {
            for pair in 0..half {
                for side in 0..2 {
                    for column in 0..columns {
                        stored.push(((head * 2 + side) * half + pair) * columns + column);
                    }
                }
            }
        }
        stored
    }

    proptest! {
        #[test]
        fn rotary_rows_are_those_of_the_converter(
            count in 1u32..6, half in 0u64..7, columns in 1u64..5,
        ) {
            let rows = u64::from(count) * 2 * half;
            let arrangement = KEY.arrange(&[rows, columns], heads(0, count)).unwrap();
            let indices: Vec<u64> =
                source_indices(&arrangement).into_iter().map(|(_, index)| index).collect();
            prop_assert_eq!(indices, permuted(rows, columns, count.into()));
        }

        #[test]
        fn every_layout_is_undone_by_its_inverse(
            layout in prop::sample::select(ALL),
            experts in 1u64..4, pairs in 1u64..5, count in 1u32..5, columns in 1u64..6,
        ) {
            let rows = pairs * 2 * u64::from(count);
            let dimensions = [experts, rows, columns];
            let dimensions = match layout {
                WeightLayout::Plain | WeightLayout::Experts => &dimensions[..],
                WeightLayout::RotaryRows(_) | WeightLayout::Transposed => &dimensions[1..],
            };
            let arrangement = layout.arrange(dimensions, heads(count, count)).unwrap();
            let elements: u64 = dimensions.iter().product();
            let mut seen = std::collections::HashSet::new();
            for stored in 0..elements {
                let element = arrangement.source(stored).unwrap();
                prop_assert_eq!(arrangement.stored(element), Some(stored));
                prop_assert!(element.index < elements / arrangement.experts());
                prop_assert!(seen.insert(element));
            }
            for row in 0..arrangement.rows() {
                if let Some(source) = arrangement.source_row(row) {
                    prop_assert_eq!(arrangement.stored_row(source), Some(row));
                }
            }
        }

        #[test]
        fn any_numbers_are_answered(
            dimensions in prop::collection::vec(any::<u64>(), 0..4),
            shift in 0u32..64,
            attention in any::<u32>(),
            key_value in 0u32..9,
            stored in any::<u64>(),
        ) {
            let dimensions: Vec<u64> = dimensions.iter().map(|size| size >> shift).collect();
            for &layout in ALL {
                if let Ok(arrangement) = layout.arrange(&dimensions, heads(attention, key_value))
                    && let Some(element) = arrangement.source(stored)
                {
                    prop_assert_eq!(arrangement.stored(element), Some(stored));
                }
            }
        }
    }
}
