//! The web server that receives the redirect of the sign-in page.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use lectern::display_text::Label;
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use crate::problem::Problem;

/// Where the sign-in page sends the browser. The template registers this address.
pub(super) const REDIRECT_URI: &str = "http://localhost:8976/";
const PORT: u16 = 8976;
/// How long the browser may take to read the answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(1);

/// A server on this machine's loopback addresses: a browser may take either for `localhost`.
pub(super) struct Redirect(Vec<TcpListener>);

impl Redirect {
    pub(super) async fn listen() -> Result<Self, Problem> {
        let address = |ip: IpAddr| TcpListener::bind((ip, PORT));
        let mut listeners =
            vec![address(Ipv4Addr::LOCALHOST.into()).await.map_err(|error| is_taken(&error))?];
        // A machine may have no IPv6.
        listeners.extend(address(Ipv6Addr::LOCALHOST.into()).await);
        Ok(Self(listeners))
    }

    /// Waits for the redirect with this state and returns its code. Other requests have no effect.
    pub(super) async fn code(self, state: &str) -> Result<String, Problem> {
        let (sender, mut received) = mpsc::channel(1);
        let router = Router::new()
            .route("/", get(receive))
            .with_state(Arc::new(Expected { state: state.to_owned(), sender }));
        let (running, _) = watch::channel(());
        let mut servers = JoinSet::new();
        for listener in self.0 {
            let mut end = running.subscribe();
            let end = async move { while end.changed().await.is_ok() {} };
            servers.spawn(axum::serve(listener, router.clone()).with_graceful_shutdown(end).into_future());
        }
        let answer = received.recv().await;
        // The servers answer the browser before they end. A browser may hold a connection open without a request.
        drop(running);
        let ended = async { while servers.join_next().await.is_some() {} };
        if timeout(LONGEST_ANSWER, ended).await.is_err() {
            servers.shutdown().await;
        }
        match answer {
            Some(Ok(code)) => Ok(code),
            Some(Err(error)) => Err(Problem::new(
                format!("the sign-in page answered with {error}"),
                "Run `lectern login` again, or ask an administrator.",
            )),
            None => Err(Problem::new("the sign-in was not finished", "Run `lectern login` again.")),
        }
    }
}

fn is_taken(error: &io::Error) -> Problem {
    Problem::new(
        format!("port {PORT} of this machine cannot be used: {error}"),
        "Another `lectern login` may be waiting: finish or end it, then try again.",
    )
}

struct Expected {
    state: String,
    sender: mpsc::Sender<Result<String, String>>,
}

/// What the sign-in page sends back (RFC 6749, section 4.1.2).
#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
}

async fn receive(State(expected): State<Arc<Expected>>, Query(parameters): Query<Parameters>) -> Response {
    if parameters.state != expected.state {
        return (
            StatusCode::BAD_REQUEST,
            "This sign-in was not started by this command. Run `lectern login` again.",
        )
            .into_response();
    }
    let (answer, text) = match parameters {
        Parameters { code: Some(code), .. } => {
            (Ok(code), "Go back to the terminal. You can close this page.")
        }
        Parameters { error, .. } => {
            let error = Label::new(&error.unwrap_or_default()).or("no code").to_string();
            (Err(error), "The sign-in was not finished. Go back to the terminal.")
        }
    };
    // A repeated redirect finds the channel full or closed, and changes nothing.
    let _ = expected.sender.try_send(answer);
    text.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::http;

    /// One test, because the port is always the same.
    #[tokio::test]
    async fn only_the_redirect_with_the_right_state_ends_the_wait() {
        let client = http::client().unwrap();
        let fetch = async |query: &str| {
            client.get(format!("http://127.0.0.1:{PORT}/{query}")).send().await.unwrap().status().as_u16()
        };
        let redirect = Redirect::listen().await.unwrap();
        assert!(
            Redirect::listen().await.is_err_and(|problem| problem.todo.contains("Another `lectern login`"))
        );
        let browser = async {
            let refused = [fetch("").await, fetch("?code=forged&state=guess").await];
            (refused, fetch("?code=c%201&state=s").await)
        };
        let (code, statuses) = tokio::join!(redirect.code("s"), browser);
        assert_eq!((code.unwrap().as_str(), statuses), ("c 1", ([400, 400], 200)));

        let redirect = Redirect::listen().await.unwrap();
        let (code, _) = tokio::join!(redirect.code("s"), fetch("?error=access_denied&state=s"));
        assert_eq!(code.unwrap_err().what, "the sign-in page answered with access_denied");
    }
}
