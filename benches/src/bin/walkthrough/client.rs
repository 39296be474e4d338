//! The load: connections that are kept open, and requests at a given rate, whether the answers keep up or not.
//!
//! A request has a time at which it is due. Where its connection still waits for the answer before, it is sent late, and its latency
//! counts from when it was due: a service that stalls is charged for all who would have come meanwhile (no coordinated omission).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Latencies are kept in nanoseconds, up to two minutes, with three digits.
const LONGEST_NANOS: u64 = 120_000_000_000;

/// How requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Requests a second of all connections together; none: each asks again as soon as it is answered.
    pub(crate) rate: Option<f64>,
    pub(crate) lasts: Duration,
    /// Names changed a second, by one connection more.
    pub(crate) changes: f64,
}

/// What came of it.
pub(crate) struct Answers {
    pub(crate) latencies: Histogram<u64>,
    /// Answers of memory, of the second tier, of the database.
    pub(crate) tiers: [u64; 3],
    pub(crate) took: Duration,
}

impl Answers {
    fn new() -> Result<Self> {
        let latencies = Histogram::new_with_max(LONGEST_NANOS, 3)?;
        Ok(Self { latencies, tiers: [0; 3], took: Duration::ZERO })
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }
}

/// Sends requests for `products`, in order and again from the beginning, and waits for all answers.
///
/// # Errors
/// The service cannot be reached, or one of its answers is no success.
pub(crate) async fn run(to: SocketAddr, products: &Arc<[u32]>, load: Load) -> Result<Answers> {
    let start = Instant::now();
    let clients: Vec<_> =
        (0..load.connections).map(|number| tokio::spawn(ask(to, products.clone(), load, number, start))).collect();
    let changes = tokio::spawn(change(to, products.clone(), load, start));
    let mut all = Answers::new()?;
    for client in clients {
        let answers = client.await??;
        all.latencies.add(&answers.latencies)?;
        all.tiers.iter_mut().zip(answers.tiers).for_each(|(all, own)| *all += own);
    }
    all.took = start.elapsed();
    changes.await??;
    Ok(all)
}

async fn ask(to: SocketAddr, products: Arc<[u32]>, load: Load, number: usize, start: Instant) -> Result<Answers> {
    let mut connection = Connection::open(to).await?;
    let mut answers = Answers::new()?;
    for turn in (number..).step_by(load.connections) {
        let due = load.rate.map_or_else(Instant::now, |rate| start + Duration::from_secs_f64(turn as f64 / rate));
        if due.duration_since(start) >= load.lasts {
            break;
        }
        let free = Instant::now();
        let from = if due > free {
            tokio::time::sleep_until(due.into()).await;
            // The timer's own delay is not the service's.
            Instant::now()
        } else {
            due
        };
        let product = products[turn % products.len()];
        let tier = connection.get(product).await?;
        answers.latencies.saturating_record(from.elapsed().as_nanos() as u64);
        answers.tiers[tier] += 1;
    }
    Ok(answers)
}

async fn change(to: SocketAddr, products: Arc<[u32]>, load: Load, start: Instant) -> Result<()> {
    let mut connection = Connection::open(to).await?;
    for turn in 0.. {
        let due = Duration::from_secs_f64(f64::from(turn) / load.changes);
        if due >= load.lasts {
            break;
        }
        tokio::time::sleep_until((start + due).into()).await;
        // Whoever is asked for often changes often.
        let product = products[(turn as usize).wrapping_mul(7919) % products.len()];
        connection.put(product, &format!("product {product}, named for the {turn}th time")).await?;
    }
    Ok(())
}

/// One HTTP/1.1 connection, a request at a time.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.context("connecting to the service")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 << 10) })
    }

    /// Which tier answered.
    async fn get(&mut self, product: u32) -> Result<usize> {
        let head = self.send(format!("GET /products/{product} HTTP/1.1\r\nhost: shop\r\n\r\n")).await?;
        ensure!(head.starts_with("HTTP/1.1 200"), "the service answers {head}");
        let tier = head.lines().find_map(|line| line.strip_prefix("x-cache: "));
        match tier {
            Some("Local") => Ok(0),
            Some("Remote") => Ok(1),
            Some("Origin") => Ok(2),
            _ => bail!("the service does not say who answered: {head}"),
        }
    }

    async fn put(&mut self, product: u32, name: &str) -> Result<()> {
        let length = name.len();
        let request =
            format!("PUT /products/{product} HTTP/1.1\r\nhost: shop\r\ncontent-length: {length}\r\n\r\n{name}");
        let head = self.send(request).await?;
        ensure!(head.starts_with("HTTP/1.1 204"), "the service answers {head}");
        Ok(())
    }

    /// Sends a request and reads the whole answer; its head.
    async fn send(&mut self, request: String) -> Result<String> {
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the service closed the connection");
            let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = end + 4 + length.map_or(Ok(0), str::parse::<usize>)?;
            while self.buffer.len() < whole {
                ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the service closed the connection");
            }
            return Ok(head);
        }
    }
}
