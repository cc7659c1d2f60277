"""What evaluators do: find lessons, watch with the transcript, read with the findings, all from the keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable

from conftest import SAMPLES, Lesson, Person
from playwright.sync_api import Route, expect

SignIn = Callable[..., Person]
VIDEO = "lesson-player video"


def open_file(person: Person, lesson: Lesson, name: str) -> None:
    person.open(f"#/read/{lesson.submission_id}")
    person.page.get_by_role("navigation", name="Files of this lesson").get_by_role("link", name=name).click()
    expect(person.page.get_by_role("heading", name=name)).to_be_visible()


def position(person: Person) -> float:
    return float(person.page.eval_on_selector(VIDEO, "video => video.currentTime"))


def test_lessons_are_filtered_and_opened(sign_in: SignIn, lesson: Lesson) -> None:
    evaluator = sign_in("evaluator")
    page = evaluator.page
    cards = page.locator("review-page .list a")
    expect(cards.filter(has_text=lesson.title).first).to_be_visible()

    page.get_by_text("With problems").click()
    expect(page).to_have_url(re.compile("state=NeedsAttention"))
    expect(cards.filter(has_text=lesson.title).first).to_be_visible()
    expect(cards.filter(has_text="Ready to read")).to_have_count(0)
    page.get_by_role("combobox", name="With").select_option("audio")
    expect(cards.filter(has_text=lesson.title)).to_have_count(0)
    page.get_by_role("combobox", name="With").select_option("video")
    page.get_by_label("From").fill("2020-01-01")
    expect(cards.filter(has_text=lesson.title).first).to_be_visible()

    cards.filter(has_text=lesson.title).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(lesson.title)
    expect(page.get_by_text("1 file of 3 cannot be read.")).to_be_visible()


def test_the_transcript_follows_and_seeks(sign_in: SignIn, lesson: Lesson) -> None:
    evaluator = sign_in("evaluator")
    page = evaluator.page
    open_file(evaluator, lesson, "lesson.mp4")
    lines = page.locator("lesson-transcript li button")
    expect(lines.first).to_be_visible()
    tracks = "video => [...video.textTracks].map(({ mode, cues }) => [mode, cues.length])"
    assert page.eval_on_selector(VIDEO, tracks) == [["showing", lines.count()]]

    lines.last.click()
    expect(lines.last).to_have_attribute("aria-current", "true")
    assert position(evaluator) > 0
    text = (lines.last.locator(".text").text_content() or "").strip()
    expect(page.locator("#announcements")).to_contain_text(text)

    # One Tab stop; arrows, Home and End move inside; Enter seeks.
    assert page.locator("lesson-transcript li button[tabindex='0']").count() == 1
    lines.last.focus()
    page.keyboard.press("Home")
    expect(lines.first).to_be_focused()
    page.keyboard.press("Enter")
    expect(lines.first).to_have_attribute("aria-current", "true")
    page.keyboard.press("End")
    expect(lines.last).to_be_focused()

    page.keyboard.press("/")
    search = page.get_by_label("Search in the transcript")
    expect(search).to_be_focused()
    search.fill(text.split()[0])
    expect(page.get_by_role("search").get_by_role("status")).to_have_text(re.compile(r"^1 of \d+$"))
    assert page.evaluate("CSS.highlights.get('search').size") > 0
    search.fill("no such words")
    expect(page.get_by_role("search").get_by_role("status")).to_have_text("none")


def test_everything_works_from_the_keyboard(sign_in: SignIn, lesson: Lesson) -> None:
    evaluator = sign_in("evaluator")
    page = evaluator.page
    open_file(evaluator, lesson, "lesson.mp4")
    player = page.get_by_role("group", name="Player")
    expect(player.get_by_label("Position")).to_be_enabled()
    page.get_by_role("heading", level=1).focus()

    page.keyboard.press("Space")
    expect(player.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    page.keyboard.press("k")
    expect(player.get_by_role("button", name="Play", exact=True)).to_be_visible()
    page.keyboard.press("l")
    expect(player.get_by_label("Position")).to_have_attribute("aria-valuetext", "0:04 of 0:04")
    page.keyboard.press("j")
    expect(player.get_by_label("Position")).to_have_attribute("aria-valuetext", "0:00 of 0:04")
    page.keyboard.press(">")
    expect(player.get_by_title("Speed")).to_have_value("1.25")
    page.keyboard.press("g")
    page.keyboard.type("0:02")
    page.keyboard.press("Enter")
    expect(player.get_by_label("Position")).to_have_attribute("aria-valuetext", "0:02 of 0:04")
    page.get_by_role("heading", level=1).focus()
    page.keyboard.press("c")
    expect(player.get_by_role("button", name="Captions")).to_have_attribute("aria-pressed", "false")

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.get_by_role("dialog").get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("heading", level=1).focus()
    page.keyboard.press("Space")
    expect(player.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_findings_are_marked_where_they_are(sign_in: SignIn, lesson: Lesson) -> None:
    evaluator = sign_in("evaluator")
    page = evaluator.page
    open_file(evaluator, lesson, "lesson-plan.docx")
    findings = page.locator("plan-text .findings li button")
    expect(findings.first).to_be_visible()
    current = "[...CSS.highlights.get('finding-current')].map(String).join()"

    for index in range(findings.count()):
        page.keyboard.press("n")
        expect(findings.nth(index)).to_have_attribute("aria-current", "true")
        marked = " ".join(page.evaluate(current).split())
        shown = (findings.nth(index).locator("q").text_content() or "").removesuffix(" …")
        assert marked.startswith(shown), "the marked text is that of the finding"
    page.keyboard.press("p")
    expect(findings.nth(findings.count() - 2)).to_have_attribute("aria-current", "true")


def test_one_goes_on_where_one_stopped_also_with_a_url_that_has_ended(sign_in: SignIn, lesson: Lesson) -> None:
    evaluator = sign_in("evaluator")
    page = evaluator.page
    open_file(evaluator, lesson, "lesson.mp4")
    slider = page.get_by_label("Position")
    expect(slider).to_be_enabled()
    page.get_by_label("Go to a time").fill("2")
    page.get_by_label("Go to a time").press("Enter")
    expect(slider).to_have_attribute("aria-valuetext", "0:02 of 0:04")
    page.get_by_role("link", name="Lessons to evaluate").click()
    expect(page.get_by_role("heading", name="Lessons to evaluate")).to_be_visible()

    refused: list[str] = []

    def refuse_first(route: Route) -> None:
        """Answers for the first URL of the recording as the storage does after its five minutes."""
        if route.request.resource_type == "media" and not refused:
            refused.append(route.request.url)
        if route.request.url in refused and len(refused) == 1 and not page.evaluate("window.hasNewUrl ?? false"):
            page.evaluate("window.hasNewUrl = true")
            route.fulfill(status=403, body="Request has expired")
        else:
            route.fallback()

    page.route("**/*", refuse_first)
    open_file(evaluator, lesson, "lesson.mp4")
    expect(page.get_by_text("Continued at 0:02.")).to_be_visible()
    assert refused, "the first URL was refused"
    expect(slider).to_have_attribute("aria-valuetext", "0:02 of 0:04")


def test_captions_and_files_that_come_a_day_late_appear_while_two_people_look(sign_in: SignIn) -> None:
    teacher = sign_in("teacher")
    evaluator = sign_in("evaluator")
    page = evaluator.page
    page.clock.install()
    submission_id = teacher.hand_in("A lesson with a late plan", [SAMPLES / "lesson.mp4"])
    evaluator.open(f"#/read/{submission_id}")
    expect(page.get_by_role("list", name="How far this file is")).to_be_visible()
    page.evaluate("window.isSamePage = true")

    # The recording can be watched before its captions are there. They come by themselves, also after the access token
    # and the video's URL have expired.
    page.clock.fast_forward("24:00:00")
    expect(page.locator("lesson-transcript li").first).to_be_visible()
    cues = "video => video.textTracks[0].cues.length"
    assert page.eval_on_selector(VIDEO, cues) == page.locator("lesson-transcript li").count()
    expect(teacher.row("lesson.mp4").get_by_text("Ready", exact=True)).to_be_visible()

    page.clock.fast_forward("24:00:00")
    teacher.page.locator("input[name=files]").set_input_files(SAMPLES / "notes.txt")
    expect(teacher.row("notes.txt").get_by_text("Ready", exact=True)).to_be_visible()
    # The page asks at once when the evaluator comes back to it, and otherwise once a minute.
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    page.get_by_role("link", name="notes.txt").click()
    expect(page.locator("plan-text .sheet")).not_to_be_empty()
    assert page.evaluate("window.isSamePage"), "nothing was reloaded"


def test_files_are_downloaded(sign_in: SignIn, lesson: Lesson) -> None:
    evaluator = sign_in("evaluator")
    page = evaluator.page
    open_file(evaluator, lesson, "lesson-plan.docx")
    with page.expect_download() as download:
        page.get_by_role("button", name="Original").click()
    assert download.value.path().read_bytes() == (SAMPLES / "lesson-plan.docx").read_bytes()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").first.click()
    assert download.value.path().stat().st_size > 0
