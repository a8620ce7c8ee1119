"""Projects as bodies and answers show them."""

from pydantic import BaseModel, ConfigDict

from backend.schemas.fields import Title, UtcDatetime


class ProjectBody(BaseModel):
    """A project's name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Kitchen"}]})

    name: Title


class ProjectResponse(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    user_id: str
    name: str
    created_at: UtcDatetime
    updated_at: UtcDatetime


class ProjectList(BaseModel):
    """All of them, oldest first."""

    projects: list[ProjectResponse]
    total: int
