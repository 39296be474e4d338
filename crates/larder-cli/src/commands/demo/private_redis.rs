//! A `redis-server` of our own: on a socket in a folder of its own, without persistence, and gone when we are, however we end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Within which it must answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// `read` returns when the other end of the pipe is closed, by us or by whatever ended us. It keeps nothing, so that it may be killed.
const SHELL: &str = r#"redis-server "$@" &
read -r _
kill -9 $!
wait"#;

pub(super) struct PrivateRedis {
    shell: Child,
    folder: TempDir,
}

impl PrivateRedis {
    /// Starts one that holds at most so many bytes, and waits until it answers; `None` where there is no `redis-server` on the path.
    pub(super) fn start(bytes: u64) -> Result<Option<Self>, String> {
        let there = Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !cfg!(unix) || there.is_err() {
            return Ok(None);
        }
        let folder = tempfile::tempdir().map_err(|error| format!("no folder for it: {error}"))?;
        let mut command = Command::new("sh");
        command.args(["-c", SHELL, "sh", "--port", "0", "--save", "", "--appendonly", "no", "--loglevel", "warning"]);
        command.args([
            "--maxmemory",
            &bytes.to_string(),
            "--maxmemory-policy",
            "allkeys-lru",
            "--unixsocketperm",
            "700",
        ]);
        command.arg("--unixsocket").arg(socket(folder.path())).arg("--dir").arg(folder.path());
        command.arg("--logfile").arg(log(folder.path()));
        // Ctrl-C is for us alone: what we do last still finds it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let shell = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("no shell to run it: {error}"))?;
        let server = Self { shell, folder };
        let until = Instant::now() + PATIENCE;
        while !server.answers() {
            if Instant::now() > until {
                let log = std::fs::read_to_string(log(server.folder.path())).unwrap_or_default();
                let said = log.lines().last().map_or_else(String::new, |line| format!(", and says: {line}"));
                return Err(format!("it does not answer within {PATIENCE:?}{said}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(server))
    }

    pub(super) fn url(&self) -> String {
        format!("unix://{}", socket(self.folder.path()).display())
    }

    #[cfg(unix)]
    fn answers(&self) -> bool {
        std::os::unix::net::UnixStream::connect(socket(self.folder.path())).is_ok()
    }

    #[cfg(not(unix))]
    fn answers(&self) -> bool {
        false
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It may have ended by itself.
        let _ = self.shell.wait();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("redis.log")
}
