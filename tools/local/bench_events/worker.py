"""The usual way to post events in the background: a task of Celery for each event, in a worker with ten threads.

`celery --app worker worker --pool threads --concurrency 10`, with Redis at `REDIS_URL`.
"""

import base64
import hashlib
import hmac
import os
import time

import requests
from celery import Celery

KEY = bytes(32)

app = Celery("worker", broker=os.environ["REDIS_URL"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task
def deliver(url: str, event_id: str, body: str) -> None:
    """Posts one event, signed by the Standard Webhooks scheme."""
    timestamp = str(int(time.time()))
    signature = hmac.new(KEY, f"{event_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/cloudevents+json; charset=utf-8",
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
    requests.post(url, data=body.encode(), headers=headers, timeout=10).raise_for_status()
