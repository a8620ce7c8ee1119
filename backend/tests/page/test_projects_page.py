"""Projects, steps and the calendar on the page, what a conversation has cost, and where it goes."""

import asyncio
import re

import httpx
import pytest
from agents.testing import ScriptedModel
from playwright.async_api import Page, Route, expect

from backend.tests.journal.test_usage import costing
from backend.tests.page.conftest import OpenPage
from backend.tests.page.test_page import answers, say, speech
from backend.tests.support.scripting import calls, says
from backend.tests.support.task_calls import add

pytestmark = pytest.mark.e2e


async def make_project(page: Page, name: str) -> None:
    await page.get_by_role("button", name="Projects and calendar").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("New project").fill(name)
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_label(f"Name of {name}")).to_be_visible()
    await dialog.get_by_role("button", name="Close").click()


async def test_a_project_is_made_filters_the_list_and_takes_what_is_new(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    await add(alice, "Elsewhere")
    added = calls("add_task", {"title": "Buy paint"})[0]
    model.extend([speech(then=added).step, speech("Added it.").step])
    async with open_page(alice_id, tabs=2) as page:
        other = page.context.pages[1]
        await page.bring_to_front()
        await make_project(page, "Kitchen")
        await expect(other.get_by_label("Project", exact=True)).to_contain_text("Kitchen")
        await page.get_by_label("Project", exact=True).select_option("Kitchen")
        await expect(page.get_by_text("Nothing to do yet.")).to_be_visible()

        await say(page, "Add buy paint")

        await expect(answers(page)).to_contain_text("Added it.")
        region = page.get_by_role("region", name="Open")
        await expect(region).to_contain_text("Buy paint")
        await expect(region).not_to_contain_text("Elsewhere")
        [conversation] = (await alice.get("/api/conversations")).json()["conversations"]
        assert conversation["project_id"] is not None
        await page.get_by_label("Project", exact=True).select_option("All tasks")
        await expect(region).to_contain_text("Elsewhere")
        await expect(region.get_by_role("listitem").filter(has_text="paint")).to_contain_text(
            "Kitchen"
        )


async def test_a_project_is_named_anew_and_deleted_and_its_tasks_stay(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient
) -> None:
    project = (await alice.post("/api/projects", json={"name": "Kitchen"})).json()["id"]
    await add(alice, "Buy paint", project_id=project)
    async with open_page(alice_id) as page:
        await page.get_by_role("button", name="Projects and calendar").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name of Kitchen").fill("Cellar")
        await page.keyboard.press("Tab")
        await expect(dialog.get_by_label("Name of Cellar")).to_be_visible()

        await dialog.get_by_role("button", name="Delete: Cellar").click()
        await expect(dialog).to_contain_text("Its tasks stay.")
        await dialog.get_by_role("button", name="Delete", exact=True).click()

        await expect(page.get_by_label("Project", exact=True)).to_be_hidden()
        assert (await alice.get("/api/projects")).json()["total"] == 0
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("region", name="Open")).to_contain_text("Buy paint")


async def test_what_is_opened_before_the_projects_are_known_shows_them_then(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient
) -> None:
    project = (await alice.post("/api/projects", json={"name": "Kitchen"})).json()["id"]
    await add(alice, "Buy paint", project_id=project)
    known = asyncio.Event()

    async def hold(route: Route) -> None:
        await known.wait()
        await route.continue_()

    async with open_page(alice_id) as page:
        await page.route("**/api/projects", hold)
        await page.reload()
        await page.get_by_role("button", name=re.compile("^Buy paint")).click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_label("Project")).to_be_hidden()
        known.set()
        await expect(dialog.get_by_label("Project")).to_have_value(str(project))
        known.clear()
        await page.reload()
        await page.get_by_role("button", name="Projects and calendar").click()
        await expect(dialog).to_be_visible()
        known.set()
        await expect(dialog.get_by_label("Name of Kitchen")).to_be_visible()


async def test_steps_are_shown_ticked_added_and_taken_away(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient
) -> None:
    await add(alice, "Paint", steps=[{"title": "Buy it"}, {"title": "Tape"}])
    async with open_page(alice_id) as page:
        task = page.get_by_role("listitem").filter(has_text="Paint")
        await task.get_by_text("0 of 2 steps").click()
        await task.get_by_role("checkbox", name="Done: Buy it").click()
        await expect(task).to_contain_text("1 of 2 steps")
        await expect(task.get_by_role("checkbox", name="Done: Buy it")).to_be_focused()

        await task.get_by_role("button", name=re.compile("^Paint")).click()
        form = page.get_by_role("dialog")
        await form.get_by_role("button", name="Take away: Tape").click()
        await form.get_by_label("Add a step").fill("Wash up")
        await page.keyboard.press("Enter")
        await expect(form.get_by_role("checkbox", name="Done: Wash up")).to_be_visible()
        await page.keyboard.press("Escape")

        await expect(task).to_contain_text("1 of 2 steps")
        [kept] = (await alice.get("/api/tasks")).json()["tasks"]
        assert [(step["title"], step["done"]) for step in kept["steps"]] == [
            ("Buy it", True),
            ("Wash up", False),
        ]


async def test_the_calendars_address_is_made_and_revoked(
    open_page: OpenPage, alice_id: str, client: httpx.AsyncClient, address: str
) -> None:
    async with open_page(alice_id) as page:
        await page.get_by_role("button", name="Projects and calendar").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Make an address").click()
        url = await dialog.get_by_label("Address of the calendar").input_value()
        assert url.startswith(f"{address}/api/calendar/")
        await dialog.get_by_role("button", name="Copy").click()
        async with httpx.AsyncClient() as anyone:
            assert (await anyone.get(url)).headers["content-type"].startswith("text/calendar")

            await dialog.get_by_role("button", name="Revoke").click()

            await expect(dialog.get_by_role("button", name="Make an address")).to_be_visible()
            assert (await anyone.get(url)).status_code == 404


async def test_the_menu_says_what_a_conversation_has_cost_and_moves_it(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    await alice.post("/api/projects", json={"name": "Kitchen"})
    model.extend([costing(says("Hello."), 1000, 0, 500)])
    assert (await alice.post("/api/chat", json={"message": "Hi"})).status_code == 200
    async with open_page(alice_id) as page:
        await page.locator(".conversation").click()
        await page.get_by_role("button", name="This conversation").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Used so far: 1,500 tokens, US$0.00045")

        await dialog.get_by_label("Project").select_option("Kitchen")
        await dialog.get_by_label("Name", exact=True).fill("Greetings")
        await dialog.get_by_role("button", name="Save").click()

        await expect(page.get_by_role("main")).to_contain_text("Kitchen")
        await expect(page.get_by_role("heading", name="Greetings")).to_be_visible()
        await expect(page.locator(".conversation")).to_contain_text("Greetings")
