"""uvicorn inside the node's own event loop: its own socket, no signal handlers, few connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn
from fastapi import FastAPI

_MAX_CONNECTIONS = 100
_START_SECONDS = 10.0


class _Server(uvicorn.Server):
    """The signals belong to the node, which drains on them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class HttpServer:
    """Serves one application on one address.  ``start`` returns when it listens, ``stop`` when it is gone."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        """``port`` 0 takes a free one; see :attr:`url` after the start."""
        self._host = host
        self._port = port
        self._task: asyncio.Task[None] | None = None
        self._server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=2,
                h11_max_incomplete_event_size=16_384,
            )
        )

    @property
    def url(self) -> str:
        """``http://host:port`` with the port that was taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Bind and listen.  Raises OSError (address in use, not ours) with the address in its text."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # With the protocol's number: without it asyncio does not switch Nagle's algorithm off, and each answer after the
        # first on a connection waits for the client's delayed ACK, 40 ms.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setblocking(False)
            bound.bind((self._host, self._port))
            bound.listen(128)
        except OSError as error:
            bound.close()
            raise OSError(error.errno, f"http.listen {self._host}:{self._port}: {error.strerror}") from None
        self._port = int(bound.getsockname()[1])
        self._task = asyncio.create_task(self._server.serve([bound]), name="http")
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while not self._server.started:
            if self._task.done() or asyncio.get_running_loop().time() > deadline:
                await self.stop()
                raise OSError(f"http.listen {self._host}:{self._port}: the HTTP server did not start")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Finish the requests in flight (two seconds at most) and close."""
        if self._task is None:
            return
        self._server.should_exit = True
        task, self._task = self._task, None
        await task
