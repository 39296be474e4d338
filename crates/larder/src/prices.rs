//! What memory and loads cost, so that sizes can be compared in money.

use larder_policy::experiment::{self, HourlyCost};
use larder_policy::{Capacity, Weigh};

use crate::{Error, ErrorKind};

/// What memory and loads cost, in one currency, whichever it is; nothing unless said otherwise. With prices, what a cache would hit with other sizes
/// is also told in money ([`ControlReport::sizes`](crate::report::ControlReport::sizes)).
///
/// ```
/// use larder::{Cache, Prices};
///
/// // Half a cent for a GiB-hour, forty cents for a million queries; an entry takes about 300 bytes.
/// let prices = Prices { gib_hour: 0.005, load: 0.40 / 1e6, entry_bytes: 300 };
/// let cache: Cache<u64, String> = Cache::builder().capacity(100_000).prices(prices).build()?;
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Prices {
    /// A GiB of memory for an hour.
    pub gib_hour: f64,
    /// A load from the origin.
    pub load: f64,
    /// The bytes that an entry takes on average, where the capacity is in entries; one in bytes does not need it.
    pub entry_bytes: u32,
}

impl Prices {
    /// The same, if they say what memory of this capacity costs.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a price is negative or not finite, or memory has one and its bytes are not known.
    pub(crate) fn checked(self, capacity: Capacity) -> Result<Self, Error> {
        self.kernel().checked()?;
        if self.gib_hour > 0.0 && self.unit_bytes(capacity.weigh) == 0.0 {
            let what = "memory has a price and the capacity is in entries: say in Prices::entry_bytes (prices.entry_bytes) how \
                        many bytes one takes on average";
            return Err(Error::new(ErrorKind::Config, what));
        }
        Ok(self)
    }

    /// What an hour costs with a capacity and so many loads; none where nothing has a price.
    pub(crate) fn hour(self, capacity: f64, weigh: Weigh, loads: f64) -> Option<HourlyCost> {
        let kernel = self.kernel();
        kernel.is_given().then(|| kernel.hour(capacity * self.unit_bytes(weigh), loads))
    }

    fn kernel(self) -> experiment::Prices {
        experiment::Prices { gib_hour: self.gib_hour, load: self.load }
    }

    fn unit_bytes(self, weigh: Weigh) -> f64 {
        match weigh {
            Weigh::Bytes => 1.0,
            Weigh::Objects => f64::from(self.entry_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capacity_in_entries_needs_to_know_their_bytes() {
        let prices = Prices { gib_hour: 2.0, load: 0.001, entry_bytes: 0 };
        let error = prices.checked(Capacity::objects(10)).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("entry_bytes"), "{error}");
        assert!(prices.checked(Capacity::bytes(10)).is_ok());
        // Where only loads have a price, nobody asks.
        assert!(Prices { gib_hour: 0.0, ..prices }.checked(Capacity::objects(10)).is_ok());
        // A million entries of 1024 bytes are 0.95367431640625 GiB, at 2 each; 500 loads at a thousandth.
        let cost = Prices { entry_bytes: 1024, ..prices }.hour(1e6, Weigh::Objects, 500.0).unwrap();
        assert_eq!((cost.memory, cost.loads), (1.9073486328125, 0.5));
        assert_eq!(prices.hour(f64::from(1 << 30), Weigh::Bytes, 0.0).unwrap().total(), 2.0);
        assert_eq!(Prices::default().hour(1e6, Weigh::Bytes, 500.0), None);
        assert!(Prices { load: -1.0, ..prices }.checked(Capacity::bytes(10)).is_err());
    }
}
