//! What is known of a value before anything is computed.

use std::rc::Rc;

use super::range::Range;
use crate::outline::Constant;
use crate::signature::ElementType;

/// Elements whose values are followed, at most, in one tensor.
pub(crate) const MAX_NUMBERS: usize = 1024;

/// A tensor, or a sequence of tensors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub element: ElementType,
    /// None where even their number is unknown. Of a sequence: of any of its tensors.
    pub dims: Option<Vec<Range>>,
    /// Elements at most, where the dimensions alone do not say it.
    pub most: f64,
    /// The elements, row major, where the shape is known and they are few.
    pub numbers: Option<Rc<[Range]>>,
    /// Tensors in the sequence.
    pub sequence: Option<Range>,
    /// Whether it is the same in every compute, so that an engine computes it once, when it loads the graph.
    pub constant: bool,
}

impl Value {
    pub fn tensor(element: ElementType, dims: Vec<Range>) -> Self {
        Self {
            element,
            dims: Some(dims),
            most: f64::INFINITY,
            numbers: None,
            sequence: None,
            constant: false,
        }
    }

    pub fn unknown(element: ElementType) -> Self {
        Self { element, dims: None, most: f64::INFINITY, numbers: None, sequence: None, constant: false }
    }

    /// With those elements, if they are as many as the shape says, and few.
    pub fn with(self, numbers: Option<Vec<Range>>) -> Self {
        let count = self.count().exact();
        let mut numbers = numbers.filter(|n| n.len() <= MAX_NUMBERS && count == Some(n.len() as f64));
        if self.element == ElementType::F32 {
            // As an engine rounds, so that what is rounded down next is the same.
            let round = |number: &mut Range| *number = number.rising(|value| f64::from(value as f32));
            numbers.iter_mut().flatten().for_each(round);
        }
        Self { numbers: numbers.map(Rc::from), ..self }
    }

    pub fn sequence(self, count: Range) -> Self {
        Self { sequence: Some(count), numbers: None, ..self }
    }

    pub fn rank(&self) -> Option<usize> {
        self.dims.as_ref().map(Vec::len)
    }

    /// Elements; of a sequence: of its largest tensor.
    pub fn count(&self) -> Range {
        let count = self.dims.as_ref().map_or(Range::SIZE, |dims| product(dims));
        Range { lo: count.lo.min(self.most), hi: count.hi.min(self.most) }
    }

    /// With no more elements than that.
    pub fn at_most(self, most: f64) -> Self {
        Self { most: self.most.min(most), ..self }
    }

    /// Bytes of each element: engines widen some types, and none of them narrows what is widened here.
    pub fn width(&self) -> f64 {
        match self.element {
            // rten keeps these in 32 bits.
            ElementType::Bool | ElementType::F16 | ElementType::Bf16 => 4.0,
            other => (other.bits() as f64 / 8.0).max(1.0),
        }
    }

    /// Most bytes.
    pub fn bytes(&self) -> f64 {
        let count = self.count() * self.sequence.unwrap_or(Range::exactly(1.0));
        count.hi * self.width()
    }

    /// All elements, where they are known exactly.
    pub fn exact(&self) -> Option<Vec<f64>> {
        self.numbers.as_ref()?.iter().map(|number| number.exact()).collect()
    }

    /// The only element.
    pub fn scalar(&self) -> Option<Range> {
        match self.numbers.as_deref() {
            Some([number]) => Some(*number),
            _ => None,
        }
    }

    /// Everything that either may be.
    pub fn or(&self, other: &Self) -> Self {
        let dims = match (&self.dims, &other.dims) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                Some(a.iter().zip(b).map(|(a, b)| a.or(*b)).collect())
            }
            _ => None,
        };
        let numbers = match (&self.numbers, &other.numbers) {
            (Some(a), Some(b)) if a.len() == b.len() && self.dims == other.dims => {
                Some(a.iter().zip(&**b).map(|(a, b)| a.or(*b)).collect())
            }
            _ => None,
        };
        let sequence = match (self.sequence, other.sequence) {
            (Some(a), Some(b)) => Some(a.or(b)),
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => Some(one.or(Range::exactly(1.0))),
        };
        let element = if self.width() >= other.width() { self.element } else { other.element };
        let most = self.count().hi.max(other.count().hi);
        Self { element, dims, most, numbers, sequence, constant: self.constant && other.constant }
    }
}

impl From<&Constant> for Value {
    fn from(constant: &Constant) -> Self {
        let dims = constant.shape.iter().map(|&dim| Range::from(dim)).collect();
        let numbers = constant
            .values
            .as_ref()
            .map(|values| values.iter().map(|&value| Range::new(value, value)).collect());
        Self { constant: true, ..Self::tensor(constant.element, dims).with(numbers) }
    }
}

/// Elements of that shape.
pub(crate) fn product(dims: &[Range]) -> Range {
    dims.iter().fold(Range::exactly(1.0), |product, dim| product * *dim)
}

/// `[32, ≤ 10, ?]`.
pub(crate) fn describe(dims: Option<&[Range]>) -> String {
    let Some(dims) = dims else { return " of an unknown number of dimensions".to_owned() };
    let dims: Vec<_> = dims
        .iter()
        .map(|dim| match (dim.exact(), dim.is_bounded()) {
            (Some(size), _) => format!("{size}"),
            (None, true) => format!("≤ {}", dim.hi),
            (None, false) => "?".to_owned(),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}
