//! Text that is safe in HTML, and numbers as people read them.

use std::fmt;

/// Escapes what HTML would take for its own: trace names come from outside.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A whole number, its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A whole number in three digits and a letter.
pub(super) fn short(number: f64) -> String {
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.iter().find(|(size, _)| number >= *size) {
        Some((size, letter)) => format!("{}{letter}", three_digits(number / size)),
        None => three_digits(number),
    }
}

/// Bytes in powers of 1024.
pub(super) fn bytes(number: f64) -> String {
    let steps = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match steps.iter().find(|(power, _)| number >= 2f64.powi(*power)) {
        Some((power, unit)) => format!("{} {unit}", three_digits(number / 2f64.powi(*power))),
        None => format!("{number:.0} B"),
    }
}

fn three_digits(number: f64) -> String {
    let decimals = if number >= 99.95 {
        0
    } else if number >= 9.995 {
        1
    } else {
        2
    };
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A share of 1 in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// A signed share of 1 in percent, with a true minus.
pub(super) fn signed(share: f64) -> String {
    let sign = if share < -0.0005 {
        "−"
    } else if share >= 0.0005 {
        "+"
    } else {
        ""
    };
    format!("{sign}{:.1}%", share.abs() * 100.0)
}

/// As [`signed`], without decimals, and without a plus.
pub(super) fn signed_whole(share: f64) -> String {
    let sign = if share < -0.005 { "−" } else { "" };
    format!("{sign}{:.0}%", share.abs() * 100.0)
}

/// A signed share, or a dash where there is none.
pub(super) fn or_dash(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), signed)
}

/// As [`or_dash`], without decimals.
pub(super) fn or_dash_whole(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), signed_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well_and_escapes() {
        assert_eq!(Text("<a href='x'>&\"").to_string(), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([short(64.0), short(1500.0), short(2e6), short(123_456.0)], ["64", "1.5k", "2M", "123k"]);
        assert_eq!([bytes(100.0), bytes(1536.0), bytes(5e9)], ["100 B", "1.5 KiB", "4.66 GiB"]);
        assert_eq!([signed(0.1234), signed(-0.5), signed(0.0)], ["+12.3%", "−50.0%", "0.0%"]);
    }
}
