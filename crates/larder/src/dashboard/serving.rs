//! Connections: so many at once, none that never says what it asks for, and none that outlasts the page.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::GOODBYE;

/// How long a request's head may take, and a connection wait for its next request.
const HEAD: Duration = Duration::from_secs(30);
/// After an error of the listening socket: too many files are open, say.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until stopped; beyond `most` connections, others wait to be accepted.
pub(super) async fn run(listener: TcpListener, app: Router, most: usize, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < most => accepted,
        };
        match accepted {
            Ok((stream, _)) => _ = connections.spawn(serve(stream, app.clone(), stopped.clone())),
            Err(error) => {
                tracing::warn!(%error, "the dashboard cannot take connections");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    // Those that are left then end with the set.
    let _ = tokio::time::timeout(GOODBYE, async { while connections.join_next().await.is_some() {} }).await;
}

/// What goes wrong with a connection ends it and nothing else.
async fn serve(stream: TcpStream, app: Router, mut stopped: watch::Receiver<bool>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, timeout};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    async fn begin(listener: &TcpListener, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// What is answered before the connection ends, which it does within the hour.
    async fn end(mut stream: TcpStream) -> String {
        let mut text = String::new();
        let hour = Duration::from_secs(3600);
        timeout(hour, stream.read_to_string(&mut text)).await.expect("the connection ends").unwrap();
        text
    }

    fn app() -> Router {
        Router::new().route("/", get(|| async { "here" }))
    }

    // Time passes only while nobody has anything to do.
    #[tokio::test(start_paused = true)]
    async fn who_never_asks_makes_room_for_who_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mute, asks) = (begin(&listener, b"GET / HT").await, begin(&listener, REQUEST).await);
        let (_stop, stopped) = watch::channel(false);
        let began = Instant::now();
        tokio::spawn(run(listener, app(), 1, stopped));
        let answer = end(asks).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        assert!(began.elapsed() >= HEAD, "the second came in while the first was there");
        assert!(!end(mute).await.contains("200"));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_outlasts_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mute, asks) = (begin(&listener, b"GET / HT").await, begin(&listener, REQUEST).await);
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(run(listener, app(), 2, stopped));
        assert!(end(asks).await.ends_with("here"));
        let began = Instant::now();
        stop.send_replace(true);
        serving.await.unwrap();
        end(mute).await;
        assert!(began.elapsed() < HEAD);
    }
}
