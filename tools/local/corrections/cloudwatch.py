"""CloudWatch: metrics from log lines in the embedded metric format, and the evaluation of alarms.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

# AWS evaluates alarms once a minute.
EVALUATION_S = 5.0
COMPARISONS = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
log = logging.getLogger("corrections.cloudwatch")
lock = threading.RLock()


class Datum(NamedTuple):
    """One value of one metric."""

    namespace: str
    metric: str
    dimensions: dict[str, str]
    at_s: float
    unit: str
    value: float


def apply() -> None:
    from ministack.core import lambda_runtime
    from ministack.services import cloudwatch, cloudwatch_logs

    cloudwatch._evaluate_alarm = evaluation(cloudwatch)
    # With each request, MiniStack rewrites all values to drop those of two weeks ago. That would take long, and lose
    # values that another thread adds meanwhile.
    cloudwatch._evict_old_metrics = lambda: None
    # MiniStack attaches a function's lines to its log after the invocation, and some only after the next one. So the
    # metrics are taken where the lines are read.
    worker = lambda_runtime.ProvidedWorker
    worker._pump_output = with_metrics(cloudwatch, worker._pump_output)
    cloudwatch_logs._put_log_events = with_metrics_of_events(cloudwatch, cloudwatch_logs._put_log_events)
    threading.Thread(target=evaluate_for_ever, args=(cloudwatch,), daemon=True, name="alarms").start()


# ---- metrics -------------------------------------------------------------------------------------------------------


class Tee:
    """A function's output, of which each line is also searched for metrics."""

    def __init__(self, cloudwatch: Any, stream: Any) -> None:
        self.cloudwatch, self.stream = cloudwatch, stream

    def readline(self) -> bytes:
        line = self.stream.readline()
        if b'"_aws"' in line:
            publish(self.cloudwatch, line)
        return bytes(line)

    def close(self) -> None:
        self.stream.close()


def with_metrics(cloudwatch: Any, pump: Any) -> Any:
    def corrected(self: Any, stream: Any, log_queue: Any) -> None:
        pump(self, Tee(cloudwatch, stream), log_queue)

    return corrected


def with_metrics_of_events(cloudwatch: Any, put: Any) -> Any:
    def corrected(data: dict[str, Any]) -> Any:
        status, headers, body = put(data)
        if status == 200:
            for event in data.get("logEvents", []):
                if '"_aws"' in event.get("message", ""):
                    publish(cloudwatch, event["message"])
        return status, headers, body

    return corrected


def publish(cloudwatch: Any, line: bytes | str) -> None:
    """Stores the metrics of a line and evaluates their alarms. A bad line is logged and has no other effect."""
    try:
        data = list(read(json.loads(line)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("A line in the embedded metric format is not valid: %r", error)
        return
    with lock:
        for datum in data:
            cloudwatch._store_datum(
                datum.namespace, datum.metric, datum.dimensions, datum.at_s, datum.unit, datum.value, None, None, None
            )
    stored = {(datum.namespace, datum.metric) for datum in data}
    for alarm in list(cloudwatch._alarms.values()):
        if (alarm.get("Namespace"), alarm.get("MetricName")) in stored:
            cloudwatch._evaluate_alarm(alarm)


def read(line: dict[str, Any]) -> Iterator[Datum]:
    """The metrics of a line: one value for each metric and dimension set."""
    at_s = line["_aws"]["Timestamp"] / 1000
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = {name: str(line[name]) for name in names}
            for metric in directive["Metrics"]:
                values = line[metric["Name"]]
                for value in values if isinstance(values, list) else [values]:
                    unit = metric.get("Unit", "None")
                    yield Datum(directive["Namespace"], metric["Name"], dimensions, at_s, unit, float(value))


def age(seconds: float) -> None:
    """Makes all values so much older, as if that time had passed. Alarms are evaluated again."""
    from ministack.services import cloudwatch

    with lock:
        for points in list(cloudwatch._metrics.values()):
            for point in points:
                point["Timestamp"] -= seconds
    cloudwatch._evaluate_all_alarms()


# ---- alarms --------------------------------------------------------------------------------------------------------


def evaluate_for_ever(cloudwatch: Any) -> None:
    """Lets alarms end when their values have become old."""
    while True:
        time.sleep(EVALUATION_S)
        cloudwatch._evaluate_all_alarms()


def evaluation(cloudwatch: Any) -> Any:
    """Replaces MiniStack's evaluation, which ignores dimensions, single periods and missing values."""

    def evaluate(alarm: dict[str, Any]) -> None:
        with lock:
            dimensions = cloudwatch._dims_from_list(alarm.get("Dimensions") or [])
            key = (alarm.get("Namespace"), alarm.get("MetricName"), cloudwatch._dims_key(dimensions))
            points = list(cloudwatch._metrics.get(key) or [])
            state, reason = verdict(cloudwatch, alarm, points, time.time())
            before = alarm["StateValue"]
            if state == before:
                return
            alarm |= {"StateValue": state, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())}
            cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
        cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
        cloudwatch._evaluate_parent_alarms(alarm)

    return evaluate


def verdict(cloudwatch: Any, alarm: dict[str, Any], points: list[Any], now_s: float) -> tuple[str, str]:
    """The state of an alarm and its reason."""
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    period_s, periods = int(alarm.get("Period", 60)), int(alarm.get("EvaluationPeriods", 1))
    wanted = int(alarm.get("DatapointsToAlarm") or periods)
    threshold, breaches = float(alarm["Threshold"]), COMPARISONS[alarm["ComparisonOperator"]]
    by_period: dict[int, list[Any]] = {}
    for point in points:
        by_period.setdefault(int((now_s - point["Timestamp"]) // period_s), []).append(point)
    recent = [by_period[period] for period in range(periods) if period in by_period]
    values = [cloudwatch._stat_value(cloudwatch._calc_stats(found), statistic, found) for found in recent]
    bad = sum(breaches(value, threshold) for value in values)
    missing = periods - len(values)
    reason = f"{bad} of {periods} datapoints are bad ({alarm['ComparisonOperator']} {threshold}), {missing} missing."
    treatment = alarm.get("TreatMissingData") or "missing"
    if treatment == "breaching":
        bad += missing
    if bad >= wanted:
        return "ALARM", reason
    if treatment == "ignore" and bad + missing >= wanted:
        return alarm["StateValue"], reason
    if treatment == "missing" and not values:
        return "INSUFFICIENT_DATA", reason
    return "OK", reason
