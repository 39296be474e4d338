//! Numbers and times from bytes, without allocation.

use larder_policy::Time;

/// A whole number of decimal digits and nothing else; none if empty or beyond `u64`.
#[inline]
pub(crate) fn whole(bytes: &[u8]) -> Option<u64> {
    let (value, end) = digits(bytes)?;
    (end == bytes.len()).then_some(value)
}

/// A whole number, as large as `u32` at most: larger ones become `u32::MAX`.
#[inline]
pub(crate) fn capped(bytes: &[u8]) -> Option<u32> {
    whole(bytes).map(cap)
}

/// `value`, or `u32::MAX` where it is larger: a request has no room for more, and [`Skipped::cut`](crate::Skipped::cut) tells of it.
#[inline]
pub(crate) fn cap(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The number at the front of `bytes` and the digits' count; none without digits or beyond `u64`.
#[inline]
pub(crate) fn digits(bytes: &[u8]) -> Option<(u64, usize)> {
    let (mut value, mut end) = (0u64, 0);
    while let Some(digit) = bytes.get(end).map(|b| b.wrapping_sub(b'0')).filter(|d| *d <= 9) {
        // 19 digits always fit.
        value = if end < 19 {
            value.wrapping_mul(10).wrapping_add(u64::from(digit))
        } else {
            value.checked_mul(10)?.checked_add(u64::from(digit))?
        };
        end += 1;
    }
    (end > 0).then_some((value, end))
}

/// A number of at least 0 with decimals or an exponent, as `1.7e9`.
#[cold]
pub(crate) fn float(bytes: &[u8]) -> Option<f64> {
    let is_number = bytes.first().is_some_and(u8::is_ascii_digit);
    let number: Option<f64> = std::str::from_utf8(bytes).ok().filter(|_| is_number)?.parse().ok();
    number.filter(|number| number.is_finite())
}

/// Seconds with up to six decimals kept, as microseconds; further decimals are cut off.
#[inline]
pub(crate) fn seconds(bytes: &[u8]) -> Option<Time> {
    let (time, end) = leading_seconds(bytes)?;
    (end == bytes.len()).then_some(time)
}

/// As [`seconds`], of the front of `bytes`, with the length taken.
#[inline]
pub(crate) fn leading_seconds(bytes: &[u8]) -> Option<(Time, usize)> {
    let (whole, mut end) = digits(bytes)?;
    let micros = whole.checked_mul(1_000_000)?;
    if bytes.get(end) != Some(&b'.') {
        return Some((Time(micros), end));
    }
    end += 1;
    let (mut fraction, mut unit) = (0, 100_000);
    while let Some(digit) = bytes.get(end).map(|b| b.wrapping_sub(b'0')).filter(|d| *d <= 9) {
        fraction += u64::from(digit) * unit;
        unit /= 10;
        end += 1;
    }
    Some((Time(micros.checked_add(fraction)?), end))
}

/// The front of `bytes` up to `delimiter`, and what follows it; all of it and nothing where there is none.
#[inline]
pub(crate) fn split(bytes: &[u8], delimiter: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(delimiter, bytes) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

/// The words of a line, apart by any number of blanks, tabs or commas.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| matches!(b, b' ' | b'\t' | b',')).filter(|w| !w.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_end_at_u64() {
        assert_eq!(whole(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(whole(b"18446744073709551616"), None);
        assert_eq!(whole(b"99999999999999999999999"), None);
        assert_eq!(whole(b"007"), Some(7));
        for not in [&b""[..], b"-1", b"1 ", b"1.0", b"x"] {
            assert_eq!(whole(not), None);
        }
        assert_eq!(capped(b"5000000000"), Some(u32::MAX));
    }

    #[test]
    fn seconds_keep_six_decimals() {
        assert_eq!(seconds(b"5633898.368802"), Some(Time(5_633_898_368_802)));
        assert_eq!(seconds(b"1.5"), Some(Time(1_500_000)));
        assert_eq!(seconds(b"1.0000019"), Some(Time(1_000_001)));
        assert_eq!(seconds(b"1."), Some(Time(1_000_000)));
        for not in [&b""[..], b".5", b"-1", b"1e3", b"1.5s", b"18446744073709551615"] {
            assert_eq!(seconds(not), None);
        }
    }
}
