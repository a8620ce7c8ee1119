"""How soon a new user sees something: bounds for this machine at rest, so the best of three counts.

`pytest -s` prints the figures.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pytest
from playwright.async_api import Browser

from backend.page.serve import FILES
from backend.tests.page.test_page import answers, say

pytestmark = pytest.mark.long

CHECKOUT = Path(__file__).parents[3]
TRIES = 3
FIRST_WORD_SECONDS = 6.0
FIRST_PAINT_MS = 500.0
PAGE_BYTES = 100_000

_PAINTED = """() => new Promise((done) => new PerformanceObserver((list) => {
    const [paint] = list.getEntriesByName("first-contentful-paint");
    if (paint) done(paint.startTime);
}).observe({type: "paint", buffered: true}))"""


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[str]:
    """The demo as `make run` starts it, its data in `folder`; yields the address to open."""
    environment = {"PATH": os.environ["PATH"], "PORT": "0", "PYTHONPATH": str(CHECKOUT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "backend"),
        cwd=folder,
        env=environment | {"LOG_LEVEL": "ERROR"},
        stdout=PIPE,
    )
    try:
        yield await _address(process)
    finally:
        process.terminate()
        await process.communicate()


async def _address(process: Process) -> str:
    assert process.stdout
    async for line in process.stdout:
        if line.startswith(b"Open "):
            return line.decode().split()[1]
    raise AssertionError("it ended before it served")


async def _first_word(browser: Browser, folder: Path) -> float:
    """Seconds from the start of the service to the first word of an answer in the browser."""
    began = perf_counter()
    async with demo(folder) as address:
        page = await browser.new_page()
        await page.goto(address)
        await say(page, "Add buy milk")
        await answers(page).first.get_by_text("Buy milk").first.wait_for()
        took = perf_counter() - began
        await page.close()
    return took


@pytest.mark.e2e
async def test_the_first_word_comes_soon_after_the_start(browser: Browser) -> None:
    with TemporaryDirectory(prefix="todo-speed-") as folder:
        tries = [await _first_word(browser, Path(folder))]  # makes its database first
        while min(tries) > FIRST_WORD_SECONDS and len(tries) < TRIES:
            tries.append(await _first_word(browser, Path(folder)))
    said = f"seconds to the first word: {[round(each, 2) for each in tries]}"
    print(said)  # noqa: T201
    _judge(min(tries) < FIRST_WORD_SECONDS, said)


@pytest.mark.e2e
async def test_the_first_paint_comes_at_once(browser: Browser, address: str) -> None:
    tries: list[float] = []
    while not tries or (min(tries) > FIRST_PAINT_MS and len(tries) < TRIES):
        context = await browser.new_context()  # with nothing in its cache
        page = await context.new_page()
        await page.goto(address)
        tries.append(await page.evaluate(_PAINTED))
        await context.close()
    said = f"milliseconds to the first paint: {[round(each) for each in tries]}"
    print(said)  # noqa: T201
    _judge(min(tries) < FIRST_PAINT_MS, said)


def _judge(soon_enough: bool, said: str) -> None:
    """A machine that has other things to do says nothing of the page."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if not soon_enough and load > cores:
        pytest.skip(f"{said}, at a load of {load:.1f} on {cores} cores")
    assert soon_enough, said


def test_the_page_is_small() -> None:
    assert sum(file.stat().st_size for file in FILES.rglob("*") if file.is_file()) < PAGE_BYTES
