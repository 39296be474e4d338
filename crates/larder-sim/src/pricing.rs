//! What caches over a trace cost in money.

use larder_policy::Weigh;
use larder_policy::experiment::{HourlyCost, Prices};
use larder_trace::Carries;

use crate::{Error, Survey};

const HOUR: f64 = 3600.0;

/// Prices, and what it takes to apply them to a trace: how long it is, and how large its objects are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pricing {
    prices: Prices,
    /// Bytes of a unit of capacity.
    unit: f64,
    hours: f64,
}

impl Pricing {
    /// For capacities in what `weigh` says, over the trace that was surveyed. Objects count as large as the mean of the distinct ones.
    ///
    /// # Errors
    /// A price is negative or not finite; the trace has no times, or all the same, and so no hours; memory has a price, the capacity is in objects,
    /// and the trace has no sizes.
    pub fn new(prices: Prices, weigh: Weigh, survey: &Survey) -> Result<Self, Error> {
        let prices = prices.checked()?;
        let hours = survey.last.since(survey.first).as_secs_f64() / HOUR;
        // What was judged by the first rows alone may be otherwise in those that follow; who asked was told.
        let Carries { times, sizes, judged, .. } = survey.carries;
        if !(times || judged) || hours <= 0.0 {
            return Err(Error::option("prices are for an hour, and this trace has no times: name its column of them"));
        }
        if weigh == Weigh::Objects && prices.gib_hour > 0.0 && !(sizes || judged) {
            let what = "memory is priced by its bytes, and this trace has no sizes: name its column of them, or price loads alone";
            return Err(Error::option(what));
        }
        let unit = if weigh == Weigh::Objects { survey.mean_size() } else { 1.0 };
        Ok(Self { prices, unit, hours })
    }

    /// What an hour costs with a capacity, where so many accesses of the whole trace miss: each is a load.
    pub fn hour(&self, capacity: u64, misses: f64) -> HourlyCost {
        self.prices.hour(capacity as f64 * self.unit, misses / self.hours)
    }
}

#[cfg(test)]
mod tests {
    use larder_policy::Time;

    use super::*;

    #[test]
    fn costs_by_hand() {
        let prices = Prices { gib_hour: 2.0, load: 0.001 };
        // Half an hour; 4 MiB an object.
        let survey = Survey {
            keys: 10,
            bytes: 10 << 22,
            first: Time(5_000_000),
            last: Time(1_805_000_000),
            carries: Carries::ALL,
            ..Survey::default()
        };
        // 128 objects are half a GiB; 500 misses in half an hour are 1000 an hour.
        let cost = Pricing::new(prices, Weigh::Objects, &survey).unwrap().hour(128, 500.0);
        assert_eq!((cost.memory, cost.loads, cost.total()), (1.0, 1.0, 2.0));
        let cost = Pricing::new(prices, Weigh::Bytes, &survey).unwrap().hour(1 << 30, 0.0);
        assert_eq!((cost.memory, cost.loads), (2.0, 0.0));

        let without = |carries: Carries| Survey { carries, ..survey };
        let no_times = without(Carries { times: false, ..Carries::ALL });
        assert!(Pricing::new(prices, Weigh::Bytes, &no_times).is_err());
        let no_sizes = without(Carries { sizes: false, ..Carries::ALL });
        assert!(Pricing::new(prices, Weigh::Objects, &no_sizes).is_err());
        let late = without(Carries { sizes: false, times: false, judged: true, ..Carries::ALL });
        assert_eq!(Pricing::new(prices, Weigh::Objects, &late).unwrap().hour(128, 500.0).total(), 2.0);
        assert!(Pricing::new(Prices { gib_hour: 0.0, ..prices }, Weigh::Objects, &no_sizes).is_ok());
        assert!(Pricing::new(Prices { load: f64::NAN, ..prices }, Weigh::Bytes, &survey).is_err());
    }
}
