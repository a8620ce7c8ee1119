"""The page in a real Chromium, on a real socket; only the model is scripted.

Whatever a test does, its page may neither ask another host, nor break its own policy, nor fail
in its scripts: each test's end looks at that.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from agents.testing import ScriptedModel
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebError,
    async_playwright,
    expect,
)

from backend.config import Settings
from backend.tests.page.browsing import SWITCHES, ZONE, find_chromium
from backend.tests.support import better_auth
from backend.tests.support.fixtures import make_settings, running
from backend.tests.support.live import served
from backend.tests.support.npm import install
from backend.tests.support.tcp_proxy import TcpProxy, tcp_proxy

PATIENCE_MS = 15_000
"""How long a page may take to show what it must: long, for a machine that is at work."""
expect.set_options(timeout=PATIENCE_MS)

TOOLS = Path(__file__).parents[1] / "support" / "browser_tools"


class Served(NamedTuple):
    """A service of a test's own settings, and the network before it where that was asked for."""

    open_page: "OpenPage"
    address: str
    proxy: TcpProxy | None


type ServePage = Callable[..., AbstractAsyncContextManager[Served]]
"""Serves with other settings: `async with serve_page(ai_timeout_seconds=0.5) as there`."""
type OpenPage = Callable[..., AbstractAsyncContextManager[Page]]
"""Opens the page signed in as a user: `async with open_page(alice_id, width=390)`."""


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = find_chromium()
    if chromium is None and os.environ.get("CI") == "true":
        pytest.fail("the page's tests want Debian's chromium")
    if chromium is None:
        pytest.skip("the page is not tried in a browser: chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which looks for what keeps people out."""
    install(TOOLS, "axe-core")
    return (TOOLS / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def settings(shared_database_url: str) -> Settings:
    return make_settings(shared_database_url, web_page=True)


@pytest.fixture
async def address(settings: Settings, model: ScriptedModel) -> AsyncIterator[str]:
    """Where the service of the test is."""
    async with running(settings, model) as app, served(app) as address:
        yield address


class Watch:
    """What a page did that no page of ours may do."""

    def __init__(self, address: str, *, expected: tuple[int, ...]) -> None:
        self._address = address
        self._expected = expected
        self.faults: list[str] = []

    def request(self, request: Request) -> None:
        if not request.url.startswith((f"{self._address}/", "data:", f"blob:{self._address}")):
            self.faults.append(f"asked {request.url}")

    def console(self, message: ConsoleMessage) -> None:
        failed = any(f"status of {status}" in message.text for status in self._expected)
        offline = 0 in self._expected and "ERR_" in message.text
        if message.type in ("error", "warning") and not failed and not offline:
            self.faults.append(message.text)

    def broken(self, error: WebError) -> None:
        self.faults.append(str(error.error))

    @contextmanager
    def watching(self, context: BrowserContext) -> Iterator[None]:
        """Look at all that the pages of a window do in the block."""
        looks = {"request": self.request, "console": self.console, "weberror": self.broken}
        for event, look in looks.items():
            context.on(event, look)  # type: ignore[call-overload]
        yield
        for event, look in looks.items():
            context.remove_listener(event, look)


USUAL: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}


class Windows:
    """Windows of the browser; a usual one is taken again by the next test, as a new one's CPU is
    half of a small test. Nothing of one test is left for another: each service has its own origin.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._idle: list[Page] = []

    @asynccontextmanager
    async def window(self, origin: str, tabs: int, looks: dict[str, Any]) -> AsyncIterator[Page]:
        """The first of the empty tabs of a window, which is closed where its test has failed.

        What `origin` has stored in a usual one goes behind the test.
        """
        usual = looks == USUAL and tabs == 1
        page = self._idle.pop() if usual and self._idle else await self._new(tabs, looks)
        try:
            yield page
            if usual:
                await self._empty(page, origin)
                self._idle.append(page)
        finally:
            if page not in self._idle:
                await page.context.close()

    async def _new(self, tabs: int, looks: dict[str, Any]) -> Page:
        context = await self._browser.new_context(timezone_id=ZONE, locale="en-GB", **looks)
        context.set_default_timeout(PATIENCE_MS)
        for _ in range(tabs):
            await context.new_page()
        return context.pages[0]

    @staticmethod
    async def _empty(page: Page, origin: str) -> None:
        for other in page.context.pages[1:]:
            await other.close()
        await page.unroute_all()
        await page.goto("about:blank")
        await page.context.clear_cookies()
        console = await page.context.new_cdp_session(page)
        wanted = {"origin": origin, "storageTypes": "all"}
        await console.send("Storage.clearDataForOrigin", wanted)
        await console.detach()


@pytest.fixture(scope="session")
def windows(browser: Browser) -> Windows:
    return Windows(browser)


def _opens(windows: Windows, address: str, shared_database_url: str) -> OpenPage:
    @asynccontextmanager
    async def opened(
        user_id: str,
        *,
        width: int = 1280,
        height: int = 800,
        scheme: str = "light",
        expected: tuple[int, ...] = (),
        tabs: int = 1,
    ) -> AsyncIterator[Page]:
        """`expected` are the statuses that the test provokes; 0 is a lost connection."""
        token = await better_auth.sign_in(shared_database_url, user_id)
        looks = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
        watch = Watch(address, expected=expected)
        async with windows.window(address, tabs, looks) as page:
            with watch.watching(page.context):
                await page.goto(f"{address}/#token={token}")
                await page.locator("#tasks > *").first.wait_for(state="attached")
                for other in page.context.pages[1:]:
                    await other.goto(address)
                yield page
        assert not watch.faults

    return opened


@pytest.fixture
def open_page(windows: Windows, address: str, shared_database_url: str) -> OpenPage:
    return _opens(windows, address, shared_database_url)


@pytest.fixture
def serve_page(windows: Windows, model: ScriptedModel, shared_database_url: str) -> ServePage:
    @asynccontextmanager
    async def serving(*, through_proxy: bool = False, **values: object) -> AsyncIterator[Served]:
        changed = make_settings(shared_database_url, **{"web_page": True} | values)
        async with running(changed, model) as app, served(app) as address, AsyncExitStack() as more:
            proxy = await more.enter_async_context(tcp_proxy(address)) if through_proxy else None
            seen = proxy.url.replace("@", "") if proxy else address
            yield Served(_opens(windows, seen, shared_database_url), seen, proxy)

    return serving
