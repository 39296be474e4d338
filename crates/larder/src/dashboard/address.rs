//! Where an instance's dashboard is, as people write it and registries tell it: a host and a port, nothing else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::registry::LONGEST_ADDRESS;
use crate::{Error, ErrorKind};

/// As in `10.0.0.2:9465`, `[fd00::2]:9465` or `cache-2.internal:9465`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address(Arc<str>);

impl Address {
    /// One that may come from anywhere: neither a path, a login, a query nor a line's end hides in it.
    ///
    /// # Errors
    /// It is no such address; the message repeats none of it.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let is_one = text.len() <= LONGEST_ADDRESS
            && text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port));
        match is_one {
            true => Ok(Self(text.to_ascii_lowercase().into())),
            false => Err(Error::new(ErrorKind::Config, "a dashboard's address is host:port, as in 10.0.0.2:9465")),
        }
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.0
    }

    /// Without the port, and without the brackets of IPv6.
    pub(super) fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// Where a dashboard listens, if others can use that.
impl TryFrom<SocketAddr> for Address {
    type Error = Error;

    fn try_from(address: SocketAddr) -> Result<Self, Error> {
        Self::parse(&address.to_string())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// An address that means one machine, or a name. What looks like a number is an address or nothing, lest a resolver finds one in it.
fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok_and(|ip| is_one_machine(ip.into()));
    }
    let labels = host.split('.');
    let last = labels.clone().next_back().unwrap_or_default();
    if last.bytes().all(|letter| letter.is_ascii_digit()) || last.starts_with("0x") {
        return host.parse::<Ipv4Addr>().is_ok_and(|ip| is_one_machine(ip.into()));
    }
    labels.clone().all(|label| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_".contains(&letter))
    })
}

fn is_one_machine(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, host) in [
            ("10.0.0.2:9465", "10.0.0.2"),
            ("[fd00::2]:80", "fd00::2"),
            ("Cache-2.internal:65535", "cache-2.internal"),
            ("localhost:1", "localhost"),
            ("my_service.ns.svc:9465", "my_service.ns.svc"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.host(), &**address.text()), (host, text.to_ascii_lowercase().as_str()));
        }
    }

    #[test]
    fn nothing_else_hides_in_it() {
        let long = format!("{}:80", "a.".repeat(130) + "bb");
        for text in [
            "",
            ":",
            "host",
            "host:",
            ":80",
            "host:0",
            "host:65536",
            "host:+80",
            "host:80/path",
            "http://host:80",
            "user@host:80",
            "host:80?x",
            "host:80\r\nX: y",
            "ho st:80",
            "höst:80",
            "-host:80",
            "a..b:80",
            "fd00::2:80",
            "[fd00::2%eth0]:80",
            "[host]:80",
            "0.0.0.0:80",
            "[::]:80",
            "224.0.0.1:80",
            "127.1:80",
            "2130706433:80",
            "0x7f000001:80",
            long.as_str(),
        ] {
            assert_eq!(Address::parse(text).map_err(|error| error.kind()), Err(ErrorKind::Config), "{text:?}");
        }
    }
}
