//! A `redis-server` of our own, on a free port of the loopback interface.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use redis::FromRedisValue;
use tempfile::TempDir;

pub struct Server {
    pub port: u16,
    args: Vec<String>,
    pub dir: TempDir,
    process: Option<Child>,
    password: Option<String>,
}

/// Whether what a test needs has to be there.
pub fn is_required() -> bool {
    ["CI", "LARDER_REQUIRE_TRACES"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()))
}

/// Whether there is a `redis-server`. Where the tests are required to run, its absence is a failure.
pub fn installed() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || !is_required(), "redis-server is missing");
    if !found {
        eprintln!("skipped: no redis-server");
    }
    found
}

/// Leaves a test early where there is no server to test with.
#[macro_export]
macro_rules! need_redis {
    () => {
        if !$crate::support::server::installed() {
            return;
        }
    };
}

/// Below the ports the system hands out by itself, so that nobody takes it meanwhile, and a cluster's bus, 10000 above, is nobody's port.
pub fn free_port() -> u16 {
    // Whoever was handed one may not listen there yet.
    static HANDED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = fastrand::u16(10_000..20_000);
        let is_free = [port, port + 10_000].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        if is_free && HANDED.lock().unwrap().insert(port) {
            return port;
        }
    }
}

impl Server {
    pub fn start(args: &[&str]) -> Self {
        let mut server = Self::planned(args);
        server.run();
        server
    }

    /// A server that does not run yet.
    pub fn planned(args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { port: free_port(), args, dir: TempDir::new().unwrap(), process: None, password: None }
    }

    pub fn add_args(&mut self, args: &[&str]) {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
    }

    pub fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--save", "", "--appendonly", "no"]);
        self.spawn(command);
    }

    /// A sentinel, which keeps its state in `file`.
    pub fn run_as_sentinel(&mut self, file: &std::path::Path) {
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel");
        self.spawn(command);
    }

    fn spawn(&mut self, mut command: Command) {
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--loglevel", "warning", "--dir", self.dir.path().to_str().unwrap()])
            .args(&self.args)
            .stdout(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(self.process.as_mut().unwrap().try_wait().unwrap().is_none(), "redis-server ended at once");
            assert!(Instant::now() < until, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops it where it is; it keeps its connections and accepts more.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().id();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
    }

    /// A self-signed certificate for `localhost` and its key, as files in the server's folder. The certificate is its own root.
    pub fn certify(&self, name: &str) -> (String, String, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (at, key_at) = (self.dir.path().join(format!("{name}.crt")), self.dir.path().join(format!("{name}.key")));
        std::fs::write(&at, certificate.pem()).unwrap();
        std::fs::write(&key_at, key.serialize_pem()).unwrap();
        let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        (path(at), path(key_at), certificate.pem().into_bytes())
    }

    /// From now on, `tell` logs in with it.
    pub fn login_with(&mut self, password: &str) {
        self.password = Some(password.to_owned());
    }

    /// A command, sent past whatever the test breaks.
    pub fn tell<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let password = self.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        let client = redis::Client::open(format!("redis://{password}127.0.0.1:{}", self.port))?;
        let mut cmd = redis::Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(*word);
        });
        cmd.query(&mut client.get_connection()?)
    }

    pub fn set(&self, name: &str, value: &str) {
        self.tell::<()>(&["CONFIG", "SET", name, value]).unwrap();
    }

    /// How many connections listen to `channel`.
    pub fn listeners(&self, channel: &str) -> u64 {
        self.tell::<(String, u64)>(&["PUBSUB", "NUMSUB", channel]).unwrap().1
    }

    /// How many times it was asked to carry out `command`.
    pub fn calls(&self, command: &str) -> u64 {
        let stats: String = self.tell(&["INFO", "commandstats"]).unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
