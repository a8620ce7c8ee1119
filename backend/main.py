"""The application: settings in, routes out. It only wires."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path

from agents import Model, set_trace_provider, set_tracing_export_api_key
from agents.tracing.processors import default_processor
from agents.tracing.provider import DefaultTraceProvider
from fastapi import APIRouter, FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute

from backend.agent.context.tokens import load_tokenizer
from backend.agent.models.catalog import open_providers
from backend.agent.toolsets import open_toolsets
from backend.auth import open_sign_in
from backend.config import Settings, SettingsError, load_settings
from backend.database import Pool, Sessions, create_db_and_tables, create_pool
from backend.errors import StartFailure
from backend.gauges import watched
from backend.limits.counters import open_counters
from backend.page.serve import install_page
from backend.postgres.embedded import start_embedded
from backend.postgres.later_indexes import keep_later_indexes
from backend.rate_limiter import RateLimitHeaders, RateLimits
from backend.routes import (
    account,
    calendar,
    chat,
    conversations,
    docs,
    health,
    messages,
    models,
    projects,
    steps,
    tasks,
    transfer,
    ui_body,
    ui_chat,
    usage,
)
from backend.telemetry.start import keep_telemetry
from backend.turns.afterwork import keep_afterwork
from backend.turns.closing import MARK_LIMIT
from backend.turns.leases import keep_leases
from backend.turns.live import keep_live
from backend.turns.runs import Runs
from backend.turns.runtime import Runtime
from backend.upkeep.rounds import keep_upkeep
from backend.version import VERSION
from backend.web.cors import Cors
from backend.web.envelope import install_error_handlers
from backend.web.logs import configure_logging
from backend.web.middleware import (
    BodyLimit,
    ErrorBoundary,
    HeadLimit,
    InFlight,
    PlainStartFailure,
    RequestContext,
    SecurityHeaders,
)
from backend.web.openapi import install_allow_header
from backend.web.seen import Seen

logger = logging.getLogger(__name__)

EMBEDDED_DATA = Path(".data", "postgres")
"""Where the embedded Postgres keeps its data: in the folder that the service is started in."""


_PARTS = (
    *(account, chat, ui_chat, conversations, messages, models),
    *(steps, tasks, transfer, projects, calendar, usage, health, docs),
)


@cache
def _routes() -> list[BaseRoute]:
    """What is served, for each app of this process.

    FastAPI reads the signatures behind a router that is included with the first request, which
    takes a third of a second; so that is asked for here.
    """
    router = APIRouter(generate_unique_id_function=lambda route: route.name)
    for part in _PARTS:
        router.include_router(part.router)
    router.include_router(calendar.public)
    for route in router.routes:
        route.matches({"type": "http", "method": "GET", "path": "/"})
    return router.routes


def create_app(settings: Settings, *, model: Model | None = None) -> FastAPI:
    """The application for `settings`; `model` stands in for the one they name.

    Engine, client and limits live from the app's start to its end, so that several apps can
    live in one process.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging(settings.log_level)
        _set_tracing(settings)
        async with AsyncExitStack() as stack:
            telling = keep_telemetry(settings)
            app.state.metrics_port = await stack.enter_async_context(telling)
            await stack.enter_async_context(load_tokenizer())
            await _open_database(app, settings, stack)
            stack.push_async_callback(app.state.in_flight.answered)
            counters = await stack.enter_async_context(open_counters(settings))
            app.state.rate_limits = RateLimits(settings, counters)
            app.state.sign_in = await stack.enter_async_context(
                open_sign_in(settings, app.state.autocommit)
            )
            app.state.runtime = await _open_runtime(app, settings, model, stack)
            await stack.enter_async_context(watched(app, settings))
            await stack.enter_async_context(keep_later_indexes(app.state.pool))
            app.state.upkeep = await stack.enter_async_context(
                keep_upkeep(settings, app.state.sessions)
            )
            if settings.mcp:
                await stack.enter_async_context(app.state.mcp.running())
            _warn_without_key(settings)
            settle_heap()
            yield

    app = FastAPI(
        title="To-do chat backend",
        version=VERSION,
        summary="One chat message becomes task changes and a saved answer.",
        lifespan=lifespan,
        routes=_routes(),
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.stopping = False
    app.state.in_flight = InFlight()
    app.state.readiness = health.Readiness()
    app.state.api_pages = docs.prepare_api_pages(app)
    install_error_handlers(app)
    install_allow_header(app)
    if settings.web_page:
        install_page(app)
    if settings.mcp:
        from backend.mcp.endpoint import mount_mcp  # the SDK's server takes its time

        app.state.mcp = mount_mcp(app, settings)
    _add_middleware(app, settings)
    return app


async def _open_database(app: FastAPI, settings: Settings, stack: AsyncExitStack) -> None:
    if settings.database_url is None:
        url = stack.enter_context(start_embedded(EMBEDDED_DATA)).url
    else:
        url = settings.database_url.get_secret_value()
    pool = create_pool(settings, url)
    stack.push_async_callback(pool.close)
    await create_db_and_tables(pool)
    app.state.pool = pool
    app.state.sessions = Sessions(pool)
    app.state.autocommit = Sessions(pool, autocommit=True)
    # a connection each, which no request can hold up
    app.state.lease_pool = _own_pool(pool, settings, url, stack)
    app.state.mark_pool = _own_pool(pool, settings, url, stack)


def _own_pool(beside: Pool, settings: Settings, url: str, stack: AsyncExitStack) -> Pool:
    pool = create_pool(settings.model_copy(update={"database_pool_size": 1}), url)
    pool.beside = beside
    stack.push_async_callback(pool.close)
    return pool


async def _open_runtime(
    app: FastAPI, settings: Settings, model: Model | None, stack: AsyncExitStack
) -> Runtime:
    autocommit = app.state.autocommit
    try:
        providers = await stack.enter_async_context(open_providers(settings, model))
    except (OSError, ValueError, ImportError) as error:
        raise StartFailure(
            "the variables of the environment for proxies and certificates (HTTPS_PROXY, ALL_PROXY,"
            f" SSL_CERT_FILE, SSL_CERT_DIR) cannot be followed: {type(error).__name__}"
        ) from error
    # one connection is always left for the other routes
    places = asyncio.Semaphore(settings.database_pool_size - 1)
    runs = Runs()
    await stack.enter_async_context(keep_leases(app.state.lease_pool, runs))
    stack.push_async_callback(runs.end)
    return Runtime(
        settings,
        app.state.sessions,
        autocommit,
        Sessions(app.state.mark_pool, autocommit=True, seconds=MARK_LIMIT),
        providers,
        runs,
        await stack.enter_async_context(keep_live(autocommit, runs)),
        places,
        await stack.enter_async_context(keep_afterwork(settings, autocommit, providers, places)),
        await stack.enter_async_context(open_toolsets(settings.toolsets)),
    )


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """From the inside out: what is added last sees a request first."""
    large = {ui_chat.PATH: ui_body.BODY_MAX, transfer.PATH: transfer.BODY_MAX}
    app.add_middleware(BodyLimit, seconds=settings.request_seconds, large=large)
    app.add_middleware(HeadLimit)
    app.add_middleware(ErrorBoundary)
    app.add_middleware(RateLimitHeaders)
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    app.add_middleware(
        Cors, origins=settings.allowed_origins, more_headers=settings.allowed_headers
    )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestContext, in_flight=app.state.in_flight)
    if settings.telemetry:
        app.add_middleware(Seen)
    app.add_middleware(PlainStartFailure)


def _set_tracing(settings: Settings) -> None:
    """Off unless asked for, since traces carry the texts to OpenAI, whoever serves the model."""
    provider = DefaultTraceProvider()
    provider.set_disabled(not settings.openai_tracing)
    if settings.openai_tracing:
        # its client reads the machine's proxy and certificate variables, which may be anything
        provider.register_processor(default_processor())
    set_trace_provider(provider)
    if settings.openai_tracing and settings.openai_api_key is not None:
        set_tracing_export_api_key(settings.openai_api_key.get_secret_value())


def _warn_without_key(settings: Settings) -> None:
    if settings.lacks_key:
        logger.warning("OPENAI_API_KEY is not set: chat answers 503, all else works")
    for name in settings.providers.keys() - settings.offered.keys():
        logger.warning("PROVIDERS names %s, which has no key: it is not offered", name)


@cache
def settle_heap() -> None:
    """Take what the imports left out of the garbage collector's rounds, once in a process.

    Hundreds of thousands of objects that live for ever cost each full collection a quarter
    of a second, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()


def __getattr__(name: str) -> FastAPI:
    """Make `app` when it is asked for, so that importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        app = create_app(load_settings())
    except SettingsError as error:
        sys.exit(f"backend: {error}")
    globals()["app"] = app
    return app
