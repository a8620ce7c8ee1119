"""The first answer of a process is read as fast as any other."""

import asyncio
import sys

from backend.agent.models.rehearsal import rehearse
from backend.tests.support.fixtures import make_settings, running

_FIRST_AND_SECOND = """
from time import thread_time
from backend.agent.models.rehearsal import rehearse
for api in ("responses", "chat_completions"):
    began = thread_time()
    rehearse(api)
    first = thread_time() - began
    later = []
    for _ in range(5):
        rehearse.cache_clear()
        began = thread_time()
        rehearse(api)
        later.append(thread_time() - began)
    print(first, min(later))
"""


async def test_what_the_first_answer_takes_is_spent_before() -> None:
    """In a process that has read none, by the seconds of its CPU; the machine may be busy."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _FIRST_AND_SECOND),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, warned = await process.communicate()
    assert not warned
    for line in said.decode().splitlines():
        first, second = map(float, line.split())
        assert second < first / 2
        assert second < 0.04
    assert line


async def test_a_start_with_a_provider_reads_an_answer_of_its_api(
    shared_database_url: str,
) -> None:
    rehearse.cache_clear()
    async with running(make_settings(shared_database_url, openai_base_url="http://127.0.0.1:1")):
        assert rehearse.cache_info().currsize == 1
