"""Projects: what tasks and conversations may belong to.

Someone else's project, a deleted one and one that never was are the same missing row. A project
that is deleted keeps its row and gives up its tasks and conversations, which stay. Nothing here
commits: the caller's transaction does.
"""

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import BigInteger, ScalarSelect, Text, bindparam, func, insert, select, text, update
from sqlmodel import SQLModel

from backend.cursors import Position
from backend.database import Session, execute
from backend.errors import ProjectNotFound, ValidationFailed
from backend.models import ID_MAX
from backend.personal import Project

projects = SQLModel.metadata.tables[Project.__tablename__]


@dataclass(frozen=True, slots=True)
class StoredProject:
    """A row of `projects`; see `backend.models.Project`."""

    id: int
    user_id: str
    name: str
    created_at: datetime
    updated_at: datetime

    @property
    def position(self) -> Position:
        """Where it stands in a list of the newest."""
        return Position(self.created_at, self.id)


PROJECTS_MAX = 500
"""Projects of one person at the most."""
_COLUMNS = tuple(projects.c[field.name] for field in fields(StoredProject))
_OWNED = (projects.c.user_id == bindparam("owner", type_=Text), projects.c.deleted_at.is_(None))
_ONE_OWNED = (projects.c.id == bindparam("project", type_=BigInteger), *_OWNED)
_LIST_PROJECTS = (
    select(*_COLUMNS).where(*_OWNED).order_by(projects.c.created_at, projects.c.id)
).limit(PROJECTS_MAX)
_HAS_ROOM = select(func.count() < PROJECTS_MAX).where(*_OWNED).scalar_subquery()
_ADD_PROJECT = (
    insert(projects)
    .from_select(
        ["user_id", "name"],
        select(bindparam("owner", type_=Text), bindparam("new_name", type_=Text)).where(_HAS_ROOM),
    )
    .returning(*_COLUMNS)
)
_GET_PROJECT = select(*_COLUMNS).where(*_ONE_OWNED)
_CHANGE_PROJECT = (
    update(projects).where(*_ONE_OWNED).values(updated_at=func.clock_timestamp())
).returning(*_COLUMNS)
_RENAME = _CHANGE_PROJECT.values(name=bindparam("new_name"))
_DELETE_PROJECT = _CHANGE_PROJECT.values(deleted_at=func.clock_timestamp())
# after the project: who puts something into it meanwhile waits, or has been seen here
_LEAVE_TASKS = text(
    "UPDATE tasks SET project_id = NULL WHERE user_id = :owner AND project_id = :project"
)
_LEAVE_CONVERSATIONS = text(
    "UPDATE conversations SET project_id = NULL WHERE user_id = :owner AND project_id = :project"
)


def project_of_owner(name: str = "project") -> ScalarSelect[int]:
    """SQL of the project that is bound to `name`, held until the end; null where there is none.

    A deletion waits for who has put something into the project, and then finds it there.
    """
    found = select(projects.c.id).where(projects.c.id == bindparam(name, type_=BigInteger), *_OWNED)
    return found.with_for_update(read=True).scalar_subquery()


def known_project(project_id: int | None) -> int | None:
    """The id, if a column can hold it; else there is no such project."""
    if project_id is not None and not 0 < project_id <= ID_MAX:
        raise ProjectNotFound
    return project_id


async def list_projects(session: Session, user_id: str) -> list[StoredProject]:
    """All of a person's, oldest first."""
    rows = await execute(session, _LIST_PROJECTS, {"owner": user_id})
    return [StoredProject(*row) for row in rows]


async def add_project(session: Session, user_id: str, name: str) -> StoredProject:
    """A new one, of which a person has `PROJECTS_MAX`, or a few more where several come at once.

    Raises:
        ValidationFailed: they have as many.
    """
    values = {"owner": user_id, "new_name": name}
    row = (await execute(session, _ADD_PROJECT, values)).one_or_none()
    if row is None:
        raise ValidationFailed(f"A person has at most {PROJECTS_MAX} projects.")
    return StoredProject(*row)


async def get_project(session: Session, user_id: str, project_id: int) -> StoredProject:
    """One project; `ProjectNotFound` where the person has none of that id, here and below."""
    return await _one(session, _GET_PROJECT, user_id, project_id)


async def rename_project(
    session: Session, user_id: str, project_id: int, name: str
) -> StoredProject:
    return await _one(session, _RENAME, user_id, project_id, new_name=name)


async def delete_project(session: Session, user_id: str, project_id: int) -> None:
    """Delete it softly; its tasks and conversations stay, without it."""
    await _one(session, _DELETE_PROJECT, user_id, project_id)
    values = {"owner": user_id, "project": project_id}
    await session.flight((_LEAVE_TASKS, values), (_LEAVE_CONVERSATIONS, values))


async def _one(
    session: Session, statement: object, user_id: str, project_id: int, **more: object
) -> StoredProject:
    if not 0 < project_id <= ID_MAX:
        raise ProjectNotFound
    values = {"owner": user_id, "project": project_id, **more}
    row = (await execute(session, statement, values)).one_or_none()  # type: ignore[arg-type]
    if row is None:
        raise ProjectNotFound
    return StoredProject(*row)
