//! What runs without a command.

use crate::failure::Failure;

pub(crate) fn run() -> Result<(), Failure> {
    Err(Failure::Usage("give a command, such as replay".into()))
}
