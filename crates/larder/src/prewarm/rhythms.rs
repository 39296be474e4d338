//! The keys that keep hours, and when to warm them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::days::day;
use super::{Candidate, Days};
use crate::remote::Name;
use crate::snapshot::Kept;

const DAY: u64 = 24 * 3600;
/// Days without a read after which a key is followed no longer.
const GONE: u32 = 14;

/// A key, and what a load of it takes.
#[derive(Clone, Debug)]
struct Followed {
    days: Days,
    size: u32,
    cost: u32,
    /// Its reads a second when it was last seen, and when.
    rate: f32,
    seen: u64,
}

impl Followed {
    fn new(days: Days) -> Self {
        Self { days, size: 1, cost: 0, rate: 0.0, seen: 0 }
    }
}

/// Follows the hours of a bounded number of keys: those read most.
#[derive(Debug)]
pub struct Rhythms {
    keys: HashMap<Name, Followed>,
    most: usize,
    least: u32,
    /// The day of the last call that told the time.
    today: u32,
}

impl Rhythms {
    /// Follows at most twice `most` keys, about 250 bytes and the name each, and once there are so many lets go of the half read
    /// least. A key is followed from when it is first said to have had `least` reads, until it has had none for two weeks.
    pub fn new(most: usize, least: u32) -> Self {
        Self { keys: HashMap::new(), most: most.max(1), least, today: 0 }
    }

    /// Notes that `name` has been read so often at about `now`, in seconds of Unix time: to be called now and then, each hour or
    /// more often, with the reads since the last call.
    pub fn observe(&mut self, name: &Name, now: u64, reads: u32) {
        self.today = day(now);
        if let Some(followed) = self.keys.get_mut(name) {
            followed.days.add(now, reads);
        } else if reads >= self.least.max(1) {
            let mut days = Days::new(now);
            days.add(now, reads);
            self.insert(name.clone(), Followed::new(days));
        }
    }

    /// The same of a key whose reads a second fade by half within `half_life`: how many reads there were since the last call follows from how
    /// its rate has changed.
    pub fn follow(&mut self, kept: &Kept, now: u64, half_life: Duration) {
        let half_life = half_life.as_secs_f32().max(1.0);
        let name = Name::from(kept.name.as_str());
        let (left, seen) = self.keys.get(&name).map_or((0.0, now), |followed| {
            let age = now.saturating_sub(followed.seen) as f32;
            (followed.rate * (-age / half_life).exp2(), followed.seen)
        });
        let reads = ((kept.reads - left) * half_life / std::f32::consts::LN_2).round();
        // They came since it was last seen, and lately, or it would have been seen in between.
        let middle = now - (now.saturating_sub(seen) / 2).min(half_life as u64 / 2);
        self.observe(&name, middle, reads as u32);
        if let Some(followed) = self.keys.get_mut(&name) {
            (followed.size, followed.cost, followed.rate, followed.seen) = (kept.size, kept.cost, kept.reads, now);
        }
    }

    /// Goes on from what a snapshot had kept of a key; without its days there is nothing to go on from.
    pub fn restore(&mut self, kept: &Kept) {
        if let Some(days) = &kept.days {
            let followed = Followed { size: kept.size, cost: kept.cost, ..Followed::new((**days).clone()) };
            self.insert(kept.name.as_str().into(), followed);
        }
    }

    /// What is known of a key, to be kept in a snapshot.
    pub fn days(&self, name: &str) -> Option<&Days> {
        self.keys.get(name).map(|followed| &followed.days)
    }

    /// All that is followed, to be kept in a snapshot: none of it counts as read.
    pub fn kept(&self) -> impl Iterator<Item = Kept> {
        self.keys.iter().map(|(name, followed)| Kept {
            name: name.to_string(),
            size: followed.size,
            cost: followed.cost,
            days: Some(Box::new(followed.days.clone())),
            ..Kept::default()
        })
    }

    /// What is due after one moment and not after another, both in seconds of Unix time, so that it is there `lead` before its busy time begins.
    /// Who has not been read for two weeks is due no more, and forgotten.
    pub fn due(&mut self, after: u64, until: u64, lead: Duration) -> Vec<Candidate> {
        self.today = day(after);
        self.forget();
        let schedule = self.schedule(lead);
        let mut due = Vec::new();
        let mut at = after;
        // Nothing is due twice, however long it was not asked.
        while let Some((next, names)) = schedule.next(at).filter(|(next, _)| *next <= until && *next <= after + DAY) {
            let followed = names.iter().filter_map(|name| Some((name, self.keys.get(name)?)));
            due.extend(followed.map(|(name, Followed { days, size, cost, .. })| Candidate {
                name: name.clone(),
                size: *size,
                cost: *cost,
                reads: days.busiest(),
            }));
            at = next;
        }
        due
    }

    /// How many keys are followed.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Which keys to warm when, so that each is there `lead` before its busy time begins.
    pub fn schedule(&self, lead: Duration) -> Schedule {
        let lead = lead.as_secs() % DAY;
        let mut due: BTreeMap<u64, Vec<Name>> = BTreeMap::new();
        for (name, followed) in &self.keys {
            for hour in followed.days.rises() {
                due.entry((u64::from(hour) * 3600 + DAY - lead) % DAY).or_default().push(name.clone());
            }
        }
        // A map's order differs from run to run.
        due.values_mut().for_each(|names| names.sort_unstable());
        Schedule { due }
    }

    fn insert(&mut self, name: Name, followed: Followed) {
        self.keys.insert(name, followed);
        if self.keys.len() >= self.most.saturating_mul(2) {
            self.let_go();
        }
    }

    fn forget(&mut self) {
        let today = self.today;
        self.keys.retain(|_, followed| followed.days.unseen(today) <= GONE);
    }

    fn let_go(&mut self) {
        self.forget();
        if self.keys.len() <= self.most {
            return;
        }
        // Whose reads are long ago does not stand in the way of who is read now.
        let today = self.today;
        let mut totals: Vec<_> = self.keys.values().map(|followed| followed.days.total(today)).collect();
        let at = totals.len() - self.most;
        let (_, limit, _) = totals.select_nth_unstable_by(at, f32::total_cmp);
        let limit = *limit;
        let above = self.keys.values().filter(|followed| followed.days.total(today) > limit).count();
        // Of those just at the limit, as many as there is room for.
        let mut room = self.most - above;
        self.keys.retain(|_, followed| {
            let total = followed.days.total(today);
            let at_limit = total == limit && room > 0;
            room -= usize::from(at_limit);
            total > limit || at_limit
        });
    }
}

/// What to warm at which time of the day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// By seconds since midnight, UTC.
    due: BTreeMap<u64, Vec<Name>>,
}

impl Schedule {
    /// The next moment after `now`, both in seconds of Unix time, at which something is due, and what; none if nothing ever is.
    pub fn next(&self, now: u64) -> Option<(u64, &[Name])> {
        let (midnight, second) = (now / DAY * DAY, now % DAY);
        let today = self.due.range(second + 1..).next().map(|(at, names)| (midnight.saturating_add(*at), names));
        let tomorrow = || self.due.first_key_value().map(|(at, names)| (midnight.saturating_add(DAY + at), names));
        today.or_else(tomorrow).map(|(at, names)| (at, names.as_slice()))
    }

    /// All of it: seconds since midnight in UTC, and the keys.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[Name])> {
        self.due.iter().map(|(at, names)| (*at, names.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Rate;

    const START: u64 = 1_700_006_400;

    fn followed(hours_of: &[(&str, &[u64])]) -> Rhythms {
        let mut rhythms = Rhythms::new(100, 10);
        for hour in 0..10 * 24 {
            for (name, hours) in hours_of {
                let reads = if hours.contains(&(hour % 24)) { 50 } else { 1 };
                rhythms.observe(&Name::from(*name), START + hour * 3600, reads);
            }
        }
        rhythms
    }

    #[test]
    fn keys_are_due_before_their_hours() {
        let all: Vec<_> = (0..24).collect();
        let rhythms = followed(&[("morning", &[8, 9]), ("midnight", &[0]), ("twice", &[8, 20]), ("always", &all)]);
        let schedule = rhythms.schedule(Duration::from_secs(600));
        let due: Vec<_> = schedule.iter().map(|(at, names)| (at / 60, names.join(" "))).collect();
        let at = |hour: u64, names: &str| (hour * 60 - 10, names.to_owned());
        assert_eq!(due, [at(8, "morning twice"), at(20, "twice"), at(24, "midnight")]);

        let eight = START + 8 * 3600;
        assert_eq!(schedule.next(eight - 601).unwrap().0, eight - 600);
        assert_eq!(schedule.next(eight - 600).unwrap(), (eight + 12 * 3600 - 600, &[Name::from("twice")][..]));
        assert_eq!(schedule.next(START + DAY - 1).unwrap().0, eight + DAY - 600);
        assert_eq!(Schedule::default().next(0), None);
        assert!(schedule.next(u64::MAX).is_some());
    }

    #[test]
    fn reads_follow_from_a_rate_that_fades() {
        let half_life = Duration::from_secs(3600);
        let (mut rhythms, mut rate) = (Rhythms::new(100, 10), Rate::default());
        for step in 0..10 * 24 * 4 {
            let now = step * 900;
            let is_busy = now / 3600 % 24 == 8;
            for read in 0..if is_busy { 30 } else { 0 } {
                rate.add(1, now as u32 + read * 30, half_life);
            }
            let now = now + 900;
            let kept =
                Kept { name: "morning".into(), size: 7, reads: rate.at(now as u32, half_life), ..Kept::default() };
            rhythms.follow(&kept, now, half_life);
        }
        let lead = Duration::from_secs(600);
        let due = rhythms.due(10 * DAY, 11 * DAY, lead);
        let [Candidate { name, size: 7, reads, .. }] = &due[..] else { panic!("{due:?}") };
        // 120 reads in its hour.
        assert!(&**name == "morning" && (reads * 3600.0 / 120.0 - 1.0).abs() < 0.2, "{}", reads * 3600.0);
        let at = 10 * DAY + 8 * 3600 - 600;
        assert_eq!(rhythms.due(at - 1, at, lead), due);
        assert!(rhythms.due(at, at + 3600, lead).is_empty() && rhythms.due(at - 3600, at - 1, lead).is_empty());
        assert_eq!(rhythms.due(at - 1, at + 10 * DAY, lead).len(), 1);
    }

    #[test]
    fn memory_is_bounded_and_the_busiest_stay() {
        let mut rhythms = Rhythms::new(50, 5);
        for key in 0..10_000u32 {
            let name = Name::from(format!("k{key}"));
            rhythms.observe(&name, START, 5 + if key < 40 { 1000 } else { key % 3 });
            assert!(rhythms.len() < 100);
        }
        assert!((0..40).all(|key| rhythms.days(&format!("k{key}")).is_some()));
        // Below the least nothing is followed.
        rhythms.observe(&"rare".into(), START, 4);
        assert!(rhythms.days("rare").is_none() && !rhythms.is_empty());
    }

    #[test]
    fn who_is_read_no_more_is_due_no_more() {
        let mut rhythms = followed(&[("morning", &[8, 9])]);
        let lead = Duration::from_secs(600);
        let days = |days: u64| START + days * DAY;
        assert_eq!(rhythms.due(days(20), days(21), lead).len(), 1);
        assert!(rhythms.due(days(60), days(61), lead).is_empty() && rhythms.is_empty());
    }

    #[test]
    fn who_was_busy_once_makes_room_for_who_is_read_now() {
        let mut rhythms = Rhythms::new(50, 10);
        let mut day = |day: u64, who: &str, keys: u32, reads: u32| {
            let names = (0..keys).map(|key| Name::from(format!("{who}{key}")));
            names.for_each(|name| rhythms.observe(&name, START + day * DAY, reads));
        };
        (0..10).for_each(|at| day(at, "old", 50, 1000));
        // Not yet those of two weeks without a read, but those of a tenth of the reads of who is read now.
        for at in 10..23 {
            day(at, "new", 40, 2000);
        }
        let are = |rhythms: &Rhythms, who: &str| rhythms.keys.keys().filter(|name| name.starts_with(who)).count();
        assert_eq!((are(&rhythms, "new"), are(&rhythms, "old")), (40, 50));
        for key in 0..10 {
            rhythms.observe(&Name::from(format!("more{key}")), START + 23 * DAY, 3000);
        }
        assert_eq!((are(&rhythms, "new"), are(&rhythms, "more"), are(&rhythms, "old")), (40, 10, 0));
        // And all who have not been read for so long.
        let mut rhythms = Rhythms::new(50, 10);
        for at in 0..70 {
            let (who, reads) = if at < 10 { ("old", 1000) } else { ("new", 50) };
            for key in 0..99 {
                rhythms.observe(&Name::from(format!("{who}{key}")), START + at * DAY, reads);
            }
        }
        assert_eq!(are(&rhythms, "old"), 0);
    }

    #[test]
    fn a_restart_goes_on_from_what_was_kept() {
        let before = followed(&[("nightly", &[3])]);
        let mut after = Rhythms::new(100, 10);
        before.kept().for_each(|kept| after.restore(&kept));
        assert_eq!(after.schedule(Duration::ZERO), before.schedule(Duration::ZERO));
        assert_eq!(after.schedule(Duration::ZERO).iter().count(), 1);
    }
}
