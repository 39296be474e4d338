//! `larder convert` destroys nothing, however it ends.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn convert(args: &[&str], stdin: Stdio) -> Output {
    let mut larder = Command::new(env!("CARGO_BIN_EXE_larder"));
    larder.arg("convert").args(args).stdin(stdin).env_remove("LARDER_SECRET").output().unwrap()
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// A trace of 2,000 rows.
fn trace(folder: &Path) -> (String, Vec<u8>) {
    let path = folder.join("trace.csv").to_str().unwrap().to_owned();
    assert!(convert(&["gen:zipf:requests=2000/keys=100", &path], Stdio::null()).status.success());
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

#[test]
fn a_trace_survives_its_conversion_onto_another_name_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, before) = trace(folder.path());
    let other = folder.path().join("other.csv");
    fs::hard_link(&path, &other).unwrap();
    assert!(convert(&[&path, other.to_str().unwrap()], Stdio::null()).status.success());
    assert_eq!(fs::read(&path).unwrap(), before);
    let input = Stdio::from(fs::File::open(&path).unwrap());
    assert!(convert(&["-", &path], input).status.success());
    assert_eq!(fs::read(&path).unwrap().iter().filter(|byte| **byte == b'\n').count(), 2001);
}

#[test]
fn one_that_fails_leaves_what_was_there_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (path, before) = trace(folder.path());
    let bad = folder.path().join("bad.csv");
    fs::write(&bad, "time,key,size\n1,a,1\nx,b,1\n").unwrap();
    let output = convert(&[bad.to_str().unwrap(), &path], Stdio::null());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((fs::read(&path).unwrap(), files(folder.path())), (before, 2));
    // Times beyond what a format has are told, not cut off.
    fs::write(&bad, "time,key,size\n9999999999,a,1\n").unwrap();
    let there = folder.path().join("there.oracleGeneral");
    let output = convert(&[bad.to_str().unwrap(), there.to_str().unwrap()], Stdio::null());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("32 bits"), "{output:?}");
    assert_eq!(files(folder.path()), 2);
}

#[test]
fn what_is_made_up_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("a.keys"), "/x\n/y\n/x\n").unwrap();
    fs::write(path("b.csv"), "time,key,size\n5,a,7\n9,b,7\n").unwrap();
    for (from, to, told) in [
        ("a.keys", "there.jsonl", true),
        ("a.keys", "there.tr", true),
        ("a.keys", "there.csv", false),
        ("a.keys", "there.keys", false),
        ("b.csv", "there.jsonl", false),
    ] {
        let output = convert(&[&path(from), &path(to)], Stdio::null());
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{err}");
        assert_eq!([err.contains("it has no times"), err.contains("it has no sizes")], [told; 2], "{from} {to}: {err}");
    }
}

#[test]
fn what_cannot_be_written_is_named_as_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (name, code, says) in [("x.foo", 2, "--to"), ("nowhere/x.csv", 1, "No such file or directory (os error 2)\n")] {
        let there = folder.path().join(name);
        let output = convert(&["gen:zipf:requests=10", there.to_str().unwrap()], Stdio::null());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.starts_with(&format!("error: {}: ", there.display())) && told.contains(says), "{told}");
        assert_eq!(files(folder.path()), 0);
    }
}

#[cfg(unix)]
#[test]
fn what_takes_the_place_of_a_file_is_as_open_as_that_was_and_links_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = trace(folder.path());
    let link = folder.path().join("link.csv");
    symlink("trace.csv", &link).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    assert!(convert(&["gen:zipf:requests=10", link.to_str().unwrap()], Stdio::null()).status.success());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 11);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o604);
    assert_eq!(files(folder.path()), 2);
}

#[test]
fn a_secret_that_would_hide_nothing_is_refused() {
    let output = convert(&["gen:zipf:requests=10", "-", "--to", "csv", "--secret", "s"], Stdio::null());
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--hash-keys"));
}
