//! Tables on stdout and the way numbers read in them.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// How a table is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Columns apart by blanks, for a terminal.
    Plain,
    /// For documents.
    Markdown,
}

/// A table whose first `text_columns` columns are text and whose others are numbers, aligned at the right.
pub(crate) fn table(style: Style, header: &[&str], text_columns: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(match style {
        Style::Plain => presets::NOTHING,
        Style::Markdown => presets::ASCII_MARKDOWN,
    });
    table.set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for (at, column) in table.column_iter_mut().enumerate() {
        if at >= text_columns {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if style == Style::Plain {
            column.set_padding((if at == 0 { 0 } else { 2 }, 0));
        }
    }
    table
}

/// A share of 1 in percent, with two decimals.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// A signed share of 1 in percent, with one decimal.
pub(crate) fn signed_percent(share: f64) -> String {
    // Rounded first, so that nothing reads as -0.0%.
    format!("{:+.1}%", (share * 1000.0).round() / 10.0 + 0.0)
}

/// A whole number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// A rate in millions.
pub(crate) fn millions(rate: f64) -> String {
    format!("{:.1} M/s", rate / 1e6)
}

/// Bytes in powers of 1024.
pub(crate) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// A table as text, without blanks at the ends of its lines.
pub(crate) fn text(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
