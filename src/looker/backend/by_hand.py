"""How a person asks a target about one mismatch: a URL, a curl line, a logcli line.

Nothing of it holds a secret: a token stands as the file that it is read from, or as a variable of
the shell that is to be set. Nothing of it, however a stream is named, is obeyed by a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from looker.model.config import NS_PER_MS, NS_PER_S
from looker.model.labels import UNIQUENAME
from looker.model.matchers import selector as matching
from looker.model.mismatch import rfc3339_ns
from looker.model.shell import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from looker.backend.api import Target
    from looker.model.config import RunConfig
    from looker.model.matchers import Matcher
    from looker.model.mismatch import MismatchExample

_STEPS_AROUND: Final = 5
_MAX_AROUND_NS: Final = 3600 * NS_PER_S
_LIMIT: Final = 100
_LOGCLI_API: Final = "/loki/api/v1/"
"""What logcli puts behind the address that it is given."""


@dataclass(frozen=True, slots=True)
class ByHand:
    """One question: ``url`` needs the headers that ``curl`` has; ``logcli`` is for Loki."""

    url: str
    curl: str
    logcli: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the question as JSON-ready values."""
        return {"url": self.url, "curl": self.curl, "logcli": self.logcli}


def by_hand(
    config: RunConfig, target: Target, example: MismatchExample, since_ns: int, until_ns: int
) -> ByHand | None:
    """Return how to look at an example on the target; None where its stream is not known.

    The question is for the samples of the stream around the example's time; where that is not
    known (labels differ), it is for the label sets in ``[since_ns, until_ns)``.
    """
    selector = _selector(example.labels, target.matchers)
    if selector is None:
        return None
    if example.timestamp_ns is not None:
        around_ns = min(_STEPS_AROUND * config.step_ns, _MAX_AROUND_NS)
        since_ns, until_ns = example.timestamp_ns - around_ns, example.timestamp_ns + around_ns
    is_loki = target.is_logs
    path = target.query_path
    if example.timestamp_ns is None:
        path = path.rpartition("/")[0] + "/series"
        times = (str(since_ns), str(until_ns)) if is_loki else (_s(since_ns), _s(until_ns))
        parameters = [("match[]", selector), ("start", times[0]), ("end", times[1])]
    elif is_loki:
        parameters = [
            ("query", selector),
            ("start", str(since_ns)),
            ("end", str(until_ns + 1)),  # the end is not included
            ("limit", str(_LIMIT)),
            ("direction", "forward"),
        ]
    else:
        # the open end of a range is not included by Prometheus 3: one millisecond more
        range_ms = (until_ns - since_ns) // NS_PER_MS + 1
        parameters = [("query", f"{selector}[{range_ms}ms]"), ("time", _s(until_ns))]
    logcli = None
    if is_loki:
        command = "query" if example.timestamp_ns is not None else "series"
        logcli = _logcli(config, target, command, selector, since_ns, until_ns + 1)
    url = target.url + path
    query = urlencode(parameters, errors="surrogatepass")
    return ByHand(f"{url}?{query}", _curl(config, target, url, parameters), logcli)


def _selector(labels: Mapping[str, str] | None, also: tuple[Matcher, ...]) -> str | None:
    if not labels:
        return None
    # unique over all runs, and the same whatever the target has made of the other labels
    name = labels.get(UNIQUENAME)
    wanted = labels if name is None else {UNIQUENAME: name}
    own = tuple((label, "=", value) for label, value in wanted.items())
    return matching((*own, *(one for one in also if one not in own)))


def _s(time_ns: int) -> str:
    time_ms = time_ns // NS_PER_MS
    return f"{time_ms // 1000}.{time_ms % 1000:03d}"


def _curl(config: RunConfig, target: Target, url: str, parameters: list[tuple[str, str]]) -> str:
    words = ["curl", "-sS", "-G", quoted(url)]
    for name, value in parameters:
        words += ["--data-urlencode", quoted(f"{name}={value}")]
    if target.tenant is not None:
        words += ["-H", quoted(f"X-Scope-OrgID: {target.tenant}")]
    if config.bearer_token_file is not None:
        file = quoted(str(config.bearer_token_file))
        words += ["-H", f'"Authorization: Bearer $(cat {file})"']
    elif (target.authorization or "").startswith("Basic "):
        words += ["-u", '"$USERNAME:$PASSWORD"']
    elif target.authorization is not None:
        words += ["-H", '"Authorization: Bearer $TOKEN"']
    if config.ca_file is not None:
        words += ["--cacert", quoted(str(config.ca_file))]
    if config.insecure_skip_verify:
        words.append("--insecure")
    return " ".join(words)


def _logcli(
    config: RunConfig, target: Target, command: str, selector: str, since_ns: int, until_ns: int
) -> str | None:
    """Return a line for logcli; None where the target's path is not one that it can ask."""
    since, until = rfc3339_ns(since_ns), rfc3339_ns(until_ns)
    prefix, found, rest = target.query_path.partition(_LOGCLI_API)
    if since is None or until is None or not found or rest != "query_range":
        return None
    words = ["logcli", command, f"--addr={target.url}{prefix}"]
    if target.tenant is not None:
        words.append(f"--org-id={target.tenant}")
    if config.bearer_token_file is not None:
        words.append(f"--bearer-token-file={config.bearer_token_file}")
    if config.ca_file is not None:
        words.append(f"--ca-cert={config.ca_file}")
    if config.insecure_skip_verify:
        words.append("--tls-skip-verify")
    words += [f"--from={since}", f"--to={until}"]
    if command == "query":
        words += [f"--limit={_LIMIT}", "--forward", "--output=jsonl"]
    words.append(selector)
    line = [quoted(word) for word in words]
    authorization = target.authorization or ""
    if authorization.startswith("Basic "):
        line[2:2] = ['--username="$USERNAME"', '--password="$PASSWORD"']
    elif authorization and config.bearer_token_file is None:
        line.insert(2, '--bearer-token="$TOKEN"')
    return " ".join(line)
