//! The service of the walkthrough: a shop's API over SQLite. The page shows what stands between its marks.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use larder::{Builder, Cache, Error, ErrorKind, Tier, codec};
use larder_redis::{RedisConfig, RedisStore};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

/// Reviews of each product.
pub(crate) const REVIEWS: u32 = 100;

// --- the query
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Product {
    id: u32,
    name: String,
    reviews: u32,
    stars: u32,
    most_helpful: Vec<String>,
}

fn product(database: &Connection, id: u32) -> Result<Option<Product>, rusqlite::Error> {
    let name = database
        .prepare_cached("SELECT name FROM product WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(name) = name else { return Ok(None) };
    let (reviews, stars) = database
        .prepare_cached("SELECT count(*), sum(stars) FROM review WHERE product = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let most_helpful = database
        .prepare_cached("SELECT text FROM review WHERE product = ?1 ORDER BY helpful DESC LIMIT 5")?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Some(Product { id, name, reviews, stars, most_helpful }))
}
// --- end

/// The database, as the service asks it: on threads where blocking does no harm, a connection each.
#[derive(Clone)]
pub(crate) struct Database(Arc<Connections>);

struct Connections {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// Products read.
    queries: AtomicU64,
}

impl Database {
    /// A file with so many products.
    pub(crate) fn create(path: &Path, products: u32) -> Result<Self, rusqlite::Error> {
        let mut connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             CREATE TABLE review (
                 product INTEGER, id INTEGER, stars INTEGER NOT NULL, helpful INTEGER NOT NULL, text TEXT NOT NULL,
                 PRIMARY KEY (product, id)
             ) WITHOUT ROWID;",
        )?;
        let transaction = connection.transaction()?;
        {
            let mut product = transaction.prepare("INSERT INTO product VALUES (?1, ?2)")?;
            let mut review = transaction.prepare("INSERT INTO review VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for id in 0..products {
                product.execute((id, format!("product {id}")))?;
                for number in 0..REVIEWS {
                    // Any spread will do; these are the same in each run.
                    let (stars, helpful) = (1 + (id + number) % 5, number.wrapping_mul(7919 + id) % 1000);
                    let text = format!("Review {number}: {}", "it does what it says, and it came in time. ".repeat(3));
                    review.execute((id, number, stars, helpful, text))?;
                }
            }
        }
        transaction.commit()?;
        let idle = Mutex::new(vec![connection]);
        Ok(Self(Arc::new(Connections { path: path.to_owned(), idle, queries: AtomicU64::new(0) })))
    }

    /// Products read so far.
    pub(crate) fn queries(&self) -> u64 {
        self.0.queries.load(Relaxed)
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let connections = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let idle = connections.idle().pop();
            let connection = idle.map_or_else(|| connections.open(), Ok)?;
            let done = work(&connection);
            connections.idle().push(connection);
            done
        });
        let failed = |what: &dyn std::fmt::Display| Error::new(ErrorKind::Loader, format!("the database: {what}"));
        done.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    async fn product(&self, id: u32) -> Result<Option<Product>, Error> {
        self.0.queries.fetch_add(1, Relaxed);
        self.with(move |database| product(database, id)).await
    }

    async fn rename(&self, id: u32, name: String) -> Result<(), Error> {
        self.with(move |database| database.execute("UPDATE product SET name = ?2 WHERE id = ?1", (id, name)).map(drop))
            .await
    }
}

impl Connections {
    fn open(&self) -> Result<Connection, rusqlite::Error> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A list of idle connections is whole whatever happened to whoever held it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands between the service and its database.
#[derive(Clone, Debug)]
pub(crate) struct Tiers {
    /// Products kept in memory; without a cache there is neither this nor a Redis.
    pub(crate) memory: Option<u64>,
    /// The second tier.
    pub(crate) redis: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Service {
    cache: Option<Cache<u32, Product>>,
    database: Database,
}

impl Service {
    /// The service, in a tokio runtime.
    pub(crate) fn new(database: Database, tiers: &Tiers) -> Result<Self, Error> {
        let cache = tiers.memory.map(|memory| cache(&database, memory, tiers.redis.as_deref())).transpose()?;
        Ok(Self { cache, database })
    }

    pub(crate) fn router(self) -> Router {
        Router::new().route("/products/{id}", get(read).put(write)).with_state(self)
    }
}

// --- the cache
fn cache(database: &Database, memory: u64, redis: Option<&str>) -> Result<Cache<u32, Product>, Error> {
    let origin = database.clone();
    let mut builder = Builder::from_toml(
        r#"
        [cache]
        name = "products"
        negative_ttl = "2s"
        stale_if_error = "5m"

        [cache.freshness]
        ttl = "10m"
        "#,
    )?
    .capacity(memory)
    .loader(move |id: u32| {
        let origin = origin.clone();
        async move { origin.product(id).await }
    });
    if let Some(url) = redis {
        let store = RedisStore::new(RedisConfig::single(url)?, &Handle::current())?;
        builder = builder.remote(store, codec::MessagePack);
    }
    builder.build()
}
// --- end

// --- the handlers
async fn read(
    State(service): State<Service>,
    extract::Path(id): extract::Path<u32>,
) -> Result<impl IntoResponse, Failed> {
    let (product, tier) = match &service.cache {
        Some(cache) => cache.load(&id).await.map(|found| (found.value, found.tier))?,
        None => (service.database.product(id).await?.ok_or_else(Error::not_found)?, Tier::Origin),
    };
    Ok(([("x-cache", format!("{tier:?}"))], Json(product)))
}

async fn write(
    State(service): State<Service>,
    extract::Path(id): extract::Path<u32>,
    name: String,
) -> Result<StatusCode, Failed> {
    service.database.rename(id, name).await?;
    if let Some(cache) = &service.cache {
        cache.changed(&id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
// --- end

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
