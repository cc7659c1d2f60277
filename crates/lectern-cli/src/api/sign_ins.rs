//! Sign-ins, each in a private file in the user's state directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use url::Url;

use super::oidc::Tokens;
use crate::problem::Problem;

/// A token is refreshed so long before it expires.
const RESERVE: Duration = Duration::seconds(60);

/// What a person who has signed in may use. It is a secret, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignIn {
    /// The address of the stack's pages.
    #[serde(with = "url_text")]
    pub(crate) pages: Url,
    pub(crate) client_id: String,
    #[serde(with = "url_text")]
    pub(crate) token_url: Url,
    pub(crate) access_token: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) expires_at: OffsetDateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

impl SignIn {
    pub(crate) fn is_fresh(&self, refused: Option<&str>, now: OffsetDateTime) -> bool {
        refused != Some(&self.access_token) && now + RESERVE < self.expires_at
    }

    /// Takes new tokens. An issuer that does not replace refresh tokens returns none.
    pub(crate) fn renew(&mut self, tokens: Tokens, now: OffsetDateTime) {
        self.expires_at = now + tokens.lifetime();
        self.access_token = tokens.access_token;
        self.refresh_token = tokens.refresh_token.or(self.refresh_token.take());
    }
}

mod url_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use url::Url;

    pub(super) fn serialize<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The folder of all sign-ins.
pub(crate) struct SignIns(PathBuf);

impl SignIns {
    /// In this folder, or in the user's state directory (`$XDG_STATE_HOME`, or `~/.local/state`).
    pub(crate) fn in_folder(folder: Option<&Path>) -> Result<Self, Problem> {
        if let Some(folder) = folder {
            return Ok(Self(folder.to_owned()));
        }
        let base = etcetera::choose_base_strategy().map_err(|_| {
            Problem::new("you have no home directory", "Give a folder for the sign-in with --state-dir.")
        })?;
        Ok(Self(base.state_dir().unwrap_or_else(|| base.data_dir()).join("lectern")))
    }

    pub(crate) fn read(&self, pages: &Url) -> Result<Option<SignIn>, Problem> {
        self.read_file(&self.file(pages))
    }

    /// The sign-in, if there is exactly one.
    pub(crate) fn only(&self) -> Result<SignIn, Problem> {
        let found = match fs::read_dir(&self.0) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_signed_in()),
            Err(error) => return Err(self.failed(&error)),
        };
        let is_sign_in = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let found: Vec<SignIn> = found
            .filter(is_sign_in)
            .filter_map(|path| self.read_file(&path).transpose())
            .collect::<Result<_, _>>()?;
        match <[SignIn; 1]>::try_from(found) {
            Ok([only]) => Ok(only),
            Err(none) if none.is_empty() => Err(not_signed_in()),
            Err(several) => {
                let mut places: Vec<&str> = several.iter().map(|sign_in| sign_in.pages.as_str()).collect();
                places.sort_unstable();
                Err(Problem::new(
                    "you are signed in at several places",
                    format!("Give one of them with --url: {}", places.join(", ")),
                ))
            }
        }
    }

    /// Replaces the sign-in of the same pages. Nobody else can read the file, and no reader sees a part of it.
    pub(crate) fn write(&self, sign_in: &SignIn) -> Result<(), Problem> {
        let write = || {
            fs::create_dir_all(&self.0)?;
            // Temporary files are private from the start.
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            serde_json::to_writer_pretty(&mut file, sign_in)?;
            file.persist(self.file(&sign_in.pages)).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error: io::Error| self.failed(&error))
    }

    /// Deletes the sign-in; returns whether there was one.
    pub(crate) fn delete(&self, pages: &Url) -> Result<bool, Problem> {
        match fs::remove_file(self.file(pages)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn file(&self, pages: &Url) -> PathBuf {
        let hash = hex::encode(Sha256::digest(pages.as_str()));
        self.0.join(format!("sign-in-{}.json", &hash[..16]))
    }

    /// A file that cannot be understood, such as one of an older version, counts as no sign-in.
    fn read_file(&self, file: &Path) -> Result<Option<SignIn>, Problem> {
        match fs::read(file) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &io::Error) -> Problem {
        Problem::new(
            format!("the sign-ins in {} could not be read or written: {error}", self.0.display()),
            "Check the folder's permissions, or give another one with --state-dir.",
        )
    }
}

fn not_signed_in() -> Problem {
    Problem::new(
        "you are not signed in",
        "Sign in with `lectern --url https://… login`, with the address of Lectern's pages.",
    )
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-30 08:00 UTC);

    fn sign_in(pages: &str) -> SignIn {
        SignIn {
            pages: pages.parse().unwrap(),
            client_id: "c".to_owned(),
            token_url: "https://sign-in.example/token".parse().unwrap(),
            access_token: "a1".to_owned(),
            expires_at: NOW + Duration::hours(1),
            refresh_token: Some("r1".to_owned()),
        }
    }

    fn problem<T>(result: Result<T, Problem>) -> Problem {
        result.err().unwrap()
    }

    #[test]
    fn sign_in_is_kept_by_its_pages_in_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let sign_ins = SignIns::in_folder(Some(&folder.path().join("new/folder"))).unwrap();
        let (one, two) = (sign_in("https://one.example/"), sign_in("https://two.example/"));
        assert_eq!(problem(sign_ins.only()).what, "you are not signed in");
        sign_ins.write(&one).unwrap();
        assert_eq!(sign_ins.only().unwrap().pages, one.pages);
        assert!(sign_ins.read(&two.pages).unwrap().is_none());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(sign_ins.file(&one.pages)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        sign_ins.write(&two).unwrap();
        let several = problem(sign_ins.only());
        assert!(several.todo.ends_with("https://one.example/, https://two.example/"), "{}", several.todo);
        assert!(sign_ins.delete(&one.pages).unwrap());
        assert!(!sign_ins.delete(&one.pages).unwrap());
        assert_eq!(sign_ins.only().unwrap().pages, two.pages);
    }

    #[test]
    fn token_is_used_until_it_nearly_expires_or_is_refused() {
        let mut kept = sign_in("https://one.example/");
        assert!(kept.is_fresh(None, NOW + Duration::minutes(58)));
        assert!(!kept.is_fresh(None, NOW + Duration::minutes(59)));
        assert!(!kept.is_fresh(Some("a1"), NOW));
        let tokens = Tokens { access_token: "a2".to_owned(), expires_in: Some(600), refresh_token: None };
        kept.renew(tokens, NOW);
        assert_eq!((kept.access_token.as_str(), kept.refresh_token.as_deref()), ("a2", Some("r1")));
        assert_eq!(kept.expires_at, NOW + Duration::minutes(10));
    }
}
