"""Passwords in a sweep's file are in no name, no file, no output: field case 54."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from servers import embedded_target, looker

if TYPE_CHECKING:
    from pathlib import Path

WORDS: Final = ("opensesame", "s3cr/et", "s3cr", "hunter2", "letmein")


def test_passwords_in_a_sweep_are_struck_out_everywhere(tmp_path: Path) -> None:
    """In [matrix] url, in target_metrics_url, in commands; also those with raw / # and ?."""
    directory = tmp_path / "target"
    directory.mkdir()
    with embedded_target(directory) as url:
        host = url.removeprefix("http://")
        file = tmp_path / "sweep.toml"
        file.write_text(
            f"""
repeats = 1
[base]
mode = "logs"
n_concurrent_streams = 4
n_entries_per_stream_fragment = 10
stop_write_after_n_fragments_per_stream = 3
target_metrics_url = "http://me:hunter2@{host}/metrics"
[matrix]
url = ["http://me:opensesame@{host}", "http://you:opensesame@{host}"]
[[targets]]
name = "a"
reset = "echo http://me:letmein@{host}/"
stop = "echo http://me:s3cr/et@{host}/"
"""
        )
        out = tmp_path / "out"
        plan = looker(tmp_path, "sweep", str(file), "--out", str(out), "--dry-run")
        done = looker(tmp_path, "sweep", str(file), "--out", str(out))
        page = looker(tmp_path, "report", str(out), "--output", str(tmp_path / "page.html"))
    assert plan.code == done.code == page.code == 0, plan.said + done.said + page.said
    assert f"reset: echo http://***@{host}/" in plan.stdout
    assert f"'--target-metrics-url=http://***@{host}/metrics' 'http://***@{host}'" in plan.stdout
    points = sorted(path.name for path in (out / "a").iterdir())
    assert points == [f"url=http_{host.replace(':', '_')}", f"url=http_{host.replace(':', '_')}~2"]
    with closing(sqlite3.connect(out / "results.sqlite")) as database:
        urls = {row[0] for row in database.execute("SELECT option_url FROM runs")}
    assert urls == {f"http://***@{host}"}
    files = [*out.rglob("*"), tmp_path / "page.html"]
    contents = {path: path.read_bytes() for path in files if path.is_file()}
    assert len(contents) > 10
    for word in WORDS:
        assert word not in plan.said + done.said + page.said
        assert not any(word in str(path) for path in files)
        # what the commands themselves print is theirs
        told = [path for path, text in contents.items() if word.encode() in text]
        assert [path.name for path in told if path.name != "server.log"] == []


def test_a_wrong_url_is_told_without_its_password(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    for url in ("me:opensesame@host:3100", "http://me:opense/same@host", "ftp://me:opensesame@h"):
        file.write_text(f'[base]\nmode = "logs"\n[matrix]\nurl = ["{url}", "http://other"]\n')
        found = looker(tmp_path, "sweep", str(file), "--out", str(tmp_path / "out"))
        assert found.code == 2, found.said
        (line,) = found.stderr.splitlines()
        assert "opense" not in line
