//! Reading: from bytes that claim to be a value to one that may be used.

use std::time::Duration;

use bytes::Bytes;

use super::counts::count;
use super::{Core, Entry, Reply};
use crate::remote::envelope::{Fence, fence_of};
use crate::remote::{Envelope, Kind, Mismatch, Name, names};
use crate::{Error, ErrorKind};

/// How far two processes' readings of the store's clock may lie apart (µs). A value asked for within this after an invalidation
/// of its tag is taken for one from before.
const SKEW: u64 = 50_000;

pub(super) async fn get(core: &Core, names: &[Name]) -> Result<Vec<Reply>, Error> {
    let until = core.gate.until();
    let epoch = core.marks.epoch();
    let ask = |names: &[Name]| {
        let names = names.to_vec();
        async move {
            let answers = core.gate.call(until, || core.store.get(&names)).await?;
            if answers.len() == names.len() {
                return Ok(answers);
            }
            core.store.distrust();
            Err(Error::new(ErrorKind::Remote, "the remote tier gave more or fewer answers than were asked for"))
        }
    };

    // The namespaces' marks come with the values; those of tags only once the values name them.
    let mut asked = names.to_vec();
    asked.extend(unknown(core, names.iter().map(|name| names::all(names::namespace(name)))));
    let mut answers = ask(&asked).await?;
    for (mark, answer) in asked[names.len()..].iter().zip(answers.split_off(names.len())) {
        core.marks.learn(epoch, mark, read_mark(core, mark, answer.as_ref())?);
    }
    let mut envelopes = Vec::with_capacity(names.len());
    for (name, answer) in names.iter().zip(&answers) {
        envelopes.push(match answer {
            Some(bytes) => read(core, name, bytes)?,
            None => None,
        });
    }
    let tags = names.iter().zip(&envelopes).flat_map(|(name, envelope)| {
        let tags = envelope.iter().flat_map(|envelope| &envelope.tags);
        tags.map(|tag| names::tag(names::namespace(name), tag))
    });
    let tags = unknown(core, tags);
    if !tags.is_empty() {
        for (mark, answer) in tags.iter().zip(ask(&tags).await?) {
            core.marks.learn(epoch, mark, read_mark(core, mark, answer.as_ref())?);
        }
    }
    Ok((names.iter().zip(answers).zip(envelopes))
        .map(|((name, bytes), envelope)| {
            let found = envelope.and_then(|envelope| judge(core, name, envelope));
            count(if found.is_some() { &core.gate.counts.hits } else { &core.gate.counts.misses });
            let fence = bytes.and_then(|bytes| fence_of(&bytes)).unwrap_or_default();
            // Asked last: an invalidation may have begun while the answer was on its way.
            if core.outbox.covers(name) {
                return Reply { fence: None, found: None };
            }
            Reply { fence: Some(fence), found }
        })
        .collect())
}

/// Those whose state has to be read, each once.
fn unknown(core: &Core, marks: impl Iterator<Item = Name>) -> Vec<Name> {
    let mut unknown: Vec<_> = marks.filter(|mark| core.marks.at(mark).is_none()).collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}

/// What the bytes say; `None` if they are not what they should be. An error if they are another key's: then none of the answers
/// that came with them can be believed.
fn read(core: &Core, name: &Name, bytes: &Bytes) -> Result<Option<Envelope>, Error> {
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
    if mismatch == Mismatch::Fingerprint {
        tracing::error!("the remote tier answered with another key's value; its connection is dropped");
        core.store.distrust();
        return Err(Error::new(ErrorKind::Remote, "the remote tier answered with another key's value"));
    }
    Ok(None)
}

/// When the mark says it was invalidated; one that cannot be read says now.
fn read_mark(core: &Core, name: &Name, bytes: Option<&Bytes>) -> Result<u64, Error> {
    let Some(bytes) = bytes else { return Ok(0) };
    Ok(read(core, name, bytes)?.map_or_else(|| core.store.now(), |mark| mark.as_of))
}

/// What of an envelope may be used now.
fn judge(core: &Core, name: &Name, envelope: Envelope) -> Option<Entry> {
    let counts = &core.gate.counts;
    let now = core.store.now();
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
    let marks = std::iter::once(names::all(space)).chain(envelope.tags.iter().map(|tag| names::tag(space, tag)));
    for mark in marks {
        // A mark an announcement took away while we read is as good as one from this moment.
        if core.marks.at(&mark).is_none_or(|at| at != 0 && envelope.as_of <= at.saturating_add(SKEW)) {
            count(&counts.outdated);
            return None;
        }
    }
    Some(Entry {
        payload: (envelope.kind == Kind::Value).then_some(envelope.payload),
        age: Duration::from_micros(now.saturating_sub(envelope.as_of)),
        fresh_for: Duration::from_micros(envelope.fresh_until.saturating_sub(now)),
        keep_for: Duration::from_micros(envelope.kept_until - now),
        cost: Duration::from_micros(envelope.cost.into()),
        version: envelope.version,
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
        tags: entry.tags.clone(),
        fence,
    };
    (envelope, keep_for.max(Duration::from_millis(1)))
}
