"""What the page says when something goes wrong, and how it goes on."""

from functools import partial

import pytest
from agents.testing import ScriptedModel
from playwright.async_api import Browser, expect

from backend.tests.journal.test_usage import costing
from backend.tests.page.conftest import OpenPage, ServePage
from backend.tests.page.test_page import ADDS_MILK, answers, say, speech
from backend.tests.support import better_auth
from backend.tests.support.provider_wire import Answer, FunctionCall, Hang
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.scripting import says
from backend.tests.support.servers import serving
from backend.tests.support.speaking import Speech

pytestmark = pytest.mark.e2e


async def test_a_failure_says_what_was_done_and_can_be_tried_again(
    open_page: OpenPage, alice_id: str, model: ScriptedModel
) -> None:
    failing = Speech()
    failing.fail(RuntimeError("gone"))
    acting = speech(then=ADDS_MILK)
    model.extend([acting.step, failing.step, speech("All done.").step])
    async with open_page(alice_id) as page:
        await say(page, "Add milk")
        problem = page.get_by_role("alert")
        await expect(problem).to_contain_text("Buy milk")

        await problem.get_by_role("button", name="Try again").click()

        await expect(answers(page)).to_contain_text("All done.")
        await expect(problem).to_be_empty()
        await expect(page.get_by_role("region", name="Open").get_by_role("listitem")).to_have_count(
            1
        )


async def test_a_model_that_is_slow_past_the_limit_is_said_so_in_words(
    serve_page: ServePage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([Speech().step, speech("Hello there.").step])
    async with serve_page(ai_timeout_seconds=0.5) as there, there.open_page(alice_id) as page:
        await say(page, "Hi")
        problem = page.get_by_role("alert")
        await expect(problem).to_contain_text("took longer than the limit allows")

        await problem.get_by_role("button", name="Try again").click()

        await expect(answers(page)).to_contain_text("Hello there.")


async def test_the_limit_of_messages_is_said_with_its_seconds(
    serve_page: ServePage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([speech("Yes.").step])
    settings = {"rate_limit_chat": "1/minute"}
    async with (
        serve_page(**settings) as there,
        there.open_page(alice_id, expected=(429,)) as page,
    ):
        await say(page, "Hi")
        await expect(answers(page)).to_contain_text("Yes.")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
        await say(page, "One more")

        problem = page.get_by_role("alert")
        await expect(problem).to_contain_text("You can send again in")
        before = await problem.inner_text()
        await expect(problem).not_to_have_text(before)
        assert await page.get_by_label("Message", exact=True).input_value() == "One more"


async def test_a_budget_that_is_used_up_is_said_so_in_words(
    serve_page: ServePage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([costing(says("Yes."), 100, 0, 10)])
    async with (
        serve_page(daily_token_budget=100) as there,
        there.open_page(alice_id, expected=(429,)) as page,
    ):
        await say(page, "Hi")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
        await say(page, "One more")

        await expect(page.get_by_role("alert")).to_contain_text("allowance for the assistant")


async def test_a_connection_that_is_lost_in_mid_answer_is_found_again(
    serve_page: ServePage, alice_id: str, model: ScriptedModel
) -> None:
    telling = Speech()
    model.extend([telling.step])
    async with (
        serve_page(through_proxy=True) as there,
        there.open_page(alice_id, expected=(0,)) as page,
    ):
        assert there.proxy
        await say(page, "Tell me a story")
        telling.say("Once upon ")
        await expect(answers(page)).to_contain_text("Once upon")

        there.proxy.freeze()
        there.proxy.cut()
        await expect(page.get_by_role("alert")).to_contain_text("The connection was lost")
        there.proxy.thaw()
        telling.say("a time.")
        telling.end()

        await expect(answers(page)).to_contain_text("Once upon a time.")
        await expect(answers(page)).to_have_count(1)
        await expect(page.get_by_role("alert")).to_be_empty()


async def test_what_cannot_be_sent_stays_in_the_field(
    serve_page: ServePage, alice_id: str, model: ScriptedModel
) -> None:
    model.extend([speech("Hello there.").step])
    async with serve_page() as there, there.open_page(alice_id, expected=(0,)) as page:
        await page.context.set_offline(True)
        await say(page, "Hi")
        await expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        await expect(page.get_by_label("Message", exact=True)).to_have_value("Hi")

        await page.context.set_offline(False)
        await page.get_by_role("button", name="Send").click()

        await expect(answers(page)).to_contain_text("Hello there.")


async def test_a_session_that_ends_is_asked_for_anew_and_nothing_is_lost(
    open_page: OpenPage, alice_id: str, model: ScriptedModel, shared_database_url: str
) -> None:
    model.extend([speech("Hello there.").step])
    async with open_page(alice_id, expected=(401,)) as page:
        token = await better_auth.sign_in(shared_database_url, alice_id)
        await page.evaluate("localStorage.setItem('todo.token', 'x'.repeat(32))")
        await page.reload()
        form = page.get_by_role("dialog")
        await form.get_by_label("Session token").fill(token)
        await form.get_by_role("button", name="Sign in").click()
        await expect(form).to_be_hidden()

        await say(page, "Hi")

        await expect(answers(page)).to_contain_text("Hello there.")


@pytest.mark.long
async def test_a_service_that_dies_in_mid_answer_and_comes_back_says_what_was_done(
    browser: Browser, alice_id: str, shared_database_url: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    add = Answer(calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))
    script = (add, Hang(Answer("Too late.")), Answer("All done."))
    context = await browser.new_context()
    async with ScriptedProvider(*script) as provider:
        start = partial(serving, shared_database_url, provider.base_url, WEB_PAGE="true")
        async with start() as first:
            page = await context.new_page()
            await page.goto(f"{first.address}/#token={token}")
            await say(page, "Add milk")
            await expect(answers(page)).to_contain_text('Added "Buy milk"')
            for _ in range(2):  # else the retry would be given the answer that hangs
                await provider.arrival()
            await first.kill()
        problem = page.get_by_role("alert")
        await expect(problem).to_contain_text("The connection was lost")

        async with start(PORT=first.address.rpartition(":")[2]):
            again = problem.get_by_role("button", name="Try again")
            await again.click(timeout=60_000)

            await expect(answers(page)).to_contain_text("All done.")
            await expect(
                page.get_by_role("region", name="Open").get_by_role("listitem")
            ).to_have_count(1)
            await context.close()
