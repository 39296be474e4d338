//! Dates of logs, as microseconds since 1970.

use larder_policy::Time;

use crate::parse;

/// `2020-10-10T13:55:36.5Z`, with a blank for the `T`, and with an offset, `UTC` or nothing for the `Z`.
pub(crate) fn rfc3339(text: &[u8]) -> Option<Time> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', rest @ ..] = text else { return None };
    let days = days(number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let (micros, zone) = match rest {
        [b'.', decimals @ ..] => {
            let digits = decimals.iter().take_while(|b| b.is_ascii_digit()).count();
            (parse::seconds(&[b"0.", &decimals[..digits]].concat())?.0, &decimals[digits..])
        }
        zone => (0, zone),
    };
    at(days, clock, zone.trim_ascii()).map(|t| Time(t.0 + micros))
}

/// `10/Oct/2000:13:55:36 -0700`, as access logs have it.
pub(crate) fn access_log(text: &[u8]) -> Option<Time> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let [d1, d2, b'/', m1, m2, m3, b'/', y1, y2, y3, y4, b':', rest @ ..] = text else { return None };
    let month = MONTHS.iter().position(|m| **m == [*m1, *m2, *m3])?;
    let days = days(number(&[*y1, *y2, *y3, *y4])?, month as i64 + 1, number(&[*d1, *d2])?)?;
    let (clock, zone) = rest.split_at_checked(8)?;
    at(days, clock, zone.trim_ascii())
}

fn at(days: i64, clock: &[u8], zone: &[u8]) -> Option<Time> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    // A leap second is 60.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    u64::try_from(seconds).ok().map(|s| Time(s * 1_000_000))
}

/// Seconds east of Greenwich.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, h, m) = match zone {
        [] | b"Z" | b"z" | b"UTC" | b"GMT" => return Some(0),
        [sign, h1, h2] => (sign, [*h1, *h2], [b'0', b'0']),
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => (sign, [*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let seconds = number(&h)? * 3600 + number(&m)? * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    parse::whole(digits).map(u64::cast_signed)
}

/// Days from 1970-01-01 in the Gregorian calendar, by years that begin in March (the algorithm is Hinnant's).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        // `date -u -d ... +%s` agrees.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2024-03-01 00:00:00", 1_709_251_200),
            ("2024-03-01T01:30:00+01:30", 1_709_251_200),
            ("2024-03-01 00:00:00 UTC", 1_709_251_200),
            ("2024-03-01 00:00:00+00", 1_709_251_200),
            ("2024-02-29 19:00:00 -05", 1_709_251_200),
        ] {
            assert_eq!(rfc3339(text.as_bytes()), Some(Time(seconds * 1_000_000)), "{text}");
        }
        assert_eq!(rfc3339(b"1970-01-01T00:00:01.25Z"), Some(Time(1_250_000)));
        assert_eq!(access_log(b"10/Oct/2000:13:55:36 -0700"), Some(Time(971_211_336_000_000)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-31T00:00:00Z", "2000-04-31T00:00:00Z"] {
            assert_eq!(rfc3339(text.as_bytes()), None, "{text}");
        }
        // Digits after the seconds are decimals only behind a point.
        for text in ["2000-01-01T00:00:00999999999999Z", "2000-01-01T00:00:00.1.2Z"] {
            assert_eq!(rfc3339(text.as_bytes()), None, "{text}");
        }
        assert_eq!(rfc3339(b"1970-01-01T00:00:01.99999999999999999999Z"), Some(Time(1_999_999)));
        for text in ["2000-13-01T00:00:00Z", "2000-01-01T24:00:00Z", "1960-01-01T00:00:00Z", "2000-01-01", "x", ""] {
            assert_eq!(rfc3339(text.as_bytes()), None, "{text}");
        }
        assert_eq!(access_log(b"10/Okt/2000:13:55:36 -0700"), None);
        assert_eq!(access_log(b"10/Oct/2000:13:55:36 *0700"), None);
    }
}
