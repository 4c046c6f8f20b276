//! Plain decimal numbers, as most cells are: an optional minus, up to seven digits, and up to seven after a point, read eight
//! bytes at a time and without asking for the sign, which nobody can guess. All others are left to `fast-float2`, or to whoever says what is wrong with them.
//!
//! A number m / 10ᵏ is rounded once where m and 10ᵏ are exact: Clinger, *How to Read Floating Point Numbers Accurately*
//! (1990). Eight digits become a number in three multiplications: Lemire, *Quickly parsing eight digits* (2018).

use super::cells::eight;

/// A type whose numbers are read.
pub trait Decimal: Sized {
    /// The number that the first `len` bytes of a text are, which may go on after them. None: this is not the way to read it.
    fn parse(text: &[u8], len: usize) -> Option<Self>;
}

impl Decimal for f32 {
    #[inline(always)]
    fn parse(text: &[u8], len: usize) -> Option<Self> {
        /// Up to here, see below.
        const EXACT: u64 = 1 << f32::MANTISSA_DIGITS;
        // m · 10⁻ᵏ in 53 bits is within 2⁻⁵² of m / 10ᵏ, and rounds to the same f32: no such quotient is the middle between
        // two of those, and each is 2⁻⁴² of itself away from one at least (5⁷ < 2¹⁷, and middles have 25 bits).
        const PARTS: [f64; 8] = [1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7];
        match plain(text, len) {
            Some(plain) if plain.digits <= EXACT => {
                let value = (plain.digits as f64 * PARTS[plain.places & 7]) as f32;
                Some(f32::from_bits(value.to_bits() | u32::from(plain.negative) << 31))
            }
            _ => fast_float2::parse::<f32, _>(text.get(..len)?).ok().filter(|value| value.is_finite()),
        }
    }
}

impl Decimal for f64 {
    #[inline(always)]
    fn parse(text: &[u8], len: usize) -> Option<Self> {
        const POWERS: [f64; 8] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
        match plain(text, len) {
            // Of fourteen digits: every such integer is an f64.
            Some(plain) => {
                let value = plain.digits as f64 / POWERS[plain.places & 7];
                Some(f64::from_bits(value.to_bits() | u64::from(plain.negative) << 63))
            }
            None => fast_float2::parse::<f64, _>(text.get(..len)?).ok().filter(|value| value.is_finite()),
        }
    }
}

impl Decimal for i64 {
    #[inline(always)]
    fn parse(text: &[u8], len: usize) -> Option<Self> {
        match plain(text, len) {
            Some(plain) if plain.places == 0 => {
                let (value, minus) = (plain.digits as i64, -i64::from(plain.negative));
                // Of eight digits at most.
                Some((value ^ minus) - minus)
            }
            Some(_) => None,
            None => long(text.get(..len)?),
        }
    }
}

/// A whole number of at most 18 digits.
fn long(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let value = || digits.iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0'));
    plain.then(|| if digits.len() < text.len() { -value() } else { value() })
}

struct Plain {
    negative: bool,
    /// At most fourteen.
    digits: u64,
    /// Of them, after the point: at most seven.
    places: usize,
}

#[inline(always)]
fn plain(text: &[u8], len: usize) -> Option<Plain> {
    let negative = text.first() == Some(&b'-');
    let sign = usize::from(negative);
    let (text, len) = (text.get(sign..)?, len.wrapping_sub(sign));
    match len {
        1..=8 => short(text, len, negative),
        9..=15 => middle(text, len, negative),
        _ => None,
    }
}

/// Of at most eight bytes: the point is taken out from between the digits.
#[inline(always)]
fn short(text: &[u8], len: usize, negative: bool) -> Option<Plain> {
    const POINT: u64 = (b'.' ^ b'0') as u64;
    let bytes = eight(text) ^ ZEROS;
    let others = others(bytes) & (u64::MAX >> (64 - 8 * len));
    if others == 0 {
        return Some(Plain { negative, digits: value(bytes, len), places: 0 });
    }
    let point = (others.trailing_zeros() / 8) as usize;
    let before = (1u64 << (8 * point)) - 1;
    let digits = (bytes & before) | ((bytes >> 8) & !before);
    let one = others & (others - 1) == 0 && (bytes >> (8 * point)) & 0xff == POINT && len > 1;
    one.then(|| Plain { negative, digits: value(digits, len - 1), places: len - 1 - point })
}

/// Of more: up to seven digits on either side of the point.
#[inline(always)]
fn middle(text: &[u8], len: usize, negative: bool) -> Option<Plain> {
    const POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    let (digits, whole) = leading(text);
    let (after, places) = leading(text.get(whole + 1..)?);
    let fits = text[whole] == b'.' && places < 8 && whole + 1 + places == len;
    fits.then(|| Plain { negative, digits: digits * POWERS[places & 7] + after, places })
}

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The digits at the start, at most eight: their value, and how many.
#[inline(always)]
fn leading(text: &[u8]) -> (u64, usize) {
    let bytes = eight(text) ^ ZEROS;
    let count = (others(bytes).trailing_zeros() / 8) as usize;
    (if count == 0 { 0 } else { value(bytes, count) }, count)
}

/// The highest bit of bytes that are more than 9. Right up to the first of them; what that one carries goes into others.
#[inline(always)]
fn others(bytes: u64) -> u64 {
    (bytes.wrapping_add(0x7676_7676_7676_7676) | bytes) & 0x8080_8080_8080_8080
}

/// The number whose digits are the first bytes, from one to eight of them.
#[inline(always)]
fn value(bytes: u64, count: usize) -> u64 {
    // Zeros in front instead of what follows.
    let digits = bytes << ((64 - 8 * count) & 63);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & 0xff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let low = ((pairs >> 16) & 0xff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    high.wrapping_add(low) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_whole_cells() {
        for (text, value) in [
            ("0", 0.0),
            ("7", 7.0),
            ("1234567", 1_234_567.0),
            ("12345678", 12_345_678.0),
            ("123456789", 123_456_789.0),
            ("-0.5", -0.5),
            (".25", 0.25),
            ("3.", 3.0),
            ("1.0000001", 1.000_000_1),
            ("1.00000001", 1.000_000_01),
            ("1e3", 1000.0),
            ("9999999.9999999", 9_999_999.999_999_9),
            ("1234567.5", 1_234_567.5),
            ("0.000001", 0.000_001),
        ] {
            for after in ["", ",1", "\n12345678", "9999999999"] {
                let whole = format!("{text}{after}");
                assert_eq!(f64::parse(whole.as_bytes(), text.len()), Some(value), "{whole}");
                assert_eq!(f32::parse(whole.as_bytes(), text.len()), Some(value as f32), "{whole}");
            }
        }
        for text in
            ["", "-", ".", "-.", "x", ",1", "1,", "1.2.3", "..", "\u{ff11}", "inf", "nan", "1-", "5/6", "5:6"]
        {
            assert_eq!(f64::parse(text.as_bytes(), text.len()), None, "{text}");
            assert_eq!(f32::parse(text.as_bytes(), text.len()), None, "{text}");
            assert_eq!(i64::parse(text.as_bytes(), text.len()), None, "{text}");
        }
        assert_eq!(f32::parse(b"1e40", 4), None);
        assert_eq!(f32::parse(b"1", 2), None);
        assert_eq!(i64::parse(b"-12345678901,", 12), Some(-12_345_678_901));
        assert_eq!(i64::parse(b"1234567890123456789", 19), None, "the long road tells whether it fits");
        assert_eq!(i64::parse(b"8.0", 3), None, "the long road tells that it is whole");
        assert!((-0.0f32).to_bits() == f32::parse(b"-0", 2).unwrap().to_bits());
    }

    proptest! {
        #[test]
        fn numbers_are_what_the_standard_library_reads(
            text in "-?([0-9]{1,9}(\\.[0-9]{0,9})?|\\.[0-9]{1,9})",
            after in "[,;\n a-z0-9/:.-]{0,9}",
        ) {
            let whole = format!("{text}{after}");
            prop_assert_eq!(f64::parse(whole.as_bytes(), text.len()), text.parse().ok());
            prop_assert_eq!(f32::parse(whole.as_bytes(), text.len()), text.parse().ok());
        }

        #[test]
        fn what_is_no_number_is_none(text in "[-+0-9.,x\u{80}\u{ff}]{0,12}") {
            let parsed = f64::parse(text.as_bytes(), text.len());
            prop_assert_eq!(parsed.is_some(), text.parse::<f64>().is_ok(), "{}", text);
            prop_assert_eq!(f32::parse(text.as_bytes(), text.len()).is_some(), parsed.is_some());
        }

        #[test]
        fn whole_numbers_too(number in -999_999_999_999_999_999i64..1_000_000_000_000_000_000, after in "[,.e\n ]?", digits in 0u32..18) {
            let number = number / 10i64.pow(digits);
            let text = number.to_string();
            prop_assert_eq!(i64::parse(format!("{text}{after}").as_bytes(), text.len()), Some(number));
        }
    }
}
