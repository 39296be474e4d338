//! Parameters of policies: declared once, parsed, checked against their range, then read by name.

use crate::{Error, ErrorKind};

/// A parameter a policy declares. The declaration makes the help text, the checks and the documentation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Its value when not given.
    pub default: f64,
    /// The least value allowed.
    pub least: f64,
    /// The greatest value allowed.
    pub most: f64,
    /// One line for help texts.
    pub about: &'static str,
}

/// Checked values of all parameters a policy declares.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    declared: &'static [Param],
    values: Vec<f64>,
}

impl Params {
    /// Every parameter at its default.
    pub fn defaults(declared: &'static [Param]) -> Self {
        Self { declared, values: declared.iter().map(|param| param.default).collect() }
    }

    /// Sets a parameter from text.
    ///
    /// # Errors
    /// When `owner` has no such parameter, or the value is not a number in its range.
    pub fn set(&mut self, owner: &str, name: &str, value: &str) -> Result<(), Error> {
        let Some(at) = self.declared.iter().position(|param| param.name == name) else {
            let known: Vec<_> = self.declared.iter().map(|param| param.name).collect();
            let known = if known.is_empty() { "it has none".into() } else { format!("it has: {}", known.join(", ")) };
            return Err(Error::new(
                ErrorKind::UnknownParameter,
                format!("policy {owner} has no parameter '{name}'; {known}"),
            ));
        };
        let Param { least, most, .. } = self.declared[at];
        match value.parse::<f64>() {
            Ok(number) if number >= least && number <= most => self.values[at] = number,
            _ => {
                let message = format!("policy {owner}: {name}={value} is not a number from {least} to {most}");
                return Err(Error::new(ErrorKind::BadValue, message));
            }
        }
        Ok(())
    }

    /// The value of a declared parameter.
    ///
    /// # Panics
    /// When the policy asks for what it did not declare: a mistake in the policy, met by its first test.
    pub fn value(&self, name: &str) -> f64 {
        let at = self.declared.iter().position(|param| param.name == name);
        // A policy reads only the constants it declared itself.
        self.values[at.unwrap_or_else(|| panic!("parameter '{name}' is not declared"))]
    }
}
