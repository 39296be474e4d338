//! Values that change without being changed: timestamps in a page, round-robin answers, random order.
//!
//! Two signs: a digest that returns to the one before the last (A, B, A) within seconds, which an update hardly ever does; and a value
//! that differs at every look however short the time since the last: so short that nothing worth keeping changes as fast. Either, often
//! enough, marks the key: its changes say nothing, so they leave the objective and the estimates alone and are reported by class.
//!
//! A value of two states that mean something (open, shut) returns at each of its changes: looks that lie far apart cannot tell it from answers in turn.
//! So only those close together mark, and any that finds it as it was takes from the mark. It must, since a marked value is looked at rarely.

/// What a return to an earlier digest counts, within so many seconds of the last look, one look at an unchanged value weighing against it; what marks a key, until nothing of it is left;
/// and what is counted at most.
const RETURN: u8 = 2;
const CLOSE: f64 = 5.0;
const MARKS: u8 = 8;
const MOST: u8 = 12;
/// Looks in a row, each within `SHORT` seconds, that all differ.
const ALWAYS: u8 = 8;
const SHORT: f64 = 0.05;

/// What a key's digests have done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flips {
    last: u32,
    before: u32,
    returns: u8,
    returned: bool,
    always: u8,
}

impl Flips {
    /// Sees a value's digest, `age` seconds after the last; whether it differs from that.
    pub(super) fn differs(&mut self, digest: u64, age: f64) -> bool {
        let digest = fold(digest);
        let changed = self.last != 0 && digest != self.last;
        if changed {
            self.returns = match (digest == self.before, age <= CLOSE) {
                (true, true) => (self.returns + RETURN).min(MOST),
                (true, false) => self.returns,
                (false, _) => self.returns / 2,
            };
            (self.before, self.last) = (self.last, digest);
        } else {
            self.returns = self.returns.saturating_sub(1);
            self.last = digest;
        }
        self.returned = self.returns >= MARKS || self.returned && self.returns > 0;
        changed
    }

    /// Takes a digest that nothing is to be concluded from.
    pub(super) fn renew(&mut self, digest: u64) {
        (self.before, self.last) = (0, fold(digest));
    }

    /// Sees whether a value differs from the last one, seen `age` seconds before.
    pub(super) fn look(&mut self, changed: bool, age: f64) {
        if !changed {
            self.always = 0;
        } else if age <= SHORT {
            self.always = self.always.saturating_add(1);
        }
    }

    /// Whether the changes say nothing.
    pub(super) fn is_marked(self) -> bool {
        self.returned || self.always >= ALWAYS
    }
}

/// Half a digest; 0 is "none yet".
fn fold(digest: u64) -> u32 {
    ((digest ^ (digest >> 32)) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(flips: &mut Flips, digest: u64, age: f64) -> bool {
        let changed = flips.differs(digest, age);
        flips.look(changed, age);
        changed
    }

    #[test]
    fn a_round_robin_is_marked_and_updates_are_not() {
        let mut flips = Flips::default();
        (0..8u64).for_each(|at| _ = see(&mut flips, 7 + at % 2, 1.0));
        assert!(flips.is_marked());
        let mut updates = Flips::default();
        assert!((0..100u64).all(|at| see(&mut updates, 1000 + at, 60.0) == (at > 0)));
        assert!(!updates.is_marked());
        // A rollback now and then is an update.
        for at in 0..20u64 {
            see(&mut updates, 5000 + at, 60.0);
            see(&mut updates, 6000 + at, 60.0);
            see(&mut updates, 5000 + at, 60.0);
        }
        assert!(!updates.is_marked());
    }

    #[test]
    fn a_value_of_two_states_is_not_marked_for_ever() {
        let mut rng = crate::Rng::new(1);
        let mut share = |changes: f64| {
            let (mut flips, mut state, mut marked) = (Flips::default(), 7, 0);
            for _ in 0..10_000 {
                state ^= u64::from(rng.unit() < changes);
                see(&mut flips, state, 1.0);
                marked += u32::from(flips.is_marked());
            }
            f64::from(marked) / 10_000.0
        };
        // Which of two replicas answers is as likely as not; a shop opens and shuts.
        assert!(share(0.5) > 0.98);
        assert!(share(0.2) < 0.2);
        assert!(share(0.1) < 0.01);
    }

    #[test]
    fn a_mark_does_not_lock_itself_in() {
        let mut rng = crate::Rng::new(2);
        // Looked at every 8 minutes, and changes as often: each change is a return. Marked, it is looked at once an hour.
        for gap in [480.0, 3600.0] {
            let (mut flips, mut state) = (Flips::default(), 7);
            (0..8u64).for_each(|at| _ = see(&mut flips, 7 + at % 2, if gap > 480.0 { 1.0 } else { gap }));
            assert_eq!(flips.is_marked(), gap > 480.0);
            let mut marked = 0;
            for _ in 0..1000 {
                state ^= u64::from(rng.unit() < 0.45);
                see(&mut flips, state, gap);
                marked += u32::from(flips.is_marked());
            }
            assert!(!flips.is_marked() && marked < 60, "{marked}");
        }
    }

    #[test]
    fn a_timestamp_in_the_page_is_marked() {
        let mut flips = Flips::default();
        (0..9u64).for_each(|at| _ = see(&mut flips, 100 + at, 0.02));
        assert!(flips.is_marked());
        let mut calm = Flips::default();
        (0..30).for_each(|at| calm.look(at % 5 != 0, 0.02));
        assert!(!calm.is_marked());
        // A ticker, read as often as it ticks.
        let mut ticker = Flips::default();
        (0..1000u64).for_each(|at| _ = see(&mut ticker, at, 0.5));
        assert!(!ticker.is_marked());
    }
}
