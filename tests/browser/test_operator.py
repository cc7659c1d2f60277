"""What operators do: see the flow, read why something failed, start it again."""

from __future__ import annotations

from collections.abc import Callable

from conftest import SAMPLES, Person
from playwright.sync_api import expect

SignIn = Callable[..., Person]


def test_a_failure_is_explained_and_started_again(sign_in: SignIn) -> None:
    teacher = sign_in("secondTeacher")
    title = "A lesson that fails"
    teacher.hand_in(title, [SAMPLES / "bad" / "truncated.mp4"])
    expect(teacher.row("truncated.mp4").get_by_text("Could not be processed")).to_be_visible()

    operator = sign_in("operator")
    page = operator.page
    for heading in ("Documents by stage", "Queues", "Limits of the third party", "Failures"):
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    expect(page.get_by_role("table").get_by_role("row").nth(1)).to_be_visible()
    failed = page.locator("operations-page .list > li").filter(has_text=title).first
    expect(failed).to_contain_text("The file is incomplete")
    expect(failed).to_contain_text("Why")

    failed.get_by_role("button", name="Start again: truncated.mp4").click()
    page.get_by_role("dialog").get_by_role("button", name="Start again", exact=True).click()
    expect(failed.get_by_text("Started again")).to_be_visible()


def test_nobody_sees_the_pages_of_another_role(sign_in: SignIn) -> None:
    evaluator = sign_in("evaluator")
    expect(evaluator.page.get_by_role("link", name="Operations")).to_have_count(0)
    evaluator.open("#/operations")
    expect(evaluator.page.get_by_role("alert").first).to_be_visible()
    expect(evaluator.page.get_by_role("table")).to_have_count(0)


def test_somebody_signs_out_and_the_session_is_over(sign_in: SignIn) -> None:
    operator = sign_in("operator")
    operator.page.get_by_role("button", name="Sign out").click()
    expect(operator.page.get_by_role("button", name="Sign in")).to_be_visible()
    operator.page.reload()
    expect(operator.page.get_by_role("button", name="Sign in")).to_be_visible()
