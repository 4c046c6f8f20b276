//! Sizes of tensors, as far as they are known before a batch is seen.
//!
//! A size is a whole number times symbols: the batch is a symbol `N`, and a reshape that joins batch and time gives
//! `8·N`. Two sizes are the same where their products are; that is all that gradients need.

/// The size of one axis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dim {
    factor: u64,
    /// Sorted; one that comes twice is squared.
    symbols: Vec<u32>,
}

/// The sizes of a tensor's axes.
pub type Shape = Vec<Dim>;

impl Dim {
    /// A size that the file fixes.
    pub const fn known(size: usize) -> Self {
        Self { factor: size as u64, symbols: Vec::new() }
    }

    /// A size that has only a name.
    pub fn symbol(symbol: u32) -> Self {
        Self { factor: 1, symbols: vec![symbol] }
    }

    /// The size, where it is known.
    pub fn size(&self) -> Option<usize> {
        if self.symbols.is_empty() { usize::try_from(self.factor).ok() } else { None }
    }

    /// Whether it is known to be `size`.
    pub fn is(&self, size: usize) -> bool {
        self.size() == Some(size)
    }

    /// The product; none where it is beyond 64 bits.
    pub fn times(&self, other: &Self) -> Option<Self> {
        let factor = self.factor.checked_mul(other.factor)?;
        let mut symbols = [self.symbols.as_slice(), &other.symbols].concat();
        if factor == 0 {
            symbols.clear();
        }
        symbols.sort_unstable();
        Some(Self { factor, symbols })
    }

    /// The quotient; none where it is not known to be whole.
    pub fn over(&self, other: &Self) -> Option<Self> {
        if other.factor == 0 || !self.factor.is_multiple_of(other.factor) {
            return None;
        }
        let mut symbols = self.symbols.clone();
        for symbol in &other.symbols {
            let at = symbols.iter().position(|mine| mine == symbol)?;
            symbols.remove(at);
        }
        Some(Self { factor: self.factor / other.factor, symbols })
    }
}

/// The number of elements; none where it is beyond 64 bits.
pub fn elements(shape: &[Dim]) -> Option<Dim> {
    shape.iter().try_fold(Dim::known(1), |product, dim| product.times(dim))
}

/// The sizes, where all are known.
pub fn sizes(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(Dim::size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_sizes_are_compared_and_divided() {
        let batch = Dim::symbol(0);
        let joined = batch.times(&Dim::known(8)).unwrap();
        assert_eq!(Dim::known(8).times(&batch).unwrap(), joined);
        assert_eq!(joined.over(&Dim::known(4)).unwrap(), batch.times(&Dim::known(2)).unwrap());
        assert_eq!(joined.over(&batch).unwrap().size(), Some(8));
        assert_eq!(joined.over(&Dim::known(3)), None);
        assert_eq!(joined.over(&Dim::symbol(1)), None);
        assert_eq!((joined.size(), Dim::known(3).size()), (None, Some(3)));
        assert!(Dim::known(usize::MAX).times(&Dim::known(2)).is_none());
    }
}
