//! The HTTP client. Its error messages contain no URLs, because a URL may be a secret.

use std::{error::Error as _, time::Duration};

use url::{Host, Url};

use crate::problem::Problem;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that follows no redirects, because the requests carry tokens and signatures.
pub(crate) fn client() -> Result<reqwest::Client, Problem> {
    // Fails if another client has installed the provider before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("lectern/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| {
            Problem::new(
                format!("the HTTP client could not be built: {}", describe(&error)),
                "Check the machine's certificates and proxy settings.",
            )
        })
}

/// What went wrong, without the URL.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut deepest: &dyn std::error::Error = match error.source() {
        Some(source) => source,
        None => return "the request failed".to_owned(),
    };
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Parses an address that tokens are sent to. Plain HTTP is for this machine only.
pub(crate) fn private_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_this_machine = match url.host()? {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    (url.scheme() == "https" || (url.scheme() == "http" && is_this_machine)).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sent_over_plain_http_to_this_machine_only() {
        for good in
            ["https://a.example/", "http://127.0.0.1:4566/x/", "http://localhost:1/", "http://[::1]:1/"]
        {
            assert!(private_url(good).is_some(), "{good}");
        }
        for bad in [
            "http://a.example/",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "a.example",
            "http://localhost.evil/",
        ] {
            assert!(private_url(bad).is_none(), "{bad}");
        }
    }
}
