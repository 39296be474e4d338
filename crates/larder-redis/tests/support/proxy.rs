//! A TCP proxy before a server, which breaks what goes through it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// What is wrong with the way. All of it concerns what the server sends.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// How much later it arrives.
    pub delay: Duration,
    /// The share of packets that arrive only when they are sent again, 200 ms later, and all behind them too.
    pub loss: f64,
    /// Bytes a second.
    pub rate: Option<u32>,
    /// Whether new connections are closed at once.
    pub refuse: bool,
    /// What happens to the next packet, once.
    pub next: Option<Accident>,
}

#[derive(Clone, Debug)]
pub enum Accident {
    /// It ends after so many bytes, and the connection with it.
    Truncate(usize),
    /// It is noise.
    Garbage,
    /// It arrives twice, the second time just before the one after it.
    Duplicate,
    /// It arrives with a changed byte, counted from its end.
    Flip(usize),
    /// The connection is reset instead.
    Reset,
    /// The connection is closed instead.
    Close,
}

/// What is done to all connections that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Carry,
    Reset,
    /// Nothing goes through any more, and nothing says so.
    Silence,
}

pub struct Proxy {
    pub address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    way: Arc<Mutex<Way>>,
    orders: watch::Sender<Order>,
    accepted: Arc<Mutex<u32>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (way, orders) = (Arc::new(Mutex::new(Way::default())), watch::Sender::new(Order::Carry));
        let (address, accepted) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(0)));
        let server = Arc::new(Mutex::new(server));
        let task = tokio::spawn(accept(listener, server.clone(), way.clone(), orders.clone(), accepted.clone()));
        Self { address, server, way, orders, accepted, task }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub fn set(&self, way: Way) {
        *self.way.lock() = way;
    }

    /// New connections lead to another server; those that exist stay.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.server.lock() = server;
    }

    pub fn accident(&self, next: Accident) {
        self.way.lock().next = Some(next);
    }

    /// Whether the accident has happened.
    pub fn has_happened(&self) -> bool {
        self.way.lock().next.is_none()
    }

    pub fn reset_all(&self) {
        self.orders.send_replace(Order::Reset);
    }

    pub fn silence_all(&self) {
        self.orders.send_replace(Order::Silence);
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> u32 {
        *self.accepted.lock()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: Arc<Mutex<SocketAddr>>,
    way: Arc<Mutex<Way>>,
    orders: watch::Sender<Order>,
    accepted: Arc<Mutex<u32>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        *accepted.lock() += 1;
        if way.lock().refuse {
            let _ = client.set_zero_linger();
            continue;
        }
        let to = *server.lock();
        let Ok(server) = TcpStream::connect(to).await else { continue };
        let mut orders = orders.subscribe();
        orders.mark_unchanged();
        tokio::spawn(carry(client, server, way.clone(), orders));
    }
}

async fn carry(client: TcpStream, server: TcpStream, way: Arc<Mutex<Way>>, mut orders: watch::Receiver<Order>) {
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (line, arrivals) = mpsc::channel(1024);
    let writer = tokio::spawn(deliver(arrivals, to_client, way.clone()));
    let (mut asked, mut said) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let (mut last, mut again) = (Instant::now(), None);
    loop {
        tokio::select! {
            biased;
            changed = orders.changed() => {
                if changed.is_err() {
                    break;
                }
                let order = *orders.borrow();
                match order {
                    Order::Carry => {}
                    Order::Reset => {
                        let _ = line.send((Instant::now(), Packet::Reset)).await;
                        break;
                    }
                    // For as long as the client bears it.
                    Order::Silence => while from_client.read(&mut asked).await.is_ok_and(|size| size > 0) {},
                }
            }
            size = from_client.read(&mut asked) => {
                let Ok(size @ 1..) = size else { break };
                if to_server.write_all(&asked[..size]).await.is_err() {
                    break;
                }
            }
            size = from_server.read(&mut said) => {
                let Ok(size @ 1..) = size else { break };
                let (delay, accident) = {
                    let mut way = way.lock();
                    let lost = way.loss > 0.0 && fastrand::f64() < way.loss;
                    (way.delay + if lost { Duration::from_millis(200) } else { Duration::ZERO }, way.next.take())
                };
                last = last.max(Instant::now() + delay);
                let said = [again.take().unwrap_or_default(), said[..size].to_vec()].concat();
                let size = said.len();
                let packets = match accident {
                    None => vec![Packet::Bytes(said)],
                    Some(Accident::Truncate(at)) => vec![Packet::Bytes(said[..at.min(size)].to_vec()), Packet::Close],
                    Some(Accident::Garbage) => vec![Packet::Bytes((0..size).map(|_| fastrand::u8(..)).collect())],
                    Some(Accident::Duplicate) => {
                        again = Some(said.clone());
                        vec![Packet::Bytes(said)]
                    }
                    Some(Accident::Flip(back)) => {
                        let mut said = said;
                        said[size - 1 - back.min(size - 1)] ^= 1;
                        vec![Packet::Bytes(said)]
                    }
                    Some(Accident::Reset) => vec![Packet::Reset],
                    Some(Accident::Close) => vec![Packet::Close],
                };
                for packet in packets {
                    if line.send((last, packet)).await.is_err() {
                        break;
                    }
                }
            }
        }
    }
    drop(line);
    let _ = writer.await;
}

enum Packet {
    Bytes(Vec<u8>),
    Close,
    Reset,
}

async fn deliver(
    mut arrivals: mpsc::Receiver<(Instant, Packet)>,
    mut to_client: tokio::net::tcp::OwnedWriteHalf,
    way: Arc<Mutex<Way>>,
) {
    while let Some((at, packet)) = arrivals.recv().await {
        sleep_until(at).await;
        match packet {
            Packet::Bytes(bytes) => {
                let rate = way.lock().rate;
                for piece in bytes.chunks(rate.map_or(usize::MAX, |rate| (rate as usize / 50).max(1))) {
                    if to_client.write_all(piece).await.is_err() {
                        return;
                    }
                    if rate.is_some() {
                        sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            Packet::Close => return,
            Packet::Reset => {
                let _ = to_client.as_ref().set_zero_linger();
                return;
            }
        }
    }
}
