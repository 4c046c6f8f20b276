//! The protobuf wire format: a walk over fields that copies nothing, and the bounds of what is worth reading.

use super::error::OnnxError;

/// The last field of that number, which is what protobuf says of a field given twice.
pub fn message(bytes: &[u8], number: u64) -> Result<Option<&[u8]>, OnnxError> {
    let mut last = None;
    for field in Fields(bytes) {
        if let (found, Value::Bytes(value)) = field?
            && found == number
        {
            last = Some(value);
        }
    }
    Ok(last)
}

pub fn text(bytes: &[u8], number: u64) -> Result<&str, OnnxError> {
    let bytes = message(bytes, number)?.unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|_| OnnxError::malformed("the ONNX file has a name that is not UTF-8"))
}

/// The fields of a protobuf message: number and value.
pub struct Fields<'a>(pub &'a [u8]);

pub enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes, which nothing here needs.
    Fixed,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), OnnxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| OnnxError::malformed("the ONNX file is damaged: not a protobuf message")))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
pub mod tests {
    /// A field with that content.
    pub fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut len = content.len();
        while len >= 0x80 {
            bytes.push(len as u8 | 0x80);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend(content);
        bytes
    }
}
