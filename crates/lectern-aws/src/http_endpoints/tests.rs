//! Tests the requests to subscribers: what arrives, how much of an answer is read, and what is refused or given up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse as _, Redirect},
    routing::post,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use lectern::{contract::network::Network, events::EventRequest, ports::Endpoints as _};
use rstest::rstest;
use tokio::net::TcpListener;

use super::{HttpEndpoints, MAX_ANSWER_BYTES};

const SECOND: Duration = Duration::from_secs(1);

fn request() -> EventRequest {
    let headers = HeaderMap::from_iter([(
        http::header::HeaderName::from_static("webhook-id"),
        HeaderValue::from_static("1"),
    )]);
    EventRequest { headers, body: b"{}".to_vec() }
}

/// A server on this machine, and its base URL.
async fn server(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    url
}

#[tokio::test]
async fn request_arrives_as_it_is_and_the_beginning_of_the_answer_is_read() {
    let echo = async |request: Request| {
        assert_eq!(request.headers()["webhook-id"], "1");
        assert!(request.headers()["user-agent"].to_str().unwrap().starts_with("lectern/"));
        (StatusCode::ACCEPTED, "x".repeat(3 * MAX_ANSWER_BYTES))
    };
    let url = server(Router::new().route("/", post(echo))).await;
    let answer = HttpEndpoints::new(Network::Loopback).post(&url, request(), SECOND * 5).await.unwrap();
    assert_eq!((answer.status(), answer.body().len()), (StatusCode::ACCEPTED, MAX_ANSWER_BYTES));
}

#[tokio::test]
async fn case_46_redirect_is_not_followed() {
    let followed = Arc::new(AtomicUsize::new(0));
    let count = followed.clone();
    let target = async move || {
        count.fetch_add(1, Ordering::Relaxed);
        StatusCode::OK
    };
    let app = Router::new()
        .route("/", post(async || Redirect::temporary("/target").into_response()))
        .route("/target", post(target));
    let url = server(app).await;
    let answer = HttpEndpoints::new(Network::Loopback).post(&url, request(), SECOND * 5).await.unwrap();
    assert_eq!((answer.status(), followed.load(Ordering::Relaxed)), (StatusCode::TEMPORARY_REDIRECT, 0));
}

#[tokio::test]
async fn case_46_endpoint_that_does_not_answer_is_given_up_in_time() {
    let never = async || {
        std::future::pending::<()>().await;
        StatusCode::OK
    };
    let url = server(Router::new().route("/", post(never))).await;
    let answer = HttpEndpoints::new(Network::Loopback).post(&url, request(), SECOND / 10).await;
    assert!(answer.unwrap_err().to_string().contains("in time"));
}

#[rstest]
#[case::plain_http("http://example.com/")]
#[case::metadata("https://169.254.169.254/latest")]
#[case::private("https://10.0.0.1/")]
#[case::name_of_this_machine("https://localhost:1/")]
#[case::credentials("https://user:secret@example.com/")]
#[case::nonsense("example")]
#[tokio::test]
async fn case_41_forbidden_address_of_a_subscriber_is_never_reached(#[case] url: &str) {
    let answer = HttpEndpoints::new(Network::Public).post(url, request(), SECOND * 5).await;
    let why = answer.unwrap_err().to_string();
    assert!(!why.contains("secret") && !why.contains("example.com"), "the URL is not repeated: {why}");
}

#[tokio::test]
async fn connection_is_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut read = Vec::new();
                while socket.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {
                    if read.ends_with(b"{}") {
                        read.clear();
                        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                        socket.write_all(answer).await.unwrap();
                    }
                }
            });
        }
    });
    let endpoints = HttpEndpoints::new(Network::Loopback);
    for _ in 0..3 {
        endpoints.post(&url, request(), SECOND * 5).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}
