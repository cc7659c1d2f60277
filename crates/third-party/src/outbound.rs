//! The HTTP client for callbacks and pulls: it follows no redirects, uses no proxy, and resolves `.localhost` names to
//! this machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};

/// Builds the client. It has no overall timeout, since a pulled document may be large; a callback sets its own.
///
/// # Errors
/// If the TLS roots cannot be loaded.
pub(crate) fn client() -> reqwest::Result<Client> {
    // reqwest is built without a TLS provider. Installing one twice in a process changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .dns_resolver(LocalhostResolver)
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_mins(1))
        .user_agent(concat!("lectern-third-party/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Resolves `localhost` and every name below it to 127.0.0.1 (RFC 6761, section 6.3), other names as usual.
///
/// The local cloud's API has names like `<id>.execute-api.localhost`, which few system resolvers know.
#[derive(Debug)]
struct LocalhostResolver;

impl Resolve for LocalhostResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().trim_end_matches('.').to_ascii_lowercase();
            let addresses: Addrs = if host == "localhost" || host.ends_with(".localhost") {
                Box::new(std::iter::once(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
            } else {
                let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
                Box::new(found.into_iter())
            };
            Ok(addresses)
        })
    }
}
