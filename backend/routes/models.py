"""Who may answer in a conversation."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from backend.auth import CurrentUser, SignedInRoute
from backend.rate_limiter import rate_limit
from backend.routes.runtime import RuntimeDep
from backend.web.openapi import CONVERSATION_ERRORS

router = APIRouter(prefix="/api/models", tags=["conversations"], route_class=SignedInRoute)


class OfferedChoice(BaseModel):
    provider: str
    model: str
    default: bool
    """Whether it answers where a conversation names none."""


class ModelList(BaseModel):
    models: list[OfferedChoice]


@router.get("", responses=CONVERSATION_ERRORS, summary="List the models that may answer")
@rate_limit("history")
async def list_models(request: Request, user_id: CurrentUser, runtime: RuntimeDep) -> ModelList:
    """What a conversation's `provider` and `model` may be, as the settings have them."""
    providers = runtime.providers
    return ModelList(
        models=[
            OfferedChoice(**choice._asdict(), default=choice == providers.default)
            for choice in providers.choices
        ]
    )
