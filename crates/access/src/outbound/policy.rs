//! Which addresses may be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use headgate_types::{Coded, ErrorKind};
use ipnet::IpNet;
use url::{Host, Url};

/// Why an address was not reached.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The URL, or what its name resolves to, may not be reached.
    #[error("the address is refused: {0}")]
    Refused(&'static str),
    /// Nobody answered: name, connection or TLS.
    #[error("the address cannot be reached: {0}")]
    Unreachable(String),
    /// The answer is longer than anything asked for.
    #[error("the answer is too long")]
    TooLong,
    /// The answer took too long.
    #[error("there was no answer in time")]
    TimedOut,
    /// Our own client cannot be built.
    #[error("failed to set up the HTTP client: {0}")]
    Client(String),
}

impl Coded for OutboundError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) | Self::Unreachable(_) | Self::TimedOut | Self::TooLong => ErrorKind::Unprocessable,
            Self::Client(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "address_refused",
            Self::Unreachable(_) | Self::TimedOut | Self::TooLong => "address_unreachable",
            Self::Client(_) => "internal",
        }
    }
}

/// Which addresses may be reached: public ones by https on port 443 or 8443, and the networks that
/// the operator names, those by plain http and on any port as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboundPolicy {
    /// The networks that the operator names.
    pub allow: Vec<IpNet>,
}

impl OutboundPolicy {
    /// For a laptop and for tests: this machine.
    #[must_use]
    pub fn development() -> Self {
        let loopback = [IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST)), IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST))];
        Self { allow: loopback.to_vec() }
    }

    /// Checks everything about a URL that needs no name resolution; for requests that register
    /// one, and before every use.
    ///
    /// # Errors
    /// [`OutboundError::Refused`] says what is wrong.
    pub fn check_url(&self, url: &Url) -> Result<(), OutboundError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OutboundError::Refused("only https is allowed"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OutboundError::Refused("a URL must not carry user and password"));
        }
        let check = |address| match needs_named_network(url) {
            None => self.check_address(address),
            Some(_) if self.names(address) => Ok(()),
            Some(why) => Err(OutboundError::Refused(why)),
        };
        match url.host() {
            None => Err(OutboundError::Refused("a URL must name a host")),
            // Connections to a literal never ask the resolver, so it is checked here.
            Some(Host::Ipv4(address)) => check(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => check(IpAddr::V6(address)),
            Some(Host::Domain(_)) => match needs_named_network(url) {
                Some(why) if self.allow.is_empty() => Err(OutboundError::Refused(why)),
                // What the name leads to is checked when it is resolved.
                _ => Ok(()),
            },
        }
    }

    /// Whether the operator names a network with this address.
    #[must_use]
    pub fn names(&self, address: IpAddr) -> bool {
        let inner = embedded(address);
        self.allow.iter().any(|range| range.contains(&inner))
    }

    /// Checks one address.
    ///
    /// # Errors
    /// [`OutboundError::Refused`] for one that is neither public nor allowed by name.
    pub fn check_address(&self, address: IpAddr) -> Result<(), OutboundError> {
        if self.names(address) || is_public(embedded(address)) {
            return Ok(());
        }
        Err(OutboundError::Refused("it is not a public address"))
    }
}

/// Why a URL is for networks that the operator names and for no others, if it is.
pub(super) fn needs_named_network(url: &Url) -> Option<&'static str> {
    if url.scheme() != "https" {
        return Some("only https is allowed");
    }
    let usual = matches!(url.port_or_known_default(), Some(443 | 8443));
    (!usual).then_some("only the ports 443 and 8443 are allowed")
}

/// The IPv4 address inside an IPv6 one that would be translated to it (RFC 4291 2.5.5.2,
/// RFC 6052): the connection ends at the inner address, so that one decides.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    match v6.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => address,
    }
}

/// Neither private, nor of this machine or link, nor reserved (IANA special-purpose registries,
/// RFC 6890 and its updates).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [224..=255, ..]
    )
}

const fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocol assignments and Teredo, documentation, 6to4: what they lead to is not checked.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // Only 2000::/3 is global unicast; everything else is local, multicast or unassigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(policy: &OutboundPolicy, url: &str) -> bool {
        policy.check_url(&Url::parse(url).unwrap()).is_err()
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_however_they_are_written() {
        let strict = OutboundPolicy::default();
        for host in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::1]",
            "[100::1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[2002:7f00:1::]",
            "[3fff::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[5f00::1]",
            "[4000::1]",
        ] {
            assert!(refused(&strict, &format!("https://{host}/hook")), "{host}");
        }
        for host in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "[2606:4700::1111]", "[64:ff9b::1.1.1.1]"] {
            assert!(!refused(&strict, &format!("https://{host}/hook")), "{host}");
        }
    }

    #[test]
    fn only_https_and_its_ports_are_allowed_outside_development() {
        let strict = OutboundPolicy::default();
        for url in [
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "https://example.com:22/",
            "https://example.com:9200/",
            "https://user@example.com/",
            "https://user:pass@example.com/",
            "https://:pass@example.com/",
        ] {
            assert!(refused(&strict, url), "{url}");
        }
        assert!(!refused(&strict, "https://example.com:8443/x?y=z"));
        let development = OutboundPolicy::development();
        assert!(!refused(&development, "http://127.0.0.1:9000/"));
        assert!(!refused(&development, "http://[::1]:9000/"));
        for url in ["http://10.0.0.1:9000/", "http://93.184.216.34/", "https://93.184.216.34:9000/"] {
            assert!(refused(&development, url), "{url}: only what is named is reached so");
        }
    }

    #[test]
    fn a_private_range_is_reached_only_when_listed() {
        let policy = OutboundPolicy { allow: vec!["10.20.0.0/16".parse().unwrap()] };
        assert!(!refused(&policy, "https://10.20.1.2/"));
        assert!(!refused(&policy, "https://[::ffff:10.20.1.2]/"));
        assert!(refused(&policy, "https://10.21.1.2/"));
    }
}
