"""Fixtures of the browser tests: the stack, a browser, people who are signed in, lessons to read, and a subscriber."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
# How long a document may take through the workflow. Everything else has the same bound, far above what it needs.
BOUND_MS = 60_000
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

expect.set_options(timeout=BOUND_MS)


@dataclass(frozen=True)
class Stack:
    """The addresses and sign-ins of a running stack, as `stack.json` holds them."""

    pages_url: str
    people: dict[str, dict[str, str]]

    @property
    def origin(self) -> str:
        return "/".join(self.pages_url.split("/")[:3])


@pytest.fixture(scope="session")
def stack() -> Stack:
    path = os.environ.get("LECTERN_STACK")
    assert path, "LECTERN_STACK must name the stack.json of a running stack; `make browser` starts one."
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return Stack(content["pagesUrl"], content["people"])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    assert found, "No Chromium is installed. Install Debian's package chromium, or set CHROMIUM to a browser."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


class Person:
    """Somebody who is signed in, in a browser context of their own. Script errors and CSP violations fail the test."""

    def __init__(self, context: BrowserContext, stack: Stack) -> None:
        self.stack = stack
        self.context = context
        self.errors: list[str] = []
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.page: Page = context.new_page()
        self.page.set_default_timeout(BOUND_MS)
        self.page.on(
            "console",
            lambda message: (
                self.errors.append(message.text)
                if "Content Security Policy" in message.text or "Trusted" in message.text
                else None
            ),
        )

    def sign_in(self, role: str) -> None:
        user = self.stack.people[role]
        self.page.goto(self.stack.pages_url)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.locator("input[name=username]").fill(user["username"])
        self.page.locator("input[name=password]").fill(user["password"])
        self.page.locator("input[name=password]").press("Enter")
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()

    def open(self, route: str) -> None:
        """Opens a route of the pages, such as `#/review`, as a link would."""
        self.page.evaluate("route => { location.hash = route }", route)

    def hand_in(self, title: str, files: list[Path]) -> str:
        """Hands in a lesson and returns the submission's id. The uploads may still run."""
        page = self.page
        self.open("#/hand-in")
        page.get_by_label("Title of the lesson").fill(title)
        page.locator("input[name=files]").set_input_files(files)
        page.get_by_role("button", name=f"Hand in {len(files)} file").click()
        page.wait_for_url("**/#/submissions/*")
        return page.url.rsplit("/", 1)[-1]

    def row(self, file_name: str) -> Any:
        """The row of a file on the teacher's page of a submission."""
        return self.page.locator("submission-page li").filter(has_text=file_name)

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something outside the page has happened."""
        deadline = time.monotonic() + BOUND_MS / 1000
        while not condition():
            assert time.monotonic() < deadline, f"nothing happened within {BOUND_MS} ms"
            self.page.wait_for_timeout(200)

    def add_subscriber(self, subscriber_id: str, url: str) -> str:
        """Adds a subscriber of all events and returns its secret."""
        page = self.page
        self.open("#/subscribers")
        page.get_by_role("button", name="Add a subscriber").click()
        page.get_by_label("Id", exact=True).fill(subscriber_id)
        page.get_by_label("URL", exact=True).fill(url)
        page.get_by_role("button", name="Add", exact=True).click()
        dialog = page.get_by_role("dialog", name=f"{subscriber_id} is added")
        secret: str = dialog.locator(".secret").inner_text()
        dialog.get_by_role("button", name="I have stored it").click()
        expect(dialog).to_have_count(0)
        return secret

    def remove_subscriber(self, subscriber_id: str) -> None:
        self.open("#/subscribers")
        self.page.get_by_role("button", name=f"Remove: {subscriber_id}", exact=True).click()
        self.page.get_by_role("dialog").get_by_role("button", name="Remove it").click()
        expect(self.page.get_by_role("heading", name=subscriber_id, exact=True)).to_have_count(0)


@pytest.fixture
def sign_in(browser: Browser, stack: Stack) -> Iterator[Callable[..., Person]]:
    """Signs somebody in. Further arguments go to `Browser.new_context`."""
    people: list[Person] = []

    def sign_in(role: str, **options: Any) -> Person:
        person = Person(browser.new_context(**options), stack)
        people.append(person)
        person.sign_in(role)
        return person

    yield sign_in
    for person in people:
        errors = person.errors
        person.context.close()
        assert not errors, errors


@pytest.fixture(scope="session")
def visit(browser: Browser, stack: Stack) -> Iterator[Callable[..., Person]]:
    """Like `sign_in`, for tests that only read: those with the same role and options share a person."""
    people: dict[str, Person] = {}

    def visit(role: str, **options: Any) -> Person:
        key = f"{role} {options}"
        if key not in people:
            people[key] = Person(browser.new_context(**options), stack)
            people[key].sign_in(role)
        return people[key]

    yield visit
    for person in people.values():
        person.context.close()
        assert not person.errors, person.errors


@dataclass(frozen=True)
class Lesson:
    """A lesson with a recording and a plan that are ready, and a recording that has failed."""

    submission_id: str
    title: str


@pytest.fixture(scope="session")
def lesson(browser: Browser, stack: Stack) -> Lesson:
    """Handed in once for all tests that only read."""
    teacher = Person(browser.new_context(), stack)
    teacher.sign_in("teacher")
    title = "Fractions: sharing a whole, class 6b"
    files = [SAMPLES / "lesson.mp4", SAMPLES / "lesson-plan.docx", SAMPLES / "bad" / "truncated.mp4"]
    submission_id = teacher.hand_in(title, files)
    for name in ("lesson.mp4", "lesson-plan.docx"):
        expect(teacher.row(name).get_by_text("Ready", exact=True)).to_be_visible()
    expect(teacher.row("truncated.mp4").get_by_text("Could not be processed")).to_be_visible()
    teacher.context.close()
    return Lesson(submission_id, title)


@pytest.fixture(scope="session")
def large_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A playable MP4 that is sent in parts: the sample, with a box that every reader skips."""
    padding = 40 * 1024 * 1024
    path = tmp_path_factory.mktemp("files") / "large lesson.mp4"
    path.write_bytes(
        (SAMPLES / "lesson.mp4").read_bytes() + (padding + 8).to_bytes(4, "big") + b"free" + os.urandom(padding)
    )
    return path


class Endpoint(ThreadingHTTPServer):
    """The endpoint of a subscriber: answers challenges, and accepts events while `status` is 2xx."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EndpointHandler)
        self.status = 200
        self.events: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/events"


class EndpointHandler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        event: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_challenge = event["type"] == "lectern.subscriber.challenge.v1"
        if not is_challenge:
            self.server.events.append(event)
        answer = json.dumps({"challenge": event["data"]["challenge"]} if is_challenge else {}).encode()
        self.send_response(200 if is_challenge else self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the tests' output free of requests."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        yield server


@contextmanager
def serving() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def subscriber(browser: Browser, stack: Stack) -> Iterator[str]:
    """The id of a subscriber for all tests that only read."""
    operator = Person(browser.new_context(), stack)
    operator.sign_in("operator")
    subscriber_id = "school-portal"
    with serving() as server:
        operator.add_subscriber(subscriber_id, server.url)
        yield subscriber_id
        operator.remove_subscriber(subscriber_id)
    operator.context.close()
