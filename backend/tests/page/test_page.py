"""The page as a person uses it: signing in, talking, the list by hand, and what may not happen."""

import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from agents.testing import ScriptedModel
from playwright.async_api import Browser, Page, expect

from backend.page.serve import FILES
from backend.tests.page.conftest import OpenPage, ServePage
from backend.tests.support import better_auth
from backend.tests.support.scripting import calls
from backend.tests.support.speaking import Speech
from backend.tests.support.task_calls import add

ADDS_MILK = calls("add_task", {"title": "Buy milk"})[0]
GRAVE = ("serious", "critical")
SECRET = "a-secret-of-better-auth-0123456789"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>[x](javascript:alert(3))"


def speech(*words: str, then: Any = None) -> Speech:
    """An answer that is whole."""
    told = Speech(*([then] if then else []))
    told.say(*words)
    told.end()
    return told


async def say(page: Page, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


def answers(page: Page) -> Any:
    return page.get_by_role("log").get_by_role("article", name="Assistant")


async def test_the_token_leaves_the_address_and_signs_in(
    open_page: OpenPage, alice_id: str, address: str
) -> None:
    async with open_page(alice_id) as page:
        await expect(page.get_by_text("Nothing to do yet.")).to_be_visible()
        assert page.url == f"{address}/"

        await page.reload()

        await expect(page.get_by_text("Nothing to do yet.")).to_be_visible()


@pytest.mark.e2e
async def test_who_has_no_token_is_asked_for_one(open_page: OpenPage, alice_id: str) -> None:
    async with open_page(alice_id, expected=(401,)) as page:
        token = await page.evaluate("localStorage.getItem('todo.token')")
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_label("Session token").fill(token)
        await page.get_by_role("dialog").get_by_role("button", name="Sign in").click()

        await expect(page.get_by_text("Nothing to do yet.")).to_be_visible()


async def test_an_answer_comes_in_pieces_with_its_calls_and_the_list_follows(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    acting, telling = (
        speech("Let me see. ", then=ADDS_MILK),
        Speech(),
    )
    model.extend([acting.step, telling.step])
    async with open_page(alice_id) as page:
        await say(page, "Add milk")
        await expect(answers(page)).to_contain_text("Let me see.")
        await expect(answers(page)).to_contain_text('Added "Buy milk"')
        await expect(page.get_by_role("region", name="Open")).to_contain_text("Buy milk")

        telling.say("Added")
        await expect(answers(page)).to_contain_text("Added")
        await expect(page.get_by_role("button", name="Stop")).to_be_visible()
        telling.say(" **it**.")
        telling.end()

        await expect(answers(page).locator("strong")).to_have_text("it")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
        conversations = page.get_by_role("navigation", name="Conversations")
        await expect(conversations.get_by_role("button", name="Add milk")).to_be_visible()


@pytest.mark.e2e
async def test_stop_keeps_what_was_said(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    telling = Speech()
    model.extend([telling.step])
    async with open_page(alice_id) as page:
        await say(page, "Tell me a story")
        telling.say("Once upon a time ")
        await expect(answers(page)).to_contain_text("Once upon a time")

        await page.get_by_role("button", name="Stop").click()

        await expect(answers(page)).to_contain_text("Stopped")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
        await page.reload()
        await expect(answers(page)).to_contain_text("Once upon a time")


@pytest.mark.e2e
async def test_a_reload_in_mid_answer_goes_on_where_it_was(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    telling = Speech()
    model.extend([telling.step])
    async with open_page(alice_id) as page:
        await say(page, "Tell me a story")
        telling.say("Once upon ")
        await expect(answers(page)).to_contain_text("Once upon")

        await page.reload()
        await expect(answers(page)).to_contain_text("Once upon")
        telling.say("a time.")
        telling.end()

        await expect(answers(page)).to_contain_text("Once upon a time.")
        await expect(answers(page)).to_have_count(1)


@pytest.mark.e2e
async def test_an_answer_that_changed_something_can_be_undone(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([speech(then=ADDS_MILK).step, speech("Added it.").step])
    async with open_page(alice_id) as page:
        await say(page, "Add milk")
        await expect(answers(page)).to_contain_text("Added it.")

        await answers(page).get_by_role("button", name="Undo").click()

        await expect(answers(page)).to_contain_text("Undone")
        await expect(page.get_by_text("Nothing to do yet.")).to_be_visible()


@pytest.mark.e2e
async def test_a_call_that_waits_is_approved_or_declined_in_place(
    serve_page: ServePage, alice_id: str, alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = [await alice.post("/api/tasks", json={"title": title}) for title in ("One", "Two")]
    deletes = [calls("delete_task", {"task_id": each.json()["id"]})[0] for each in made]
    model.extend(
        [
            speech(then=deletes[0]).step,
            speech("It is gone.").step,
            speech(then=deletes[1]).step,
            speech("It stays.").step,
        ]
    )
    asking = {"approval_tools": frozenset({"delete_task"})}
    async with serve_page(**asking) as there, there.open_page(alice_id) as page:
        await say(page, "Delete one")
        question = answers(page).get_by_role("group", name="A question")
        await expect(question).to_contain_text("Delete a task? One")
        await expect(page.get_by_role("region", name="Open")).to_contain_text("One")

        await question.get_by_role("button", name="Approve").click()

        await expect(answers(page)).to_contain_text("It is gone.")
        await expect(page.get_by_role("region", name="Open")).not_to_contain_text("One")

        await say(page, "Delete two")
        await question.get_by_role("button", name="Decline").click()

        await expect(answers(page).last).to_contain_text("It stays.")
        await expect(page.get_by_role("region", name="Open")).to_contain_text("Two")


async def test_another_person_sees_nothing_of_it(
    open_page: OpenPage, alice_id: str, bob_id: str, model: ScriptedModel
) -> None:
    model.extend([speech(then=ADDS_MILK).step, speech("Added it.").step])
    async with open_page(alice_id) as page:
        await say(page, "Add milk")
        await expect(answers(page)).to_contain_text("Added it.")
        link = page.url
    async with open_page(bob_id, expected=(404,)) as page:
        await page.goto(link)
        await page.reload()
        await expect(page.get_by_text("Nothing to do yet.")).to_be_visible()
        await expect(page.get_by_text("No conversations yet.")).to_be_visible()
        await expect(answers(page)).to_have_count(0)


async def test_nothing_in_a_title_or_an_answer_becomes_markup(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    assert (await alice.post("/api/tasks", json={"title": HOSTILE})).status_code == 201
    model.extend([speech(f"{HOSTILE}\n- [safe](https://example.com/a)").step])
    async with open_page(alice_id) as page:
        await page.evaluate("() => { window.alert = () => { window.harmed = true; }; }")
        await say(page, HOSTILE)
        await expect(answers(page).get_by_role("link")).to_have_count(1)

        link = answers(page).get_by_role("link")
        assert await link.get_attribute("href") == "https://example.com/a"
        assert "noopener" in str(await link.get_attribute("rel"))
        assert await page.locator("img, #log script").count() == 0
        assert await page.evaluate("window.harmed") is None
        await expect(page.get_by_role("region", name="Open")).to_contain_text("<img src=x")


@pytest.mark.e2e
async def test_everything_can_be_done_by_keyboard(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([speech("Hello there.").step])
    async with open_page(alice_id) as page:
        await page.keyboard.press("/")
        await page.keyboard.type("Hi")
        await page.keyboard.press("Enter")
        await expect(answers(page)).to_contain_text("Hello there.")
        await expect(page.get_by_role("button", name="Hi", exact=False).first).to_be_visible()

        await page.keyboard.press("Alt+n")
        await expect(page.get_by_role("heading", name="New conversation")).to_be_visible()
        await page.keyboard.press("Control+k")
        await page.keyboard.type("Hello")
        found = page.locator(".conversation")
        await expect(found).to_have_count(1)
        await found.focus()
        await page.keyboard.press("Enter")
        await expect(answers(page)).to_contain_text("Hello there.")


@pytest.mark.e2e
async def test_a_phone_shows_one_pane_at_a_time(open_page: OpenPage, alice_id: str) -> None:
    async with open_page(alice_id, width=390, height=844) as page:
        await expect(page.get_by_role("main")).to_be_visible()
        await expect(page.get_by_role("complementary")).to_be_hidden()
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390

        await page.get_by_role("main").get_by_role("button", name="Tasks").click()

        await expect(page.get_by_role("complementary")).to_be_visible()
        await expect(page.get_by_role("main")).to_be_hidden()
        await page.get_by_role("button", name="Add a task").click()
        form = page.get_by_role("dialog")
        assert await form.evaluate("(node) => node.scrollWidth <= node.clientWidth")


@pytest.mark.e2e
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
async def test_axe_finds_no_serious_fault(
    open_page: OpenPage,
    alice_id: str,
    alice: httpx.AsyncClient,
    model: ScriptedModel,
    axe: str,
    scheme: str,
    width: int,
) -> None:
    project = (await alice.post("/api/projects", json={"name": "Kitchen"})).json()["id"]
    await add(alice, "Paint", steps=[{"title": "Tape"}], due_date="2026-11-01", project_id=project)
    model.extend([speech(then=ADDS_MILK).step, speech("Added it.").step])
    async with open_page(alice_id, scheme=scheme, width=width) as page:
        await page.evaluate(axe)

        async def serious() -> list[Any]:
            found = await page.evaluate("axe.run()")
            return [each for each in found["violations"] if each["impact"] in GRAVE]

        assert not await serious(), "empty"
        await say(page, "Add milk")
        await expect(answers(page)).to_contain_text("Added it.")
        assert not await serious(), "answered"
        await page.get_by_role("button", name="This conversation").click()
        assert not await serious(), "the menu"
        await page.keyboard.press("Escape")
        if width < 800:
            await page.get_by_role("main").get_by_role("button", name="Tasks").click()
        await page.get_by_text("0 of 1 step").click()
        assert not await serious(), "the list"
        await page.get_by_role("region", name="Open").get_by_text("Paint").click()
        assert not await serious(), "a task"
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Projects and calendar").click()
        await expect(page.get_by_role("button", name="Make an address")).to_be_visible()
        assert not await serious(), "projects"


@pytest.mark.e2e
async def test_an_answer_is_told_to_who_listens_and_the_focus_stays(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([speech(then=ADDS_MILK).step, speech("Added it.").step])
    async with open_page(alice_id) as page:
        await say(page, "Add milk")

        await expect(page.locator("#announcer")).to_contain_text("Added it.")
        await expect(page.get_by_label("Message", exact=True)).to_be_focused()
        await page.get_by_role("button", name="Add a task").click()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Add a task")).to_be_focused()


@pytest.mark.e2e
async def test_a_new_user_is_taught_three_sentences_and_one_is_sent_by_a_click(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([speech("Nothing.").step])
    async with open_page(alice_id) as page:
        sayings = page.get_by_role("log").get_by_role("button")
        await expect(sayings).to_have_count(3)
        await sayings.nth(1).click()

        await expect(answers(page)).to_contain_text("Nothing.")


@pytest.mark.e2e
async def test_better_auths_cookie_signs_in_where_the_page_is_of_its_origin(
    serve_page: ServePage,
    browser: Browser,
    alice_id: str,
    alice: httpx.AsyncClient,
    model: ScriptedModel,
    shared_database_url: str,
) -> None:
    await add(alice, "Pay the rent")
    model.extend([speech("Hello there.").step])
    token = better_auth.signed(await better_auth.sign_in(shared_database_url, alice_id), SECRET)
    async with serve_page(better_auth_secret=SECRET) as there:
        context = await browser.new_context()
        cookie = {"name": "better-auth.session_token", "value": quote(token), "url": there.address}
        await context.add_cookies([cookie])  # type: ignore[list-item]
        page = await context.new_page()
        await page.goto(there.address)
        await expect(page.get_by_text("Pay the rent")).to_be_visible()

        await say(page, "Hi")

        await expect(answers(page)).to_contain_text("Hello there.")
        await context.close()


async def test_the_page_comes_under_a_strict_policy_and_only_where_it_is_wanted(
    address: str, serve_page: ServePage
) -> None:
    async with serve_page(web_page=False) as elsewhere, httpx.AsyncClient() as browser:
        page = await browser.get(address)
        assert (await browser.get(elsewhere.address)).status_code == 404
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?! type=\"module\" src=)|<style|\son\w+=", page.text)


def test_the_pages_modules_are_small() -> None:
    lengths = {file.name: file.read_text().count("\n") for file in FILES.rglob("*.js")}
    assert lengths["ui-stream.js"] <= 200
    assert max(lengths.values()) <= 250
