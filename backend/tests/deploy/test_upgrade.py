"""The release before serves while this one migrates, and beside it after; `make upgrade`, short."""

import pytest

from backend.faults.upgrade import NoRelease, checked_out, play, release_before
from backend.tests.support.databases import MakeDatabase

pytestmark = pytest.mark.e2e


@pytest.mark.long
async def test_the_release_before_serves_while_this_one_migrates_and_beside_it(
    make_database: MakeDatabase,
) -> None:
    try:
        commit = release_before()
    except (NoRelease, OSError) as error:
        pytest.skip(f"no release before this one to run beside it: {error}")
    url = await make_database()
    with checked_out(commit) as before:
        traffic = await play(url, before, pause=0.2, people=1, kills=False)
    assert traffic.faults == []
    assert traffic.answers > 3
