"""Proxies of the environment: what is told of them, and what no message may show (K4, K5)."""

import pytest

from strongroom.roots import outbound

URL = "https://kms.example.test"


def only(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("https_proxy", proxy)


@pytest.mark.parametrize(
    ("proxy", "shown", "secret"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128", ()),
        ("http://ann:pw-secret@proxy.test:3128", "http://proxy.test:3128", ("pw-secret",)),
        ("ann:pw-secret@proxy.test:3128", "http://proxy.test:3128", ("pw-secret",)),
    ],
)
def test_a_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str, shown: str, secret: tuple[str, ...]
) -> None:
    only(monkeypatch, proxy)
    assert outbound.shown_proxy(URL) == {"proxy": shown}
    assert outbound.secrets() == secret


@pytest.mark.parametrize("proxy", ["http://ann:pw-secret@[::1", "http://[x]:1", "http://a[b]:3128"])
def test_a_proxy_that_cannot_be_read_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    only(monkeypatch, proxy)
    assert "pw-secret" not in str(outbound.shown_proxy(URL))
    assert outbound.secrets() in {(proxy,), ()}
