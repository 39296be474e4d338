//! larder inside existing redis-rs code: a connection that chooses how long each value is kept.
//!
//! ```no_run
//! use larder_redis::{Freshness, Learned, LearnedConfig};
//! use redis::AsyncCommands;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let client = redis::Client::open("redis://localhost")?;
//! let conn = client.get_multiplexed_async_connection().await?;
//! // Of all reads of pages, at most 1 % may be outdated.
//! let mut conn = Learned::new(conn, LearnedConfig::new(Freshness::stale_reads(0.01)?, &["page:"]));
//!
//! // The rest of the program stays as it is.
//! let page: Option<String> = conn.get("page:7").await?;
//! if page.is_none() {
//!     let () = conn.set("page:7", "loaded from the origin").await?;
//! }
//! # Ok(()) }
//! ```

mod commands;
mod mind;

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::FutureExt;
use larder::Freshness;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};

use commands::{Command, parse, with_lifetime};
use mind::Mind;

pub use mind::LearnedState;

/// What becomes of a lifetime the caller gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Given {
    /// It stands.
    #[default]
    Stands,
    /// It is the most: a shorter one may be chosen.
    IsTheMost,
}

/// What a [`Learned`] connection is about, and what it may do.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedConfig {
    /// How stale reads may be.
    pub freshness: Freshness,
    /// Keys that begin with one of these are touched, no others: a lifetime given to data that is not a cache is data lost.
    pub prefixes: Vec<String>,
    /// What becomes of lifetimes the caller gives.
    pub given: Given,
    /// Whether a small share of hits may be answered as a miss, so that the caller loads the value and the share of outdated reads is
    /// measured and not assumed. Never within a transaction, nor between a `WATCH` and what ends it.
    pub audits: bool,
}

impl LearnedConfig {
    /// Keeps to `freshness` for keys that begin with one of `prefixes`; lifetimes given by the caller stand, audits are made.
    pub fn new(freshness: Freshness, prefixes: &[&str]) -> Self {
        let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        Self { freshness, prefixes, given: Given::Stands, audits: true }
    }
}

/// A connection of redis-rs (multiplexed, managed, cluster; anything asynchronous) that learns from `GET`, `MGET`, `SET`, `SETEX` and
/// `PSETEX` how keys change, and gives a `SET` without a lifetime the `PX` that keeps outdated reads within the objective.
///
/// `SET` with `NX` or `XX` is left alone, for locks are made of it. Everything else passes through unchanged: other keys, other commands,
/// Lua scripts and what they do.
///
/// Clones share what is learned.
#[derive(Clone, Debug)]
pub struct Learned<C> {
    conn: C,
    mind: Arc<Mind>,
}

impl<C> Learned<C> {
    /// Wraps a connection. What is learned lives as long as it and its clones.
    pub fn new(conn: C, config: LearnedConfig) -> Self {
        Self { conn, mind: Arc::new(Mind::new(config)) }
    }

    /// What it did so far, and how many reads were outdated as far as audits tell.
    pub fn state(&self) -> LearnedState {
        self.mind.state()
    }

    /// The connection, without larder.
    pub fn into_inner(self) -> C {
        self.conn
    }
}

impl<C: ConnectionLike + Send> ConnectionLike for Learned<C> {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let Some(command) = parse(cmd).filter(|command| self.mind.concerns(command)) else {
            return self.conn.req_packed_command(cmd);
        };
        async move {
            let sent = self.outgoing(cmd, &command);
            let mut answer = self.conn.req_packed_command(&sent).await?;
            self.mind.learn(&command, &mut answer, true);
            Ok(answer)
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        if pipeline.is_transaction() {
            self.mind.unwatch();
        }
        let commands: Vec<_> =
            pipeline.cmd_iter().map(|cmd| parse(cmd).filter(|command| self.mind.concerns(command))).collect();
        if commands.iter().all(Option::is_none) {
            return self.conn.req_packed_commands(pipeline, offset, count);
        }
        async move {
            let is_transaction = pipeline.is_transaction();
            let mut sent = Pipeline::with_capacity(commands.len());
            if is_transaction {
                sent.atomic();
            }
            for (cmd, command) in pipeline.cmd_iter().zip(&commands) {
                let cmd = command.as_ref().map_or(Cow::Borrowed(cmd), |command| self.outgoing(cmd, command));
                sent.add_command(cmd.into_owned());
            }
            let mut answers = self.conn.req_packed_commands(&sent, offset, count).await?;
            let each = match (is_transaction, answers.as_mut_slice()) {
                (true, [Value::Array(each)]) => each.as_mut_slice(),
                (true, _) => &mut [],
                (false, each) => each,
            };
            if each.len() == commands.len() {
                for (command, answer) in commands.iter().zip(each) {
                    if let Some(command) = command {
                        self.mind.learn(command, answer, !is_transaction);
                    }
                }
            }
            Ok(answers)
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.conn.get_db()
    }
}

impl<C> Learned<C> {
    /// The command as it is sent: a `SET` with its lifetime, everything else as it is. What it says of the origin is learned in the order of the
    /// commands, not once they are answered: of a `DEL` and a `SET` in one pipeline the `SET` is the later one.
    fn outgoing<'a>(&self, cmd: &'a Cmd, command: &Command<'_>) -> Cow<'a, Cmd> {
        let with = match command {
            Command::Set { key, value, given } => {
                self.mind.lifetime(key, value, *given).map(|ttl| with_lifetime(cmd, key, value, ttl))
            }
            Command::Delete(keys) => {
                self.mind.deleted(keys);
                None
            }
            _ => None,
        };
        with.map_or(Cow::Borrowed(cmd), Cow::Owned)
    }
}
