"""`make shots`: pictures of the page with something on it, to be looked at.

They are written into `.shots/`, which is ignored. Two of them are kept in the specs for the
README: `make shots KEEP=1` renews those.
"""

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx
from playwright.async_api import Browser, Page, async_playwright

from backend.postgres.embedded import start_embedded
from backend.tests.page.browsing import SWITCHES, ZONE, find_chromium
from backend.tests.support import better_auth
from backend.tests.support.fixtures import make_settings, running
from backend.tests.support.live import served

CHECKOUT = Path(__file__).parents[3]
FOLDER = CHECKOUT / ".shots"
KEPT = CHECKOUT / "specs" / "006-chat-backend" / "pictures"

TASKS: list[dict[str, Any]] = [
    {"title": "Pay the rent", "priority": "high", "tags": ["home"]},
    {"title": "Water the plants", "recurrence_pattern": "weekly", "tags": ["home", "garden"]},
    {"title": "Send the slides to Anna", "description": "the long version"},
    {"title": "Return the shoes"},
]
PAINT: dict[str, Any] = {
    "title": "Paint the kitchen",
    "steps": [
        {"title": "Buy paint", "done": True},
        {"title": "Tape the edges"},
        {"title": "Move the fridge"},
    ],
}
SAYINGS = (
    "Add milk, eggs and bread tomorrow",
    "Add a high priority task finish the report by Friday",
    "Mark the shoes as done",
    "What is due tomorrow?",
)


class Look(NamedTuple):
    """How a picture is taken."""

    name: str
    scheme: str = "light"
    width: int = 1280
    height: int = 800
    kept: bool = False


LOOKS = (
    Look("light", kept=True),
    Look("dark", scheme="dark"),
    Look("phone", width=390, height=844, kept=True),
    Look("phone-dark", scheme="dark", width=390, height=844),
)


async def _fill(address: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "X-Timezone": ZONE}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as client:
        for task in TASKS:
            (await client.post("/api/tasks", json=task)).raise_for_status()
        for name in ("Garden", "Kitchen"):
            project = (await client.post("/api/projects", json={"name": name})).json()["id"]
        (await client.post("/api/tasks", json=PAINT | {"project_id": project})).raise_for_status()


async def _talk(page: Page) -> None:
    answers = page.get_by_role("log").get_by_role("article", name="Assistant")
    for number, saying in enumerate(SAYINGS):
        await page.get_by_label("Message", exact=True).fill(saying)
        await page.keyboard.press("Enter")
        await answers.nth(number).get_by_role("button", name="Regenerate").wait_for()


async def _open(browser: Browser, look: Look, address: str) -> Page:
    context = await browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme="dark" if look.scheme == "dark" else "light",
        timezone_id=ZONE,
        locale="en-GB",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    await page.goto(address)
    await page.get_by_text("Pay the rent").first.wait_for(state="attached")
    return page


async def _picture(page: Page, look: Look, what: str) -> None:
    await page.screenshot(path=FOLDER / f"page-{look.name}-{what}.jpg", type="jpeg", quality=72)


async def _shoot_dialogs(page: Page, look: Look) -> None:
    await page.get_by_text("1 of 3 steps").click()
    await _picture(page, look, "steps")
    await page.get_by_role("button", name="Paint the kitchen", exact=False).first.click()
    await _picture(page, look, "form")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Projects and calendar").click()
    await page.get_by_role("button", name="Make an address").click()
    await page.get_by_role("button", name="Revoke").wait_for()
    await _picture(page, look, "projects")
    await page.get_by_role("button", name="Revoke").click()
    await page.get_by_role("button", name="Make an address").wait_for()
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="This conversation").click()
    await _picture(page, look, "menu")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="New conversation").click()
    await _picture(page, look, "new")


async def _shoot(browser: Browser, address: str, token: str, *, keep: bool) -> None:
    talked = ""
    for look in LOOKS:
        page = await _open(browser, look, f"{address}/#token={token}")
        if talked:
            await page.goto(talked)
            await page.reload()
            await page.get_by_role("log").get_by_text("due tomorrow").first.wait_for()
        else:
            await _talk(page)
            talked = page.url
        folder = KEPT if look.kept and keep else FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        picture = folder / f"page-{look.name}.jpg"
        await page.screenshot(path=picture, type="jpeg", quality=72)
        if look.width < 800:
            await page.get_by_role("main").get_by_role("button", name="Tasks").click()
            await _picture(page, look, "list")
        else:
            await _shoot_dialogs(page, look)
        await page.context.close()


async def main(*, keep: bool) -> None:
    """Take the pictures; `keep` renews those of the README."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit("chromium is not installed")
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="todo-shots-"))
        url = stack.enter_context(start_embedded(Path(folder, "postgres"))).url
        await better_auth.execute(url, better_auth.TABLES)
        token = await better_auth.sign_in(url, await better_auth.add_user(url, "shots"))
        settings = make_settings(
            url,
            web_page=True,
            openai_model="offline",
            openai_api_key=None,
            rate_limit_history="1000/minute",
        )
        async with (
            running(settings) as app,
            served(app) as address,
            async_playwright() as playwright,
        ):
            await _fill(address, token)
            browser = await playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
            await _shoot(browser, address, token, keep=keep)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main(keep="--keep" in sys.argv))
