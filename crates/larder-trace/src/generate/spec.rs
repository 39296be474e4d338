//! A generator's description: `name:param=value/param=value`, and for mixes further parts `+weight*name/param=value`.

use std::ops::RangeInclusive;

use crate::Error;

/// A parameter of a generator.
#[derive(Debug)]
pub struct Param {
    /// Its name in a description.
    pub name: &'static str,
    /// Its value where none is given; none where the generator finds it by other parameters.
    pub default: Option<f64>,
    /// What it means, with its unit.
    pub about: &'static str,
}

/// What a description says, not yet checked against a generator's parameters.
pub(super) struct Spec<'a> {
    pub(super) generator: &'a str,
    pub(super) values: Vec<(&'a str, f64)>,
    /// The parts of a mix with their weights.
    pub(super) parts: Vec<(f64, Spec<'a>)>,
}

impl<'a> Spec<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Error> {
        let (generator, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut spec = Self { generator, values: Vec::new(), parts: Vec::new() };
        for piece in rest.split('/').filter(|p| !p.is_empty()) {
            if let Some(part) = piece.strip_prefix('+') {
                let (weight, generator) = part.split_once('*').unwrap_or(("1", part));
                let weight = number(weight)?;
                spec.parts.push((weight, Self { generator, values: Vec::new(), parts: Vec::new() }));
                continue;
            }
            let (name, value) = piece
                .split_once('=')
                .ok_or_else(|| Error::option(format!("generator parameter {piece:?} is not of the form name=value")))?;
            let values = spec.parts.last_mut().map_or(&mut spec.values, |(_, part)| &mut part.values);
            values.push((name, number(value)?));
        }
        Ok(spec)
    }
}

fn number(text: &str) -> Result<f64, Error> {
    let plain = text.replace('_', "");
    let value = plain.parse().ok().filter(|v: &f64| v.is_finite() && *v >= 0.0);
    value.ok_or_else(|| Error::option(format!("generator parameter value {text:?} is not a number of at least 0")))
}

/// The values of one generator: those given, checked, over the defaults.
pub(super) struct Values(Vec<Slot>);

struct Slot {
    name: &'static str,
    value: Option<f64>,
    given: bool,
}

impl Values {
    /// `tables` in order of precedence: a parameter of an earlier one shadows its namesake in a later one.
    pub(super) fn new(spec: &Spec<'_>, tables: &[&'static [Param]]) -> Result<Self, Error> {
        let mut slots: Vec<Slot> = Vec::new();
        for Param { name, default, .. } in tables.iter().copied().flatten() {
            if slots.iter().all(|slot| slot.name != *name) {
                slots.push(Slot { name, value: *default, given: false });
            }
        }
        for (name, value) in &spec.values {
            let Some(slot) = slots.iter_mut().find(|slot| slot.name == *name) else {
                let known: Vec<_> = slots.iter().map(|slot| slot.name).collect();
                let what = format!("generator {} has no parameter {name:?}, but {}", spec.generator, known.join(", "));
                return Err(Error::option(what));
            };
            if slot.given {
                return Err(Error::option(format!("generator parameter {name} is given twice")));
            }
            (slot.value, slot.given) = (Some(*value), true);
        }
        Ok(Self(slots))
    }

    /// Takes over the value that `from` has for `name`.
    pub(super) fn inherit(&mut self, name: &str, from: &Self) {
        if let Some(slot) = self.0.iter_mut().find(|slot| slot.name == name) {
            slot.value = from.maybe(name);
            slot.given = from.given(name);
        }
    }

    /// Makes a value so many times as large.
    pub(super) fn scale(&mut self, name: &str, times: f64) {
        self.0
            .iter_mut()
            .filter(|slot| slot.name == name)
            .for_each(|slot| slot.value = slot.value.map(|value| value * times));
    }

    /// Whether the description names it.
    pub(super) fn given(&self, name: &str) -> bool {
        self.0.iter().any(|slot| slot.name == name && slot.given)
    }

    pub(super) fn maybe(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|slot| slot.name == name).and_then(|slot| slot.value)
    }

    pub(super) fn number(&self, name: &str) -> Result<f64, Error> {
        self.maybe(name).ok_or_else(|| Error::option(format!("generator parameter {name} is missing")))
    }

    /// A number from a range.
    pub(super) fn within(&self, name: &str, range: RangeInclusive<f64>) -> Result<f64, Error> {
        let (value, (least, most)) = (self.number(name)?, (range.start(), range.end()));
        match range.contains(&value) {
            true => Ok(value),
            false => Err(Error::option(format!("{name}={value} is not from {least} to {most}"))),
        }
    }

    /// A share from 0 to 1.
    pub(super) fn share(&self, name: &str) -> Result<f64, Error> {
        let value = self.number(name)?;
        if value <= 1.0 { Ok(value) } else { Err(Error::option(format!("{name}={value} is not a share from 0 to 1"))) }
    }

    /// A number above 0.
    pub(super) fn positive(&self, name: &str) -> Result<f64, Error> {
        let value = self.number(name)?;
        if value > 0.0 { Ok(value) } else { Err(Error::option(format!("{name} must be above 0"))) }
    }

    /// A whole number that `f64` holds exactly.
    pub(super) fn whole(&self, name: &str) -> Result<u64, Error> {
        let value = self.number(name)?;
        let whole = value.trunc() == value && value <= 9_007_199_254_740_992.0;
        if whole { Ok(value as u64) } else { Err(Error::option(format!("{name}={value} is not a whole number"))) }
    }

    /// A whole number of at least 1.
    pub(super) fn count(&self, name: &str) -> Result<u64, Error> {
        match self.whole(name)? {
            0 => Err(Error::option(format!("{name} must be at least 1"))),
            count => Ok(count),
        }
    }
}
