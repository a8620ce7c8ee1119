"""The list of tasks on the page: by hand, as others change it, and its dates."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.async_api import Request, expect

from backend.tests.page.conftest import OpenPage
from backend.tests.support.task_calls import add

pytestmark = pytest.mark.e2e


async def test_the_list_by_hand_and_in_another_tab(open_page: OpenPage, alice_id: str) -> None:
    async with open_page(alice_id, tabs=2) as page:
        other = page.context.pages[1]
        await page.bring_to_front()
        await page.get_by_role("button", name="Add a task").click()
        form = page.get_by_role("dialog")
        await form.get_by_label("Title").fill("Water the plants")
        await form.get_by_label("Tags").fill("home, Garden")
        await form.get_by_label("Due").fill("2026-11-24")
        await form.get_by_label("Repeats").select_option("weekly")
        await form.get_by_role("button", name="Save").click()

        task = page.get_by_role("listitem").filter(has_text="Water the plants")
        await expect(task).to_contain_text("garden")
        await expect(task).to_contain_text("weekly")
        await expect(other.get_by_text("Water the plants")).to_be_visible()

        await task.get_by_role("button", name="Delete: Water the plants").click()

        await expect(other.get_by_text("Nothing to do yet.")).to_be_visible()


async def test_a_task_is_completed_and_changed_by_hand(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient
) -> None:
    await add(alice, "Water the plants", recurrence_pattern="weekly", tags=["home"])
    async with open_page(alice_id) as page:
        task = page.get_by_role("region", name="Open").get_by_role("listitem")
        await task.get_by_text("Water the plants").click()
        form = page.get_by_role("dialog")
        await form.get_by_label("Repeats").select_option("none")
        await form.get_by_label("Priority").select_option("high")
        await form.get_by_label("Title").fill("Water them all")
        await form.get_by_role("button", name="Save").click()
        await expect(task).to_contain_text("High")

        await task.get_by_role("checkbox", name="Done: Water them all").click()

        await expect(page.get_by_role("region", name="Done")).to_contain_text("1")
        [kept] = (await alice.get("/api/tasks")).json()["tasks"]
        assert (kept["completed"], kept["tags"]) == (True, ["home"])


async def test_what_is_overdue_and_due_today_says_so_in_the_persons_zone(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient
) -> None:
    now = datetime.now(UTC)
    await add(alice, "Late", due_date=(now - timedelta(minutes=5)).isoformat())
    async with open_page(alice_id) as page:
        today = await page.evaluate("new Date().toLocaleDateString('sv')")
        await add(alice, "Now", due_date=today)
        await page.reload()
        items = page.get_by_role("listitem")
        await expect(items.filter(has_text="Late")).to_contain_text("(overdue)")
        await expect(items.filter(has_text="Now").locator(".due.today")).to_have_text("Today")


async def test_what_another_client_changes_is_seen_and_one_tab_asks_for_all(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient
) -> None:
    asked: list[str] = []

    def count(request: Request) -> None:
        if request.url.endswith("/api/tasks"):
            asked.append(request.url)

    async with open_page(alice_id, tabs=3) as page:
        tabs = page.context.pages
        for tab in tabs:
            await expect(tab.get_by_text("Nothing to do yet.")).to_be_visible()
        page.context.on("request", count)

        await add(alice, "From elsewhere")

        for tab in tabs:
            await expect(tab.get_by_text("From elsewhere")).to_be_visible(timeout=10_000)
        assert len(asked) <= 2
