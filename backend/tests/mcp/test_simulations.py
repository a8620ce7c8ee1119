"""The example of a toolset, in a process of its own, as any client of MCP finds it."""

import asyncio
import base64
import re
import struct
import sys
import zlib
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from mcp import Client

from backend.examples.simulations.aggregate import NEAR, TOUCH, grow
from backend.examples.simulations.analysis import LITERATURE, box_dimension
from backend.tests.support.mcp_clients import result_of


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    command = [sys.executable, "-m", "backend.examples.simulations", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
    try:
        async with asyncio.timeout(60):
            assert process.stderr
            async for line in process.stderr:
                if found := re.search(rb"running on (http://\S+)", line):
                    break
        assert found
        yield f"{found[1].decode()}/mcp"
    finally:
        process.terminate()
        await process.wait()


async def call(client: Client, tool: str, key: str | None = None, **args: Any) -> dict[str, Any]:
    meta: Any = {"todo/idempotency-key": key} if key else None
    return result_of(await client.call_tool(tool, args, meta=meta))


async def test_a_simulation_is_run_analyzed_and_exported_by_its_id(address: str) -> None:
    async with Client(address) as client:
        begun = await call(client, "run_dla_simulation", particles=500, seed=1)
        assert begun["status"] in ("queued", "running")
        id_ = {"simulation_id": begun["simulation_id"]}
        analysis = await call(client, "analyze_simulation", **id_)
        assert analysis["particles"] == 500
        assert abs(analysis["fractal_dimension"] - LITERATURE) < 0.15
        assert 25 < analysis["radius_of_gyration"] < analysis["extent"] < 150
        status = await call(client, "simulation_status", **id_)
        assert (status["status"], status["grown"]) == ("completed", 500)
        table = (await call(client, "export_simulation", **id_))["text"].splitlines()
        assert (table[0], table[1], len(table)) == ("particle,x,y", "0,0.000000,0.000000", 501)
        picture = base64.b64decode(
            (await call(client, "export_simulation", **id_, file_type="png"))["base64"]
        )
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    start = picture.index(b"IDAT")
    (length,) = struct.unpack(">I", picture[start - 4 : start])
    assert len(zlib.decompress(picture[start + 4 : start + 4 + length])) == height * (3 * width + 1)


@pytest.mark.e2e
async def test_what_is_not_there_or_not_possible_is_told(address: str) -> None:
    async with Client(address) as client:
        for tool in ("simulation_status", "analyze_simulation", "export_simulation"):
            unknown = await call(client, tool, simulation_id="nope")
            assert unknown["error_code"] == "SIMULATION_NOT_FOUND"
        for particles in (0, 5001, -1):
            answer = await client.call_tool("run_dla_simulation", {"particles": particles})
            assert answer.is_error


@pytest.mark.e2e
async def test_a_call_that_is_repeated_under_its_key_begins_one_simulation(address: str) -> None:
    async with Client(address) as client:
        same = [await call(client, "run_dla_simulation", key="k", particles=100) for _ in range(3)]
        other = await call(client, "run_dla_simulation", particles=100)
    assert len({each["simulation_id"] for each in same}) == 1
    assert other["simulation_id"] != same[0]["simulation_id"]


@pytest.mark.e2e
async def test_more_than_may_wait_are_refused(address: str) -> None:
    async with Client(address) as client:
        begun = [await call(client, "run_dla_simulation", particles=1000) for _ in range(25)]
        assert [each["success"] for each in begun] == sorted(
            (each["success"] for each in begun), reverse=True
        )
        assert begun[-1]["error_code"] == "TOO_MANY"


def test_a_seed_makes_a_cluster_again_whose_discs_touch_and_do_not_overlap() -> None:
    points = grow(300, seed=7)
    assert (points == grow(300, seed=7)).all()
    assert not (points == grow(300, seed=8)).all()
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    assert nearest.min() >= TOUCH - 1e-9
    assert nearest.max() <= TOUCH + NEAR


@pytest.mark.e2e
def test_the_dimension_is_that_of_the_literature_and_two_for_a_solid() -> None:
    """Four standard deviations over seeds (0.02), and 0.02 by which small clusters fall short."""
    assert box_dimension(grow(1000, seed=1)) == pytest.approx(LITERATURE, abs=0.1)
    grid = np.array([[x, y] for x in range(-30, 31) for y in range(-30, 31)], dtype=np.float64)
    assert box_dimension(TOUCH * grid) == pytest.approx(2, abs=0.02)
    line = np.array([[x, 0] for x in range(-500, 501)], dtype=np.float64)
    assert box_dimension(TOUCH * line) == pytest.approx(1, abs=0.05)
