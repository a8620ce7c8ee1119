"""The conversations on the page: found, named, put away, deleted and had back, taken along."""

import httpx
import pytest
from agents.testing import ScriptedModel
from playwright.async_api import expect

from backend.tests.page.conftest import OpenPage, ServePage
from backend.tests.page.test_page import answers, say, speech

pytestmark = pytest.mark.e2e


async def test_a_deleted_conversation_can_be_put_back(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([speech("Hello there.").step])
    async with open_page(alice_id) as page:
        await say(page, "Hi")
        await page.get_by_role("button", name="This conversation").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("No conversations yet.")).to_be_visible()

        await page.get_by_role("button", name="Put it back").click()

        await expect(answers(page)).to_contain_text("Hello there.")


async def test_they_are_searched_archived_and_fetched_back(
    open_page: OpenPage, alice_id: str, alice: httpx.AsyncClient
) -> None:
    for title in ("Groceries", "Trip to Rome"):
        await alice.post("/api/conversations", json={"title": title})
    async with open_page(alice_id) as page:
        listed = page.locator(".conversation")
        await expect(listed).to_have_count(2)
        await page.get_by_label("Search conversations").fill("rom")
        await expect(listed).to_have_count(1)
        await listed.click()
        menu = page.get_by_role("button", name="This conversation")
        await menu.click()
        await page.get_by_role("dialog").get_by_role("button", name="Archive").click()
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await page.get_by_label("Search conversations").fill("")
        await expect(listed).to_have_count(1)
        await expect(listed).to_contain_text("Groceries")

        await page.get_by_role("button", name="Archived").click()
        await expect(listed).to_contain_text("Trip to Rome")
        await menu.click()
        await page.get_by_role("dialog").get_by_role("button", name="Fetch back").click()
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await expect(page.get_by_text("Nothing is archived.")).to_be_visible()
        await page.get_by_role("button", name="Archived").click()
        await expect(listed).to_have_count(2)


async def test_one_is_exported_as_a_file(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([speech("Hello there.").step])
    async with open_page(alice_id) as page:
        await say(page, "Hi")
        await page.get_by_role("button", name="This conversation").click()
        async with page.expect_download() as coming:
            await page.get_by_role("dialog").get_by_role("button", name="Export").click()

        path = await (await coming.value).path()
        assert "Hello there." in path.read_text()


async def test_who_answers_is_chosen_where_several_are_offered(
    serve_page: ServePage, alice_id: str, alice: httpx.AsyncClient
) -> None:
    await alice.post("/api/conversations", json={"title": "Groceries"})
    local = {"base_url": "http://127.0.0.1:1/v1", "models": ["small", "large"]}
    async with (
        serve_page(providers={"local": local}) as there,
        there.open_page(alice_id) as page,
    ):
        await page.locator(".conversation").click()
        await page.get_by_role("button", name="This conversation").click()
        choice = page.get_by_role("dialog").get_by_label("Answered by")
        await choice.select_option("large (local)")
        await page.get_by_role("dialog").get_by_role("button", name="Save").click()
        await expect(page.get_by_role("dialog")).to_be_hidden()

        await page.get_by_role("button", name="This conversation").click()

        chosen = choice.locator("option:checked")
        await expect(chosen).to_have_text("large (local)")


async def test_an_answer_is_asked_for_anew(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([speech("Hello there.").step, speech("Good day.").step])
    async with open_page(alice_id) as page:
        await say(page, "Hi")
        await answers(page).get_by_role("button", name="Regenerate").click()

        await expect(answers(page)).to_contain_text("Good day.")
        await expect(answers(page)).to_have_count(1)
