//! What each error of the server asks us to do.

use larder::{Error, ErrorKind};
use redis::RedisError;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The connection is of no use: make another.
    Rebuild,
    /// The server is no longer the one to write to: find the one that is.
    Relocate,
    /// It does not know us: tell somebody, and try again slowly with the login of that time.
    Login,
    /// It takes no writes for now; reads go on.
    PauseWrites,
    /// It is busy with itself: nothing to do but wait.
    Wait,
    /// No answer came: see whether the connection lives.
    Suspect,
    /// This one command was wrong, or is not allowed.
    Report,
}

/// By the error's code, for the texts differ between servers and versions.
pub(crate) fn action(error: &RedisError) -> Action {
    // Before 7.0, what a script ran into is hidden in the text of an `ERR`.
    let within = |text| error.detail().is_some_and(|detail| detail.contains(text));
    match error.code() {
        Some("OOM" | "MISCONF" | "NOREPLICAS") => Action::PauseWrites,
        Some("READONLY" | "MOVED" | "ASK" | "UNBLOCKED") => Action::Relocate,
        Some("NOAUTH" | "WRONGPASS") => Action::Login,
        Some("LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN") => Action::Wait,
        Some("ERR" | "EXECABORT") if within("OOM command not allowed") || within("-MISCONF") => Action::PauseWrites,
        Some("ERR") if within("-READONLY") => Action::Relocate,
        Some(_) => Action::Report,
        None if error.kind() == redis::ErrorKind::AuthenticationFailed => Action::Login,
        None if error.is_timeout() => Action::Suspect,
        // No server said this: the connection broke, or what came over it is not Redis.
        None => Action::Rebuild,
    }
}

/// The error as the cache knows it.
pub(crate) fn translate(error: RedisError) -> Error {
    let (kind, what) = match action(&error) {
        Action::PauseWrites => (ErrorKind::Overloaded, "the Redis takes no writes for now"),
        Action::Suspect => (ErrorKind::Timeout, "the Redis did not answer"),
        Action::Login => (ErrorKind::Remote, "the Redis does not accept the login"),
        Action::Relocate => (ErrorKind::Remote, "the Redis is no longer the one to write to"),
        Action::Wait => (ErrorKind::Remote, "the Redis is not ready"),
        Action::Rebuild => (ErrorKind::Remote, "the connection to the Redis broke"),
        Action::Report => (ErrorKind::Remote, "the Redis refused a command"),
    };
    Error::caused(kind, what, error)
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;

    fn told(code: &str, detail: &str) -> Action {
        action(&make_extension_error(code.to_owned(), Some(detail.to_owned())))
    }

    #[test]
    fn each_code_has_its_action() {
        for (code, expected) in [
            ("OOM", Action::PauseWrites),
            ("MISCONF", Action::PauseWrites),
            ("NOREPLICAS", Action::PauseWrites),
            ("READONLY", Action::Relocate),
            ("MOVED", Action::Relocate),
            ("NOAUTH", Action::Login),
            ("WRONGPASS", Action::Login),
            ("LOADING", Action::Wait),
            ("BUSY", Action::Wait),
            ("NOPERM", Action::Report),
            ("WRONGTYPE", Action::Report),
        ] {
            assert_eq!(told(code, "…"), expected, "{code}");
        }
        assert_eq!(told("ERR", "Error running script: @user_script: 1: -MISCONF Redis is …"), Action::PauseWrites);
        assert_eq!(told("ERR", "unknown command"), Action::Report);
    }

    #[test]
    fn a_broken_connection_is_replaced_and_a_silent_one_suspected() {
        use std::io::{Error, ErrorKind::*};
        for kind in [BrokenPipe, ConnectionReset, UnexpectedEof, ConnectionRefused] {
            assert_eq!(action(&Error::from(kind).into()), Action::Rebuild);
        }
        assert_eq!(action(&Error::from(TimedOut).into()), Action::Suspect);
        assert_eq!(action(&(redis::ErrorKind::Parse, "garbage").into()), Action::Rebuild);
        assert_eq!(action(&(redis::ErrorKind::AuthenticationFailed, "no").into()), Action::Login);
    }
}
