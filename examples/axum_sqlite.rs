//! A web service over SQLite with a cache in front: `cargo run -p larder-examples --example axum_sqlite`, then
//!
//! ```sh
//! curl -i localhost:3000/items/7
//! curl -X PUT localhost:3000/items/7 --data 'a new text'
//! curl localhost:3000/stats
//! ```

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use larder::{Builder, Cache, Error, ErrorKind};
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

/// What can be set without a compiler.
const SETTINGS: &str = r#"
    [cache]
    name = "items"
    capacity = 10_000
    negative_ttl = "2s"
    stale_if_error = "5m"

    [cache.freshness]
    objective = "1%"
    max_ttl = "1h"
"#;

#[derive(Clone, Debug, Hash, Serialize)]
struct Item {
    id: u32,
    text: String,
}

#[derive(Clone)]
struct Database(Arc<Mutex<Connection>>);

impl Database {
    fn open(path: &Path) -> Result<Self, rusqlite::Error> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
             INSERT OR IGNORE INTO item VALUES (7, 'an old text'), (8, 'another one');",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// SQLite blocks: on a thread where that does no harm.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let connection = self.0.clone();
        let done = spawn_blocking(move || work(&connection.lock().unwrap_or_else(PoisonError::into_inner)));
        let failed = |what: &dyn std::fmt::Display| Error::new(ErrorKind::Loader, format!("the database: {what}"));
        done.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    async fn item(&self, id: u32) -> Result<Option<Item>, Error> {
        self.with(move |database| {
            let select = "SELECT text FROM item WHERE id = ?1";
            database.query_row(select, [id], |row| Ok(Item { id, text: row.get(0)? })).optional()
        })
        .await
    }

    async fn put(&self, id: u32, text: String) -> Result<(), Error> {
        self.with(move |database| database.execute("INSERT OR REPLACE INTO item VALUES (?1, ?2)", (id, text)).map(drop))
            .await
    }
}

#[derive(Clone)]
struct Service {
    cache: Cache<u32, Item>,
    database: Database,
}

impl Service {
    fn new(settings: Builder<u32, Item>, database: Database) -> Result<Self, Error> {
        let origin = database.clone();
        let cache = settings
            .digest_by_hash()
            .loader(move |id: u32| {
                let origin = origin.clone();
                async move { origin.item(id).await }
            })
            .build()?;
        Ok(Self { cache, database })
    }

    fn router(self) -> Router {
        Router::new().route("/items/{id}", get(read).put(write)).route("/stats", get(stats)).with_state(self)
    }
}

/// The item, and where it came from.
async fn read(
    State(service): State<Service>,
    extract::Path(id): extract::Path<u32>,
) -> Result<impl IntoResponse, Failed> {
    let found = service.cache.load(&id).await?;
    Ok(([("x-cache", format!("{:?}", found.tier))], Json(found.value)))
}

async fn write(
    State(service): State<Service>,
    extract::Path(id): extract::Path<u32>,
    text: String,
) -> Result<StatusCode, Failed> {
    service.database.put(id, text).await?;
    service.cache.changed(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stats(State(service): State<Service>) -> String {
    format!("{:#?}\n", service.cache.stats())
}

/// An error of the cache as a status.
struct Failed(Error);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> axum::response::Response {
        let status = match self.0.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Timeout | ErrorKind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{}\n", self.0)).into_response()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::open(&folder.path().join("items.sqlite"))?;
    let service = Service::new(Builder::from_toml(SETTINGS)?, database)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/items/7", listener.local_addr()?);
    axum::serve(listener, service.router()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use larder::{Clock, Time};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(to: SocketAddr, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_second_fetch_comes_from_memory_and_a_write_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("items.sqlite")).unwrap();
        // No lifetime ends, and with another seed a hit may be drawn for an audit, which asks the origin.
        let settings = Builder::from_toml(SETTINGS).unwrap().clock(Clock::manual(Time(0))).seed(1);
        let service = Service::new(settings, database).unwrap();
        let cache = service.cache.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, service.router()).await });
        for (tier, count) in [("Origin", 1), ("Local", 1)] {
            let answer = ask(to, "GET", "/items/7", "").await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("an old text"), "{answer}");
            assert!(answer.contains(&format!("x-cache: {tier}")), "{answer}");
            assert_eq!(cache.stats().counts.loads, count);
        }
        assert!(ask(to, "PUT", "/items/7", "a new text").await.starts_with("HTTP/1.1 204"));
        assert!(ask(to, "GET", "/items/7", "").await.contains("a new text"));
        assert!(ask(to, "GET", "/items/9", "").await.starts_with("HTTP/1.1 404"));
        assert!(ask(to, "GET", "/stats", "").await.contains("loads: 3"));
    }
}
