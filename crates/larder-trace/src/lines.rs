//! The reader all line formats share: framing, line numbers, skipping; a format only parses one line.

use std::collections::VecDeque;

use larder_policy::Time;

use crate::{Carries, Error, ErrorKind, Input, Options, Progress, Reader, Request, Skipped};

/// One request a second where a source has no times.
pub(crate) const TICK: u64 = 1_000_000;

/// A longer run of rows from one line is taken for garbage rather than for a request.
const LONGEST_RUN: u64 = 1 << 24;

/// Parses one line of a format.
pub(crate) trait LineParser: Send + 'static {
    /// Pushes the requests of `line`, which has no line end and is not empty, to `rows`.
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad>;

    /// What the requests carry.
    fn carries(&self) -> Carries;

    /// As [`Reader::mapping`].
    fn mapping(&self) -> Option<String> {
        None
    }
}

/// Why a line is bad, and at which of its bytes.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) at: usize,
    pub(crate) what: String,
}

impl Bad {
    #[cold]
    pub(crate) fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }

    /// `field`, a part of `line`, is not `wanted`.
    #[cold]
    pub(crate) fn field(line: &[u8], field: &[u8], wanted: &str) -> Self {
        let shown = String::from_utf8_lossy(&field[..field.len().min(40)]);
        Self::within(line, field, format!("expected {wanted}, found {shown:?}"))
    }

    /// At `field`, a part of `line`; at its front if it is a copy.
    #[cold]
    pub(crate) fn within(line: &[u8], field: &[u8], what: String) -> Self {
        let at = (field.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
        Self { at: if at <= line.len() { at } else { 0 }, what }
    }
}

/// Where a parser puts what it found: the batch while it has room, a queue beyond.
pub(crate) struct Rows<'a> {
    batch: &'a mut Vec<Request>,
    end: usize,
    state: &'a mut State,
}

/// What outlives a batch.
#[derive(Default)]
struct State {
    /// Requests yielded so far.
    index: u64,
    spilled: VecDeque<Request>,
    run: Option<Run>,
    other: u64,
    guessed_sizes: u64,
}

/// Requests that differ only by key and time, for formats whose rows stand for many.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) first: Request,
    pub(crate) count: u64,
    pub(crate) key_step: u64,
    /// Microseconds from one to the next.
    pub(crate) tick: u64,
}

impl Rows<'_> {
    /// The time of the next request in a source without times.
    #[inline]
    pub(crate) fn tick(&self) -> Time {
        Time(self.state.index.saturating_mul(TICK))
    }

    #[inline]
    pub(crate) fn push(&mut self, request: Request) {
        self.state.index += 1;
        if self.batch.len() < self.end {
            self.batch.push(request);
        } else {
            self.state.spilled.push_back(request);
        }
    }

    /// Pushes all of `run`, lazily.
    pub(crate) fn run(&mut self, run: Run) -> Result<(), Bad> {
        if run.count > LONGEST_RUN {
            return Err(Bad::new(
                0,
                format!("expected at most {LONGEST_RUN} requests of one row, found {}", run.count),
            ));
        }
        self.state.index += run.count;
        self.state.run = Some(run);
        self.drain_run();
        Ok(())
    }

    /// Counts a row that is no cache request.
    #[inline]
    pub(crate) fn pass(&mut self) {
        self.state.other += 1;
    }

    /// Counts a size that is a guess.
    #[inline]
    pub(crate) fn guess(&mut self) {
        self.state.guessed_sizes += 1;
    }

    fn drain(&mut self) {
        while self.batch.len() < self.end {
            let Some(request) = self.state.spilled.pop_front() else { break };
            self.batch.push(request);
        }
        self.drain_run();
    }

    fn drain_run(&mut self) {
        let Some(mut run) = self.state.run else { return };
        while run.count > 0 && self.batch.len() < self.end {
            self.batch.push(run.first);
            run.first.key = run.first.key.wrapping_add(run.key_step);
            run.first.at = Time(run.first.at.0.saturating_add(run.tick));
            run.count -= 1;
        }
        self.state.run = (run.count > 0).then_some(run);
    }
}

/// A reader of one request (or several) a line.
pub(crate) struct Lines<P> {
    input: Input,
    parser: P,
    state: State,
    skip_bad: u64,
    skipped: Skipped,
}

impl<P: LineParser> Lines<P> {
    pub(crate) fn boxed(input: Input, options: &Options, parser: P) -> Result<Box<dyn Reader>, Error> {
        let (state, skipped) = Default::default();
        Ok(Box::new(Self { input, parser, state, skip_bad: options.skip_bad, skipped }))
    }
}

impl<P: LineParser> Reader for Lines<P> {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, Error> {
        let start = batch.len();
        let mut rows = Rows { batch, end: start.saturating_add(max), state: &mut self.state };
        rows.drain();
        while rows.batch.len() < rows.end {
            let offset = self.input.offset();
            let Some(line) = self.input.line()? else { break };
            if line.is_empty() {
                continue;
            }
            if let Err(bad) = self.parser.line(line, &mut rows) {
                let error = Error::new(ErrorKind::BadRow, bad.what)
                    .help("--skip-bad N passes over so many bad rows")
                    .line(self.input.lines())
                    .byte(offset + bad.at as u64);
                self.skipped.bad(self.input.place(error), self.skip_bad)?;
            }
        }
        Ok(batch.len() - start)
    }

    fn carries(&self) -> Carries {
        self.parser.carries()
    }

    fn skipped(&self) -> Skipped {
        let State { other, guessed_sizes, .. } = self.state;
        Skipped { other, guessed_sizes, ..self.skipped.clone() }
    }

    fn progress(&self) -> Progress {
        self.input.progress()
    }

    fn mapping(&self) -> Option<String> {
        self.parser.mapping()
    }
}
