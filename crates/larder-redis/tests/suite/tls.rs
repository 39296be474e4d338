//! Row 8, the other half: over TLS, with certificates that are rotated.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::sync::Arc;
use std::time::Duration;

use larder_redis::RedisConfig;
use parking_lot::Mutex;
use redis::TlsCertificates;
use support::server::{Server, free_port};
use support::{RECOVERY, Service, eventually};
use tokio::time::sleep;

const KEYS: u32 = 50;

#[tokio::test]
async fn row_08_a_rotated_certificate() {
    need_redis!();
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let mut server = Server::planned(&[]);
    let (certificate, key, root) = server.certify("old");
    let port = free_port();
    server.add_args(&["--tls-port", &port.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key]);
    server.add_args(&["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"]);
    server.run();

    let trusted = Arc::new(Mutex::new(root));
    let mut config = RedisConfig::single(&format!("rediss://localhost:{port}")).unwrap();
    let current = trusted.clone();
    config.certificates =
        Some(Arc::new(move || TlsCertificates { client_tls: None, root_cert: Some(current.lock().clone()) }));
    let service = Service::with(config);
    service.warm(KEYS).await;

    let (certificate, key, root) = server.certify("new");
    let both = format!("tls-cert-file {certificate} tls-key-file {key}");
    server.tell::<()>(&["CONFIG SET", &both].join(" ").split(' ').collect::<Vec<_>>()).unwrap();
    server.tell::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
    eventually("the server is not trusted", RECOVERY, async || {
        service.pass(5).await;
        let state = service.store.state();
        !state.connected && state.failed_connects > 0
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    service.pass(KEYS).await;
    *trusted.lock() = root;
    service.recovers(KEYS).await;
}
