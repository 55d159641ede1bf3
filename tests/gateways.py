"""Real gateways in front of a target: Debian's nginx and HAProxy, each on a free port."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from servers import PATIENCE_S, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin"
"""Debian keeps both where only root's PATH looks."""

_NGINX: Final = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 256; }}
http {{
  access_log {directory}/access.log;
  client_body_temp_path {directory}/client;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_max_body_size 0;
  {http}
  server {{
    listen 127.0.0.1:{port};
    {server}
    location / {{
      proxy_pass {backend};
      {location}
    }}
  }}
}}
"""

_HAPROXY: Final = """
global
  maxconn 256
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend looker
  bind 127.0.0.1:{port}
  {frontend}
  default_backend target
backend target
  {backend_lines}
  server one {address}
"""


@contextlib.contextmanager
def nginx(
    directory: Path, backend: str, *, location: str = "", server: str = "", http: str = ""
) -> Iterator[str]:
    """Run nginx in front of a URL without a path; yields its URL.

    ``location``, ``server`` and ``http`` are further lines for these blocks of its configuration.
    """
    with _running(
        "nginx",
        directory,
        lambda port: _NGINX.format(
            directory=directory,
            port=port,
            backend=backend,
            location=location,
            server=server,
            http=http,
        ),
        ("-p", str(directory), "-e", str(directory / "error.log"), "-c"),
    ) as url:
        yield url


@contextlib.contextmanager
def haproxy(
    directory: Path, backend: str, *, frontend: str = "", backend_lines: str = ""
) -> Iterator[str]:
    """Run HAProxy in front of a URL without a path; yields its URL.

    ``frontend`` and ``backend_lines`` are further lines for these sections of its configuration.
    """
    with _running(
        "haproxy",
        directory,
        lambda port: _HAPROXY.format(
            port=port,
            address=urlsplit(backend).netloc,
            frontend=frontend,
            backend_lines=backend_lines,
        ),
        ("-db", "-f"),
    ) as url:
        yield url


@contextlib.contextmanager
def _running(
    name: str, directory: Path, configuration: Callable[[int], str], arguments: tuple[str, ...]
) -> Iterator[str]:
    program = shutil.which(name, path=_PATH)
    if program is None:
        if os.environ.get("LOOKER_REQUIRE_REAL_SERVERS") == "1":
            pytest.fail(f"{name} is not installed, and LOOKER_REQUIRE_REAL_SERVERS=1")
        pytest.skip(f"{name} is not installed")
    file, log = directory / f"{name}.conf", directory / f"{name}.log"
    for _ in range(3):
        port = free_port()
        file.write_text(configuration(port), encoding="utf-8")
        with log.open("ab") as output:
            process = subprocess.Popen(
                [program, *arguments, str(file)], stdout=output, stderr=output
            )
        try:
            wait_until(lambda p=process, n=port: p.poll() is not None or _listens(n), name)
            if process.poll() is None:
                yield f"http://127.0.0.1:{port}"
                return
            # somebody else has taken the port meanwhile, or the configuration is wrong
        finally:
            process.kill()
            process.wait(PATIENCE_S)
    raise AssertionError(f"{name} does not start: {log.read_text(encoding='utf-8')[-2000:]}")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5.0):
        return True
    return False
