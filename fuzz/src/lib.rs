//! Every decoder of bytes that come from outside the process, as a function that takes any bytes.
//!
//! Each must return without a panic, keep its own rules, and allocate no more than it says. `tests/decoders.rs` gives them
//! thousands of damaged samples in each run of the tests; `targets/` gives them to libFuzzer.

mod cli;
mod disk;
mod models;
pub mod mutate;
mod redis;
mod repair;
mod text;
mod tier;
mod traces;

use std::sync::LazyLock;

type Read = dyn Fn(&[u8]) + Send + Sync;

/// A decoder, and what is known about it.
pub struct Decoder {
    /// What its target is called.
    pub name: String,
    /// Reads bytes.
    read: Box<Read>,
    /// Puts right what tells damage, so that what lies behind is reached too.
    repair: Option<fn(&mut [u8])>,
    /// What it reads without an error.
    pub samples: Vec<Vec<u8>>,
    /// What one call may allocate in all: so many bytes …
    pub base: usize,
    /// … and so many for each byte it is given.
    pub times: usize,
    /// How many times as long as most a call takes.
    pub cost: u32,
}

impl Decoder {
    fn new(name: &str, read: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            read: Box::new(read),
            repair: None,
            samples: Vec::new(),
            base: 64 << 10,
            times: 64,
            cost: 1,
        }
    }

    fn sample(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.samples.push(bytes.into());
        self
    }

    fn repaired(self, repair: fn(&mut [u8])) -> Self {
        Self { repair: Some(repair), ..self }
    }

    fn allocates(self, base: usize, times: usize) -> Self {
        Self { base, times, ..self }
    }

    fn costs(self, cost: u32) -> Self {
        Self { cost, ..self }
    }

    /// Reads the bytes, and then again with their checksums put right.
    ///
    /// # Panics
    /// When the decoder breaks a rule.
    pub fn run(&self, bytes: &[u8]) {
        (self.read)(bytes);
        if let Some(repair) = self.repair {
            let mut bytes = bytes.to_vec();
            repair(&mut bytes);
            (self.read)(&bytes);
        }
    }
}

/// All of them.
pub static DECODERS: LazyLock<Vec<Decoder>> = LazyLock::new(|| {
    let all = [traces::decoders(), tier::decoders(), disk::decoders(), models::decoders(), text::decoders()];
    all.into_iter().flatten().chain(redis::decoders()).chain(cli::decoders()).collect()
});

/// Gives bytes to the decoder of this name.
///
/// # Panics
/// When it breaks a rule, or there is none.
pub fn run(name: &str, bytes: &[u8]) {
    let decoder = DECODERS.iter().find(|decoder| decoder.name == name);
    decoder.unwrap_or_else(|| panic!("there is no decoder {name}")).run(bytes);
}

/// The bytes as text, if they are.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A file that holds the bytes, for what reads no other way.
fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("a temporary file can be written");
    file
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::DECODERS;

    #[test]
    fn every_decoder_has_its_target() {
        let manifest = include_str!("../targets/Cargo.toml");
        let names = manifest.lines().filter_map(|line| line.strip_prefix("name = "));
        let mut targets: Vec<_> = names.skip(1).map(|name| name.trim_matches('"')).collect();
        let mut decoders: Vec<_> = DECODERS.iter().map(|decoder| decoder.name.as_str()).collect();
        targets.sort_unstable();
        decoders.sort_unstable();
        assert_eq!(targets, decoders);
        for name in decoders {
            let file = format!("{}/targets/fuzz_targets/{}.rs", env!("CARGO_MANIFEST_DIR"), name.replace('-', "_"));
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(text.contains(&format!("larder_fuzz::run({name:?}, bytes)")), "{file} fuzzes something else");
        }
    }
}
