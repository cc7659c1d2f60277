//! `lectern login` and `lectern logout`.

mod redirect;

use std::{
    io::{self, Write},
    time::Duration,
};

use lectern::ports::Clock as _;
use lectern_aws::SystemClock;
use serde::Serialize;
use url::Url;

use self::redirect::{REDIRECT_URI, Redirect};
use crate::{
    api::{
        Call, Client, Pace, http,
        oidc::{Attempt, Provider, TokenFailure, Tokens},
        pages,
        sign_ins::{SignIn, SignIns},
        wire::Me,
    },
    args::Common,
    console::{Console, Exit, Report},
    problem::Problem,
};

/// How long the command waits for the person.
const PATIENCE: Duration = Duration::from_mins(10);

pub(crate) async fn login(common: &Common, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let pages = pages::find(common).await?.ok_or_else(|| {
        Problem::new(
            "no stack is given",
            "Give the address of Lectern's pages with --url, or --stack, or --local.",
        )
    })?;
    let sign_ins = SignIns::in_folder(common.state_dir.as_deref())?;
    let http = http::client()?;
    let provider = Provider::of(&http, &pages).await?;
    let redirect = Redirect::listen().await?;
    let attempt = Attempt::begin()?;
    let url = attempt.authorize_url(&provider, REDIRECT_URI);
    console.note(&format!("Sign in with your browser:\n{url}"));
    if has_display() {
        // The person opens the printed address if no browser starts.
        let _ = open::that_detached(url.as_str());
    }
    let code = tokio::time::timeout(PATIENCE, redirect.code(&attempt.state))
        .await
        .map_err(|_| Problem::new("nobody has signed in for ten minutes", "Run `lectern login` again."))??;
    let redeemed = attempt.redeem(&http, &provider, REDIRECT_URI, &code).await;
    let tokens = redeemed.map_err(|failure| match failure {
        TokenFailure::Refused => Problem::new("the sign-in was refused", "Run `lectern login` again."),
        TokenFailure::Unreachable(what) => {
            Problem::new(format!("the sign-in could not be finished: {what}"), "Run `lectern login` again.")
        }
    })?;
    let sign_in = signed_in(pages.clone(), &provider, tokens);
    sign_ins.write(&sign_in)?;
    let client = Client::new(sign_ins, sign_in, Pace::PATIENT)?;
    let me: Me = client.read(Call::get(&["me"])).await.map_err(Problem::from)?;
    console.report(&LoginReport { pages: pages.into(), roles: me.roles })?;
    Ok(Exit::Done)
}

pub(crate) async fn logout(common: &Common, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let sign_ins = SignIns::in_folder(common.state_dir.as_deref())?;
    let pages = match pages::find(common).await? {
        Some(pages) => pages,
        None => sign_ins.only()?.pages,
    };
    let was_signed_in = sign_ins.delete(&pages)?;
    console.report(&LogoutReport { pages: pages.into(), was_signed_in })?;
    Ok(Exit::Done)
}

fn signed_in(pages: Url, provider: &Provider, tokens: Tokens) -> SignIn {
    SignIn {
        pages,
        client_id: provider.client_id.clone(),
        token_url: provider.token_url.clone(),
        expires_at: SystemClock.now() + tokens.lifetime(),
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
    }
}

/// Whether a browser with windows can start. Without a display, the system's opener may start a text browser in this
/// terminal.
fn has_display() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos")) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

#[derive(Debug, Serialize)]
struct LoginReport {
    pages: String,
    roles: Vec<String>,
}

impl Report for LoginReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { pages, roles } = self;
        if roles.is_empty() {
            return writeln!(
                out,
                "Signed in at {pages}, but your account has no role yet. Ask an administrator for one."
            );
        }
        writeln!(out, "Signed in at {pages} as {}.", roles.join(" and "))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogoutReport {
    pages: String,
    was_signed_in: bool,
}

impl Report for LogoutReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { pages, was_signed_in } = self;
        if *was_signed_in {
            writeln!(out, "Signed out at {pages}. Your browser may still be signed in.")
        } else {
            writeln!(out, "You were not signed in at {pages}.")
        }
    }
}
