"""Order and deduplication of a FIFO queue."""

from __future__ import annotations

from collections.abc import Sequence

from .check import Check, Failed, Run

MESSAGES = 25
GROUP = "admission"


def group_is_in_order(run: Run) -> str:
    """Sends numbered messages of one group, some of them twice, and receives them."""
    sqs, url = run.client("sqs"), run.temporary["FifoQueueUrl"]
    expected = [f"{run.mark} {number}" for number in range(MESSAGES)]
    for body in reversed(expected) if run.fault == "sends them in another order" else expected:
        for _ in range(2 if body.endswith("5") else 1):
            sqs.send_message(QueueUrl=url, MessageGroupId=GROUP, MessageBody=body)
    received: list[str] = []

    def more() -> bool:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
        batch = answer.get("Messages", [])
        received.extend(message["Body"] for message in batch)
        if batch:
            ahead = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
            received.extend(message["Body"] for message in ahead)
            if ahead:
                raise Failed("a group delivered further messages while a batch of it was in flight")
        for message in batch:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(received) >= MESSAGES and not batch

    run.until(f"the delivery of {MESSAGES} messages", more)
    if received != expected:
        raise Failed(first_difference(received, expected))
    return (
        f"{MESSAGES} messages came in their order, repetitions once, and none while others of the group were in flight"
    )


def first_difference(received: Sequence[str], expected: Sequence[str]) -> str:
    pairs = enumerate(zip(received, expected, strict=False))
    where = next((number for number, (is_, should) in pairs if is_ != should), min(len(received), len(expected)))
    return f"{len(received)} of {len(expected)} messages came, and message {where} is not the expected one"


CHECKS = (
    Check(
        "fifo",
        "A FIFO queue delivers a group in order, delivers the same content once in five minutes, and nothing of a group"
        " while messages of it are in flight.",
        "admit-document is the only writer of the admission state because its queue has one group (decision 0006):"
        " the third party's limits would not hold.",
        group_is_in_order,
        ("sends them in another order",),
    ),
)
