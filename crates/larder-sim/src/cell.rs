//! One policy at one size.

use std::time::{Duration, Instant};

use larder_policy::eviction::{Eviction, Removal};
use larder_policy::ttl::{Fixed, Given};
use larder_policy::{Access, Capacity, Evicted, Host, Lookup, Miss, Op, Policy, PolicySpec, Reuse, Shard, Time, Work};

use crate::examples::{Examples, Recorder};
use crate::feed::Batch;
use crate::series::Series;
use crate::{Error, NextAccess};

/// What becomes of lifetimes during a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetimes {
    /// Nothing expires.
    #[default]
    Ignored,
    /// Each entry lives as long as the trace says.
    Given,
    /// Every entry lives as long.
    Fixed(Duration),
}

/// What a cell is built from.
#[derive(Clone, Copy, Debug)]
pub struct CellSetup<'a> {
    /// The policy.
    pub policy: &'a PolicySpec,
    /// The size.
    pub capacity: Capacity,
    /// The seed of its random choices.
    pub seed: u64,
    /// What becomes of lifetimes.
    pub lifetimes: Lifetimes,
    /// Whether only gets count in the miss ratio; sets take effect either way.
    pub gets_only: bool,
    /// The future of the lane it is fed from, for policies that need it.
    pub future: Option<&'a NextAccess>,
    /// Which lane of the feed it is fed from.
    pub lane: usize,
}

/// One policy at one size under replay.
pub struct Cell {
    runner: Box<dyn Run>,
    pub(crate) lane: usize,
}

/// A shard under replay, with its counts.
struct Runner<E: Eviction + ?Sized> {
    shard: Shard<(), E>,
    lifetimes: Lifetimes,
    gets_only: bool,
    evicted: Vec<Evicted<()>>,
    /// The next moment at which time passes for the shard.
    next_tick: Time,
    recorder: Option<Recorder>,
    tally: Tally,
}

/// What a cell counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Counted accesses that missed.
    pub misses: u64,
    /// Their bytes.
    pub missed_bytes: u64,
    /// Entries that left to make room.
    pub evictions: u64,
    /// Time spent in this cell's own loop.
    pub spent: Duration,
    /// Misses over the course of the trace.
    pub series: Series,
    /// What a learned policy learned from, where it was recorded.
    pub examples: Examples,
}

/// Time passes for a shard once a second of the trace: late ticks would let the expired take room.
const TICK: Duration = Duration::from_secs(1);

impl Cell {
    /// Builds the shard.
    ///
    /// # Errors
    /// The policy must know the future and is not given it.
    pub fn new(setup: &CellSetup<'_>) -> Result<Self, Error> {
        if setup.policy.eviction().needs_oracle && setup.future.is_none() {
            let message = format!("policy {} must know the future, which was not surveyed", setup.policy);
            return Err(Error::option(message));
        }
        let runner = setup.policy.build_for(setup.capacity, setup.seed, Builder(setup));
        Ok(Self { runner, lane: setup.lane })
    }

    /// Replays a batch.
    pub(crate) fn run(&mut self, batch: &Batch) {
        self.runner.run(batch);
    }

    /// From now on, keeps what a learned policy learns from.
    pub(crate) fn record(&mut self, recorder: Recorder) {
        self.runner.record(recorder);
    }

    /// The counts, and the bytes of metadata the shard holds at the end.
    pub(crate) fn finish(self) -> (Tally, u64) {
        self.runner.finish()
    }
}

struct Builder<'a>(&'a CellSetup<'a>);

impl Host for Builder<'_> {
    type Made = Box<dyn Run>;

    fn host<E: Eviction + ?Sized + 'static>(self, mut policy: Policy<E>) -> Box<dyn Run> {
        let Self(setup) = self;
        if let Some(future) = setup.future.filter(|_| setup.policy.eviction().needs_oracle) {
            policy.predictor = Some(Box::new(future.oracle()));
        }
        policy.ttl = match setup.lifetimes {
            Lifetimes::Ignored => None,
            Lifetimes::Given => Some(Box::new(Given)),
            Lifetimes::Fixed(span) => Some(Box::new(Fixed(span))),
        };
        Box::new(Runner {
            shard: Shard::new(setup.capacity, policy),
            lifetimes: setup.lifetimes,
            gets_only: setup.gets_only,
            evicted: Vec::new(),
            next_tick: Time(0),
            recorder: None,
            tally: Tally::default(),
        })
    }
}

/// A runner, whatever its policy: called once a batch.
trait Run: Send {
    fn record(&mut self, recorder: Recorder);
    fn run(&mut self, batch: &Batch);
    fn finish(self: Box<Self>) -> (Tally, u64);
}

impl<E: Eviction + ?Sized> Run for Runner<E> {
    fn record(&mut self, recorder: Recorder) {
        self.shard.record_examples();
        self.recorder = Some(recorder);
    }

    fn run(&mut self, batch: &Batch) {
        let start = Instant::now();
        let mut done = 0;
        while done < batch.accesses.len() {
            let recordable = self.recorder.as_ref().map_or(usize::MAX, Recorder::room);
            let room = self.tally.series.room().min(recordable);
            let end = batch.accesses.len().min(done.saturating_add(room));
            let before = self.tally.misses;
            match self.lifetimes {
                Lifetimes::Ignored => self.run_slice::<false>(&batch.accesses[done..end], &[]),
                _ => self.run_slice::<true>(&batch.accesses[done..end], batch.lifetimes.get(done..end).unwrap_or(&[])),
            }
            self.tally.series.push(end - done, self.tally.misses - before);
            self.take_examples(&batch.accesses[done..end]);
            done = end;
        }
        self.tally.spent += start.elapsed();
    }

    fn finish(mut self: Box<Self>) -> (Tally, u64) {
        // Hands out what the last lookup let go of.
        self.tick(Time(0));
        self.tally.examples = self.recorder.take().map_or_else(Examples::default, Recorder::finish);
        (self.tally, self.shard.metadata_bytes() as u64)
    }
}

impl<E: Eviction + ?Sized> Runner<E> {
    fn run_slice<const EXPIRING: bool>(&mut self, accesses: &[Access], lifetimes: &[u32]) {
        let (mut misses, mut missed_bytes) = (0, 0);
        for (at, access) in accesses.iter().enumerate() {
            if EXPIRING && access.at >= self.next_tick {
                self.tick(access.at);
            }
            let given = || match lifetimes.get(at) {
                Some(&seconds) if EXPIRING && seconds > 0 => Some(Duration::from_secs(u64::from(seconds))),
                _ => None,
            };
            match access.op {
                Op::Get => {
                    if let Lookup::Miss(miss) = self.shard.lookup(access) {
                        misses += 1;
                        missed_bytes += u64::from(access.size);
                        self.store(access, miss, given());
                    }
                }
                Op::Set => {
                    let miss = match self.shard.lookup(access) {
                        Lookup::Miss(miss) => {
                            misses += u64::from(!self.gets_only);
                            missed_bytes += if self.gets_only { 0 } else { u64::from(access.size) };
                            miss
                        }
                        // The resident is replaced: what is foreseen reached the policy with the hit.
                        Lookup::Hit(()) => Miss { reuse: Reuse::UNKNOWN, expired: false },
                    };
                    self.store(access, miss, given());
                }
                Op::Delete => {
                    self.shard.remove(access.key);
                }
            }
        }
        self.tally.misses += misses;
        self.tally.missed_bytes += missed_bytes;
    }

    #[inline]
    fn store(&mut self, access: &Access, miss: Miss, given: Option<Duration>) {
        let plan = self.shard.plan(access, miss, given);
        self.shard.insert(access, (), &plan, &mut self.evicted);
        if !self.evicted.is_empty() {
            self.tally.evictions += evictions(&self.evicted);
            self.evicted.clear();
        }
    }

    fn take_examples(&mut self, accesses: &[Access]) {
        if let (Some(recorder), Some(last)) = (&mut self.recorder, accesses.last()) {
            let mut work = Work::default();
            self.shard.tick(last.at, &mut work);
            self.tally.evictions += evictions(&work.expired);
            recorder.take(accesses.len(), work.examples.into_iter());
        }
    }

    #[cold]
    fn tick(&mut self, now: Time) {
        let mut work = Work::default();
        self.shard.tick(now, &mut work);
        self.tally.evictions += evictions(&work.expired);
        if let Some(recorder) = &mut self.recorder {
            recorder.take(0, work.examples.into_iter());
        }
        self.next_tick = now.plus(TICK);
    }
}

fn evictions(left: &[Evicted<()>]) -> u64 {
    left.iter().filter(|entry| entry.why == Removal::Evicted).count() as u64
}
