//! The one multiplier: raises or lowers the threshold θ until the share of stale reads meets its objective.
//!
//! A proportional controller on ln θ follows the stale share foreseen over the last reads; a bounded debt of
//! stale reads found too many (or too few) moves its set point, which is integral action without wind-up (Åström, Hägglund,
//! "Advanced PID control", 2006).

use super::audit::remember;

/// θ at first, by the objective.
const START: f64 = 1.5;
/// Reads between steps.
const STEP: u32 = 100;
/// ln θ falls and rises by these times the logarithm of what is foreseen by what is wanted, held within a range; a storm
/// makes it fall faster.
const FALL: f64 = 0.05;
const RISE: f64 = 0.0175;
const ERROR: (f64, f64) = (3.0, 1.0);
const STORM: f64 = 10.0;
/// Steps shrink with the root of the reads after so many, to so much at least: the last word is the debt's.
const BOLD: f64 = 10_000.0;
const CALM: f64 = 0.15;
/// The set point lies within these multiples of the objective.
const SET_POINT: (f64, f64) = (0.4, 1.4);
/// The debt that moves the set point is that of so many reads.
const HORIZON: (f64, f64) = (3000.0, 150_000.0);
/// More than so many times what moves the set point by all of the objective is forgotten: a quiet month does not buy a stale one.
const MOST_DEBT: f64 = 3.0;
/// Stale reads that the bias of the forecast remembers, and for how many an unbiased one counts; it lies within a range.
const MEMORY: f64 = 50.0;
const SHRINK: f64 = 5.0;
const BIAS: (f64, f64) = (0.3, 5.0);
/// A threshold that fell to so much of its height begins an era.
const FALLEN: f64 = 0.9;
/// Each leader has two to the power of so many eras.
const ERAS: u32 = 24;
/// The threshold is at most so high: a value is as stale as is ever served before it comes there.
const MOST_THRESHOLD: f64 = 40.0;
/// Reads the share foreseen is averaged over.
const AVERAGE: (f64, f64) = (500.0, 1000.0);
/// Hits decided on that the charge for others is averaged over, and for how many of them the objective counts.
const DECIDED: f64 = 1000.0;
const EXPECTED: f64 = 20.0;

/// Keeps the share of stale reads at an objective.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    objective: f64,
    threshold: f64,
    /// Counts what makes older decisions void: the threshold fell by a tenth, to this.
    era: u32,
    fallen: f64,
    /// Moving sums of stale reads foreseen, and of reads.
    foreseen: f64,
    window: f64,
    reads: f64,
    since_step: u32,
    /// Stale reads beyond the objective so far.
    debt: f64,
    /// Stale reads foreseen and then known, of late.
    seen: (f64, f64),
    /// What hits it decided on were charged of late, and their number.
    decided: (f64, f64),
    /// Another steers: the sums are of what happened since the two last met.
    follows: bool,
}

impl Controller {
    /// For an objective as a share of reads, above 0.
    pub(super) fn new(objective: f64) -> Self {
        let objective = clamped(objective);
        Self {
            objective,
            threshold: START * objective,
            era: 0,
            fallen: START * objective,
            foreseen: 0.0,
            window: 0.0,
            reads: 0.0,
            since_step: 0,
            debt: 0.0,
            seen: (0.0, 0.0),
            decided: (0.0, 0.0),
            follows: false,
        }
    }

    /// From now on sums up what happens for another, and does not steer.
    pub(super) fn follow(&mut self) {
        self.follows = true;
    }

    /// Whether enough has happened for the one that steers to hear of it.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.follows && self.since_step >= STEP
    }

    /// Tells the one that steers, whose objective is the same, what happened, and keeps to its threshold.
    pub(super) fn join(&mut self, leader: &mut Self) {
        leader.reads = (leader.reads + self.reads).max(0.0);
        leader.window = (leader.window + self.window).max(0.0);
        leader.foreseen += self.foreseen;
        leader.debt += self.debt;
        leader.see(self.seen);
        leader.since_step += self.since_step;
        while leader.since_step >= STEP {
            leader.step();
        }
        (self.threshold, self.era, self.fallen) = (leader.threshold, leader.era, leader.fallen);
        self.start_anew();
    }

    /// One that steers for this one, the `number`th: its eras are those of no other.
    pub(super) fn leader(&self, number: usize) -> Self {
        let mut leader = Self { follows: false, era: (number as u32) << ERAS, ..self.clone() };
        leader.start_anew();
        leader
    }

    fn start_anew(&mut self) {
        (self.reads, self.window, self.foreseen, self.debt) = (0.0, 0.0, 0.0, 0.0);
        (self.seen, self.since_step) = ((0.0, 0.0), 0);
    }

    pub(super) fn objective(&self) -> f64 {
        self.objective
    }

    /// θ: the index at which a value is reloaded.
    #[inline]
    pub(super) fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Rises when the threshold has fallen so far that what it allowed before must be asked again.
    #[inline]
    pub(super) fn era(&self) -> u32 {
        self.era
    }

    /// From now on keeps to another objective. The threshold is that of before, higher or lower by as much as the objective is; decisions of
    /// before are void, and nothing is owed for them.
    pub(super) fn aim(&mut self, objective: f64) {
        let before = std::mem::replace(&mut self.objective, clamped(objective));
        let ratio = self.objective / before;
        self.threshold *= ratio;
        self.foreseen *= ratio;
        self.decided.0 *= ratio;
        self.fallen = self.threshold;
        self.era = self.era.wrapping_add(1);
        self.debt = 0.0;
        if self.follows {
            self.start_anew();
        }
    }

    /// A read came in.
    #[inline]
    pub(super) fn read(&mut self) {
        self.reads += 1.0;
        self.window += 1.0;
        self.debt -= self.objective;
        self.since_step += 1;
        if self.since_step == STEP && !self.follows {
            self.step();
        }
    }

    /// A read that came in is none: nobody could decide on it.
    pub(super) fn unread(&mut self) {
        self.reads -= 1.0;
        self.window -= 1.0;
        self.debt += self.objective;
        self.since_step = self.since_step.saturating_sub(1);
        if !self.follows {
            // Steps have let some of the window go since.
            (self.reads, self.window) = (self.reads.max(0.0), self.window.max(0.0));
        }
    }

    /// It was served although stale with probability `stale`.
    #[inline]
    pub(super) fn served(&mut self, stale: f64) {
        self.charge(stale);
        self.decided.0 += stale;
        self.decided.1 += 1.0;
    }

    /// It was served, and not by its decision: charged as those are that it decides on. Left out, it would leave to these the allowance of all
    /// misses.
    pub(super) fn passed(&mut self) {
        let (stale, hits) = self.decided;
        self.charge((stale + EXPECTED * self.objective) / (hits + EXPECTED));
        if hits > DECIDED {
            self.decided = (stale / 2.0, hits / 2.0);
        }
    }

    #[inline]
    fn charge(&mut self, stale: f64) {
        self.foreseen += stale;
        self.debt += stale;
    }

    /// Of reads already served, `foreseen` stale ones turn out to have been `known`.
    pub(super) fn correct(&mut self, foreseen: f64, known: f64) {
        if !(foreseen.is_finite() && known.is_finite()) {
            return;
        }
        self.debt += known - foreseen;
        self.see((foreseen, known));
    }

    fn see(&mut self, seen: (f64, f64)) {
        remember(&mut self.seen, seen, MEMORY);
    }

    /// By how much more is found stale than foreseen, of late.
    fn bias(&self) -> f64 {
        ((self.seen.1 + SHRINK) / (self.seen.0 + SHRINK)).clamp(BIAS.0, BIAS.1)
    }

    #[cold]
    fn step(&mut self) {
        self.since_step -= STEP;
        let horizon = (self.reads / 3.0).clamp(HORIZON.0, HORIZON.1) * self.objective;
        self.debt = self.debt.clamp(-MOST_DEBT * horizon, MOST_DEBT * horizon);
        let set_point = self.objective * (1.0 - self.debt / horizon).clamp(SET_POINT.0, SET_POINT.1);
        let share = (self.bias() * self.foreseen / self.window).max(1e-9);
        let error = (share / set_point).ln().clamp(-ERROR.0, ERROR.1);
        let calm = (BOLD / self.reads).sqrt().clamp(CALM, 1.0);
        let step = if error > 0.0 { FALL * error * (1.0 + STORM * (error - 0.2).max(0.0)) } else { RISE * error };
        let most = (400.0 * self.objective).min(MOST_THRESHOLD);
        self.threshold = (self.threshold * (-calm * step).exp()).clamp(0.02 * self.objective, most);
        if self.threshold < FALLEN * self.fallen {
            self.era = self.era.wrapping_add(1);
            self.fallen = self.threshold;
        }
        self.fallen = self.fallen.max(self.threshold);
        let keep = 1.0 - f64::from(STEP) / (self.reads / 4.0).clamp(AVERAGE.0, AVERAGE.1);
        self.foreseen *= keep;
        self.window *= keep;
    }
}

fn clamped(objective: f64) -> f64 {
    if objective.is_nan() { 1e-6 } else { objective.clamp(1e-6, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache whose stale share is `slope`·θ, where the model foresees `bias` times the truth.
    fn realised(slope: f64, bias: f64, reads: usize) -> f64 {
        let mut controller = Controller::new(0.01);
        let mut stale = 0.0;
        for _ in 0..reads {
            controller.read();
            let truth = (slope * controller.threshold()).min(1.0);
            stale += truth;
            controller.served(truth * bias);
            controller.correct(truth * bias, truth);
        }
        stale / reads as f64
    }

    #[test]
    fn the_objective_is_met_whatever_the_slope() {
        for slope in [0.05, 0.3, 1.0, 5.0] {
            let share = realised(slope, 1.0, 300_000);
            assert!((0.9..1.05).contains(&(share / 0.01)), "{slope}: {share}");
        }
    }

    #[test]
    fn a_model_that_errs_is_corrected() {
        for bias in [0.6, 1.5] {
            let share = realised(0.5, bias, 300_000);
            assert!((0.85..1.12).contains(&(share / 0.01)), "{bias}: {share}");
        }
    }

    #[test]
    fn hits_it_does_not_decide_on_buy_the_others_nothing() {
        let mut controller = Controller::new(0.01);
        let mut stale = 0.0;
        for at in 0..300_000 {
            controller.read();
            let truth = (0.5 * controller.threshold()).min(1.0);
            // Of two reads one is a hit, of ten hits one its decision.
            match at % 20 {
                1 => {
                    controller.served(truth);
                    controller.correct(truth, truth);
                }
                odd if odd % 2 == 1 => controller.passed(),
                _ => continue,
            }
            stale += truth;
        }
        let ratio = stale / 300_000.0 / 0.01;
        assert!((0.85..1.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn it_does_not_wind_up() {
        let mut controller = Controller::new(0.01);
        // A long time in which nothing changes, then a model that foresees much.
        for _ in 0..1_000_000 {
            controller.read();
        }
        let calm = controller.threshold();
        let mut reads = 0;
        while controller.threshold() > calm / 20.0 {
            controller.read();
            controller.served(0.2);
            reads += 1;
        }
        assert!(reads < 20_000, "{reads}");
    }

    #[test]
    fn reads_that_nobody_could_decide_on_buy_nothing() {
        let mut controller = Controller::new(0.01);
        let read = |controller: &mut Controller, is_decided: bool| {
            controller.read();
            if is_decided {
                let truth = (0.5 * controller.threshold()).min(1.0);
                controller.served(truth);
                controller.correct(truth, truth);
            } else {
                controller.unread();
            }
            controller.threshold()
        };
        let settled = (0..200_000).fold(0.0, |_, _| read(&mut controller, true));
        let after = (0..200_000).fold(0.0, |_, _| read(&mut controller, false));
        assert!((after / settled - 1.0).abs() < 0.05, "{settled} {after}");
    }

    #[test]
    fn a_quiet_month_buys_no_stale_one() {
        for (before, after) in [(0.001, 1.25), (0.3, 0.75)] {
            let mut controller = Controller::new(0.01);
            for _ in 0..10_000_000 {
                controller.read();
                controller.served(before);
            }
            let mut stale = 0.0;
            for at in 0..2_000_000 {
                controller.read();
                let truth = (0.5 * controller.threshold()).min(1.0);
                stale += if at < 1_000_000 { 0.0 } else { truth };
                controller.served(truth);
                controller.correct(truth, truth);
            }
            let ratio = stale / 1e6 / 0.01;
            assert!(if after > 1.0 { ratio < after } else { ratio > after }, "{before}: {ratio}");
        }
    }

    #[test]
    fn extremes_are_borne() {
        for objective in [0.0, f64::NAN, f64::INFINITY, 1.0] {
            let mut controller = Controller::new(objective);
            for by in [0.0, 1.0, f64::NAN, f64::INFINITY, -1e300] {
                for _ in 0..300 {
                    controller.read();
                }
                controller.served(1.0);
                controller.correct(1.0, by);
            }
            assert!(controller.threshold() > 0.0 && controller.threshold() <= MOST_THRESHOLD);
        }
    }
}
