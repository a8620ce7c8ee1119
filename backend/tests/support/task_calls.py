"""Calls of the tasks API that several test files make."""

from typing import Any

import httpx

ONE_TASK = (("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/complete"))
"""The calls that name one task: the method, and what follows the id in the path."""

NOT_FOUND = {
    "error": {"code": "TASK_NOT_FOUND", "message": "Task not found", "details": None},
    "detail": {"code": "TASK_NOT_FOUND", "message": "Task not found"},
}


async def add(client: httpx.AsyncClient, title: str = "Buy milk", **fields: object) -> Any:
    """The body of a task just created."""
    response = await client.post("/api/tasks", json={"title": title, **fields})
    assert response.status_code == 201, response.text
    return response.json()


async def change(client: httpx.AsyncClient, task: Any, **fields: object) -> Any:
    """The body of the task after a PUT of `fields`."""
    response = await client.put(f"/api/tasks/{task['id']}", json=fields)
    assert response.status_code == 200, response.text
    return response.json()


async def toggle(client: httpx.AsyncClient, task: Any) -> Any:
    """The body of the task completed, or reopened."""
    response = await client.patch(f"/api/tasks/{task['id']}/complete")
    assert response.status_code == 200, response.text
    return response.json()


async def listed(client: httpx.AsyncClient, path: str = "", **query: str) -> list[Any]:
    """The tasks a list or `/search` answers with; its total agrees."""
    response = await client.get(f"/api/tasks{path}", params=query)
    assert response.status_code == 200, response.text
    assert response.json()["total"] == len(response.json()["tasks"])
    tasks: list[Any] = response.json()["tasks"]
    return tasks


async def call_one(
    client: httpx.AsyncClient, method: str, task_id: object, rest: str
) -> httpx.Response:
    """One of `ONE_TASK`, with a valid body where it takes one."""
    body = {"title": "Not mine to change"} if method == "PUT" else None
    return await client.request(method, f"/api/tasks/{task_id}{rest}", json=body)
