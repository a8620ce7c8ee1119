"""Run by Alembic for each command, with the connection that the caller put in the config."""

from alembic import context
from sqlmodel import SQLModel

import backend.models
import backend.personal
import backend.run_models  # noqa: F401  # all three fill SQLModel.metadata


def is_ours(name: str | None, kind: str, _: object) -> bool:
    """Whether a comparison looks at this table: Better Auth's stand beside ours."""
    return kind != "table" or name in SQLModel.metadata.tables


context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    target_metadata=SQLModel.metadata,
    include_name=is_ours,
)
with context.begin_transaction():
    context.run_migrations()
