"""Routes whose answer is remembered where nobody took it."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from backend.auth import SignedInRoute
from backend.web.clients import Client, Handed


class AnswerRoute(SignedInRoute):
    """A route that watches its client, from the request to the last piece of the answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_watched(request: Request) -> Response:
            client = request.state.client = Client(request.receive)
            try:
                return Handed(await handle(request), client)
            except BaseException:
                await client.let_go(taken=False)
                raise

        return handle_watched


async def _client(request: Request) -> Client:
    """The client, watched from now on: its body has been read by the time this is asked for."""
    client: Client = request.state.client
    client.watch()
    return client


ClientDep = Annotated[Client, Depends(_client)]
