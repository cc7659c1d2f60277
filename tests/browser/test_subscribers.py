"""What operators do with the subscribers of events: add, try, pause, resume, replay, rotate and remove them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from secrets import token_hex
from typing import Any

import pytest
from conftest import ROOT, Endpoint, Person
from playwright.sync_api import Locator, Route, expect
from test_every_page import violations

SignIn = Callable[..., Person]
API = json.loads((ROOT / "docs" / "api.openapi.json").read_text(encoding="utf-8"))


def new_id(name: str) -> str:
    """An id that no earlier run on the same stack has left behind."""
    return f"{name}-{token_hex(4)}"


def card(person: Person, subscriber_id: str) -> Locator:
    heading = person.page.get_by_role("heading", name=subscriber_id, exact=True)
    return person.page.locator("subscribers-page li.card").filter(has=heading)


def press(person: Person, card: Locator, action: str, answer: str = "") -> None:
    """Presses a button of a subscriber, and one of the question that follows."""
    card.get_by_role("button", name=re.compile(f"^{action}:")).click()
    if answer:
        person.page.get_by_role("dialog").get_by_role("button", name=answer, exact=True).click()


def test_an_operator_adds_tries_pauses_resumes_rotates_and_removes_a_subscriber(
    sign_in: SignIn, endpoint: Endpoint
) -> None:
    operator = sign_in("operator")
    page = operator.page
    name = new_id("archive")
    secret = operator.add_subscriber(name, endpoint.url)
    assert secret.startswith("whsec_")
    archive = card(operator, name)
    expect(archive.get_by_text("Active", exact=True)).to_be_visible()
    expect(archive.get_by_role("heading")).to_be_focused()
    expect(archive).to_contain_text("all types of events")
    assert secret not in page.content()

    press(operator, archive, "Send a test")
    trial = page.get_by_role("dialog", name=f"Test of {name}")
    expect(trial).to_contain_text("Accepted: 200")
    expect(trial).to_contain_text("webhook-signature: v1,")
    assert violations(page) == []
    trial.locator("footer button").click()
    assert [event["type"] for event in endpoint.events] == ["lectern.subscriber.test.v1"]
    endpoint.status = 500
    press(operator, archive, "Send a test")
    expect(trial).to_contain_text("Not accepted: 500")
    page.keyboard.press("Escape")

    press(operator, archive, "Pause")
    expect(archive.get_by_text("Paused", exact=True)).to_be_visible()
    expect(archive.get_by_role("button", name=f"Resume: {name}")).to_be_focused()
    press(operator, archive, "Resume", "Deliver what waits")
    expect(archive).to_contain_text("The deliveries go on. Nothing has waited.")
    expect(archive.get_by_text("Active", exact=True)).to_be_visible()

    press(operator, archive, "New secret", "Make a new secret")
    made = page.get_by_role("dialog", name=f"The new secret of {name}")
    expect(made).to_contain_text("The old one stays valid for 24 hours.")
    assert made.locator(".secret").inner_text() not in ("", secret)
    made.get_by_role("button", name="I have stored it").click()

    operator.remove_subscriber(name)
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_events_wait_while_a_subscriber_is_paused_and_a_replay_sends_them_again(
    sign_in: SignIn, endpoint: Endpoint
) -> None:
    teacher = sign_in("secondTeacher")
    lesson = teacher.hand_in("A lesson that subscribers hear of", [ROOT / "samples" / "lesson-plan.docx"])
    expect(teacher.row("lesson-plan.docx").get_by_text("Ready", exact=True)).to_be_visible()

    operator = sign_in("operator")
    name = new_id("waits")
    operator.add_subscriber(name, endpoint.url)
    waits = card(operator, name)
    press(operator, waits, "Pause")
    expect(waits.get_by_text("Paused", exact=True)).to_be_visible()
    press(operator, waits, "Replay", "Replay")
    expect(waits.get_by_text(re.compile(r"The replay is done: \d+ events go"))).to_be_visible()

    def sees_waiting_events() -> bool:
        operator.page.get_by_role("button", name="Refresh").click()
        return bool(re.search(r"Waiting, the oldest for", waits.inner_text()))

    operator.until(sees_waiting_events)
    assert endpoint.events == []
    press(operator, waits, "Resume", "Deliver what waits")
    expect(waits.get_by_text(re.compile(r"\d+ events that waited are sent now"))).to_be_visible()
    operator.until(lambda: any(event["subject"].startswith(lesson) for event in endpoint.events))
    operator.remove_subscriber(name)


def test_an_endpoint_that_does_not_answer_the_challenge_is_not_added(sign_in: SignIn, endpoint: Endpoint) -> None:
    operator = sign_in("operator")
    page = operator.page
    operator.open("#/subscribers")
    page.get_by_role("button", name="Add a subscriber").click()
    expect(page.get_by_label("Id", exact=True)).to_be_focused()
    offered = page.get_by_role("group", name="Types of events").get_by_role("checkbox")
    types = {checkbox.get_attribute("value") for checkbox in offered.all()}
    known = set(API["components"]["schemas"]["EventType"]["enum"])
    assert types == known - {"subscriber.challenge", "subscriber.test"}
    assert violations(page) == []

    page.get_by_label("Id", exact=True).fill("mute")
    page.get_by_label("URL", exact=True).fill(endpoint.url.replace("127.0.0.1", "127.0.0.2"))
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The endpoint gave no answer")
    # What was written stays.
    expect(page.get_by_label("Id", exact=True)).to_have_value("mute")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Add a subscriber")).to_be_focused()
    expect(card(operator, "mute")).to_have_count(0)


def troubled() -> list[dict[str, Any]]:
    """Subscribers in states that take days to reach."""
    subject = "01JCQ7Z0M2V9D3W5X8Y1A4B6C7/0193a5f0-7c1e-7a44-9d42-3f0a1b2c3d4e"
    retrying = [
        {"eventId": f"0{n}", "type": "document.superseded", "subject": subject, "attempts": 7 + n}
        | {"nextAt": "2020-01-01T00:00:00Z"}
        | ({"status": 503} if n else {})
        for n in range(3)
    ]
    deliveries = {"waiting": 1234, "oldestAt": "2020-01-01T00:00:00Z", "retrying": retrying, "retryingCount": 45}
    deliveries |= {"blocked": 12, "deadLetters": 3, "inFlight": 1, "breakerOpen": True}
    deliveries |= {"failingSince": "2020-01-01T00:00:00Z"}
    idle = {"waiting": 0, "retrying": [], "retryingCount": 0, "blocked": 0, "deadLetters": 0, "inFlight": 0}
    settings = {"url": "https://archive.school.example/systems/lectern/events?tenant=north-and-south-west"}
    settings |= {"eventTypes": ["document.ready", "document.failed"], "kinds": ["video"], "format": "thin"}
    settings |= {"signature": "ed25519", "ordered": True, "maxBatch": 50, "maxBatchWaitSeconds": 30, "gzip": True}
    settings |= {"requestsPerSecond": 2.5, "maxInFlight": 4, "timeoutSeconds": 10, "createdAt": "2020-01-01T00:00:00Z"}
    disabled = {"status": "disabled", "disabledReason": "gone", "disabledAt": "2020-01-04T00:00:00Z"}
    return [
        settings | {"subscriberId": "breaker-open", "status": "active", "deliveries": deliveries},
        settings | disabled | {"subscriberId": "disabled", "deliveries": deliveries},
        settings
        | {"subscriberId": "a-long-id-of-forty-characters-for-phones", "status": "paused"}
        | {"deliveries": idle | {"breakerOpen": False}},
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_trouble_is_explained_and_accessible(sign_in: SignIn, scheme: str, width: int) -> None:
    operator = sign_in(
        "operator", color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 900}
    )
    page = operator.page

    def answer(route: Route) -> None:
        route.fulfill(json={"subscribers": troubled()})

    page.route("**/v1/subscribers", answer)
    operator.open("#/subscribers")
    failing = card(operator, "breaker-open")
    expect(failing).to_contain_text("The circuit breaker is open.")
    expect(failing).to_contain_text("Wait behind another event of their lesson")
    expect(failing).to_contain_text("3 events were given up")
    retried = failing.get_by_role("list", name="Events for breaker-open that are retried")
    answers = ["no answer", "last answer 503", "last answer 503"]
    expect(retried.get_by_role("listitem")).to_contain_text(answers)
    expect(failing).to_contain_text("The oldest 3 of 45 are listed.")
    expect(card(operator, "disabled")).to_contain_text("The endpoint answered 410")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_list_that_cannot_be_read_is_asked_for_again(sign_in: SignIn) -> None:
    operator = sign_in("operator")
    page = operator.page
    page.route("**/v1/subscribers", lambda route: route.abort())
    operator.open("#/subscribers")
    expect(page.get_by_role("alert")).to_contain_text("Lectern cannot be reached")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_nobody_else_sees_subscribers(sign_in: SignIn) -> None:
    teacher = sign_in("teacher")
    expect(teacher.page.get_by_role("link", name="Subscribers")).to_have_count(0)
    teacher.open("#/subscribers")
    expect(teacher.page.get_by_role("alert")).to_be_visible()
    expect(teacher.page.locator("subscribers-page li")).to_have_count(0)
