//! The only module that reads environment variables. A missing or malformed setting is an error at the start, never a
//! silent default.

use std::{str::FromStr, time::Duration};

use aws_config::Region;
use lectern::{
    admission::Limits,
    api::Quota,
    contract::network::Network,
    document::{SubmissionId, retention::Retention},
    events::Source,
    steps::transfer_document::Settings,
};
use serde::Serialize;
use tracing_subscriber::filter::Targets;

use crate::sqs::ObservedQueue;

#[cfg(test)]
mod tests;

/// How people sign in: the authorization code flow of `OpenID` Connect with PKCE, as a public client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    /// The issuer of the tokens.
    pub issuer: String,
    /// The pages and the command line as a client of the issuer.
    pub client_id: String,
    /// The scopes to ask for.
    pub scope: String,
    /// The issuer's endpoints. Absent if the client has to read them from the issuer's description
    /// (`/.well-known/openid-configuration`).
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
}

/// The endpoints of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Where a person signs in.
    pub authorize_url: String,
    /// Where a code becomes tokens.
    pub token_url: String,
    /// Where a person signs out.
    pub logout_url: String,
}

impl Endpoints {
    /// Those of a user pool's domain
    /// (<https://docs.aws.amazon.com/cognito/latest/developerguide/federation-endpoints.html>). The description of a user pool
    /// cannot be read by pages.
    fn of_cognito(base: &str) -> Self {
        Self {
            authorize_url: format!("{base}/oauth2/authorize"),
            token_url: format!("{base}/oauth2/token"),
            logout_url: format!("{base}/logout"),
        }
    }
}

impl SignIn {
    /// All its URLs.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        let endpoints =
            self.endpoints.iter().flat_map(|endpoints| [&*endpoints.authorize_url, &*endpoints.token_url]);
        endpoints.chain([&*self.issuer])
    }
}

/// The settings that `template.yaml` gives to the functions. Each accessor reads its own variables only, so that a
/// function needs only its own settings.
#[derive(Clone, Copy, Debug)]
pub struct Config(());

/// The shortest time for which a permit must be valid, because a wait of the state machine may end late, the message
/// has to be delivered, and a function has to start.
const LEAST_TOLERANCE: Duration = Duration::from_secs(2);

/// A setting is missing or malformed.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name} {problem}; template.yaml sets it for this function")]
pub struct ConfigError {
    name: &'static str,
    problem: String,
}

impl ConfigError {
    pub(crate) fn no_credentials() -> Self {
        problem("AWS_ACCESS_KEY_ID", "is missing")
    }
}

impl Config {
    /// The settings of this process.
    pub fn from_env() -> Self {
        Self(())
    }

    /// The table of the state store.
    pub fn table_name(self) -> Result<String, ConfigError> {
        text("TABLE_NAME")
    }

    /// The queue that invokes the function.
    pub fn queue_url(self) -> Result<String, ConfigError> {
        text("QUEUE_URL")
    }

    /// The queue of orders to `admit-document`.
    pub fn admit_document_queue_url(self) -> Result<String, ConfigError> {
        text("ADMIT_DOCUMENT_QUEUE_URL")
    }

    /// The bucket of returned files, records and quarantine.
    pub fn returned_bucket(self) -> Result<String, ConfigError> {
        text("RETURNED_BUCKET")
    }

    /// The bucket of uploads.
    pub fn uploads_bucket(self) -> Result<String, ConfigError> {
        text("UPLOADS_BUCKET")
    }

    /// The state machine of erasures.
    pub fn erasure_state_machine_arn(self) -> Result<String, ConfigError> {
        text("ERASURE_STATE_MACHINE_ARN")
    }

    /// How long a function may still work on a document whose execution was stopped.
    pub fn stopped_document_time(self) -> Result<Duration, ConfigError> {
        parsed("STOPPED_DOCUMENT_SECONDS").map(Duration::from_secs)
    }

    /// The state machine of documents.
    pub fn state_machine_arn(self) -> Result<String, ConfigError> {
        text("STATE_MACHINE_ARN")
    }

    /// The largest upload that is accepted, in bytes.
    pub fn max_upload_bytes(self) -> Result<u64, ConfigError> {
        parsed("MAX_UPLOAD_BYTES")
    }

    /// What one teacher may have open at once.
    pub fn quota(self) -> Result<Quota, ConfigError> {
        Ok(Quota {
            max_open_submissions: parsed("MAX_OPEN_SUBMISSIONS")?,
            max_files_per_submission: parsed("MAX_FILES_PER_SUBMISSION")?,
            max_open_bytes: parsed("MAX_OPEN_BYTES")?,
            max_file_bytes: parsed("MAX_UPLOAD_BYTES")?,
        })
    }

    /// The claim of an access token that lists the groups of a person.
    pub fn groups_claim(self) -> Result<String, ConfigError> {
        text("GROUPS_CLAIM")
    }

    /// How people sign in.
    pub fn sign_in(self) -> Result<SignIn, ConfigError> {
        Ok(SignIn {
            issuer: text("SIGN_IN_ISSUER")?.trim_end_matches('/').to_owned(),
            client_id: text("SIGN_IN_CLIENT_ID")?,
            scope: text("SIGN_IN_SCOPE")?,
            endpoints: optional("SIGN_IN_BASE_URL")?
                .map(|base| Endpoints::of_cognito(base.trim_end_matches('/'))),
        })
    }

    /// Whether files are processed and handed out only when the malware scanner has found them clean: `yes` or `no`.
    pub fn scans_for_malware(self) -> Result<bool, ConfigError> {
        match text("MALWARE_SCAN")?.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(problem("MALWARE_SCAN", "must be yes or no")),
        }
    }

    /// For how long objects are kept; 0 days mean for good.
    pub fn retention(self) -> Result<Retention, ConfigError> {
        Ok(Retention { uploads: days("UPLOAD_RETENTION_DAYS")?, records: days("RECORD_RETENTION_DAYS")? })
    }

    /// For how long entries of the audit trail are kept; 0 days mean for good.
    pub fn audit_retention(self) -> Result<Option<Duration>, ConfigError> {
        days("AUDIT_RETENTION_DAYS")
    }

    /// The third party's base URL, without a slash at the end.
    pub fn third_party_url(self) -> Result<String, ConfigError> {
        text("THIRD_PARTY_URL").map(|url| url.trim_end_matches('/').to_owned())
    }

    /// The third party's limits, and how long a lease lasts.
    pub fn third_party_limits(self) -> Result<Limits, ConfigError> {
        let rate: f64 = parsed("THIRD_PARTY_REQUESTS_PER_SECOND")?;
        let Ok(interval) = Duration::try_from_secs_f64(1.0 / rate) else {
            return Err(problem("THIRD_PARTY_REQUESTS_PER_SECOND", "must be above zero"));
        };
        let max_in_flight = parsed("THIRD_PARTY_MAX_IN_FLIGHT")?;
        if max_in_flight == 0 {
            return Err(problem("THIRD_PARTY_MAX_IN_FLIGHT", "must be at least 1"));
        }
        let callback_s: u64 = parsed("CALLBACK_TIMEOUT_SECONDS")?;
        let margin_s: u64 = parsed("LEASE_MARGIN_SECONDS")?;
        let lease = Duration::from_secs(callback_s + margin_s);
        let burst: u32 = parsed("THIRD_PARTY_BURST")?;
        let needed = (rate * LEAST_TOLERANCE.as_secs_f64()).ceil() + 2.0;
        if f64::from(burst) < needed {
            let so = format!("must be at least {needed}, or the rate lower: a function needs time to start");
            return Err(problem("THIRD_PARTY_BURST", &so));
        }
        Ok(Limits { interval, burst, max_in_flight, lease })
    }

    /// The dead-letter queue of the queue that invokes the function.
    pub fn dead_letter_queue_url(self) -> Result<String, ConfigError> {
        text("DEAD_LETTER_QUEUE_URL")
    }

    /// The queues whose depths operators see. For each queue: the function's name, the queue's URL and that of its
    /// dead-letter queue, all separated by spaces.
    pub fn observed_queues(self) -> Result<Vec<ObservedQueue>, ConfigError> {
        let list = text("OBSERVED_QUEUES")?;
        let words: Vec<&str> = list.split_whitespace().collect();
        let (queues, []) = words.as_chunks() else {
            return Err(problem("OBSERVED_QUEUES", "must have a name and two URLs for each queue"));
        };
        let queue = |[name, url, dead_letter_url]: &[&str; 3]| ObservedQueue {
            name: (*name).to_owned(),
            url: (*url).to_owned(),
            dead_letter_url: (*dead_letter_url).to_owned(),
        };
        Ok(queues.iter().map(queue).collect())
    }

    /// The queue of `deliver-events`.
    pub fn events_queue_url(self) -> Result<String, ConfigError> {
        text("EVENTS_QUEUE_URL")
    }

    /// The queue of the timers of `deliver-events`.
    pub fn event_timers_queue_url(self) -> Result<String, ConfigError> {
        text("EVENT_TIMERS_QUEUE_URL")
    }

    /// The event bus to which all events are published besides; `-` for none.
    pub fn event_bus_arn(self) -> Result<Option<String>, ConfigError> {
        optional("EVENT_BUS_ARN")
    }

    /// The sender that events name.
    pub fn event_source(self) -> Result<Source, ConfigError> {
        Ok(Source {
            name: text("EVENT_SOURCE")?,
            api_url: text("API_URL").map(|url| url.trim_end_matches('/').to_owned())?,
        })
    }

    /// The topic of all alarms.
    pub fn alarm_topic_arn(self) -> Result<String, ConfigError> {
        text("ALARM_TOPIC_ARN")
    }

    /// The third party's name in records.
    pub fn third_party_name(self) -> Result<String, ConfigError> {
        text("THIRD_PARTY_NAME")
    }

    /// The network of the third party's addresses and of subscribers: `public` or `loopback`.
    pub fn third_party_network(self) -> Result<Network, ConfigError> {
        match text("THIRD_PARTY_NETWORK")?.as_str() {
            "public" => Ok(Network::Public),
            "loopback" => Ok(Network::Loopback),
            _ => Err(problem("THIRD_PARTY_NETWORK", "must be public or loopback")),
        }
    }

    /// Hosts that returned files may be fetched from, besides the third party's own.
    pub fn returned_file_hosts(self) -> Result<Vec<String>, ConfigError> {
        // The variable may be empty, but must be set.
        let list = variable("RETURNED_FILE_HOSTS")?;
        Ok(list.split([',', ' ']).filter(|host| !host.is_empty()).map(str::to_owned).collect())
    }

    /// How long one request to the third party may take in total.
    pub fn request_timeout(self) -> Result<Duration, ConfigError> {
        parsed("REQUEST_TIMEOUT_SECONDS").map(Duration::from_secs)
    }

    /// The secret with the key for the third party's API.
    pub fn api_key_secret_arn(self) -> Result<String, ConfigError> {
        text("API_KEY_SECRET_ARN")
    }

    /// The secret with the signing secrets of callbacks, separated by white space.
    pub fn signing_secret_arn(self) -> Result<String, ConfigError> {
        text("SIGNING_SECRET_ARN")
    }

    /// The size of the largest document to push, and the base of callback URLs.
    pub fn transfer_settings(self) -> Result<Settings, ConfigError> {
        let push_max_bytes = parsed("PUSH_MAX_BYTES")?;
        let callback_base_url = text("CALLBACK_BASE_URL")?.trim_end_matches('/').to_owned();
        Ok(Settings { push_max_bytes, callback_base_url })
    }

    /// The function's name, which Lambda sets.
    pub fn function_name(self) -> Result<String, ConfigError> {
        text("AWS_LAMBDA_FUNCTION_NAME")
    }

    /// Which lines are logged: a level, or a list such as `warn,lectern=debug`.
    pub fn log_filter(self) -> Result<Targets, ConfigError> {
        text("LOG_FILTER")?
            .parse()
            .map_err(|_| problem("LOG_FILTER", "must be a list such as warn,lectern=debug"))
    }

    /// The submission whose debug lines are logged whatever the filter says; `-` or an empty value for none.
    pub fn debug_submission(self) -> Result<Option<SubmissionId>, ConfigError> {
        let Some(id) = optional("DEBUG_SUBMISSION")? else { return Ok(None) };
        let id = SubmissionId::try_from(id);
        id.map(Some).map_err(|_| problem("DEBUG_SUBMISSION", "is not a submission's id"))
    }

    /// The namespace of this stack's metrics: its name.
    pub fn metrics_namespace(self) -> Result<String, ConfigError> {
        text("METRICS_NAMESPACE")
    }

    /// The region, which Lambda sets.
    pub fn region(self) -> Result<Region, ConfigError> {
        text("AWS_REGION").map(Region::new)
    }

    /// The endpoint of a local cloud; `None` on AWS. The SDK's own variable.
    pub fn endpoint_url(self) -> Option<String> {
        text("AWS_ENDPOINT_URL").ok()
    }
}

fn variable(name: &'static str) -> Result<String, ConfigError> {
    #[expect(clippy::disallowed_methods, reason = "this is the configuration file")]
    std::env::var(name).map_err(|_| problem(name, "is missing"))
}

fn text(name: &'static str) -> Result<String, ConfigError> {
    let value = variable(name)?;
    if value.trim().is_empty() { Err(problem(name, "is empty")) } else { Ok(value) }
}

/// The variable must be set, and may be empty or `-`.
fn optional(name: &'static str) -> Result<Option<String>, ConfigError> {
    Ok(Some(variable(name)?).filter(|value| !["", "-"].contains(&value.as_str())))
}

fn parsed<T: FromStr>(name: &'static str) -> Result<T, ConfigError> {
    text(name)?.trim().parse().map_err(|_| problem(name, "is not a number"))
}

fn days(name: &'static str) -> Result<Option<Duration>, ConfigError> {
    let days: u32 = parsed(name)?;
    Ok((days > 0).then(|| Duration::from_hours(24 * u64::from(days))))
}

fn problem(name: &'static str, problem: &str) -> ConfigError {
    ConfigError { name, problem: problem.to_owned() }
}
