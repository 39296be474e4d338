//! Private servers, whose clock runs faster where that can be arranged, and what they count.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::target;
use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// How much faster the clock of the servers runs than ours: requests come so much faster than in life, and Redis tells ages apart by
/// seconds and lets counts decay by minutes.
pub const SPEED: u32 = 500;

/// Of a cluster.
const SLOTS: usize = 16_384;
/// With a server that starts.
const PATIENCE: Duration = Duration::from_secs(20);

/// Compiles what makes a server's clock run faster; `None` where that cannot be.
pub fn fast_clock() -> Option<PathBuf> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/l2/clock.c"));
    let library = target().join("l2-clock.so");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).status();
    compiled.is_ok_and(|status| status.success()).then(|| library.canonicalize().ok()).flatten()
}

/// A running `redis-server`, ended with it.
pub struct Server {
    process: Child,
    port: u16,
    _folder: TempDir,
}

/// What a server counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Bytes in use.
    pub used_memory: u64,
    /// Commands carried out.
    pub commands: u64,
    /// Bytes received and sent.
    pub bytes: u64,
    /// Keys evicted.
    pub evicted: u64,
}

impl Server {
    /// Starts one, on a free port, with these settings, and with a clock that [`fast_clock`] made.
    ///
    /// # Errors
    /// There is no `redis-server`, or it does not start.
    pub fn start(clock: Option<&Path>, settings: &[(&str, String)]) -> Result<Self> {
        let folder = TempDir::new()?;
        // Taken and let go: the server takes it again at once.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"]);
        // The LRU clock is read so often.
        command.args(["--port", &port.to_string(), "--hz", "500", "--dir"]).arg(folder.path());
        for (name, value) in settings {
            command.arg(format!("--{name}")).arg(value);
        }
        if let Some(clock) = clock {
            command.env("LD_PRELOAD", clock).env("SPEED", SPEED.to_string());
        }
        let process = command.stdout(Stdio::null()).spawn().context("starting redis-server: install it")?;
        let mut server = Self { process, port, _folder: folder };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(server.process.try_wait()?.is_none(), "redis-server ended at once");
            ensure!(Instant::now() < until, "redis-server does not listen on port {port}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut conn = server.connect()?;
        // Redis 7 keeps histograms of each command, some 50 KB each from its first use on, of the memory that is to be shared out; servers
        // without them do not know the setting.
        let _ = redis::cmd("CONFIG").arg("SET").arg("latency-tracking").arg("no").exec(&mut conn);
        Ok(server)
    }

    /// Starts so many as the primaries of a cluster that share its slots equally.
    ///
    /// # Errors
    /// As [`start`](Self::start), or they do not find each other.
    pub fn cluster(clock: Option<&Path>, primaries: usize, settings: &[(&str, String)]) -> Result<Vec<Self>> {
        // By a clock that runs faster, all would seem dead in no time.
        let timeout = 15_000 * SPEED;
        let more = [("cluster-enabled", "yes".to_owned()), ("cluster-node-timeout", timeout.to_string())];
        let settings = [&more, settings].concat();
        let nodes = (0..primaries).map(|_| Self::start(clock, &settings)).collect::<Result<Vec<_>>>()?;
        for (at, node) in nodes.iter().enumerate() {
            let mut conn = node.connect()?;
            let slots = [at, at + 1].map(|part| part * SLOTS / primaries);
            redis::cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(at + 1).exec(&mut conn)?;
            redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(slots[0]).arg(slots[1] - 1).exec(&mut conn)?;
            redis::cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(nodes[0].port).exec(&mut conn)?;
        }
        let whole = [format!("cluster_known_nodes:{primaries}"), format!("cluster_size:{primaries}")];
        let until = Instant::now() + PATIENCE;
        for node in &nodes {
            loop {
                let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut node.connect()?)?;
                if info.contains("cluster_state:ok") && whole.iter().all(|line| info.contains(line)) {
                    break;
                }
                ensure!(Instant::now() < until, "the nodes of a cluster do not find each other");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(nodes)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn connect(&self) -> Result<redis::Connection> {
        Ok(redis::Client::open(self.url())?.get_connection()?)
    }

    /// Changes a setting at run time.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn set(&self, name: &str, value: u64) -> Result<()> {
        Ok(redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut self.connect()?)?)
    }

    /// What it has counted.
    ///
    /// # Errors
    /// It does not answer.
    pub fn counted(&self) -> Result<Counted> {
        let info: String = redis::cmd("INFO").query(&mut self.connect()?)?;
        let figure = |field: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            let Some(figure) = line.and_then(|figure| figure.parse::<u64>().ok()) else {
                bail!("the server does not tell its {field}");
            };
            Ok(figure)
        };
        Ok(Counted {
            used_memory: figure("used_memory")?,
            commands: figure("total_commands_processed")?,
            bytes: figure("total_net_input_bytes")? + figure("total_net_output_bytes")?,
            evicted: figure("evicted_keys")?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
