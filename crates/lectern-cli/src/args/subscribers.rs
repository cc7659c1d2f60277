//! The command line of `lectern subscribers`.

use clap::{Args, Subcommand, ValueEnum};

/// Manage the subscribers of events: the systems that Lectern tells what happens to submissions
///
/// For operators who have signed in with `lectern login`. docs/events.md describes the events and their signatures.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern subscribers add portal https://portal.example/lectern --event document.ready --event submission.erased
  lectern subscribers list
  lectern subscribers resume portal")]
pub(crate) struct Subscribers {
    #[command(subcommand)]
    pub(crate) command: SubscribersCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SubscribersCommand {
    Add(AddSubscriber),
    /// List all subscribers, and what waits for each
    #[command(after_help = "\
Examples:
  lectern subscribers list --json")]
    List,
    /// Show a subscriber: its settings, what waits, and which deliveries fail
    #[command(after_help = "\
Examples:
  lectern subscribers show portal")]
    Show(OneSubscriber),
    /// Stop the deliveries to a subscriber; its events wait for 30 days
    #[command(after_help = "\
Examples:
  lectern subscribers pause portal")]
    Pause(OneSubscriber),
    Resume(ResumeSubscriber),
    Remove(RemoveSubscriber),
    /// Send a signed test event to a subscriber, and show the request and the answer
    ///
    /// The status and the limits of the subscriber do not matter, and the answer changes nothing. Exits with 0 if the
    /// endpoint answered 2xx, and with 4 otherwise.
    #[command(after_help = "\
Examples:
  lectern subscribers test portal")]
    Test(OneSubscriber),
    Replay(ReplayEvents),
    /// Make a new secret; the one before stays valid for 24 hours
    ///
    /// A second rotation within 24 hours ends the older secret at once.
    #[command(after_help = "\
Examples:
  lectern subscribers rotate portal")]
    Rotate(OneSubscriber),
}

#[derive(Debug, Args)]
pub(crate) struct OneSubscriber {
    /// The subscriber's id
    #[arg(value_name = "ID")]
    pub(crate) subscriber: String,
}

/// Add a subscriber, after its endpoint has answered a challenge
///
/// Lectern sends one signed event `subscriber.challenge` to the endpoint, which has to answer 2xx with the JSON object
/// {"challenge": …} that repeats data.challenge of the event. The command then prints the secret with which the endpoint
/// verifies signatures. It is shown only once.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = "\
Examples:
  lectern subscribers add portal https://portal.example/lectern
  lectern subscribers add archive https://archive.example/events --kind video --ed25519 --batch 50 --batch-wait 30 --gzip")]
pub(crate) struct AddSubscriber {
    /// An id of your choice: 1 to 40 of a-z, 0-9 and hyphens, starting with a letter
    #[arg(value_name = "ID")]
    pub(crate) subscriber: String,
    /// Where events are sent: an https URL whose host has a public address
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: String,
    /// Only events of this type, such as document.ready; repeat the option for several
    #[arg(long = "event", value_name = "TYPE")]
    pub(crate) events: Vec<String>,
    /// Of events about documents, only those of files of this kind: video, audio, document or picture; repeat the
    /// option for several
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<String>,
    /// Send only a reference to the submission, which the subscriber reads from the API
    #[arg(long)]
    pub(crate) thin: bool,
    /// Sign with Ed25519, so that the subscriber has a public key only; the default is HMAC with a shared secret
    #[arg(long)]
    pub(crate) ed25519: bool,
    /// Do not keep the order of a submission's events; the default is that an event that fails blocks the later events
    /// of its submission
    #[arg(long)]
    pub(crate) unordered: bool,
    /// Events in one request at most, 1 to 100; with 2 or more, each body is a list; the default is 1
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<u32>,
    /// The longest wait of an event for a full batch, 0 to 300; the default is 0
    #[arg(long, value_name = "SECONDS", requires = "batch")]
    pub(crate) batch_wait: Option<u32>,
    /// Compress the bodies
    #[arg(long)]
    pub(crate) gzip: bool,
    /// Requests per second on average, 0.1 to 100; the default is 10
    #[arg(long, value_name = "N")]
    pub(crate) requests_per_second: Option<f64>,
    /// Requests in flight at most, 1 to 50; the default is 4
    #[arg(long, value_name = "N")]
    pub(crate) max_in_flight: Option<u32>,
    /// The longest time of a request, 1 to 15; the default is 10
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
}

/// Start the deliveries to a subscriber that is paused or disabled, or retry those to an active one at once
///
/// The command says how many events are sent, or how many are skipped with --from now.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern subscribers resume portal
  lectern subscribers resume portal --from now    skip everything that waits")]
pub(crate) struct ResumeSubscriber {
    /// The subscriber's id
    #[arg(value_name = "ID")]
    pub(crate) subscriber: String,
    /// Where the deliveries go on
    #[arg(long, value_enum, default_value_t = ResumeFrom::Position)]
    pub(crate) from: ResumeFrom,
}

/// Where the deliveries go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResumeFrom {
    /// With everything that waits
    Position,
    /// With the next event; what waits is skipped for good
    Now,
}

/// Remove a subscriber with its secret; the events that wait for it are never sent
///
/// Without --yes the command shows what it would remove and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern subscribers remove portal
  lectern subscribers remove portal --yes")]
pub(crate) struct RemoveSubscriber {
    /// The subscriber's id
    #[arg(value_name = "ID")]
    pub(crate) subscriber: String,
    /// Remove the subscriber instead of showing what would be removed
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Send the events of past submissions to a subscriber again, with the ids that they had before
///
/// A replay sends what the submissions and documents still say: of a document that was redriven, the failure before the
/// redrive is not sent again. Nothing is sent of erased submissions. The events wait if the subscriber is paused or
/// disabled.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern subscribers replay portal --from 2026-11-01
  lectern subscribers replay portal --from 2026-11-30T08:00:00Z --to 2026-11-30T12:00:00Z")]
pub(crate) struct ReplayEvents {
    /// The subscriber's id
    #[arg(value_name = "ID")]
    pub(crate) subscriber: String,
    /// The events of submissions created at this time or later: RFC 3339, or a date in UTC
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// Only those of submissions created before this time: RFC 3339, or a date in UTC
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
}
