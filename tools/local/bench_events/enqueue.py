"""Enqueues the first events of a message for the worker: `enqueue.py URL MESSAGE_FILE COUNT`."""

import json
import sys
from pathlib import Path

from worker import deliver


def main(url: str, message_file: str, count: str) -> None:
    """Enqueues one task for each event, with the body that deliver-events sends."""
    events = json.loads(Path(message_file).read_text(encoding="utf-8"))["events"]
    for number in range(int(count)):
        event = events[number % len(events)]["event"]
        data = event["data"]
        envelope = {
            "specversion": "1.0",
            "id": event["id"],
            "source": "lectern",
            "type": f"lectern.{event['type']}.v1",
            "subject": f"{data['submissionId']}/{data['documentId']}",
            "time": event["time"],
            "datacontenttype": "application/json",
            "data": data,
        }
        deliver.delay(url, event["id"], json.dumps(envelope, separators=(",", ":")))


if __name__ == "__main__":
    main(*sys.argv[1:])
