"""Projects as things a person keeps; what is in one, the tasks API lists."""

from fastapi import APIRouter, Request, Response, status

from backend.auth import CurrentUser, SignedInRoute
from backend.database import SessionDep
from backend.rate_limiter import rate_limit
from backend.schemas.projects import ProjectBody, ProjectList, ProjectResponse
from backend.tasks import projects
from backend.web.openapi import ONE_PROJECT_ERRORS, PROJECT_LINKS, TASK_ERRORS

router = APIRouter(prefix="/api/projects", tags=["projects"], route_class=SignedInRoute)


@router.get("", responses=TASK_ERRORS, summary="List projects, oldest first")
@rate_limit("tasks")
async def list_projects(request: Request, user_id: CurrentUser, session: SessionDep) -> ProjectList:
    found = await projects.list_projects(session, user_id)
    return ProjectList(
        projects=[ProjectResponse.model_validate(each) for each in found], total=len(found)
    )


@router.post(
    "",
    responses=TASK_ERRORS | PROJECT_LINKS,
    status_code=status.HTTP_201_CREATED,
    summary="Begin a project",
)
@rate_limit("tasks")
async def create_project(
    request: Request,
    response: Response,
    body: ProjectBody,
    user_id: CurrentUser,
    session: SessionDep,
) -> ProjectResponse:
    made = await projects.add_project(session, user_id, body.name)
    await session.commit()
    response.headers["Location"] = f"{request.url.path}/{made.id}"
    return ProjectResponse.model_validate(made)


@router.get("/{project_id}", responses=ONE_PROJECT_ERRORS, summary="Read a project")
@rate_limit("tasks")
async def read_project(
    request: Request, project_id: int, user_id: CurrentUser, session: SessionDep
) -> ProjectResponse:
    found = await projects.get_project(session, user_id, project_id)
    return ProjectResponse.model_validate(found)


@router.patch("/{project_id}", responses=ONE_PROJECT_ERRORS, summary="Rename a project")
@rate_limit("tasks")
async def rename_project(
    request: Request, project_id: int, body: ProjectBody, user_id: CurrentUser, session: SessionDep
) -> ProjectResponse:
    renamed = await projects.rename_project(session, user_id, project_id, body.name)
    await session.commit()
    return ProjectResponse.model_validate(renamed)


@router.delete(
    "/{project_id}",
    responses=ONE_PROJECT_ERRORS,
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a project; its tasks and conversations stay",
)
@rate_limit("tasks")
async def delete_project(
    request: Request, project_id: int, user_id: CurrentUser, session: SessionDep
) -> None:
    await projects.delete_project(session, user_id, project_id)
    await session.commit()
