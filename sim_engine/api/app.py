"""The application: one engine behind its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from sim_engine import __version__
from sim_engine.api import routes_docs, routes_meta, routes_read, routes_write
from sim_engine.api.access import Access
from sim_engine.api.limits import RateLimiter
from sim_engine.api.middleware import Gate, HeadAndOptions, RequestLog
from sim_engine.api.openapi import write_document
from sim_engine.api.problems import install_handlers
from sim_engine.api.prometheus import RequestCounts
from sim_engine.api.workers import Workers
from sim_engine.engine import Engine
from sim_engine.settings import Settings


def create_app(
    settings: Settings, *, engine: Engine | None = None, own_process: bool = False
) -> FastAPI:
    """Build the application for the settings.

    Args:
        settings: where the world is, and who may do what.
        engine: an open engine, which is closed when the application stops; without one, an engine
            is opened when the application starts.
        own_process: nothing else runs in this process, so it may be tuned for the engine.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = engine
        if opened is None:
            opened = await run_in_threadpool(Engine.open, settings.db_path, own_process=own_process)
        app.state.workers = Workers(opened)
        try:
            yield
        finally:
            await run_in_threadpool(opened.close)

    app = FastAPI(
        title="sim-engine",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings = settings
    app.state.counts = RequestCounts()
    app.openapi = lambda: write_document(app)  # type: ignore[method-assign]
    for routes in (routes_write, routes_read, routes_meta, routes_docs):
        app.include_router(routes.router)
    install_handlers(app)
    access = Access(settings, lambda key: app.state.workers.engine.agent_of_key(key))
    limiter = RateLimiter(settings.rate_limit) if settings.rate_limit else None
    # The last to be added is the first to see a request.
    app.add_middleware(Gate, access=access, limiter=limiter)
    app.add_middleware(HeadAndOptions)
    app.add_middleware(RequestLog, counts=app.state.counts)
    return app
