//! A model's folder: the artefact, its card, the recipe and the picture; written whole or not at all, read through a gate.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use larder_policy::Rng;
use larder_policy::learned::{Features, HORIZONS, Prior};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::{Error, ErrorKind};

/// The artefact's name in its folder.
pub const MODEL: &str = "model.larder";

/// Where the two generations before it are kept.
const BEFORE: [&str; 2] = ["model.1.larder", "model.2.larder"];

/// No model is as large: what is larger is not read.
const MOST_BYTES: u64 = 1 << 20;

/// Scores an artefact carries, to see that a reader scores as its maker did.
const GOLDEN: usize = 32;

const SPANS: usize = HORIZONS.len();

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The artefact.
    pub model: Vec<u8>,
    /// `card.md`.
    pub card: String,
    /// `train.toml`.
    pub recipe: String,
    /// `held_out.tsv`.
    pub held_out: String,
    /// `reliability.svg`.
    pub reliability: String,
}

impl Contents {
    fn files(&self) -> [(&'static str, &[u8]); 5] {
        [
            ("card.md", self.card.as_bytes()),
            ("train.toml", self.recipe.as_bytes()),
            ("held_out.tsv", self.held_out.as_bytes()),
            ("reliability.svg", self.reliability.as_bytes()),
            (MODEL, &self.model),
        ]
    }

    /// Writes the folder: all files beside those that are there, and then each takes its place in one step, the artefact last. What was the artefact
    /// becomes the generation before: three are kept. A file that is a link is replaced where it leads.
    ///
    /// # Errors
    /// The folder or a file cannot be written; what was there before is still there then.
    pub fn publish(&self, folder: &Path) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let [before, long_before] = BEFORE.map(|name| folder.join(name));
        let current = read_if_there(&folder.join(MODEL))?;
        let mut written = Vec::new();
        if let Some(current) = current.filter(|bytes| *bytes != self.model) {
            if let Some(bytes) = read_if_there(&before)? {
                written.push(Written::beside(&long_before, &bytes)?);
            }
            written.push(Written::beside(&before, &current)?);
        }
        for (name, bytes) in self.files() {
            written.push(Written::beside(&folder.join(name), bytes)?);
        }
        written.into_iter().try_for_each(Written::replace)
    }

    /// What a folder holds that differs from this, one line each. Of the recipes, the commits are not compared.
    ///
    /// # Errors
    /// A file is there but cannot be read.
    pub fn differences(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for (name, ours) in self.files() {
            let Some(theirs) = read_if_there(&folder.join(name))? else {
                found.push(format!("{name} is not there"));
                continue;
            };
            let (ours, theirs) = match name {
                "train.toml" => (without_commit(ours), without_commit(&theirs)),
                _ => (ours.to_vec(), theirs),
            };
            if let Some(at) = (0..ours.len().max(theirs.len())).find(|&at| ours.get(at) != theirs.get(at)) {
                found.push(format!("{name} differs from byte {at} on"));
            }
        }
        Ok(found)
    }
}

fn without_commit(recipe: &[u8]) -> Vec<u8> {
    recipe
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| !line.starts_with(b"commit = "))
        .flatten()
        .copied()
        .collect()
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// Bytes that are to take a file's place so that a reader, or a machine that loses power, sees the old or the new ones.
struct Written {
    path: PathBuf,
    file: NamedTempFile,
}

impl Written {
    fn beside(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        // A link that leads nowhere yet is replaced itself.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let fail = |e| Error::io(&path, e);
        if path.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        let mut file = tempfile::Builder::new().prefix(".larder-").tempfile_in(folder_of(&path)).map_err(fail)?;
        file.write_all(bytes).map_err(fail)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // A temporary file is its owner's alone; a model is for all who may read the folder.
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(fail)?;
        }
        file.as_file().sync_all().map_err(fail)?;
        Ok(Self { path, file })
    }

    fn replace(self) -> Result<(), Error> {
        let Self { path, file } = self;
        file.persist(&path).map_err(|e| Error::io(&path, e.error))?;
        // The name is on the disk once its folder is; where folders cannot be opened, that is the system's business.
        if let Ok(folder) = File::open(folder_of(&path)) {
            folder.sync_all().map_err(|e| Error::io(&path, e))?;
        }
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads the prior of a model's folder, or of a file, through the gate: size, checksum, schema, finite and bounded weights, and the
/// scores its maker had.
///
/// # Errors
/// It cannot be read, or does not pass; the message says why.
pub fn load(path: &Path) -> Result<Prior, Error> {
    let path: PathBuf = if path.is_dir() { path.join(MODEL) } else { path.to_owned() };
    // By what is read: what is no file has no length.
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|e| Error::io(&path, e))?;
    if bytes.len() as u64 > MOST_BYTES {
        let message = format!("{}: no larder model is larger than {MOST_BYTES} bytes", path.display());
        return Err(Error::new(ErrorKind::BadModel, message));
    }
    let prior = Prior::from_bytes(&bytes).map_err(|e| Error::model(&path, e))?;
    match unlike_its_maker(&prior) {
        None => Ok(prior),
        Some(what) => Err(Error::new(ErrorKind::BadModel, format!("{}: model: {what}", path.display()))),
    }
}

/// What an artefact says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The model's name.
    pub name: String,
    /// The version of larder that made it.
    pub larder: String,
    /// Examples it learned from.
    pub examples: u64,
    /// The seed of its training.
    pub seed: u64,
    /// Mean reduction of the miss ratio over a cold start, on traces held out; none where one trace was all there was.
    pub other_traces: Option<f64>,
    /// The same on the later part of the traces it learned from the earlier part of.
    pub later_time: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Golden {
    features: [u8; 16],
    logits: [f64; SPANS],
}

/// The prior with its metadata and golden scores inside.
///
/// # Errors
/// As [`Prior::new`].
pub fn sealed(prior: &Prior, metadata: &Metadata) -> Result<Prior, Error> {
    let weights: Vec<f32> = prior.weights().flatten().collect();
    // The scores are those of the weights as they are stored, in steps of the scale.
    let stored = Prior::new(&weights, prior.sureness(), "")?;
    let mut rng = Rng::new(metadata.seed);
    let golden: Vec<Golden> = (0..GOLDEN)
        .map(|_| {
            let features: [u8; 16] = std::array::from_fn(|_| rng.below(64) as u8);
            Golden { features, logits: logits(&stored, &Features(features)) }
        })
        .collect();
    let text = serde_json::to_value(metadata).and_then(|mut value| {
        value["golden"] = serde_json::to_value(golden)?;
        serde_json::to_string(&value)
    });
    let text = text.map_err(|e| Error::new(ErrorKind::BadModel, format!("metadata: {e}")))?;
    Ok(Prior::new(&weights, prior.sureness(), text)?)
}

fn logits(prior: &Prior, features: &Features) -> [f64; SPANS] {
    let weights: Vec<[f32; SPANS]> = prior.weights().collect();
    let active = features.active();
    std::array::from_fn(|span| active.iter().map(|&place| f64::from(weights[usize::from(place)][span])).sum())
}

/// Sets the scores an artefact carries against what this build scores; an artefact without any passes.
fn unlike_its_maker(prior: &Prior) -> Option<String> {
    #[derive(Deserialize)]
    struct Scores {
        #[serde(default)]
        golden: Vec<Golden>,
    }
    let scores: Scores = match serde_json::from_str(prior.metadata()) {
        Ok(scores) => scores,
        Err(e) => return Some(format!("its metadata is not what it should be: {e}")),
    };
    let differs = |golden: &Golden| {
        let ours = logits(prior, &Features(golden.features));
        ours.iter()
            .zip(golden.logits)
            .any(|(ours, theirs)| (ours - theirs).is_nan() || (ours - theirs).abs() > 1e-6 * ours.abs().max(1.0))
    };
    let at = scores.golden.iter().position(differs)?;
    Some(format!("score {at} is not the one its maker had: train it again with this version"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_policy::learned::features::WEIGHTS;

    fn metadata(seed: u64) -> Metadata {
        let name = "test".to_owned();
        Metadata { name, larder: "0".into(), examples: 1, seed, other_traces: None, later_time: Some(0.01) }
    }

    fn contents(seed: u64) -> Contents {
        let mut rng = Rng::new(seed);
        let weights: Vec<f32> = (0..WEIGHTS * SPANS).map(|_| rng.unit() as f32 - 0.5).collect();
        let prior = sealed(&Prior::new(&weights, 30.0, "").unwrap(), &metadata(seed)).unwrap();
        let recipe = format!("larder = \"1\"\ncommit = \"{seed}\"\n");
        let (card, held_out, reliability) = ("# a".into(), "trace\n".into(), "<svg/>".into());
        Contents { model: prior.to_bytes(), card, recipe, held_out, reliability }
    }

    #[test]
    fn what_is_published_is_loaded_and_three_generations_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("deep/general");
        for seed in 1..=4 {
            contents(seed).publish(&folder).unwrap();
            // Once more changes nothing.
            contents(seed).publish(&folder).unwrap();
        }
        let generations = [MODEL, BEFORE[0], BEFORE[1]].map(|name| fs::read(folder.join(name)).unwrap());
        assert_eq!(generations, [4, 3, 2].map(|seed| contents(seed).model));
        let prior = load(&folder).unwrap();
        assert_eq!(prior, Prior::from_bytes(&contents(4).model).unwrap());
        assert_eq!(load(&folder.join(MODEL)).unwrap(), prior);
        assert_eq!(serde_json::from_str::<Metadata>(prior.metadata()).unwrap(), metadata(4));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 7, "no temporary file is left");
    }

    #[test]
    fn what_cannot_be_written_whole_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        contents(1).publish(folder.path()).unwrap();
        let picture = folder.path().join("reliability.svg");
        fs::remove_file(&picture).unwrap();
        fs::create_dir(&picture).unwrap();
        let error = contents(2).publish(folder.path()).unwrap_err().to_string();
        assert!(error.contains("reliability.svg"), "{error}");
        assert_eq!(fs::read(folder.path().join(MODEL)).unwrap(), contents(1).model);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5, "no generation before, nothing beside");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (there, here) = (folder.path().join("kernel.larder"), folder.path().join("model"));
        fs::write(&there, "old").unwrap();
        fs::create_dir(&here).unwrap();
        std::os::unix::fs::symlink("../kernel.larder", here.join(MODEL)).unwrap();
        contents(1).publish(&here).unwrap();
        assert!(here.join(MODEL).is_symlink());
        assert_eq!(fs::read(there).unwrap(), contents(1).model);
        assert_eq!(fs::read(here.join(BEFORE[0])).unwrap(), b"old");
    }

    #[test]
    fn differences_are_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(contents(1).differences(folder.path()).unwrap().len(), 5);
        contents(1).publish(folder.path()).unwrap();
        assert_eq!(contents(1).differences(folder.path()).unwrap(), [""; 0]);
        let other = Contents { recipe: contents(2).recipe, ..contents(1) };
        assert_eq!(other.differences(folder.path()).unwrap(), [""; 0], "commits are not compared");
        let other = Contents { card: "# another".into(), ..contents(1) };
        assert_eq!(other.differences(folder.path()).unwrap(), ["card.md differs from byte 3 on"]);
    }

    #[test]
    fn the_gate_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let refusal = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            load(&path).unwrap_err().to_string()
        };
        assert!(refusal(b"").contains("cut short"));
        assert!(refusal(&vec![0; MOST_BYTES as usize + 1]).contains("no larder model is larger"));
        assert!(refusal(&contents(1).model[..100]).contains("cut short"));
        let mut golden: Metadata = metadata(1);
        golden.name = "x".into();
        let sealed = sealed(&Prior::new(&[0.5; WEIGHTS * SPANS], 1.0, "").unwrap(), &golden).unwrap();
        let other = Prior::new(&[0.6; WEIGHTS * SPANS], 1.0, sealed.metadata()).unwrap();
        assert!(refusal(&other.to_bytes()).contains("score 0 is not the one its maker had"));
        let other = Prior::new(&[0.6; WEIGHTS * SPANS], 1.0, "no JSON").unwrap();
        assert!(refusal(&other.to_bytes()).contains("metadata"));
        assert!(load(Path::new("/no/such")).unwrap_err().to_string().starts_with("/no/such: "));
    }
}
