//! What memory and loads cost, for commands that look at several sizes.

use clap::Args;
use larder_policy::experiment::{HourlyCost, Prices};
use serde::Serialize;

#[derive(Debug, Args)]
pub(crate) struct PriceArgs {
    /// What a GiB of memory costs for an hour, in any currency: also print what an hour with each size costs
    #[arg(long, value_name = "PRICE", help_heading = "Prices", value_parser = parse_price, allow_negative_numbers = true)]
    price_gib_hour: Option<f64>,

    /// What a load from the origin costs, in the same currency
    #[arg(long, value_name = "PRICE", help_heading = "Prices", value_parser = parse_price, allow_negative_numbers = true)]
    price_load: Option<f64>,
}

impl PriceArgs {
    /// The option that prices an hour, which takes times, and the one that prices memory, which takes sizes.
    pub(crate) fn options(&self) -> [Option<&'static str>; 2] {
        let memory = self.price_gib_hour.map(|_| "--price-gib-hour");
        [self.price_load.map(|_| "--price-load").or(memory), memory.filter(|_| self.price_gib_hour > Some(0.0))]
    }

    /// The prices, if any was given.
    pub(crate) fn prices(&self) -> Option<Prices> {
        let Self { price_gib_hour, price_load } = self;
        let prices = Prices { gib_hour: price_gib_hour.unwrap_or(0.0), load: price_load.unwrap_or(0.0) };
        (price_gib_hour.is_some() || price_load.is_some()).then_some(prices)
    }
}

/// What an hour costs, for scripts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct CostRecord {
    memory: f64,
    loads: f64,
    total: f64,
}

impl From<HourlyCost> for CostRecord {
    fn from(cost: HourlyCost) -> Self {
        Self { memory: cost.memory, loads: cost.loads, total: cost.total() }
    }
}

/// An amount for people: four digits of it.
pub(crate) fn money(amount: f64) -> String {
    if amount == 0.0 {
        return "0".into();
    }
    let digits = 3 - (amount.log10().floor() as i32).clamp(-12, 1);
    format!("{amount:.*}", digits as usize)
}

fn parse_price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "not a number of at least 0, such as 0.005".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_prices() {
        let told = [0.0, 1234.567, 12.345, 1.5, 0.123456, 0.0000123456].map(money);
        assert_eq!(told, ["0", "1234.57", "12.35", "1.500", "0.1235", "0.00001235"]);
        assert_eq!(parse_price("4e-7"), Ok(4e-7));
        for wrong in ["-1", "nan", "inf", "", "cheap"] {
            assert!(parse_price(wrong).is_err(), "{wrong}");
        }
    }
}
