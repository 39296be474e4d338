//! Services end as they are asked to, by whatever asks, and leave nothing behind.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs until its page is up, its temporary files in a folder of its own.
fn started(args: &[&str], temporary: &std::path::Path) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).env_remove("LARDER_LOG").env("TMPDIR", temporary);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let (mut said, mut start) = (String::new(), 0);
    // On a busy machine warnings stand before it.
    while !said[start..].starts_with("Dashboard: ") {
        start = said.len();
        assert!(errors.read_line(&mut said).unwrap() > 0, "it ended: {said}");
    }
    (child, errors)
}

#[test]
fn a_conversion_that_is_ended_leaves_what_was_there() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there.csv");
        fs::write(&there, "before").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["convert", "gen:zipf:requests=4_000_000_000"]).arg(&there);
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        // Once there is something written.
        while !fs::read_dir(folder.path())
            .unwrap()
            .any(|file| file.unwrap().metadata().is_ok_and(|file| file.len() > 10))
        {
            assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "nothing is written");
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
        assert_eq!(fs::read_to_string(&there).unwrap(), "before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{signal}");
    }
}

#[test]
fn a_file_that_may_grow_no_further_is_told_and_not_left() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there.csv");
    fs::write(&there, "before").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 64 && exec \"$0\" convert gen:zipf:requests=500_000/keys=500_000/alpha=0 \"$1\""]);
    let output = shell.arg(env!("CARGO_BIN_EXE_larder")).arg(&there).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("there.csv") && told.contains("File too large"), "{told}");
    assert_eq!(fs::read_to_string(&there).unwrap(), "before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn of_what_flowed_in_nothing_is_left() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["stats", "-"]).env("TMPDIR", temporary.path());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // More than a pipe holds: once it is written, some of it is spooled.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all("key\n".repeat(1 << 18).as_bytes()).unwrap();
    // Who runs in the background may have been told to ignore a Ctrl-C.
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(!child.wait().unwrap().success());
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn both_signals_end_a_service_in_order() {
    let demo = ["demo", "--serve", "127.0.0.1:0", "--rate", "2000", "--workers", "8"];
    let serve = ["serve", "127.0.0.1:1", "--listen", "127.0.0.1:0"];
    for (args, tells) in [(&demo[..], "objective"), (&serve, "")] {
        for signal in ["-INT", "-TERM"] {
            let temporary = tempfile::tempdir().unwrap();
            let (child, mut errors) = started(args, temporary.path());
            // It may still be on its way to its first read.
            let pid = child.id().to_string();
            assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
            std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{args:?} {signal}");
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(told.contains(tells), "{args:?} {signal}: {told}");
            let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().collect();
            assert!(left.is_empty(), "{args:?} {signal}: {left:?}");
        }
    }
}
