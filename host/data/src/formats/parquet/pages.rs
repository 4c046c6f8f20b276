//! What the pages of a Parquet column say of themselves, in Thrift's compact protocol:
//! <https://parquet.apache.org/docs/file-format/data-pages/>,
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// Structures in structures, at most.
const MAX_DEPTH: u32 = 16;
/// Each value is the one before it, but for its end: a short page unpacks to any size. Text that is written so is not read.
const DELTA_BYTE_ARRAY: i64 = 7;

/// Fields of a page's header that are looked at, each as its number and those of what it is in.
const UNPACKED: u32 = 2;
const PACKED: u32 = 3;
const ENCODING: u32 = 5 * 64 + 2;
const ENCODING_V2: u32 = 8 * 64 + 4;

/// What a page's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Bytes of the header itself.
    pub header: usize,
    /// Bytes after it.
    pub packed: usize,
    /// Bytes to which they unpack.
    pub unpacked: u64,
}

/// The header at the start of these bytes. None: there is none that is complete. Err: the page is not read.
pub fn header(bytes: &[u8]) -> Result<Option<Page>, String> {
    let mut header = Compact { bytes, found: Vec::new() };
    if header.structure(0, 0).is_none() {
        return Ok(None);
    }
    let field = |id| header.found.iter().find(|(field, _)| *field == id).map(|(_, value)| *value);
    let packed = field(PACKED).and_then(|size| usize::try_from(size).ok());
    let unpacked = field(UNPACKED).and_then(|size| u64::try_from(size).ok());
    let (Some(packed), Some(unpacked)) = (packed, unpacked) else { return Ok(None) };
    if [ENCODING, ENCODING_V2].into_iter().any(|encoding| field(encoding) == Some(DELTA_BYTE_ARRAY)) {
        return Err(
            "a column in the encoding DELTA_BYTE_ARRAY; write it as PLAIN or with a dictionary".to_owned()
        );
    }
    Ok(Some(Page { header: bytes.len() - header.bytes.len(), packed, unpacked }))
}

/// Bytes to which all pages of a column chunk unpack. Err: they are not pages.
pub fn unpacked(chunk: &[u8]) -> Result<u64, String> {
    let mut rest = chunk;
    let mut sum = 0u64;
    while !rest.is_empty() {
        let damaged = || format!("truncated or damaged: no page {} bytes before a column's end", rest.len());
        let page = header(rest)?.ok_or_else(damaged)?;
        sum = sum.saturating_add(page.unpacked);
        rest = rest[page.header..].get(page.packed..).ok_or_else(damaged)?;
    }
    Ok(sum)
}

/// Reads a structure, and keeps its integers.
struct Compact<'a> {
    bytes: &'a [u8],
    found: Vec<(u32, i64)>,
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }

    fn skip(&mut self, len: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(len).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Its fields are found under `path` and their own numbers.
    fn structure(&mut self, path: u32, depth: u32) -> Option<()> {
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => self.integer()?,
                step => id.checked_add(i64::from(step))?,
            };
            // Such a number is none that is looked for.
            let field = if (1..64).contains(&id) && path < 64 { path * 64 + id as u32 } else { u32::MAX };
            match head & 0xf {
                // True and false are types.
                1 | 2 => {}
                kind => self.value(kind, field, depth)?,
            }
        }
    }

    fn value(&mut self, kind: u8, field: u32, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            1..=3 => self.skip(1),
            4..=6 => {
                let value = self.integer()?;
                if field != u32::MAX {
                    self.found.push((field, value));
                }
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let len = self.varint()?;
                self.skip(len)
            }
            9 | 10 => {
                let head = self.byte()?;
                let len = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                self.elements(len, &[head & 0xf], depth)
            }
            11 => {
                let len = self.varint()?;
                let kinds = if len == 0 { 0 } else { self.byte()? };
                self.elements(len, &[kinds >> 4, kinds & 0xf], depth)
            }
            12 => self.structure(field, depth + 1),
            13 => self.skip(16),
            _ => None,
        }
    }

    /// Each takes a byte at least, so that their number is bounded by what there is.
    fn elements(&mut self, len: u64, kinds: &[u8], depth: u32) -> Option<()> {
        for _ in 0..len {
            for &kind in kinds {
                self.value(kind, u32::MAX, depth + 1)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page's header: type 0, sizes, and in field 5 number of values and encoding.
    fn page(unpacked: i64, packed: i64, encoding: i64, body: usize) -> Vec<u8> {
        fn integer(value: i64, into: &mut Vec<u8>) {
            let mut value = ((value << 1) ^ (value >> 63)) as u64;
            while value >= 0x80 {
                into.push(value as u8 | 0x80);
                value >>= 7;
            }
            into.push(value as u8);
        }
        let mut bytes = Vec::new();
        for value in [0, unpacked, packed] {
            bytes.push(0x15);
            integer(value, &mut bytes);
        }
        bytes.push(0x2c);
        for value in [10, encoding] {
            bytes.push(0x15);
            integer(value, &mut bytes);
        }
        bytes.extend([0, 0]);
        bytes.resize(bytes.len() + body, 7);
        bytes
    }

    #[test]
    fn pages_are_added_up() {
        let chunk = [page(1000, 3, 0, 3), page(i64::from(i32::MAX), 200, 2, 200)].concat();
        assert_eq!(unpacked(&chunk), Ok(1000 + i32::MAX as u64));
        assert_eq!(unpacked(&[]), Ok(0));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let good = page(1000, 3, 0, 3);
        for len in 1..good.len() {
            assert!(unpacked(&good[..len]).is_err(), "{len} bytes");
        }
        assert!(unpacked(&page(10, -1, 0, 0)).is_err());
        assert!(unpacked(&page(-1, 1, 0, 1)).is_err());
        assert!(unpacked(&page(10, 1, DELTA_BYTE_ARRAY, 1)).unwrap_err().contains("DELTA_BYTE_ARRAY"));
        // A list that says it has 2⁶³ structures.
        assert!(unpacked(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]).is_err());
        // Structures without an end.
        assert!(unpacked(&[0x1c; 10_000]).is_err());
    }
}
