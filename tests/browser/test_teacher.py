"""What teachers do: hand in, see how far it is, go on after trouble, mend, withdraw."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from conftest import SAMPLES, Person
from cutting_proxy import CuttingProxy
from playwright.sync_api import Request, Route, expect

SignIn = Callable[..., Person]


def test_a_lesson_is_handed_in_and_becomes_ready(sign_in: SignIn) -> None:
    teacher = sign_in("teacher")
    teacher.hand_in("The water cycle, class 5a", [SAMPLES / "lesson.mp4", SAMPLES / "lesson-plan.docx"])

    for name in ("lesson.mp4", "lesson-plan.docx"):
        expect(teacher.row(name).get_by_text("Ready", exact=True)).to_be_visible()
    expect(teacher.page.get_by_text("There is nothing left to do.")).to_be_visible()

    teacher.page.get_by_role("link", name="My lessons").first.click()
    card = teacher.page.get_by_role("link").filter(has_text="The water cycle, class 5a").first
    expect(card).to_contain_text("2 files, all ready")


def test_a_file_is_judged_before_it_is_sent(sign_in: SignIn, tmp_path: Path) -> None:
    unknown = tmp_path / "lesson.xyz"
    unknown.write_text("?")
    teacher = sign_in("teacher")
    page = teacher.page
    teacher.open("#/hand-in")
    page.locator("input[name=files]").set_input_files([SAMPLES / "lesson.mp4", SAMPLES / "bad" / "empty.pdf", unknown])

    chosen = page.get_by_role("list", name="Chosen files").get_by_role("listitem")
    expect(chosen.filter(has_text="lesson.mp4")).to_contain_text("0:04, 320 \u00d7 240")
    expect(chosen.filter(has_text="empty.pdf")).to_contain_text("The file is empty.")
    expect(chosen.filter(has_text="lesson.xyz")).to_contain_text("Files that end in .xyz are not accepted.")
    expect(page.get_by_role("button", name="Hand in 3 files")).to_be_disabled()

    page.get_by_role("button", name="Remove empty.pdf").click()
    page.get_by_role("button", name="Remove lesson.xyz").click()
    expect(page.get_by_role("button", name="Hand in 1 file")).to_be_enabled()


def test_a_video_that_this_browser_cannot_play_is_warned_about(sign_in: SignIn, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes((SAMPLES / "notes.txt").read_bytes() * 100)
    teacher = sign_in("teacher")
    teacher.open("#/hand-in")
    teacher.page.locator("input[name=files]").set_input_files(broken)

    expect(teacher.page.get_by_text("This browser cannot play it")).to_be_visible()


def test_files_are_dropped_on_the_page(sign_in: SignIn) -> None:
    teacher = sign_in("teacher")
    page = teacher.page
    teacher.open("#/hand-in")
    names = ["fractions.txt", "homework.txt", ".DS_Store"]
    transfer = page.evaluate_handle(
        """names => {
            const transfer = new DataTransfer();
            for (const name of names) transfer.items.add(new File([`This is ${name}.`], name, { type: "text/plain" }));
            return transfer;
        }""",
        names,
    )
    field = page.locator("file-picker .drop")
    field.dispatch_event("dragover", {"dataTransfer": transfer})
    expect(field).to_have_class("drop over")
    field.dispatch_event("drop", {"dataTransfer": transfer})

    chosen = page.get_by_role("list", name="Chosen files").get_by_role("listitem")
    expect(chosen).to_have_count(2)
    expect(field).to_have_class(re.compile(r"^drop\s*$"))
    page.get_by_label("Title of the lesson").fill("A lesson that was dropped")
    page.get_by_role("button", name="Hand in 2 files").click()
    for name in names[:2]:
        expect(teacher.row(name).get_by_text("Ready", exact=True)).to_be_visible()


def test_case_51_a_title_and_a_name_with_markup_stay_text(sign_in: SignIn, tmp_path: Path) -> None:
    title = "<img src=x onerror=document.title='run'> <script>document.title='run'</script>"
    hostile = tmp_path / "<img src=x onerror=alert(1)>\u202efdp.docx"
    hostile.write_bytes((SAMPLES / "lesson-plan.docx").read_bytes())
    teacher = sign_in("teacher")
    submission_id = teacher.hand_in(title, [hostile])

    expect(teacher.page.get_by_role("heading", level=1)).to_have_text(title)
    # The API removes the character that turns text around.
    expect(teacher.row("<img src=x onerror=alert(1)>fdp.docx").get_by_text("Ready", exact=True)).to_be_visible()
    evaluator = sign_in("evaluator")
    evaluator.open(f"#/read/{submission_id}")
    expect(evaluator.page.get_by_role("heading", level=1)).to_have_text(title)
    expect(evaluator.page.locator("plan-text .sheet")).not_to_be_empty()
    for page in (teacher.page, evaluator.page):
        assert page.locator("img[src=x], script:not([src])").count() == 0
        assert "run" not in page.title()


def test_an_upload_goes_on_after_its_connections_were_killed(sign_in: SignIn, large_video: Path) -> None:
    proxy = CuttingProxy(int(large_video.stat().st_size * 0.6), "kill")
    try:
        teacher = sign_in("teacher", proxy={"server": proxy.url})
        teacher.hand_in("A lesson over a bad network", [large_video])

        expect(teacher.row(large_video.name).get_by_text("Ready", exact=True)).to_be_visible()
        assert proxy.was_cut.is_set(), "the proxy must have killed the connections"
        assert len(proxy.stored) == len(set(proxy.stored)), "a part that was stored is not sent again"
        assert set(proxy.stored_before_cut) < set(proxy.stored)
    finally:
        proxy.close()


def test_an_upload_waits_while_the_browser_is_offline(sign_in: SignIn, large_video: Path) -> None:
    proxy = CuttingProxy(int(large_video.stat().st_size * 0.3), "hold")
    try:
        teacher = sign_in("teacher", proxy={"server": proxy.url})
        page = teacher.page
        teacher.hand_in("A lesson on a train", [large_video])
        assert proxy.was_cut.wait(60), "a part of the file must have been sent"
        teacher.context.set_offline(True)
        proxy.release()
        row = teacher.row(large_video.name)
        expect(row.get_by_text("Offline at")).to_be_visible()

        # An attempt that is repeated would begin within a second.
        attempts: list[str] = []

        def note(request: Request) -> None:
            # The parts in flight may have arrived all the same; then only the completion is missing.
            if re.search(r"/(parts|complete)$|[?&]partNumber=", request.url):
                attempts.append(request.url)

        page.on("request", note)
        page.wait_for_timeout(3000)
        expect(row.get_by_text("Offline at")).to_be_visible()
        assert attempts == [], "nothing is tried before the network is back"

        teacher.context.set_offline(False)
        expect(row.get_by_text("Ready", exact=True)).to_be_visible()
        assert attempts
    finally:
        proxy.close()


def test_a_part_whose_signature_has_expired_is_signed_again(sign_in: SignIn, large_video: Path) -> None:
    teacher = sign_in("teacher")
    page = teacher.page
    refused: list[int] = []
    signed: list[int] = []

    def refuse_first(route: Route) -> None:
        if route.request.method == "PUT" and not refused:
            part = re.search(r"[?&]partNumber=(\d+)", route.request.url)
            assert part
            refused.append(int(part[1]))
            headers = {"access-control-allow-origin": "*"}
            route.fulfill(status=403, headers=headers, body="Request has expired")
        else:
            route.fallback()

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/parts"):
            signed.extend(part["partNumber"] for part in request.post_data_json["parts"])

    page.route(re.compile(r"[?&]partNumber="), refuse_first)
    page.on("request", note)
    teacher.hand_in("A lesson with an expired signature", [large_video])

    expect(teacher.row(large_video.name).get_by_text("Ready", exact=True)).to_be_visible()
    assert len(refused) == 1
    assert sorted(signed) == sorted([*range(1, max(signed) + 1), *refused]), "only the refused part is signed again"


def test_an_upload_goes_on_after_a_reload_with_the_same_file_only(
    sign_in: SignIn, large_video: Path, tmp_path: Path
) -> None:
    other = tmp_path / large_video.name
    other.write_bytes(bytes(large_video.stat().st_size))
    proxy = CuttingProxy(int(large_video.stat().st_size * 0.9), "hold")
    try:
        teacher = sign_in("teacher", proxy={"server": proxy.url})
        page = teacher.page
        page.on("dialog", lambda dialog: dialog.accept())
        teacher.hand_in("A lesson with a reload", [large_video])
        assert proxy.was_cut.wait(60), "most of the file must have been sent"
        before = list(proxy.stored)
        assert before, "a part must have been stored"
        page.reload()
        proxy.release()

        row = teacher.row(large_video.name)
        expect(row.get_by_text("Choose the file again to go on where it stopped.")).to_be_visible()
        for choice, outcome in ((other, "This is not the file of which parts were sent"), (large_video, "Ready")):
            with page.expect_file_chooser() as chooser:
                row.get_by_role("button", name="Choose the file").click()
            chooser.value.set_files(choice)
            expect(row.get_by_text(outcome, exact=outcome == "Ready")).to_be_visible()
        after = proxy.stored[len(before) :]
        assert not set(before) & set(after), "parts that the storage had are not sent again"
    finally:
        proxy.close()


def test_an_upload_can_be_paused_and_cancelled(sign_in: SignIn, large_video: Path) -> None:
    proxy = CuttingProxy(int(large_video.stat().st_size * 0.3), "hold")
    try:
        teacher = sign_in("teacher", proxy={"server": proxy.url})
        page = teacher.page
        teacher.hand_in("A lesson that is paused", [large_video])
        assert proxy.was_cut.wait(60)
        row = teacher.row(large_video.name)
        row.get_by_role("button", name="Pause").click()
        expect(row.get_by_text("Paused at")).to_be_visible()
        row.get_by_role("button", name="Resume").click()
        expect(row.get_by_role("button", name="Pause")).to_be_visible()
        row.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel the upload").click()
        expect(row).to_have_count(0)
    finally:
        proxy.close()


def test_a_rejected_file_is_explained_replaced_and_a_late_one_joins(sign_in: SignIn, tmp_path: Path) -> None:
    wrong = tmp_path / "plan.pdf"
    wrong.write_bytes((SAMPLES / "lesson.mp4").read_bytes())
    right = tmp_path / "right" / "plan.pdf"
    right.parent.mkdir()
    right.write_bytes((SAMPLES / "lesson-plan.pdf").read_bytes())
    teacher = sign_in("teacher")
    page = teacher.page
    teacher.hand_in("A lesson with a wrong file", [wrong])
    row = teacher.row("plan.pdf")
    expect(row.get_by_text("Not accepted")).to_be_visible()
    expect(page.get_by_text("1 file of this lesson cannot be used.")).to_be_visible()

    with page.expect_file_chooser() as chooser:
        row.get_by_role("button", name="Replace").click()
    chooser.value.set_files(right)
    expect(row.get_by_text("Ready", exact=True)).to_be_visible()

    page.locator("input[name=files]").set_input_files(SAMPLES / "notes.txt")
    expect(teacher.row("notes.txt").get_by_text("Ready", exact=True)).to_be_visible()
    expect(page.get_by_text("There is nothing left to do.")).to_be_visible()


def test_a_lesson_is_withdrawn_after_a_question(sign_in: SignIn) -> None:
    teacher = sign_in("teacher")
    page = teacher.page
    submission_id = teacher.hand_in("A lesson to withdraw", [SAMPLES / "notes.txt"])
    expect(teacher.row("notes.txt").get_by_text("Ready", exact=True)).to_be_visible()

    page.get_by_role("button", name="Withdraw the lesson").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("heading", name="A lesson to withdraw")).to_be_visible()
    page.get_by_role("button", name="Withdraw the lesson").click()
    page.get_by_role("dialog").get_by_role("button", name="Withdraw and delete").click()
    expect(page.get_by_role("heading", name="My lessons", level=1)).to_be_visible()

    evaluator = sign_in("evaluator")
    evaluator.open(f"#/read/{submission_id}")
    expect(evaluator.page.get_by_role("alert")).to_be_visible()


def test_another_teacher_does_not_find_the_lesson(sign_in: SignIn) -> None:
    teacher = sign_in("teacher")
    submission_id = teacher.hand_in("A lesson of one teacher", [SAMPLES / "notes.txt"])

    other = sign_in("secondTeacher")
    other.open(f"#/submissions/{submission_id}")
    expect(other.page.get_by_role("alert")).to_be_visible()
    expect(other.page.get_by_text("A lesson of one teacher")).to_have_count(0)
