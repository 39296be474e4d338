//! A report for someone who was not there: one HTML page, and its figures as CSV and JSON.

mod chart;
mod data;
mod freshness;
mod html;
mod page;
mod palette;
mod reliability;
mod section;

pub use freshness::FreshnessReport;

use std::fs;
use std::path::{Path, PathBuf};

pub use reliability::reliability;

use crate::{Error, Metric, Outcome, Weigh};

/// What a report tells.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The command that makes it again.
    pub command: &'a str,
    /// Further lines of configuration: what, and its value.
    pub configuration: Vec<(&'a str, String)>,
    /// The seed of the policies' random choices.
    pub seed: u64,
    /// What an entry weighs.
    pub weigh: Weigh,
    /// Which miss ratio is compared.
    pub metric: Metric,
    /// By trace.
    pub outcomes: &'a [Outcome],
}

impl Report<'_> {
    /// Writes `report.html`, `cells.csv`, `cells.json`, `series.csv` and the curves as `curves.svg` (`curves2.svg`… for
    /// further traces) into `folder`, which is made if need be. It touches no other file. Returns the path of the page.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(folder).map_err(|e| Error::io(format!("{}: making the folder", folder.display()), e))?;
        let put = |name: &str, content: String| {
            let path = folder.join(name);
            fs::write(&path, content).map_err(|e| Error::io(format!("{}: writing", path.display()), e))?;
            Ok::<PathBuf, Error>(path)
        };
        put("cells.csv", data::cells_csv(self.outcomes))?;
        put("cells.json", data::cells_json(self)?)?;
        put("series.csv", data::series_csv(self.outcomes))?;
        for (number, outcome) in self.outcomes.iter().enumerate() {
            let suffix = if number == 0 { String::new() } else { (number + 1).to_string() };
            put(&format!("curves{suffix}.svg"), section::curves(outcome, self, page::STYLE))?;
        }
        put("report.html", self.html())
    }

    /// The page, which needs no other file and fetches nothing.
    pub fn html(&self) -> String {
        page::page(self)
    }
}
