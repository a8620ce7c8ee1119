"""`python -m backend.examples.simulations`: serve them on this machine, at port 8100."""

import argparse

import uvicorn

from backend.examples.simulations.server import create_server


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m backend.examples.simulations")
    parser.add_argument("--port", type=int, default=8100, help="0 is any free one")
    port: int = parser.parse_args().port
    app = create_server().streamable_http_app(json_response=True, stateless_http=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="info", access_log=False)


if __name__ == "__main__":
    main()
