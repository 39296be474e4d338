//! A bounded queue that loses rather than waits, in lanes so that threads seldom meet.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;
use larder_trace::Request;

pub(super) struct Lanes {
    lanes: Box<[Lane]>,
}

/// On a cache line of its own; two, as processors fetch them in pairs.
#[repr(align(128))]
struct Lane {
    queue: ArrayQueue<Request>,
    dropped: AtomicU64,
}

/// Lanes beyond this many are no use to the threads of one machine.
const MOST_LANES: usize = 64;

impl Lanes {
    /// Room for so many events, shared out over a lane for each processor.
    pub(super) fn new(events: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let lanes = processors.next_power_of_two().min(MOST_LANES);
        let room = events.div_ceil(lanes).max(1);
        let lane = |_| Lane { queue: ArrayQueue::new(room), dropped: AtomicU64::new(0) };
        Self { lanes: (0..lanes).map(lane).collect() }
    }

    #[inline]
    pub(super) fn push(&self, request: Request) {
        let lane = self.own();
        if lane.queue.push(request).is_err() {
            lane.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn drop_one(&self) {
        self.own().dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts as dropped what had been taken out.
    pub(super) fn drop_many(&self, events: u64) {
        self.own().dropped.fetch_add(events, Ordering::Relaxed);
    }

    /// Events that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.queue.len() as u64).sum()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.dropped.load(Ordering::Relaxed)).sum()
    }

    /// Takes out what waits: of each lane at most what it has room for, so that this ends.
    pub(super) fn drain(&self, out: &mut Vec<Request>) {
        for lane in &self.lanes {
            out.extend((0..lane.queue.capacity()).map_while(|_| lane.queue.pop()));
        }
    }

    /// The calling thread's.
    #[inline]
    fn own(&self) -> &Lane {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static OWN: Cell<Option<usize>> = const { Cell::new(None) });
        let own = OWN.get().unwrap_or_else(|| {
            let own = NEXT.fetch_add(1, Ordering::Relaxed);
            OWN.set(Some(own));
            own
        });
        &self.lanes[own & (self.lanes.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let lanes = Lanes::new(1);
        let room = lanes.own().queue.capacity() as u64;
        let requests = (0..room + 7).map(|key| Request { key, ..Request::default() });
        requests.for_each(|request| lanes.push(request));
        assert_eq!(lanes.dropped(), 7);
        let mut out = Vec::new();
        lanes.drain(&mut out);
        assert_eq!(out.iter().map(|request| request.key).collect::<Vec<_>>(), (0..room).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_lost_uncounted_between_threads() {
        const EACH: u64 = 20_000;
        let lanes = Lanes::new(1024);
        let mut out = Vec::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..EACH).for_each(|key| lanes.push(Request { key, ..Request::default() }))))
                .collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                lanes.drain(&mut out);
            }
        });
        lanes.drain(&mut out);
        assert_eq!(out.len() as u64 + lanes.dropped(), 4 * EACH);
    }
}
