//! Tools of the system that produce faults: a tracer that kills a process at a step of its work, a clock that is moved under it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::behind::{Behind, Options, Sink};

const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the long form of a test is asked for.
pub fn soak() -> bool {
    std::env::var_os("LARDER_SOAK").is_some_and(|soak| !soak.is_empty())
}

/// Whether a tool is there and allowed to do its work, as `trial` shows. Where it is missing though it has to be there, the test fails.
pub fn works(tool: &str, trial: &[&str]) -> bool {
    let required =
        ["CI", "LARDER_REQUIRE_TRACES"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    match Command::new(tool).args(trial).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => true,
        Ok(_) => {
            eprintln!("skipped: {tool} is not allowed to do its work here");
            false
        }
        Err(_) => {
            assert!(!required || cfg!(not(target_os = "linux")), "{tool} is missing: install its package");
            eprintln!("skipped: no {tool}");
            false
        }
    }
}

/// Whether a process can be killed at its system calls.
pub fn can_trace() -> bool {
    works("strace", &["-qq", "-o", "/dev/null", "true"])
}

/// Opens a log again whose lock may be held a little longer: by its last thread, or by the child of another test that has not become
/// another program yet.
pub async fn reopen(folder: &Path, options: Options, sink: Arc<dyn Sink>) -> Behind {
    let from = Instant::now();
    loop {
        match Behind::open(folder, options.clone(), sink.clone()).await {
            Ok(behind) => return behind,
            Err(error) => {
                assert!(error.to_string().contains("another process") && from.elapsed() < PATIENCE, "{error}")
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// This test binary again, running its ignored test `child`; `kill -9` as one of its threads enters the system call `step` for the
/// `when`-th time, before anything of the call is done.
pub fn killed_at(step: &str, when: usize, child: &str) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace=/^{step}")])
        .args(["-e", &format!("inject=/^{step}:signal=SIGKILL:when={when}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", child])
        .stdout(Stdio::piped());
    command
}
