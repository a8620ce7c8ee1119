"""Routes whose answer is remembered where nobody took it."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from backend.auth import SignedInRoute
from backend.conversations.approvals import approvals_shown
from backend.journal.requests import Answer
from backend.models import Role
from backend.schemas.conversations import ChatAnswer
from backend.web.clients import Client, Handed


class AnswerRoute(SignedInRoute):
    """A route that watches its client, from the request to the last piece of the answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_watched(request: Request) -> Response:
            client = request.state.client = Client(request)
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


def answer_shown(answer: Answer, *, approvals: bool) -> ChatAnswer:
    """An answer as the assistant's message; with `approvals`, what it waits for as well."""
    shown = {
        "id": answer.message_id,
        "role": Role.ASSISTANT,
        "content": answer.response,
        "tool_calls": answer.calls or None,
        "tools_executed": list(dict.fromkeys(call["tool"] for call in answer.calls)),
        "created_at": answer.created_at,
        "conversation_id": answer.conversation_id,
    }
    if approvals:
        shown["approvals"] = approvals_shown(answer.approvals)
    if answer.stopped:
        shown["stopped"] = True
    return ChatAnswer.model_validate(shown)
