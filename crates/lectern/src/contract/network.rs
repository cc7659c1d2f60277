//! Which URLs of returned files may be fetched. The URLs come from outside, so they could be used to reach our network
//! (SSRF).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{Uri, uri::Scheme};
use url::{Host, Url};

/// The networks in which the third party and its files may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The internet: `https` only, global addresses only.
    Public,
    /// This machine, for the local cloud: `http` or `https`, loopback addresses only.
    Loopback,
}

impl Network {
    /// Whether a connection to this address may be opened. The check runs after name resolution, on the very address of
    /// the connection, so a name that resolves differently the second time cannot bypass it.
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_global(address),
            Self::Loopback => address.to_canonical().is_loopback(),
        }
    }

    /// Whether a file may be fetched from `url`: scheme, host on the list, no credentials, no forbidden address. The
    /// answer holds path and query byte for byte, without a fragment.
    ///
    /// The host has to be written as in the list, in any letter case. Otherwise two parsers could see two hosts in one
    /// URL.
    ///
    /// # Errors
    /// [`ForbiddenUrl`] names the violated rule and never repeats the URL.
    pub fn check(self, url: &str, allowed_hosts: &[String]) -> Result<Uri, ForbiddenUrl> {
        self.check_any(url, Some(allowed_hosts))
    }

    /// Whether requests may be sent to the URL of a subscriber, which may be on any host: like [`Self::check`] without the
    /// list of hosts.
    ///
    /// # Errors
    /// [`ForbiddenUrl`], likewise.
    pub fn check_subscriber(self, url: &str) -> Result<Uri, ForbiddenUrl> {
        self.check_any(url, None)
    }

    fn check_any(self, url: &str, allowed_hosts: Option<&[String]>) -> Result<Uri, ForbiddenUrl> {
        const NO_URL: ForbiddenUrl = ForbiddenUrl("it is no URL");
        let parsed = Url::parse(url).map_err(|_| NO_URL)?;
        match (self, parsed.scheme()) {
            (_, "https") | (Self::Loopback, "http") => {}
            _ => return Err(ForbiddenUrl("its scheme is not https")),
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(ForbiddenUrl("it holds credentials"));
        }
        match parsed.host() {
            Some(Host::Ipv4(address)) if !self.allows(address.into()) => {
                return Err(ForbiddenUrl("its address is not one that may be reached"));
            }
            Some(Host::Ipv6(address)) if !self.allows(address.into()) => {
                return Err(ForbiddenUrl("its address is not one that may be reached"));
            }
            Some(Host::Ipv4(_) | Host::Ipv6(_) | Host::Domain(_)) => {}
            None => return Err(ForbiddenUrl("it has no host")),
        }
        let host = parsed.host_str().unwrap_or_default();
        let is_on = |list: &[String]| list.iter().any(|allowed| allowed.eq_ignore_ascii_case(host));
        if !allowed_hosts.is_none_or(is_on) {
            return Err(ForbiddenUrl("its host is not on the list of allowed hosts"));
        }
        let uri: Uri = url.parse().map_err(|_| NO_URL)?;
        let authority = uri.authority().ok_or(NO_URL)?;
        let default_port = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let is_read_alike = url.is_ascii()
            && uri.scheme_str() == Some(parsed.scheme())
            && authority.host().eq_ignore_ascii_case(host)
            && !authority.as_str().contains('@')
            && Some(authority.port_u16().unwrap_or(default_port)) == parsed.port_or_known_default();
        if is_read_alike { Ok(uri) } else { Err(ForbiddenUrl("it is not written plainly")) }
    }
}

/// A URL that must not be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL must not be used: {0}")]
pub struct ForbiddenUrl(pub &'static str);

/// Whether an address belongs to the public internet. The rules follow the IANA special-purpose registries
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, `…-ipv6-special-registry`), like the standard
/// library's unstable `is_global`. An address that embeds an IPv4 address is refused, unless the embedded address is
/// global.
fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

fn is_global_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(a == 0
        || v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || v4.is_documentation()
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT
        || (a == 192 && b == 0 && c == 0) // IETF protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && (18..20).contains(&b)) // benchmarking
        || a >= 240) // reserved
}

fn is_global_v6(v6: Ipv6Addr) -> bool {
    let segments = v6.segments();
    let [.., high, low] = segments;
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => is_global_v4(Ipv4Addr::new(a, b, c, d)), // NAT64
        [0x64, 0xff9b, 1, ..] | [0x2002 | 0x5f00, ..] => false, // local NAT64, 6to4, SRv6
        [0x2001, second, ..] if second < 0x200 || second == 0x0db8 => false, // Teredo and others, documentation
        [0x3fff, second, ..] if second < 0x1000 => false,                    // documentation
        // Global unicast is 2000::/3; all other addresses are loopback, unspecified, local, multicast or unassigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn hosts() -> Vec<String> {
        ["files.example.com", "169.254.169.254", "[::1]", "[fd00::1]", "127.0.0.1", "10.0.0.1", "8.8.8.8"]
            .map(str::to_owned)
            .to_vec()
    }

    #[rstest]
    #[case::metadata("https://169.254.169.254/latest/meta-data")]
    #[case::metadata_as_number("https://2852039166/")]
    #[case::loopback("https://127.0.0.1/")]
    #[case::private("https://10.0.0.1/")]
    #[case::private_v6("https://[fd00::1]/")]
    #[case::loopback_v6("https://[::1]/")]
    #[case::mapped("https://[::ffff:169.254.169.254]/")]
    #[case::plain_http("http://files.example.com/x")]
    #[case::other_scheme("file:///etc/passwd")]
    #[case::other_host("https://evil.example.com/x")]
    #[case::suffix("https://files.example.com.evil.com/x")]
    #[case::credentials("https://files.example.com@evil.com/x")]
    #[case::user("https://user:pass@files.example.com/x")]
    #[case::nonsense("not a url")]
    #[case::host_behind_a_backslash("https://evil.example.com\\@files.example.com/x")]
    #[case::backslash_for_a_slash("https:\\\\files.example.com/x")]
    #[case::encoded_host("https://%66iles.example.com/x")]
    #[case::empty_user("https://@files.example.com/x")]
    #[case::address_as_another_number("https://134744072/x")]
    #[case::line_break_in_the_host("https://files.exa\nmple.com/x")]
    fn case_41_forbidden_url_is_refused(#[case] url: &str) {
        let error = Network::Public.check(url, &hosts()).unwrap_err();
        assert!(!error.to_string().contains("example"), "the URL is not repeated");
    }

    #[test]
    fn allowed_host_over_https_is_fetched() {
        assert!(Network::Public.check("https://FILES.example.com/x?y#z", &hosts()).is_ok());
        assert!(Network::Public.check("https://8.8.8.8/", &hosts()).is_ok());
    }

    #[rstest]
    #[case(
        "https://files.example.com/a/%2e%2e/b/../c//d?name='O%27Neil'&x={1}&y=%7e|#part",
        "/a/%2e%2e/b/../c//d?name='O%27Neil'&x={1}&y=%7e|"
    )]
    #[case("https://FILES.example.com:443/?a=b", "/?a=b")]
    #[case("https://files.example.com", "/")]
    fn v05_path_and_query_are_kept_byte_for_byte(#[case] url: &str, #[case] requested: &str) {
        let uri = Network::Public.check(url, &hosts()).unwrap();
        assert_eq!(uri.path_and_query().unwrap().as_str(), requested);
    }

    #[test]
    fn local_cloud_reaches_this_machine_only() {
        assert!(Network::Loopback.check("http://127.0.0.1:8080/x", &hosts()).is_ok());
        assert!(Network::Loopback.check("http://8.8.8.8/x", &hosts()).is_err());
        assert!(!Network::Loopback.allows("169.254.169.254".parse().unwrap()));
    }

    #[rstest]
    #[case("64:ff9b::a9fe:a9fe")]
    #[case("2002:a9fe:a9fe::")]
    #[case("::ffff:10.0.0.1")]
    #[case("::10.0.0.1")]
    #[case("fe80::1")]
    #[case("2001:db8::1")]
    #[case("100.64.0.1")]
    #[case("0.0.0.0")]
    #[case("255.255.255.255")]
    fn case_41_address_that_a_name_resolves_to_is_checked(#[case] address: &str) {
        assert!(!Network::Public.allows(address.parse().unwrap()));
    }

    proptest! {
        #[test]
        fn arbitrary_url_never_panics(url in any::<String>()) {
            let _ = Network::Public.check(&url, &hosts());
        }
    }
}
