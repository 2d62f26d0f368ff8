//! Which addresses may be reached: ranges of addresses and ports, the most specific one decides.
//!
//! Pure but for one question to the operating system: whether an address is one of this host's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

/// Which addresses actions may reach.
///
/// Of the rules that match an address the most specific decides: the longer prefix, then the one with a port. Between
/// equals a denial of the operator's comes first, then a permission of the operator's, then the built-in denials. What
/// no rule matches may be reached.
#[derive(Debug, Clone, Default)]
pub struct NetPolicy {
    rules: Vec<Rule>,
    own: Vec<SocketAddr>,
}

/// A range of addresses, and the one port or every port: `10.0.0.0/8`, `10.0.0.5:5432`, `[fd00::/8]:443`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    network: IpAddr,
    prefix: u8,
    port: Option<u16>,
}

/// A text that is no [`Range`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a range of addresses such as `10.0.0.0/8`, `10.0.0.5:5432` or `[fd00::/8]:443`")]
pub struct InvalidRange {
    /// What was given.
    pub text: String,
}

#[derive(Debug, Clone)]
struct Rule {
    range: Range,
    verdict: Verdict,
}

/// In the order of their weight between equally specific rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    DeniedByDefault(&'static str),
    Allowed,
    Denied,
}

/// Denied on a server unless the operator allows them. Cloud providers answer credentials at the metadata addresses.
const DEFAULT_DENIALS: &[(&str, &str)] = &[
    ("169.254.0.0/16", "link-local address"),
    ("fe80::/10", "link-local address"),
    ("fd00:ec2::254", "metadata address"),
    ("fd00:ec2::23", "metadata address"),
    ("fd20:ce::254", "metadata address"),
    ("100.100.100.200", "metadata address"),
    ("168.63.129.16", "metadata address"),
    ("192.0.0.192", "metadata address"),
    ("0.0.0.0/8", "unspecified address"),
    ("::", "unspecified address"),
];

impl NetPolicy {
    /// Everything may be reached: the command line, where it is the user's own machine.
    pub fn open() -> Self {
        Self::default()
    }

    /// The server's default: link-local, metadata and unspecified addresses are denied, and each of `own`: this
    /// server's listeners (on whichever of this host's addresses they are asked for) and its databases.
    pub fn server(own: &[SocketAddr]) -> Self {
        let rules = DEFAULT_DENIALS
            .iter()
            .map(|(range, reason)| Rule {
                range: range.parse().expect("the built-in ranges are well formed: a test builds this policy"),
                verdict: Verdict::DeniedByDefault(reason),
            })
            .collect();
        Self { rules, own: own.to_vec() }
    }

    /// The same policy with every range of `list` denied as well. Ranges are separated by commas or white space.
    pub fn with_denied(self, list: &str) -> Result<Self, InvalidRange> {
        self.with_rules(list, Verdict::Denied)
    }

    /// The same policy with every range of `list` allowed, where no rule that is more specific denies it.
    pub fn with_allowed(self, list: &str) -> Result<Self, InvalidRange> {
        self.with_rules(list, Verdict::Allowed)
    }

    fn with_rules(mut self, list: &str, verdict: Verdict) -> Result<Self, InvalidRange> {
        for text in list.split(|c: char| c == ',' || c.is_whitespace()).filter(|text| !text.is_empty()) {
            self.rules.push(Rule { range: text.parse()?, verdict });
        }
        Ok(self)
    }

    /// Whether everything may be reached.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty() && self.own.is_empty()
    }

    /// Why `address` may not be reached; `None` when it may.
    pub fn denial(&self, address: SocketAddr) -> Option<&'static str> {
        if self.is_open() {
            return None;
        }
        let ip = embedded_address(address.ip());
        let deciding = self
            .rules
            .iter()
            .filter(|rule| rule.range.contains(ip, address.port()))
            .max_by_key(|rule| (rule.range.prefix_bits(), rule.range.port.is_some(), rule.verdict));
        match deciding.map(|rule| (rule.verdict, rule.range.names_one_socket())) {
            Some((Verdict::Denied, _)) => Some("denied by the operator"),
            Some((Verdict::Allowed, true)) => None,
            Some((Verdict::Allowed, false)) | None => self.own_listener(ip, address.port()),
            Some((Verdict::DeniedByDefault(reason), _)) => Some(reason),
        }
    }

    fn own_listener(&self, ip: IpAddr, port: u16) -> Option<&'static str> {
        let is_own = |own: &SocketAddr| {
            own.port() == port
                && (embedded_address(own.ip()) == ip
                    || ((own.ip().is_unspecified() || belongs_to_this_host(own.ip())) && belongs_to_this_host(ip)))
        };
        self.own.iter().any(is_own).then_some("this server's own listener or database")
    }
}

impl Range {
    pub(super) fn contains(&self, ip: IpAddr, port: u16) -> bool {
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        match (self.network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Prefix lengths that compare across the two families: how many bits are left open.
    fn prefix_bits(&self) -> i16 {
        i16::from(self.prefix) - if self.network.is_ipv4() { 32 } else { 128 }
    }

    fn names_one_socket(&self) -> bool {
        self.prefix_bits() == 0 && self.port.is_some()
    }
}

impl FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        parse_range(text).ok_or_else(|| InvalidRange { text: text.chars().take(100).collect() })
    }
}

fn parse_range(text: &str) -> Option<Range> {
    if let Some(inner) = text.strip_prefix('[') {
        let (network, port) = inner.split_once(']')?;
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if port.is_empty() => None,
            None => return None,
        };
        let range = parse_network(network)?;
        return range.network.is_ipv6().then_some(Range { port, ..range });
    }
    match text.split_once(':') {
        // One colon is a port, two or more are an IPv6 address.
        Some((network, port)) if !port.contains(':') => {
            Some(Range { port: Some(port.parse().ok()?), ..parse_network(network)? })
        }
        _ => parse_network(text),
    }
}

fn parse_network(text: &str) -> Option<Range> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let network: IpAddr = address.parse().ok()?;
    let longest = if network.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(longest);
    (prefix <= longest).then_some(Range { network, prefix, port: None })
}

/// The IPv4 address that an IPv6 address stands for (mapped, compatible, NAT64, 6to4), so that no spelling of a denied
/// address gets around the policy; the address itself otherwise.
fn embedded_address(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let segments = v6.segments();
    let from = |first: usize| {
        let bits = (u32::from(segments[first]) << 16) | u32::from(segments[first + 1]);
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    };
    match segments[..6] {
        [0, 0, 0, 0, 0, 0] if v6 != Ipv6Addr::UNSPECIFIED && v6 != Ipv6Addr::LOCALHOST => from(6),
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => from(6),
        [0x2002, ..] => from(1),
        _ => ip,
    }
}

/// Whether the address is one of this host's own. The operating system lets a socket be bound to those alone.
fn belongs_to_this_host(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(policy: &NetPolicy, address: &str) -> Option<&'static str> {
        policy.denial(address.parse().expect("test addresses are well formed"))
    }

    #[test]
    fn a_server_denies_link_local_metadata_and_unspecified_addresses_in_every_spelling() {
        let policy = NetPolicy::server(&[]);
        for address in [
            "169.254.169.254:80",
            "169.254.0.1:443",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "100.100.100.200:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "[::]:80",
            "[::ffff:169.254.169.254]:80",
            "[::ffff:0:0]:80",
            "[::169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "[2002:a9fe:a9fe::1]:80",
        ] {
            assert!(denial(&policy, address).is_some(), "{address} should be denied");
        }
    }

    #[test]
    fn a_server_allows_private_and_public_addresses() {
        let policy = NetPolicy::server(&[]);
        for address in
            ["127.0.0.1:80", "10.0.0.5:5432", "192.168.1.1:80", "[::1]:80", "[fd00::1]:80", "93.184.216.34:80"]
        {
            assert_eq!(denial(&policy, address), None, "{address} should be allowed");
        }
    }

    #[test]
    fn own_listeners_are_denied_on_every_address_of_this_host_and_at_their_port_only() {
        let policy = NetPolicy::server(&["0.0.0.0:5016".parse().unwrap(), "203.0.113.9:5432".parse().unwrap()]);
        for address in ["127.0.0.1:5016", "127.8.8.8:5016", "[::1]:5016", "[::ffff:127.0.0.1]:5016", "203.0.113.9:5432"]
        {
            assert!(denial(&policy, address).is_some(), "{address} should be denied");
        }
        for address in ["127.0.0.1:5017", "203.0.113.9:5016", "127.0.0.1:5432"] {
            assert_eq!(denial(&policy, address), None, "{address} should be allowed");
        }
    }

    #[test]
    fn the_most_specific_rule_decides() {
        let policy = NetPolicy::server(&["127.0.0.1:5016".parse().unwrap(), "127.0.0.1:6000".parse().unwrap()])
            .with_denied("10.0.0.0/8, 10.9.0.0/16:22 ::/0")
            .unwrap()
            .with_allowed("10.1.0.0/16 [2001:db8::]:443 127.0.0.0/8 127.0.0.1:6000 169.254.10.0/24 fd00::/8")
            .unwrap();
        for (address, allowed) in [
            ("10.0.0.1:80", false),
            ("10.1.0.1:80", true),
            ("10.9.0.1:22", false),
            ("[2001:db8::]:443", true),
            ("[2001:db8::]:80", false),
            ("127.0.0.1:5016", false),
            ("127.0.0.1:6000", true),
            ("127.0.0.1:80", true),
            ("169.254.10.7:80", true),
            ("169.254.169.254:80", false),
            ("[fd00::1]:80", true),
            ("[fd00:ec2::254]:80", false),
        ] {
            assert_eq!(denial(&policy, address).is_none(), allowed, "{address}");
        }
    }

    #[test]
    fn a_text_that_is_no_range_is_refused_by_name() {
        for text in ["10.0.0.0/33", "10.0.0", "host", "10.0.0.1:99999", "[10.0.0.1]:80", "::/129", "[::1]80", "/8"] {
            let refusal = NetPolicy::open().with_denied(text).unwrap_err();
            assert!(refusal.to_string().starts_with(&format!("`{text}` is not")), "{refusal}");
        }
    }
}
