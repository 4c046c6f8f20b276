//! The header of a NumPy array, <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::Read;

use crate::error::DataError;
use crate::tensor::DType;

/// Header that is read, at most.
const MAX_HEADER: usize = 64 << 10;

/// How an element is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Half, single and double precision.
    F2,
    #[allow(missing_docs)]
    F4,
    #[allow(missing_docs)]
    F8,
    /// Integers.
    I4,
    #[allow(missing_docs)]
    I8,
    #[allow(missing_docs)]
    U1,
}

impl Kind {
    fn parse(descr: &str) -> Option<Self> {
        Some(match descr {
            "<f2" => Self::F2,
            "<f4" => Self::F4,
            "<f8" => Self::F8,
            "<i4" => Self::I4,
            "<i8" => Self::I8,
            "|u1" | "<u1" => Self::U1,
            _ => return None,
        })
    }

    /// Of the array as it is read.
    pub fn dtype(self) -> DType {
        match self {
            Self::F2 => DType::F16,
            Self::F4 => DType::F32,
            Self::F8 => DType::F64,
            Self::I4 => DType::I32,
            Self::I8 => DType::I64,
            Self::U1 => DType::U8,
        }
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::U1 => 1,
            Self::F2 => 2,
            Self::F4 | Self::I4 => 4,
            Self::F8 | Self::I8 => 8,
        }
    }
}

#[derive(Debug)]
pub struct Header {
    /// Of the elements.
    pub kind: Kind,
    /// The first index moves fastest.
    pub fortran: bool,
    /// Sizes.
    pub shape: Vec<usize>,
}

impl Header {
    /// At the start of a file.
    pub fn read(file: &mut impl Read, what: &str) -> Result<Self, DataError> {
        let not_npy = || DataError::malformed(what, "not a NumPy array");
        let mut bytes = |len: usize| {
            let mut bytes = vec![0; len];
            file.read_exact(&mut bytes).map(|()| bytes).map_err(|_| not_npy())
        };
        let magic = bytes(8)?;
        if !magic.starts_with(b"\x93NUMPY") {
            return Err(not_npy());
        }
        let len = match magic[6] {
            1 => bytes(2)?,
            2 | 3 => bytes(4)?,
            version => {
                return Err(DataError::unsupported(
                    what,
                    format!("version {version} of NumPy's array format is not known"),
                ));
            }
        };
        let len = len.iter().rev().fold(0usize, |len, &byte| len << 8 | usize::from(byte));
        if len > MAX_HEADER {
            return Err(DataError::malformed(
                what,
                format!("a header of {len} bytes, where {MAX_HEADER} are allowed"),
            ));
        }
        let text = String::from_utf8(bytes(len)?).map_err(|_| not_npy())?;
        let (descr, fortran, shape) = Literal(&text).header().ok_or_else(|| {
            DataError::malformed(what, "the header is not that of an array of plain numbers")
        })?;
        let kind = Kind::parse(descr).ok_or_else(|| {
            let descr: String = descr.chars().take(16).collect();
            let known = "<f2, <f4, <f8, <i4, <i8 or |u1";
            DataError::unsupported(what, format!("elements of type \"{descr}\"; use {known}"))
        })?;
        Ok(Self { kind, fortran, shape })
    }
}

/// The part of a Python literal that a header is:
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    fn header(&mut self) -> Option<(&'a str, bool, Vec<usize>)> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.symbol("{").then_some(())?;
        while !self.symbol("}") {
            let key = self.string()?;
            self.symbol(":").then_some(())?;
            match key {
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return None,
            }
            if !self.symbol(",") {
                self.symbol("}").then_some(())?;
                break;
            }
        }
        self.0.trim().is_empty().then_some(())?;
        Some((descr?, fortran?, shape?))
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(symbol);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn string(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let quote = text.chars().next().filter(|&quote| quote == '\'' || quote == '"')?;
        let (string, rest) = text[1..].split_once(quote)?;
        self.0 = rest;
        Some(string)
    }

    fn boolean(&mut self) -> Option<bool> {
        match (self.symbol("True"), self.symbol("False")) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut dims = Vec::new();
        self.symbol("(").then_some(())?;
        while !self.symbol(")") {
            let text = self.0.trim_start();
            let digits = text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
            dims.push(text[..digits].parse().ok()?);
            // Python 2 wrote `3L`.
            self.0 = text[digits..].strip_prefix('L').unwrap_or(&text[digits..]);
            if !self.symbol(",") {
                self.symbol(")").then_some(())?;
                break;
            }
        }
        Some(dims)
    }
}
