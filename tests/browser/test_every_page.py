"""What holds for every page: accessible, light and dark, narrow and wide, small, and from one origin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Lesson, Person, Stack
from playwright.sync_api import Browser, Page, Response, expect

SignIn = Callable[..., Person]
pytestmark = pytest.mark.usefixtures("subscriber")
AXE = ROOT / "tools" / "web" / "node_modules" / "axe-core" / "axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Script, style and markup that a page loads before any content, uncompressed.
MOST_BYTES = 100_000

# Name, role, route with the lesson's id, and what shows that the page is complete.
PAGES = [
    ("teacher-list", "teacher", "#/submissions", "submissions-page .list li"),
    ("hand-in", "teacher", "#/hand-in", "file-picker button"),
    ("teacher-lesson", "teacher", "#/submissions/{lesson}", "submission-page .list li"),
    ("evaluator-list", "evaluator", "#/review", "review-page .list li"),
    ("evaluator-video", "evaluator", "#/read/{lesson}", "lesson-transcript li"),
    ("evaluator-plan", "evaluator", "#/read/{lesson}#lesson-plan.docx", "plan-text .findings li"),
    ("operator", "operator", "#/operations", "operations-page table"),
    ("subscribers", "operator", "#/subscribers", "subscribers-page li.card"),
]


def show(person: Person, lesson: Lesson, route: str, sign: str) -> None:
    route, _, file_name = route.format(lesson=lesson.submission_id).partition("#")[2].partition("#")
    person.open(f"#{route}")
    if file_name:
        person.page.get_by_role("link", name=file_name).click()
    expect(person.page.locator(sign).first).to_be_visible()
    expect(person.page.locator(".skeleton")).to_have_count(0)


def violations(page: Page) -> list[str]:
    """What axe finds. It is injected by the debugger, which the page's CSP does not bind."""
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
    options = f"{{ runOnly: {WCAG} }}"
    expression = f"axe.run(document, {options}).then(({{ violations }}) => violations)"
    answer = session.send("Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True})
    found: list[dict[str, Any]] = answer["result"]["value"]
    return [f"{rule['id']}: {rule['help']} {[node['html'] for node in rule['nodes']]}" for rule in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "role", "route", "sign"), PAGES)
def test_axe_finds_nothing(
    visit: SignIn, lesson: Lesson, name: str, role: str, route: str, sign: str, scheme: str, tmp_path: Path
) -> None:
    person = visit(role, color_scheme=scheme, reduced_motion="reduce", viewport={"width": 1280, "height": 860})
    show(person, lesson, route, sign)
    if name == "evaluator-plan":
        person.page.keyboard.press("n")
    folder = ROOT / "docs" / "screenshots" if os.environ.get("UPDATE_SCREENSHOTS") else tmp_path
    is_loaded = "() => [...document.querySelectorAll('video')].every(({ readyState }) => readyState >= 1)"
    person.page.wait_for_function(is_loaded)
    # Without the line of the address: the focus is not where a reader of the picture expects it.
    person.page.evaluate("document.activeElement?.blur()")
    person.page.screenshot(path=folder / f"{name}-{scheme}.png")

    assert violations(person.page) == []
    if name == "evaluator-video":
        person.page.keyboard.press("?")
        expect(person.page.get_by_role("dialog")).to_be_visible()
        assert violations(person.page) == []
        person.page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_first_page(browser: Browser, stack: Stack, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(stack.pages_url)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert violations(page) == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_question(visit: SignIn, lesson: Lesson, scheme: str) -> None:
    person = visit("teacher", color_scheme=scheme, reduced_motion="reduce", viewport={"width": 1280, "height": 860})
    show(person, lesson, "#/submissions/{lesson}", "submission-page .list li")
    person.page.get_by_role("button", name="Withdraw the lesson").click()
    dialog = person.page.get_by_role("dialog", name="Withdraw this lesson?")
    expect(dialog).to_be_visible()
    assert violations(person.page) == []
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("role", "route", "sign"),
    [
        ("evaluator", "#/review?from=2020-01-01&to=2020-01-02", "review-page .empty"),
        ("evaluator", "#/read/%", "read-page [role=alert]"),
        ("teacher", "#/submissions/unknown", "submission-page [role=alert]"),
    ],
)
def test_axe_finds_nothing_where_there_is_nothing(
    visit: SignIn, lesson: Lesson, role: str, route: str, sign: str, scheme: str
) -> None:
    person = visit(role, color_scheme=scheme, reduced_motion="reduce", viewport={"width": 1280, "height": 860})
    show(person, lesson, route, sign)
    assert violations(person.page) == []


@pytest.mark.parametrize(("name", "role", "route", "sign"), PAGES)
def test_nothing_is_wider_than_a_small_phone(
    visit: SignIn, lesson: Lesson, name: str, role: str, route: str, sign: str
) -> None:
    person = visit(role, viewport={"width": 360, "height": 740})
    show(person, lesson, route, sign)
    width = person.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360, f"{name} is {width} pixels wide"


@pytest.mark.parametrize(("name", "role", "route", "sign"), PAGES)
def test_a_wide_screen_makes_no_long_lines(
    visit: SignIn, lesson: Lesson, name: str, role: str, route: str, sign: str
) -> None:
    person = visit(role, viewport={"width": 1920, "height": 1080})
    show(person, lesson, route, sign)
    width = person.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 1920, f"{name} is {width} pixels wide"
    widths = "elements => elements.map(element => element.getBoundingClientRect().width)"
    [content] = person.page.eval_on_selector_all("main > *", widths)
    assert content <= 1500, f"the content of {name} is {content} pixels wide"
    if name == "evaluator-plan":
        # 40 to 85 characters of the text's font.
        columns = person.page.eval_on_selector_all(".sheet p", widths)
        assert all(340 <= column <= 720 for column in columns), columns


def test_the_text_is_printed_without_navigation_and_buttons(visit: SignIn, lesson: Lesson) -> None:
    person = visit("evaluator", viewport={"width": 1280, "height": 860})
    page = person.page
    show(person, lesson, "#/read/{lesson}#lesson-plan.docx", "plan-text .findings li")
    page.emulate_media(media="print")
    try:
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("plan-text .sheet")).to_be_visible()
        assert page.locator(".top:visible, nav:visible, .button:visible").count() == 0
        # The findings are buttons on the screen and a list on paper.
        others = page.locator("button:visible").evaluate_all(
            "all => all.filter(one => !one.closest('.findings li')).length"
        )
        assert others == 0
        findings = page.locator(".findings li button")
        assert page.locator(".findings li button:visible").count() == findings.count() > 0
        for frame in (".sheet", ".findings ol"):
            assert page.eval_on_selector(frame, "frame => frame.scrollHeight <= frame.clientHeight + 1"), frame
    finally:
        page.emulate_media(media="screen")


@pytest.mark.parametrize(("name", "role", "route", "sign"), PAGES)
def test_a_page_is_small_and_comes_from_one_origin(
    visit: SignIn, lesson: Lesson, stack: Stack, name: str, role: str, route: str, sign: str
) -> None:
    person = visit(role)
    page = person.page
    show(person, lesson, route, sign)
    sizes: dict[str, int] = {}
    elsewhere: set[str] = set()

    def note(response: Response) -> None:
        request = response.request
        if request.url.startswith("data:") or response.status in (302, 304):
            return
        if request.resource_type in ("document", "script", "stylesheet") or request.url.endswith(".svg"):
            sizes[request.url] = len(response.body())
        if not request.url.startswith(stack.origin) and request.resource_type not in ("media", "image", "fetch", "xhr"):
            elsewhere.add(request.url)

    # The signed-in page is loaded anew, with an empty cache.
    page.context.new_cdp_session(page).send("Network.clearBrowserCache")
    page.on("response", note)
    page.reload()
    expect(page.locator(sign).first).to_be_visible()
    expect(page.locator(".skeleton")).to_have_count(0)

    page.remove_listener("response", note)
    total = sum(sizes.values())
    print(f"{name}: {total} bytes of script, style and markup in {len(sizes)} files")
    assert not elsewhere, f"requests to other origins: {elsewhere}"
    assert sizes
    assert total < MOST_BYTES, f"{name} loads {total} bytes: {sorted(sizes.items(), key=lambda item: -item[1])}"


def test_the_policy_of_the_pages_is_strict(browser: Browser, stack: Stack) -> None:
    context = browser.new_context()
    response = context.request.get(stack.pages_url)
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in response.headers["content-security-policy"].split(";")
        if part.strip()
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "lit-html"
    assert "unsafe" not in str(policy)
    context.close()
