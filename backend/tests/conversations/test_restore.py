"""A conversation that was deleted can be had back for ten minutes."""

import httpx

from backend.tests.conversations.test_conversations import NOT_IDS, PATH, listed, make
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run


async def deleted(client: httpx.AsyncClient) -> int:
    made = await make(client, title="Groceries")
    assert (await client.delete(f"{PATH}/{made['id']}")).status_code == 204
    return int(made["id"])


async def restore(client: httpx.AsyncClient, conversation_id: object) -> httpx.Response:
    return await client.post(f"{PATH}/{conversation_id}/restore")


async def test_what_was_just_deleted_comes_back_as_it_was(alice: httpx.AsyncClient) -> None:
    number = await deleted(alice)

    answer = await restore(alice, number)

    assert (answer.status_code, answer.json()["title"]) == (200, "Groceries")
    assert number in await listed(alice)
    assert (await restore(alice, number)).status_code == 200, "a second time changes nothing"


async def test_after_ten_minutes_it_is_gone(alice: httpx.AsyncClient, sessions: Sessions) -> None:
    number = await deleted(alice)
    async with sessions.begin() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "UPDATE conversations SET deleted_at = deleted_at - interval '10 minutes'"
            f" WHERE id = {number}"
        )

    assert (await restore(alice, number)).status_code == 404
    assert number not in await listed(alice)


async def test_someone_elses_is_not_found_and_stays_deleted(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    number = await deleted(alice)

    assert (await restore(bob, number)).status_code == 404
    assert number not in await listed(alice)


async def test_what_is_no_id_is_not_found(alice: httpx.AsyncClient) -> None:
    for text in NOT_IDS:
        assert (await restore(alice, text)).status_code == 404, text


async def test_the_models_are_those_of_the_settings(
    alice: httpx.AsyncClient, client: httpx.AsyncClient, run: Run
) -> None:
    providers = {"local": {"base_url": "http://127.0.0.1:1/v1", "models": ["small", "large"]}}
    async with run(alice, providers=providers, default_provider="local") as other:
        found = (await other.get("/api/models")).json()["models"]

    assert [each for each in found if each["provider"] == "local"] == [
        {"provider": "local", "model": "small", "default": True},
        {"provider": "local", "model": "large", "default": False},
    ]
    assert (await client.get("/api/models")).status_code == 401
