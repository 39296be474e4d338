//! libcachesim, run in a Python process of its own that obeys line by line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workload::Workload;

/// The version the figures are made with.
pub const PACKAGE: &str = "libcachesim==0.3.5";

const SCRIPT: &str = include_str!("../python/peer.py");

/// The interpreter of a virtual environment below `folder` that has libcachesim; made when missing.
///
/// # Errors
/// There is no Python, or the package cannot be installed.
pub fn python(folder: &Path) -> Result<PathBuf> {
    let python = folder.join("venv/bin/python");
    let wanted = ["-c", "import libcachesim"];
    let ready = Command::new(&python).args(wanted).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !ready {
        eprintln!("installing {PACKAGE} into {}", folder.join("venv").display());
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")))
            .context("making a virtual environment: python3 with its venv module is needed (Debian: python3-venv)")?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE]))?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// The process, holding one trace open.
pub struct Peer {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// libcachesim's version.
    pub version: String,
}

impl Peer {
    /// Starts the process.
    ///
    /// # Errors
    /// It cannot be started or does not answer.
    pub fn start(python: &Path, workload: &Workload) -> Result<Self> {
        let mut command = Command::new(python);
        command.args(["-c", SCRIPT]).args([&workload.binary, &workload.blank]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting python")?;
        let orders = process.stdin.take().context("python has no stdin")?;
        let answers = BufReader::new(process.stdout.take().context("python has no stdout")?);
        let mut peer = Self { process, orders, answers, version: String::new() };
        peer.version = peer.answer()?.concat();
        Ok(peer)
    }

    /// Replays the trace: seconds, with decoding, and the miss ratio.
    ///
    /// # Errors
    /// The process ended or answered something else, here and below.
    pub fn replay(&mut self, policy: &str, objects: u64) -> Result<(f64, f64)> {
        writeln!(self.orders, "replay\t{policy}\t{objects}")?;
        match self.answer()?.as_slice() {
            [seconds, miss_ratio] => Ok((seconds.parse()?, miss_ratio.parse()?)),
            other => bail!("libcachesim answered {other:?}"),
        }
    }

    /// Decodes the trace and does no more: seconds.
    ///
    /// # Errors
    /// As above.
    pub fn decode(&mut self) -> Result<f64> {
        writeln!(self.orders, "decode")?;
        Ok(self.answer()?.concat().parse()?)
    }

    fn answer(&mut self) -> Result<Vec<String>> {
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.answers.read_line(&mut line)? > 0, "libcachesim ended: see its message above");
            if let Some(fields) = line.trim_end().strip_prefix("ANSWER\t") {
                return Ok(fields.split('\t').map(str::to_owned).collect());
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
