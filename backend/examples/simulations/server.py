"""The tools: run, look, analyse, export. What goes wrong is a result with a code.

A client may repeat a call of `run_dla_simulation` under `_meta["todo/idempotency-key"]`.
"""

import asyncio
import base64
from dataclasses import asdict
from typing import Annotated, Any, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations
from pydantic import Field

from backend.examples.simulations.aggregate import PARTICLES_MAX, Points
from backend.examples.simulations.analysis import PARTICLES_MIN, analyze
from backend.examples.simulations.files import as_csv, as_png
from backend.examples.simulations.jobs import Simulation, Simulations, TooMany, Unknown

IDEMPOTENCY_KEY = "todo/idempotency-key"
PATIENCE_S = 15.0
"""Seconds for which an analysis or an export waits for a simulation that has not ended."""

Result = dict[str, Any]
SimulationId = Annotated[str, Field(description="As run_dla_simulation returned it.")]

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_BEGINS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)


def create_server() -> MCPServer[Any]:
    """A server with simulations of its own, which end with its process."""
    simulations = Simulations()
    server: MCPServer[Any] = MCPServer(
        "simulations",
        title="Simulations",
        instructions="Diffusion-limited aggregation: begin one, then ask for it by its id.",
    )

    @server.tool(title="Run a DLA simulation", annotations=_BEGINS)
    async def run_dla_simulation(
        ctx: Context,
        particles: Annotated[
            int, Field(ge=PARTICLES_MIN, le=PARTICLES_MAX, description="Discs of the cluster.")
        ] = 500,
        seed: Annotated[
            int | None, Field(ge=0, lt=2**31, description="The same seed, the same cluster.")
        ] = None,
    ) -> Result:
        """Begin to grow a cluster by diffusion-limited aggregation; it goes on by itself."""
        key = dict(ctx.request_context.meta or {}).get(IDEMPOTENCY_KEY)
        try:
            begun = simulations.begin(particles, seed, None if key is None else str(key))
        except TooMany:
            return _failure("Too many simulations are running. Try again later.", "TOO_MANY")
        return _status(begun)

    @server.tool(title="Status of a simulation", annotations=_READS)
    async def simulation_status(simulation_id: SimulationId) -> Result:
        """How far a simulation is."""
        try:
            return _status(simulations.find(simulation_id))
        except Unknown:
            return _not_found()

    @server.tool(title="Analyze a simulation", annotations=_READS)
    async def analyze_simulation(simulation_id: SimulationId) -> Result:
        """The fractal dimension (by counting boxes) and the radius of gyration of a cluster."""
        points = await _cluster(simulations, simulation_id)
        if isinstance(points, dict):
            return points
        measured = await asyncio.to_thread(analyze, points)
        return {"success": True, "simulation_id": simulation_id, **asdict(measured)}

    @server.tool(title="Export a simulation", annotations=_READS)
    async def export_simulation(
        simulation_id: SimulationId, file_type: Literal["csv", "png"] = "csv"
    ) -> Result:
        """A cluster as a file: the discs as CSV, or a picture as PNG in base64."""
        points = await _cluster(simulations, simulation_id)
        if isinstance(points, dict):
            return points
        name = f"dla-{simulation_id}.{file_type}"
        if file_type == "csv":
            text = await asyncio.to_thread(as_csv, points)
            return {"success": True, "file_name": name, "media_type": "text/csv", "text": text}
        data = base64.b64encode(await asyncio.to_thread(as_png, points)).decode()
        return {"success": True, "file_name": name, "media_type": "image/png", "base64": data}

    return server


async def _cluster(simulations: Simulations, simulation_id: str) -> Points | Result:
    """The cluster, once it is grown; else the failure to answer."""
    try:
        found = simulations.find(simulation_id)
    except Unknown:
        return _not_found()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await found.ended.wait()
    except TimeoutError:
        return _failure("The simulation is still running. Try again later.", "STILL_RUNNING")
    if found.points is None:
        return _failure("The simulation has failed.", "SIMULATION_FAILED")
    return found.points


def _status(simulation: Simulation) -> Result:
    return {
        "success": True,
        "simulation_id": simulation.id,
        "status": simulation.status,
        "particles": simulation.particles,
        "grown": simulation.grown,
        "seed": simulation.seed,
    }


def _not_found() -> Result:
    return _failure("There is no such simulation.", "SIMULATION_NOT_FOUND")


def _failure(text: str, code: str) -> Result:
    return {"success": False, "error": text, "error_code": code}
