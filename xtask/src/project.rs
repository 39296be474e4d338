//! What the tasks look at: the workspace as cargo describes it, and the files git tracks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};

/// The checkout the task runs in.
pub(crate) struct Project {
    /// Its top folder.
    pub(crate) root: PathBuf,
    /// Its packages; their dependencies as declared, not resolved.
    pub(crate) metadata: Metadata,
}

impl Project {
    pub(crate) fn load() -> Result<Self> {
        let metadata = MetadataCommand::new().no_deps().exec().context("reading cargo metadata")?;
        Ok(Self { root: metadata.workspace_root.clone().into_std_path_buf(), metadata })
    }

    /// The text of a file, or none where there is no such file.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok()
    }

    /// Builds the `larder` program, and says where it is.
    pub(crate) fn larder(&self) -> Result<PathBuf> {
        let mut cargo = Command::new("cargo");
        let status = cargo.args(["build", "--release", "-p", "larder-cli"]).current_dir(&self.root).status()?;
        ensure!(status.success(), "larder does not build");
        Ok(self.metadata.target_directory.as_std_path().join("release/larder"))
    }

    /// The folder of the real traces.
    pub(crate) fn traces(&self) -> PathBuf {
        self.root.join(std::env::var_os("LARDER_TRACES").map_or_else(|| "../shared/traces".into(), PathBuf::from))
    }

    /// The path below the top folder, with slashes.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().replace('\\', "/")
    }

    /// Every file of the project that is text: tracked by git, or new and not ignored.
    pub(crate) fn files(&self) -> Result<Vec<TextFile>> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&self.root);
        let output = git.output().context("running git ls-files")?;
        ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
        let names = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
        // What is tracked but deleted, or is no text, does not read.
        let read = |path: &str| self.text(path).map(|text| TextFile { path: path.to_owned(), text });
        Ok(names.split_terminator('\0').filter_map(read).collect())
    }
}

/// A file and what it says.
pub(crate) struct TextFile {
    /// Below the top folder.
    pub(crate) path: String,
    pub(crate) text: String,
}
