"""The app's `Runtime`, for the routes that take turns or show what answers them."""

from typing import Annotated

from fastapi import Depends, Request

from backend.turns.runtime import Runtime


async def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


RuntimeDep = Annotated[Runtime, Depends(_runtime)]
