"""What the assistant has cost, for the person it worked for."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from backend.auth import CurrentUser, SignedInRoute
from backend.database import SessionDep
from backend.journal import quotas, usage
from backend.rate_limiter import rate_limit
from backend.routes.runtime import RuntimeDep
from backend.schemas.fields import UtcDatetime
from backend.web.openapi import USAGE_ERRORS

router = APIRouter(prefix="/api/usage", tags=["usage"], route_class=SignedInRoute)

Days = Annotated[int, Query(ge=1, le=90, description="How many days, today the last of them.")]


class DayUsage(BaseModel):
    """One model's turns of one day; tokens are null where the provider has counted none."""

    model_config = ConfigDict(from_attributes=True)

    date: date
    provider: str | None
    model: str | None
    turns: int
    failed_turns: int
    uncounted_turns: int
    """Those whose tokens nobody knows, so that the sums do not hold them."""
    input_tokens: int | None
    cached_tokens: int | None
    """Of the input, those the provider had kept from an earlier request."""
    output_tokens: int | None
    cost_usd: float | None
    """At the price of each moment; null where no price was known."""
    unpriced_turns: int
    """Those whose tokens had no known price, so that the cost does not hold them."""


class UnpricedModel(BaseModel):
    """A model whose tokens were counted and have no known price."""

    provider: str | None
    model: str | None


class TodayUsage(BaseModel):
    """What counts against the budgets of the day."""

    model_config = ConfigDict(from_attributes=True)

    used_tokens: int
    budget_tokens: int | None
    """Null where there is no limit."""
    used_usd: float
    budget_usd: float | None
    resets_at: UtcDatetime


class UsageResponse(BaseModel):
    days: list[DayUsage]
    today: TodayUsage
    unpriced: list[UnpricedModel]


@router.get("", responses=USAGE_ERRORS, summary="Tokens and dollars used, by day and model")
@rate_limit("history")
async def read_usage(
    request: Request,
    user_id: CurrentUser,
    session: SessionDep,
    runtime: RuntimeDep,
    days: Days = 30,
) -> UsageResponse:
    """Each day in UTC on which a turn was at work, newest first, and what counts for today."""
    used = await usage.list_usage(session, user_id, days)
    today = await quotas.used_today(session, user_id)
    settings = runtime.settings
    unpriced = {(day.provider, day.model): None for day in used if day.unpriced_turns}
    return UsageResponse.model_validate(
        {
            "days": used,
            "today": {
                "used_tokens": today.tokens,
                "budget_tokens": settings.daily_token_budget,
                "used_usd": float(today.dollars),
                "budget_usd": settings.daily_cost_budget,
                "resets_at": today.resets_at,
            },
            "unpriced": [{"provider": provider, "model": model} for provider, model in unpriced],
        }
    )
