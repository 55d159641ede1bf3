"""Field case 15: a redirect to a login says that credentials are missing, another one where to."""

from __future__ import annotations

import pytest

from looker.backend.redirects import reason_of_redirect

BASE = "http://gate.test/loki"
ASKED = f"{BASE}/loki/api/v1/labels"
SENT = "the token of --bearer-token-file was sent"


@pytest.mark.parametrize("status", [302, 303, 307])
@pytest.mark.parametrize(
    ("location", "where"),
    [
        (
            "https://accounts.google.com/o/oauth2/auth?client_id=x&redirect_uri=y&state=secret",
            "https://accounts.google.com/o/oauth2/auth",
        ),
        ("https://login.microsoftonline.com/t/oauth2/v2.0/authorize", None),
        ("https://idp.test/realms/a/protocol/openid-connect/auth?x=1", None),
        ("https://dex.test/?response_type=code", "https://dex.test/"),
        ("/oauth2/sign_in", "http://gate.test/oauth2/sign_in"),
        ("/oauth2/start?rd=%2Floki", "http://gate.test/oauth2/start"),
        ("/login", "http://gate.test/login"),
        ("/users/sign-in?next=/", "http://gate.test/users/sign-in"),
        ("/x?client_id=1", "http://gate.test/x"),
    ],
)
def test_a_login(status: int, location: str, where: str | None) -> None:
    where = where or location.partition("?")[0]
    assert reason_of_redirect(BASE, ASKED, status, location, SENT) == (
        f"{BASE} redirects to {where}, a login: credentials are missing or not accepted ({SENT})"
    )


def test_another_host_for_now() -> None:
    assert reason_of_redirect(BASE, ASKED, 302, "//other.test/", "no credentials were sent") == (
        f"{BASE} redirects to http://other.test/, another host, as to a login: credentials are"
        " missing or not accepted (no credentials were sent)"
    )


@pytest.mark.parametrize(
    ("status", "location", "said"),
    [
        (301, "https://gate.test/loki/loki/api/v1/labels", "https: give https://gate.test/loki"),
        (308, "https://gate.test/loki/loki/api/v1/labels", "https: give https://gate.test/loki"),
        (302, "https://gate.test/loki/loki/api/v1/labels", "https: give https://gate.test/loki"),
        (301, "http://new.test/x/loki/api/v1/labels", "labels: give http://new.test/x"),
        (302, "http://gate.test:3100/loki/api/v1/labels", "labels: give http://gate.test:3100"),
        (301, "/elsewhere", "redirects to /elsewhere: give the URL behind the redirect"),
        (302, "/elsewhere", "redirects to /elsewhere: give the URL behind the redirect"),
        (301, "/login", "redirects to /login: give the URL behind the redirect"),
        (
            301,
            "/loki/loki/api/v1/labels/",
            (
                f"redirects {ASKED[16:]} to the same with another slash at its end,"
                " /loki/loki/api/v1/labels/: give the path as it is there (--push-path,"
                " --query-path), or the URL behind it"
            ),
        ),
        (302, "http://[", "redirects to 'http://[', which is no URL"),
        (302, "javascript:x", "redirects to 'javascript:x', which is no URL"),
        (302, None, "redirects elsewhere (302): give the URL behind the redirect"),
        (302, "/a\x1b[2J", "redirects to /a\ufffd[2J: give the URL behind the redirect"),
    ],
)
def test_no_login(status: int, location: str | None, said: str) -> None:
    reason = reason_of_redirect(BASE, ASKED, status, location, SENT)
    assert reason.startswith(f"{BASE} redirects ")
    assert reason.endswith(said)
