//! Where the pages of a stack are, and so its API.

use url::Url;

use super::http::private_url;
use crate::{
    args::Common,
    cloud::{self, LOCAL_FILE},
    problem::Problem,
    stack::StackFile,
};

/// The address of the pages of the stack that the command line selects, with a slash at its end; `None` if it selects none.
/// A local cloud comes first, then `--url`, then `--stack`, whose outputs are read with AWS credentials.
pub(crate) async fn find(common: &Common) -> Result<Option<Url>, Problem> {
    let local = common.local.then(|| LOCAL_FILE.into());
    if let Some(file) = common.stack_file.clone().or(local) {
        let url = StackFile::read(&file)?.pages_url.ok_or_else(|| {
            Problem::new(
                format!("{} names no pages", file.display()),
                "Create it again: `make stop`, then `make run`.",
            )
        })?;
        return parse(&url).map(Some);
    }
    if let Some(url) = common.url.as_deref().filter(|url| !url.is_empty()) {
        return parse(url).map(Some);
    }
    match common.stack.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => parse(&cloud::pages_url(name).await?).map(Some),
        None => Ok(None),
    }
}

fn parse(text: &str) -> Result<Url, Problem> {
    let mut url = private_url(text).ok_or_else(|| {
        Problem::new(
            "this is not an address of Lectern's pages",
            "Give --url https://… as your browser shows it on Lectern's first page.",
        )
    })?;
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://lectern.example", "https://lectern.example/")]
    #[case("https://lectern.example/?a=b#/submissions/s1", "https://lectern.example/")]
    #[case(
        "http://127.0.0.1:4566/_aws/execute-api/x/$default",
        "http://127.0.0.1:4566/_aws/execute-api/x/$default/"
    )]
    fn address_may_be_copied_from_the_browser(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(parse(text).unwrap().as_str(), expected);
    }
}
