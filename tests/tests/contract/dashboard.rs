//! The dashboard: every widget shows metrics that exist, and every queue, function, API and own metric has a widget.

use std::collections::{BTreeMap, BTreeSet};

use lectern_content::MediaType;
use serde_json::Value;

use super::{
    metrics::{A_SUBSCRIBER, problem},
    queues::is_of_a_stream,
    sources::{captures, regex},
    template::Template,
};

/// The dashboard's body, with each `${Name}` replaced by the name.
fn dashboard(template: &Template) -> Value {
    let body =
        template.resource("AWS::CloudWatch::Dashboard", "Dashboard")["DashboardBody"]["Fn::Sub"].as_str();
    let plain = regex(r"\$\{([\w:.]+)\}").replace_all(body.unwrap(), "$1");
    serde_json::from_str(&plain).unwrap()
}

/// One metric of a widget: namespace, name and dimensions.
type Shown = (String, String, BTreeMap<String, String>);

/// The metrics that a widget shows. A search counts as its namespace, its dimension names and its search values.
fn shown(widget: &Value) -> Vec<Shown> {
    let lines = widget["properties"]["metrics"].as_array().unwrap();
    lines
        .iter()
        .map(|line| {
            let line = line.as_array().unwrap();
            if let Some(expression) = line[0]["expression"].as_str() {
                return searched(expression);
            }
            let texts: Vec<&str> = line.iter().filter_map(Value::as_str).collect();
            let options = line.iter().filter(|item| item.is_object()).count();
            assert_eq!(texts.len() + options, line.len(), "{line:?}");
            assert!(texts.len() >= 2 && texts.len().is_multiple_of(2), "{line:?}");
            let dimensions = texts[2..].chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
            (texts[0].to_owned(), texts[1].to_owned(), dimensions.collect())
        })
        .collect()
}

fn searched(expression: &str) -> Shown {
    let schema = captures(r"SEARCH\('\{([^}]+)\}", expression).into_iter().next().expect(expression);
    let (namespace, names) = schema.split_once(',').unwrap();
    // A stack's name may contain a hyphen, which a search expression accepts within quotes only.
    let namespace = namespace.strip_prefix('"').and_then(|name| name.strip_suffix('"')).expect(expression);
    let metric = captures(r#"MetricName="(\w+)""#, expression).into_iter().next().expect(expression);
    let dimensions = names.split(',').map(|name| {
        let asked = captures(&format!(r#"\b{name}="([\w.]+)""#), expression).into_iter().next();
        // A dimension without a search value matches every value.
        (name.to_owned(), asked.unwrap_or_else(|| any_value(name).to_owned()))
    });
    (namespace.to_owned(), metric, dimensions.collect())
}

/// A value that the dimension can have.
fn any_value(dimension: &str) -> &'static str {
    match dimension {
        "MediaType" => MediaType::Mp4.as_str(),
        "Subscriber" => A_SUBSCRIBER,
        _ => lectern::telemetry::metrics::OTHER,
    }
}

fn all(dashboard: &Value) -> Vec<(String, Shown)> {
    let widgets = dashboard["widgets"].as_array().unwrap().iter();
    widgets
        .flat_map(|widget| {
            let title = widget["properties"]["title"].as_str().unwrap().to_owned();
            shown(widget).into_iter().map(move |shown| (title.clone(), shown))
        })
        .collect()
}

#[test]
fn every_widget_shows_metrics_that_exist() {
    for (title, (namespace, metric, dimensions)) in all(&dashboard(&Template::load())) {
        assert_eq!(problem(&namespace, &metric, &dimensions), None, "{title}");
    }
}

#[test]
fn every_metric_of_ours_every_queue_every_function_and_the_api_are_shown() {
    let template = Template::load();
    let shown: Vec<Shown> = all(&dashboard(&template)).into_iter().map(|(_, shown)| shown).collect();
    let metrics: BTreeSet<&str> = shown.iter().map(|(_, metric, _)| metric.as_str()).collect();
    for metric in lectern::telemetry::metrics::ALL {
        assert!(metrics.contains(metric.name), "no widget shows {}", metric.name);
    }
    let of = |metric: &str, value: &str| {
        shown.iter().any(|(_, name, by)| name == metric && by.values().any(|shown| shown == value))
    };
    for (queue, properties) in template.resources("AWS::SQS::Queue") {
        let name = format!("{queue}.QueueName");
        assert!(
            of("ApproximateNumberOfMessagesVisible", &name),
            "no widget shows the number of messages in {queue}"
        );
        let source = properties.get("RedrivePolicy").is_some();
        assert!(
            !source || of("ApproximateAgeOfOldestMessage", &name),
            "no widget shows the age of the oldest message in {queue}"
        );
    }
    for function in template.resources("AWS::Serverless::Function").keys() {
        for metric in ["Errors", "Throttles", "Duration"] {
            assert!(of(metric, function), "no widget shows the {metric} of {function}");
        }
    }
    for (name, mapping) in template.resources("AWS::Lambda::EventSourceMapping") {
        let function = mapping["FunctionName"]["Ref"].as_str().unwrap().trim_end_matches(".Alias");
        let shown = of("IteratorAge", function);
        assert!(shown || !is_of_a_stream(mapping), "{name}: no widget shows the age of the stream's records");
    }
    for api in template.resources("AWS::ApiGatewayV2::Api").keys() {
        for metric in ["Count", "5xx", "Latency"] {
            assert!(of(metric, api), "no widget shows the {metric} of {api}");
        }
    }
}

#[test]
fn third_partys_latency_is_shown_by_its_percentiles() {
    let dashboard = dashboard(&Template::load());
    let widgets = dashboard["widgets"].as_array().unwrap().iter();
    let lines = widgets.flat_map(|widget| widget["properties"]["metrics"].as_array().unwrap());
    let of = lines.filter(|line| line[1] == "ThirdPartySeconds");
    let statistics: Vec<&str> = of.map(|line| line[2]["stat"].as_str().unwrap()).collect();
    assert_eq!(statistics, ["p50", "p90", "p99"]);
}

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>
#[test]
fn widgets_fit_the_grid_without_overlap() {
    let dashboard = dashboard(&Template::load());
    let mut taken = BTreeSet::new();
    let mut flow = Vec::new();
    for widget in dashboard["widgets"].as_array().unwrap() {
        let number = |name: &str| widget[name].as_u64().unwrap();
        let (x, y, width, height) = (number("x"), number("y"), number("width"), number("height"));
        assert!(x + width <= 24, "the grid has 24 columns: {}", widget["properties"]["title"]);
        for cell in (x..x + width).flat_map(|column| (y..y + height).map(move |row| (column, row))) {
            assert!(taken.insert(cell), "{} overlaps another widget", widget["properties"]["title"]);
        }
        if y == 0 {
            flow.push((x, widget["properties"]["title"].as_str().unwrap()));
        }
    }
    flow.sort_unstable();
    let numbers: Vec<&str> = flow.iter().map(|(_, title)| title.split(' ').next().unwrap()).collect();
    assert_eq!(
        numbers,
        ["1", "2", "3", "4", "5", "6"],
        "the first row follows the document's way through the system"
    );
}
