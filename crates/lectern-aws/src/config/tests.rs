//! Missing, malformed and valid settings. The environment of a running process cannot be changed safely, so tests that
//! need one run themselves in a child process.

use std::process::Command;

use super::*;

const CHILD: &str = "config::tests::child_reads_its_environment";

fn problems(config: Config) -> Vec<(&'static str, Option<String>)> {
    fn of<T>(result: Result<T, ConfigError>) -> Option<String> {
        result.err().map(|error| error.to_string())
    }
    vec![
        ("TABLE_NAME", of(config.table_name())),
        ("QUEUE_URL", of(config.queue_url())),
        ("RETURNED_BUCKET", of(config.returned_bucket())),
        ("UPLOADS_BUCKET", of(config.uploads_bucket())),
        ("ERASURE_STATE_MACHINE_ARN", of(config.erasure_state_machine_arn())),
        ("STOPPED_DOCUMENT_SECONDS", of(config.stopped_document_time())),
        ("STATE_MACHINE_ARN", of(config.state_machine_arn())),
        ("MAX_UPLOAD_BYTES", of(config.max_upload_bytes())),
        ("MALWARE_SCAN", of(config.scans_for_malware())),
        ("UPLOAD_RETENTION_DAYS", of(config.retention())),
        ("AUDIT_RETENTION_DAYS", of(config.audit_retention())),
        ("DEAD_LETTER_QUEUE_URL", of(config.dead_letter_queue_url())),
        ("THIRD_PARTY_REQUESTS_PER_SECOND", of(config.third_party_limits())),
        ("THIRD_PARTY_URL", of(config.third_party_url())),
        ("OBSERVED_QUEUES", of(config.observed_queues())),
        ("THIRD_PARTY_NAME", of(config.third_party_name())),
        ("THIRD_PARTY_NETWORK", of(config.third_party_network())),
        ("RETURNED_FILE_HOSTS", of(config.returned_file_hosts())),
        ("REQUEST_TIMEOUT_SECONDS", of(config.request_timeout())),
        ("API_KEY_SECRET_ARN", of(config.api_key_secret_arn())),
        ("SIGNING_SECRET_ARN", of(config.signing_secret_arn())),
        ("PUSH_MAX_BYTES", of(config.transfer_settings())),
        ("AWS_REGION", of(config.region())),
        ("AWS_LAMBDA_FUNCTION_NAME", of(config.function_name())),
        ("LOG_FILTER", of(config.log_filter())),
        ("DEBUG_SUBMISSION", of(config.debug_submission())),
        ("METRICS_NAMESPACE", of(config.metrics_namespace())),
    ]
}

/// The tests below run this test in a child process. Without them it does nothing.
#[test]
fn child_reads_its_environment() {
    for (name, problem) in problems(Config::from_env()) {
        println!("{name}={}", problem.unwrap_or_else(|| "fine".to_owned()));
    }
    println!("endpoint={:?}", Config::from_env().endpoint_url());
    println!("limits={:?}", Config::from_env().third_party_limits());
    println!("retention={:?}", Config::from_env().retention());
    println!("queues={:?}", Config::from_env().observed_queues());
    println!("auditRetention={:?}", Config::from_env().audit_retention());
    println!("debugged={:?}", Config::from_env().debug_submission());
}

#[test]
fn limits_of_the_third_party_are_read_as_an_interval_and_a_lease() {
    let [rate, burst, in_flight] =
        ["THIRD_PARTY_REQUESTS_PER_SECOND", "THIRD_PARTY_BURST", "THIRD_PARTY_MAX_IN_FLIGHT"];
    let times = [("CALLBACK_TIMEOUT_SECONDS", "14400"), ("LEASE_MARGIN_SECONDS", "7200")];
    let said = |limits: [(&'static str, &'static str); 3]| said_under(&[&limits[..], &times[..]].concat());
    let fine = said([(rate, "2.5"), (burst, "7"), (in_flight, "1")]);
    let limits = Limits {
        interval: Duration::from_millis(400),
        burst: 7,
        max_in_flight: 1,
        lease: Duration::from_hours(6),
    };
    assert!(fine.contains(&format!("limits=Ok({limits:?})")), "{fine}");
    for (limits, problem) in [
        (
            [(rate, "0"), (burst, "99"), (in_flight, "1")],
            "THIRD_PARTY_REQUESTS_PER_SECOND must be above zero",
        ),
        (
            [(rate, "-1"), (burst, "99"), (in_flight, "1")],
            "THIRD_PARTY_REQUESTS_PER_SECOND must be above zero",
        ),
        ([(rate, "5"), (burst, "12"), (in_flight, "0")], "THIRD_PARTY_MAX_IN_FLIGHT must be at least 1"),
        ([(rate, "x"), (burst, "12"), (in_flight, "1")], "THIRD_PARTY_REQUESTS_PER_SECOND is not a number"),
    ] {
        let said = said(limits);
        assert!(said.contains(problem), "{problem}: {said}");
    }
}

/// A request 2 seconds after its reservation must still be in time; the burst absorbs the delay.
#[test]
fn burst_that_leaves_no_time_to_start_is_refused_by_the_least_one_that_does() {
    let said = |rate: &str, burst: u32| {
        said_under(&[
            ("THIRD_PARTY_REQUESTS_PER_SECOND", rate),
            ("THIRD_PARTY_BURST", &burst.to_string()),
            ("THIRD_PARTY_MAX_IN_FLIGHT", "1"),
            ("CALLBACK_TIMEOUT_SECONDS", "14400"),
            ("LEASE_MARGIN_SECONDS", "7200"),
        ])
    };
    for (rate, least) in [("5", 12), ("8", 18), ("3", 8), ("2.5", 7), ("0.7", 4), ("0.01", 3)] {
        for burst in [0, 1, least - 1] {
            let refused = said(rate, burst);
            let problem = format!("environment variable THIRD_PARTY_BURST must be at least {least}, ");
            assert!(refused.contains(&problem), "{rate} {burst}: {refused}");
        }
        let fine = said(rate, least);
        assert!(fine.contains("THIRD_PARTY_REQUESTS_PER_SECOND=fine"), "{rate} {least}: {fine}");
        let interval = Duration::from_secs_f64(1.0 / rate.parse::<f64>().unwrap());
        let limits = Limits { interval, burst: least, max_in_flight: 1, lease: Duration::ZERO };
        assert!(limits.tolerance() + Duration::from_micros(1) > LEAST_TOLERANCE, "{rate}");
    }
}

/// The results of the accessors with exactly these variables.
fn said_under(variables: &[(&str, &str)]) -> String {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args([CHILD, "--exact", "--nocapture"])
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn missing_setting_is_an_error_that_names_its_variable() {
    let said = said_under(&[]);
    for (name, _) in problems(Config::from_env()) {
        let line = format!("{name}=environment variable {name} is missing; template.yaml sets it");
        assert!(said.contains(&line), "{name}: {said}");
    }
    assert!(said.contains("endpoint=None"));
}

#[test]
fn malformed_setting_is_an_error_and_never_a_default() {
    let said = said_under(&[
        ("TABLE_NAME", " "),
        ("MAX_UPLOAD_BYTES", "many"),
        ("MALWARE_SCAN", "true"),
        ("UPLOAD_RETENTION_DAYS", "-1"),
        ("REQUEST_TIMEOUT_SECONDS", "-1"),
        ("THIRD_PARTY_NETWORK", "any"),
        ("PUSH_MAX_BYTES", "1 GB"),
        ("LOG_FILTER", "lectern=loud"),
        ("DEBUG_SUBMISSION", "a b"),
    ]);
    for line in [
        "TABLE_NAME=environment variable TABLE_NAME is empty",
        "MAX_UPLOAD_BYTES=environment variable MAX_UPLOAD_BYTES is not a number",
        "MALWARE_SCAN=environment variable MALWARE_SCAN must be yes or no",
        "UPLOAD_RETENTION_DAYS=environment variable UPLOAD_RETENTION_DAYS is not a number",
        "REQUEST_TIMEOUT_SECONDS=environment variable REQUEST_TIMEOUT_SECONDS is not a number",
        "THIRD_PARTY_NETWORK=environment variable THIRD_PARTY_NETWORK must be public or loopback",
        "PUSH_MAX_BYTES=environment variable PUSH_MAX_BYTES is not a number",
        "LOG_FILTER=environment variable LOG_FILTER must be a list such as warn,lectern=debug",
        "DEBUG_SUBMISSION=environment variable DEBUG_SUBMISSION is not a submission's id",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn a08_retention_of_no_days_keeps_objects_for_good() {
    for (uploads, records, expected) in [
        ("365", "0", Retention { uploads: Some(Duration::from_hours(365 * 24)), records: None }),
        ("0", "30", Retention { uploads: None, records: Some(Duration::from_hours(30 * 24)) }),
    ] {
        let said = said_under(&[("UPLOAD_RETENTION_DAYS", uploads), ("RECORD_RETENTION_DAYS", records)]);
        assert!(said.contains(&format!("retention=Ok({expected:?})")), "{said}");
    }
}

#[test]
fn s06_audit_entries_are_kept_for_days_or_for_good() {
    for (days, expected) in [("365", Some(Duration::from_hours(365 * 24))), ("0", None)] {
        let said = said_under(&[("AUDIT_RETENTION_DAYS", days)]);
        assert!(said.contains(&format!("auditRetention=Ok({expected:?})")), "{said}");
    }
}

#[test]
fn observed_queues_have_a_name_and_two_urls_each() {
    let said =
        said_under(&[("OBSERVED_QUEUES", "one https://q/1 https://d/1\n  two https://q/2 https://d/2 ")]);
    let queue = |name: &str, url: &str, dead_letter_url: &str| ObservedQueue {
        name: name.to_owned(),
        url: url.to_owned(),
        dead_letter_url: dead_letter_url.to_owned(),
    };
    let expected = [queue("one", "https://q/1", "https://d/1"), queue("two", "https://q/2", "https://d/2")];
    assert!(said.contains(&format!("queues=Ok({expected:?})")), "{said}");
    let said = said_under(&[("OBSERVED_QUEUES", "one https://q/1")]);
    assert!(said.contains("OBSERVED_QUEUES must have a name and two URLs for each queue"), "{said}");
}

/// The deployment tool does not accept an empty value, so `-` stands for none.
#[test]
fn submission_to_debug_is_named_or_none() {
    for (value, expected) in
        [("spring-term-7", r#"Ok(Some(SubmissionId("spring-term-7")))"#), ("-", "Ok(None)"), ("", "Ok(None)")]
    {
        let said = said_under(&[("DEBUG_SUBMISSION", value)]);
        assert!(said.contains(&format!("debugged={expected}")), "{value:?}: {said}");
    }
}

#[test]
fn settings_that_are_there_are_read() {
    let said = said_under(&[
        ("TABLE_NAME", "t"),
        ("MAX_UPLOAD_BYTES", "5"),
        ("REQUEST_TIMEOUT_SECONDS", "30"),
        ("THIRD_PARTY_NETWORK", "loopback"),
        ("RETURNED_FILE_HOSTS", ""),
        ("DEBUG_SUBMISSION", ""),
        ("PUSH_MAX_BYTES", "0"),
        ("CALLBACK_BASE_URL", "http://127.0.0.1/"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
    ]);
    let fine = ["TABLE_NAME", "MAX_UPLOAD_BYTES", "REQUEST_TIMEOUT_SECONDS", "THIRD_PARTY_NETWORK"];
    for name in fine.into_iter().chain(["RETURNED_FILE_HOSTS", "PUSH_MAX_BYTES", "DEBUG_SUBMISSION"]) {
        assert!(said.contains(&format!("{name}=fine")), "{name}: {said}");
    }
    assert!(said.contains(r#"endpoint=Some("http://127.0.0.1:4566")"#));
}
