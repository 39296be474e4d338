//! Everything it takes to train a model again, byte for byte: `train.toml`.

use std::fs::File;
use std::io;
use std::path::Path;

use larder_policy::learned::features::schema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Fit};

/// What a model was made from, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The command, with the traces by name.
    pub command: String,
    /// The version of larder.
    pub larder: String,
    /// The commit it was built from, where it is known. It is no part of the comparison: other commits may train alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The features' schema, in hexadecimal.
    pub schema: String,
    /// What can be chosen.
    pub settings: Settings,
    /// How the learner learned.
    pub fit: Fit,
    /// The traces, in order.
    #[serde(rename = "trace")]
    pub traces: Vec<TraceRecord>,
}

/// What can be chosen for a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The policy that learns.
    pub policy: String,
    /// The sizes.
    pub capacities: Vec<String>,
    /// What an entry weighs: objects or bytes.
    pub weigh: String,
    /// The seed of everything random.
    pub seed: u64,
    /// Most examples of each part of a cell.
    pub examples: usize,
    /// The share of each trace that is its earlier part.
    pub earlier: f64,
    /// What is held out at once: each trace, or all of a family.
    pub holdout: String,
    /// How sure of the prior the learner in a cache is.
    pub sureness: f32,
}

/// A trace a model was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// Its file's name, or the generator's description.
    pub name: String,
    /// The SHA-256 of the file; none for a generator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Rows read.
    pub rows: u64,
    /// Examples learned from.
    pub examples: u64,
}

impl Recipe {
    /// As TOML.
    ///
    /// # Errors
    /// Never: every value has a form in TOML.
    pub fn write(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|e| Error::new(crate::ErrorKind::Io, format!("train.toml: {e}")))
    }

    /// The hash of this build's schema, as the recipe gives it.
    pub fn schema_text() -> String {
        format!("{:016x}", schema())
    }
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// It cannot be read.
pub fn file_hash(path: &Path) -> Result<String, Error> {
    let fail = |e| Error::io(path, e);
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path).map_err(fail)?, &mut hash).map_err(fail)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_reads_back() {
        let recipe = Recipe {
            command: "larder train a.csv --out models/a".into(),
            larder: "1.2.3".into(),
            commit: None,
            schema: Recipe::schema_text(),
            settings: Settings {
                policy: "learned:prior=0/focus=1".into(),
                capacities: vec!["1%".into()],
                weigh: "objects".into(),
                seed: 1,
                examples: 10,
                earlier: 0.7,
                holdout: "family".into(),
                sureness: 30.0,
            },
            fit: Fit::default(),
            traces: vec![TraceRecord { name: "a.csv".into(), sha256: Some("00".into()), rows: 5, examples: 3 }],
        };
        assert_eq!(toml::from_str::<Recipe>(&recipe.write().unwrap()).unwrap(), recipe);
    }

    #[test]
    fn the_hash_is_sha256() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "abc").unwrap();
        // FIPS 180-4's example.
        let hash = file_hash(file.path()).unwrap();
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(file_hash(Path::new("/no/such")).unwrap_err().to_string().starts_with("/no/such: "));
    }
}
