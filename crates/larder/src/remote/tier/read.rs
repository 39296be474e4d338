//! Reading: from bytes that claim to be a value to one that may be used.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::counts::{add, count};
use super::{Core, Entry, Reply};
use crate::remote::envelope::{Fence, fence_of};
use crate::remote::{Envelope, Invalidation, Kind, Mismatch, Name, names};
use crate::{Error, ErrorKind};

/// How far two processes' readings of the store's clock may lie apart (µs). A value asked for within this after an invalidation
/// of its tag is taken for one from before.
const SKEW: u64 = 50_000;

pub(super) async fn get(core: &Core, names: &[Name]) -> Result<Vec<Reply>, Error> {
    let begun = Instant::now();
    let until = begun + core.config.deadline;
    let epoch = core.marks.epoch();
    // The namespaces' marks come with the values; those of tags only once the values name them.
    let mut marks = Resolved { all: Vec::with_capacity(1), begun };
    for name in names {
        marks.want(core, names::namespace(name), None);
    }
    let unknown = marks.unknown();
    let mut answers = match unknown.is_empty() {
        true => ask(core, until, names).await?,
        false => ask(core, until, &[names, &unknown].concat()).await?,
    };
    marks.learn(core, epoch, &unknown, answers.split_off(names.len()))?;
    let mut heard = Vec::with_capacity(names.len());
    for (name, answer) in names.iter().zip(answers) {
        let Some(bytes) = answer else {
            heard.push((Fence::default(), None));
            continue;
        };
        let fence = fence_of(&bytes).unwrap_or_default();
        let envelope = read(core, name, bytes)?;
        for tag in envelope.iter().flat_map(|envelope| &envelope.tags) {
            marks.want(core, names::namespace(name), Some(tag));
        }
        heard.push((fence, envelope));
    }
    let unknown = marks.unknown();
    if !unknown.is_empty() {
        marks.learn(core, epoch, &unknown, ask(core, until, &unknown).await?)?;
    }
    // An announcement that came meanwhile may be of any of them.
    if core.marks.epoch() != epoch {
        marks.renew(core);
    }
    let now = core.store.now();
    let mut hits = 0;
    let replies = names.iter().zip(heard).map(|(name, (fence, envelope))| {
        let found = envelope.and_then(|envelope| judge(core, name, envelope, &marks, now));
        // Asked last: an invalidation may have begun while the answer was on its way.
        if core.outbox.covers(name) {
            return Reply { fence: None, found: None };
        }
        hits += usize::from(found.is_some());
        Reply { fence: Some(fence), found }
    });
    let replies: Vec<_> = replies.collect();
    add(&core.gate.counts.hits, hits);
    add(&core.gate.counts.misses, replies.len() - hits);
    Ok(replies)
}

async fn ask(core: &Core, until: Instant, names: &[Name]) -> Result<Vec<Option<Bytes>>, Error> {
    let answers = core.gate.call(until, || core.store.get(names)).await?;
    if answers.len() == names.len() {
        return Ok(answers);
    }
    distrust(core);
    Err(Error::new(ErrorKind::Remote, "the remote tier gave more or fewer answers than were asked for"))
}

/// An answer was not the one to its question: neither were those before it, of which marks may have been learned.
fn distrust(core: &Core) {
    core.store.distrust();
    core.marks.hear(&Invalidation::Lost);
}

/// The marks that matter to one call, each looked up once.
struct Resolved<'a> {
    all: Vec<Mark<'a>>,
    begun: Instant,
}

/// A tag's mark, or a namespace's.
struct Mark<'a> {
    space: &'a str,
    tag: Option<Name>,
    /// When it was set; unknown marks are to be read.
    at: Option<u64>,
}

impl Mark<'_> {
    fn is(&self, space: &str, tag: Option<&str>) -> bool {
        self.space == space && self.tag.as_deref() == tag
    }

    fn name(&self) -> Name {
        self.tag.as_deref().map_or_else(|| names::all(self.space), |tag| names::tag(self.space, tag))
    }
}

impl<'a> Resolved<'a> {
    fn want(&mut self, core: &Core, space: &'a str, tag: Option<&Name>) {
        let text = tag.map(|tag| &**tag);
        if !self.all.iter().any(|mark| mark.is(space, text)) {
            let at = core.marks.at(space, text, self.begun);
            self.all.push(Mark { space, tag: tag.cloned(), at });
        }
    }

    fn unknown(&self) -> Vec<Name> {
        self.all.iter().filter(|mark| mark.at.is_none()).map(Mark::name).collect()
    }

    /// Takes what was read of the [unknown](Self::unknown) ones.
    fn learn(&mut self, core: &Core, epoch: u64, read: &[Name], answers: Vec<Option<Bytes>>) -> Result<(), Error> {
        let unknown = self.all.iter_mut().filter(|mark| mark.at.is_none());
        for (mark, (name, answer)) in unknown.zip(read.iter().zip(answers)) {
            let at = read_mark(core, name, answer)?;
            core.marks.learn(epoch, mark.space, mark.tag.as_deref(), at);
            mark.at = Some(at);
        }
        Ok(())
    }

    /// Looks them up again; those in doubt count as set.
    fn renew(&mut self, core: &Core) {
        let now = Instant::now();
        for mark in &mut self.all {
            mark.at = core.marks.at(mark.space, mark.tag.as_deref(), now);
        }
    }

    /// Whether a value from `as_of` is outdated by a mark, or by one that an announcement took away while we read.
    fn outdates(&self, space: &str, tag: Option<&str>, as_of: u64) -> bool {
        let at = self.all.iter().find(|mark| mark.is(space, tag)).and_then(|mark| mark.at);
        at.is_none_or(|at| at != 0 && as_of <= at.saturating_add(SKEW))
    }
}

/// What the bytes say; `None` if they are not what they should be. An error if they are another key's: then none of the answers
/// that came with them can be believed. Where the same comes over another connection, the connection is not to blame: somebody copied or renamed the
/// key, and what is loaded takes its place.
fn read(core: &Core, name: &Name, bytes: Bytes) -> Result<Option<Envelope>, Error> {
    let mismatch = match Envelope::decode(name, &core.config.form, bytes) {
        Ok(envelope) => return Ok(Some(envelope)),
        Err(mismatch) => mismatch,
    };
    let counts = &core.gate.counts;
    count(match mismatch {
        Mismatch::Fingerprint => &counts.fingerprint,
        Mismatch::Foreign => &counts.foreign,
        Mismatch::Damaged => &counts.damaged,
        Mismatch::Schema { .. } => &counts.schema,
        Mismatch::Format { .. } => &counts.format,
        Mismatch::TooLarge => &counts.too_large,
    });
    if mismatch == Mismatch::Fingerprint && core.strangers.is_new(name) {
        tracing::error!("the remote tier answered with another key's value; its connection is dropped");
        distrust(core);
        return Err(Error::new(ErrorKind::Remote, "the remote tier answered with another key's value"));
    }
    Ok(None)
}

/// When the mark says it was invalidated; one that cannot be read says now.
fn read_mark(core: &Core, name: &Name, bytes: Option<Bytes>) -> Result<u64, Error> {
    let Some(bytes) = bytes else { return Ok(0) };
    Ok(read(core, name, bytes)?.map_or_else(|| core.store.now(), |mark| mark.as_of))
}

/// What of an envelope may be used now.
fn judge(core: &Core, name: &Name, envelope: Envelope, marks: &Resolved, now: u64) -> Option<Entry> {
    let counts = &core.gate.counts;
    if envelope.kind == Kind::Invalidated {
        return None;
    }
    if envelope.as_of > now.saturating_add(SKEW) {
        count(&counts.from_the_future);
        return None;
    }
    if envelope.kept_until <= now {
        count(&counts.expired);
        return None;
    }
    let space = names::namespace(name);
    let mut own = std::iter::once(None).chain(envelope.tags.iter().map(|tag| Some(&**tag)));
    if own.any(|tag| marks.outdates(space, tag, envelope.as_of)) {
        count(&counts.outdated);
        return None;
    }
    Some(Entry {
        payload: (envelope.kind == Kind::Value).then_some(envelope.payload),
        age: Duration::from_micros(now.saturating_sub(envelope.as_of)),
        fresh_for: Duration::from_micros(envelope.fresh_until.saturating_sub(now)),
        keep_for: Duration::from_micros(envelope.kept_until - now),
        cost: Duration::from_micros(envelope.cost.into()),
        version: envelope.version,
        changed_at: envelope.changed_at.map(Duration::from_micros),
        tags: envelope.tags,
    })
}

/// The envelope of an entry, and how long the store needs to keep it.
pub(super) fn wrap(core: &Core, entry: &Entry, fence: Fence) -> (Envelope, Duration) {
    let now = core.store.now();
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let keep_for = entry.keep_for.min(core.config.longest);
    let envelope = Envelope {
        kind: if entry.payload.is_some() { Kind::Value } else { Kind::Absent },
        payload: entry.payload.clone().unwrap_or_default(),
        as_of: now.saturating_sub(micros(entry.age)),
        fresh_until: now.saturating_add(micros(entry.fresh_for.min(keep_for))),
        kept_until: now.saturating_add(micros(keep_for)),
        cost: u32::try_from(entry.cost.as_micros()).unwrap_or(u32::MAX),
        version: entry.version,
        changed_at: entry.changed_at.map(micros),
        tags: entry.tags.clone(),
        fence,
    };
    // The fence of an invalidation lies with the value that took its place: what is still being loaded from before must find it.
    let fenced_for = if fence == Fence::default() { Duration::ZERO } else { core.config.fence_for };
    (envelope, keep_for.max(fenced_for).max(Duration::from_millis(1)))
}
