//! Where the cells of a line end, found eight bytes at a time.

use std::ops::Range;

/// Cells whose ends are found at once.
const CELLS: usize = 64;

/// Ends of cells; room for those of eight more bytes than are wanted.
pub struct Ends([usize; CELLS + 8]);

impl Default for Ends {
    fn default() -> Self {
        Self([0; CELLS + 8])
    }
}

impl Ends {
    /// Of the first cells in a range of a text, as many as are wanted and there is room for; at least of one. The end of the
    /// range is the last cell's.
    #[inline(always)]
    pub fn find(&mut self, text: &[u8], range: Range<usize>, delimiter: u8, wanted: usize) -> &[usize] {
        let wanted = wanted.min(CELLS);
        let pattern = u64::from(delimiter) * 0x0101_0101_0101_0101;
        let mut found = 0;
        let mut at = range.start;
        while at < range.end && found < wanted {
            let bytes = eight(&text[at..]) ^ pattern;
            // The highest bit of each byte that is zero, and of no other.
            let low = (bytes & 0x7f7f_7f7f_7f7f_7f7f) + 0x7f7f_7f7f_7f7f_7f7f;
            let mut delimiters = !(low | bytes) & 0x8080_8080_8080_8080;
            while delimiters != 0 {
                self.0[found] = at + (delimiters.trailing_zeros() / 8) as usize;
                found += 1;
                delimiters &= delimiters - 1;
            }
            at += 8;
        }
        while found > 0 && self.0[found - 1] >= range.end {
            found -= 1;
        }
        if found < wanted {
            self.0[found] = range.end;
            found += 1;
        }
        &self.0[..found.min(wanted)]
    }
}

/// The first eight bytes; behind the end of a text, zeros.
#[inline(always)]
pub fn eight(text: &[u8]) -> u64 {
    match text.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => few(text),
    }
}

#[cold]
fn few(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..text.len()].copy_from_slice(text);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cells_end_at_delimiters_and_at_the_end(
            line in "[0-9,\\-;+.\u{80}]{0,200}",
            after in "[0-9,\n]{0,12}",
            start in 0usize..20,
            wanted in 1usize..100,
        ) {
            let text = format!("{line}{after}");
            let range = start.min(line.len())..line.len();
            let mut expected: Vec<usize> =
                range.clone().filter(|&at| text.as_bytes()[at] == b',').collect();
            expected.push(range.end);
            expected.truncate(wanted.min(CELLS));
            let mut ends = Ends::default();
            prop_assert_eq!(ends.find(text.as_bytes(), range, b',', wanted), expected);
        }
    }
}
