//! The subscribers' side of `make bench-events`: an HTTP server that answers every POST with 204 after a delay.
//!
//! `event_sink DELAY_MS` prints its base URL and serves until its standard input ends.
//!
//! - `POST` to a path that starts with `/stalled` is read and never answered.
//! - `GET /counts` returns what arrived so far ([`Counts`] in JSON).
//!
//! The server reads HTTP/1.1 by hand on one thread, because it must not be what the benchmark measures. It understands
//! only requests with `Content-Length`.

use std::{
    cell::RefCell,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::LocalSet,
    time::{Instant, sleep_until},
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
const READ_BYTES: usize = 16 * 1024;
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// Every event's envelope contains it once.
const EVENT: &str = "\"specversion\"";

/// What has arrived on all paths but `/stalled`, since the start.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    connections: u64,
    /// Answered requests.
    requests: u64,
    /// The events in them.
    events: u64,
    /// The bytes of their bodies.
    body_bytes: u64,
    /// How much later than the delay they were answered, together.
    late_seconds: f64,
    /// Requests to `/stalled`.
    stalled: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let delay_ms = std::env::args().nth(1).context("usage: event_sink DELAY_MS")?;
    let delay = Duration::from_millis(delay_ms.parse().context("DELAY_MS is no number")?);
    // The parent process holds the other end, so the server ends with it.
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let listener = socket.listen(BACKLOG)?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    let counts = Rc::new(RefCell::new(Counts::default()));
    LocalSet::new()
        .run_until(async {
            loop {
                let (stream, _) = listener.accept().await?;
                counts.borrow_mut().connections += 1;
                let counts = Rc::clone(&counts);
                // A connection that breaks off concerns the client, which counts its own failures.
                tokio::task::spawn_local(async move { serve(stream, delay, &counts).await.ok() });
            }
        })
        .await
}

/// Answers the requests of one connection, one after the other.
async fn serve(mut stream: TcpStream, delay: Duration, counts: &RefCell<Counts>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(READ_BYTES);
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        let due = Instant::now() + delay;
        if request.line.starts_with("GET /counts ") {
            let json = serde_json::to_string(&*counts.borrow())?;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{json}", json.len());
            stream.write_all(answer.as_bytes()).await?;
            continue;
        }
        if request.line.starts_with("POST /stalled") {
            counts.borrow_mut().stalled += 1;
            // The client closes the connection when it has waited long enough.
            while stream.read_buf(&mut buffer).await? > 0 {
                buffer.clear();
            }
            return Ok(());
        }
        sleep_until(due).await;
        stream.write_all(NO_CONTENT).await?;
        let mut counts = counts.borrow_mut();
        counts.requests += 1;
        counts.events += request.events;
        counts.body_bytes += request.body_bytes;
        counts.late_seconds += due.elapsed().as_secs_f64();
    }
    Ok(())
}

struct Request {
    line: String,
    events: u64,
    body_bytes: u64,
}

/// The next request; `None` if the client has closed the connection.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<Option<Request>> {
    let body_starts = loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if buffer.len() > MAX_HEAD_BYTES {
            bail!("a head is too long");
        }
        buffer.reserve(READ_BYTES);
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = std::str::from_utf8(buffer.get(..body_starts).unwrap_or_default())?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| value.trim().parse())?;
    if length > MAX_BODY_BYTES {
        bail!("a body is too long");
    }
    let ends = body_starts + length;
    while buffer.len() < ends {
        buffer.reserve(ends - buffer.len());
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = std::str::from_utf8(buffer.get(body_starts..ends).unwrap_or_default())?;
    let request = Request { line, events: body.matches(EVENT).count() as u64, body_bytes: length as u64 };
    buffer.drain(..ends);
    Ok(Some(request))
}
