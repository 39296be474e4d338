//! The service: readers in a closed loop, one writer, and every read sent to every arm.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::arm::{Arm, Latencies, PROCESSES, Way};
use super::origin::Origin;
use super::second::SecondTier;
use super::traffic::{Row, Step, Traffic};
use crate::demo_args::DemoArgs;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// A reader that fell behind its pace makes up for at most so much.
const ARREARS: Duration = Duration::from_millis(100);
/// How often the line of progress is drawn.
const FRAME: Duration = Duration::from_millis(100);

pub(super) const ARMS: usize = 3;

pub(super) struct Service {
    pub(super) traffic: Traffic,
    pub(super) origin: Arc<Origin>,
    /// Ours first, then the controls.
    pub(super) arms: [Arm; ARMS],
    next: AtomicU64,
}

/// What a run leaves behind beside what the arms counted.
pub(super) struct Run {
    pub(super) took: Duration,
    /// Rows changed meanwhile.
    pub(super) changes: u64,
    /// Of each arm.
    pub(super) latencies: [Latencies; ARMS],
}

impl Service {
    pub(super) fn new(
        traffic: Traffic,
        ways: [Way; ARMS],
        second: &mut SecondTier,
        options: &DemoArgs,
    ) -> Result<Arc<Self>, Failure> {
        let origin = Arc::new(Origin::new(&traffic, options.origin_delay, options.seed)?);
        let [first, second, third] = ways.map(|way| Arm::new(way, &origin, second, options));
        Ok(Arc::new(Self { traffic, origin, arms: [first?, second?, third?], next: AtomicU64::new(0) }))
    }

    /// Runs for as long as the options say.
    pub(super) async fn run(
        self: &Arc<Self>,
        options: &DemoArgs,
        interrupt: &mut Interrupt,
        bar: &Bar,
    ) -> Result<Run, Failure> {
        let start = Instant::now();
        let end = Arc::new(End::new(start, options.lasts()));
        let (ask, asked) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let writer = {
            let (service, stop, seed) = (self.clone(), stop.clone(), options.seed);
            tokio::task::spawn_blocking(move || service.origin.change(&service.traffic, &asked, start, seed, &stop))
        };
        let readers: Vec<_> = (0..options.workers.get())
            .map(|reader| tokio::spawn(self.clone().read(Pace::new(options, reader, start), end.clone(), ask.clone())))
            .collect();
        while !end.is_over() && !writer.is_finished() {
            if let Some(lasts) = options.lasts() {
                self.show(bar, start.elapsed(), lasts);
            }
            tokio::select! {
                () = tokio::time::sleep(FRAME.min(end.left())) => {}
                _ = interrupt.heard() => end.now(),
            }
        }
        let mut latencies = latencies()?;
        for reader in readers {
            for (all, own) in latencies.iter_mut().zip(&reader.await.map_err(ended)??) {
                all.merge(own)?;
            }
        }
        let took = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        let changes = writer.await.map_err(ended)??;
        Ok(Run { took, changes, latencies })
    }

    async fn read(
        self: Arc<Self>,
        mut pace: Pace,
        end: Arc<End>,
        changes: mpsc::Sender<Row>,
    ) -> Result<[Latencies; ARMS], Failure> {
        let mut latencies = latencies()?;
        while pace.wait(&end).await {
            let number = self.next.fetch_add(1, Ordering::Relaxed) as usize;
            match self.traffic.steps[number % self.traffic.steps.len()] {
                Step::Read(row) => {
                    let key = &self.traffic.keys[row as usize];
                    // Each arm is first as often as the others, and a row's reads go to both processes.
                    for turn in 0..ARMS {
                        let at = (number + turn) % ARMS;
                        self.arms[at].read(number / ARMS % PROCESSES, key, row, &self.origin, &mut latencies[at]).await;
                    }
                }
                // The writer ends after the readers, unless it failed, and then the run fails.
                Step::Change(row) => _ = changes.send(row),
            }
        }
        Ok(latencies)
    }

    fn show(&self, bar: &Bar, elapsed: Duration, whole: Duration) {
        let [ours, control, _] = [0, 1, 2].map(|at| self.arms[at].so_far());
        bar.say(elapsed.as_secs_f64() / whole.as_secs_f64(), || {
            let hits = 1.0 - ours.loads as f64 / ours.reads.max(1) as f64;
            format!(
                "{} reads, {:.1}% without the origin, {} loads (control {}), {:.2}% stale",
                crate::table::count(ours.reads),
                hits * 100.0,
                crate::table::count(ours.loads),
                crate::table::count(control.loads),
                ours.stale_share() * 100.0
            )
        });
    }
}

fn latencies() -> Result<[Latencies; ARMS], Failure> {
    Ok([Latencies::new()?, Latencies::new()?, Latencies::new()?])
}

fn ended(error: tokio::task::JoinError) -> Failure {
    Failure::Failed(format!("a task of the service ended early: {error}"))
}

/// When a run ends: at its time, or once it is interrupted.
struct End {
    at: Option<Instant>,
    is_now: AtomicBool,
}

impl End {
    fn new(start: Instant, lasts: Option<Duration>) -> Self {
        Self { at: lasts.map(|lasts| start + lasts), is_now: AtomicBool::new(false) }
    }

    fn now(&self) {
        self.is_now.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_now.load(Ordering::Relaxed) || self.left().is_zero()
    }

    fn left(&self) -> Duration {
        self.at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }
}

/// For how long a reader sleeps at most before it looks whether the run was interrupted.
const LOOKS: Duration = Duration::from_millis(100);

/// When a reader asks next: at its part of the whole rate, or at once where the last answer took longer.
struct Pace {
    next: Instant,
    every: Duration,
}

impl Pace {
    fn new(options: &DemoArgs, reader: usize, start: Instant) -> Self {
        let whole = Duration::from_secs(1).div_f64(options.rate.get() as f64);
        let every = whole.mul_f64(options.workers.get() as f64);
        Self { next: start + whole.mul_f64(reader as f64), every }
    }

    /// Waits for the reader's turn; false when the run is over.
    async fn wait(&mut self, end: &End) -> bool {
        while !end.is_over() && self.next > Instant::now() {
            let left = self.next.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(end.left()).min(LOOKS)).await;
        }
        if let Some(late) = Instant::now().checked_sub(ARREARS) {
            self.next = self.next.max(late);
        }
        self.next += self.every;
        !end.is_over()
    }
}
