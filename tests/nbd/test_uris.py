"""URIs of exports, as clients read them."""

from __future__ import annotations

import pytest
from vfloppy.nbd import ListenError, listen_tcp, listen_unix
from vfloppy.nbd.uris import uri_of


@pytest.mark.parametrize(
    ("host", "uri_host"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("", "localhost")],
)
def test_tcp_uris(host, uri_host):
    listener = listen_tcp(host, 0)
    assert uri_of(listener, "a b/ü") == f"nbd://{uri_host}:{listener.port}/a%20b%2F%C3%BC"
    listener.close()


def test_ipv6_uris_have_brackets():
    try:
        listener = listen_tcp("::1", 0)
    except ListenError:
        pytest.skip("this computer has no IPv6")
    assert uri_of(listener) == f"nbd://[::1]:{listener.port}/"
    listener.close()


def test_uris_by_tls_lead_to_what_clients_need(tmp_path):
    keys = {"tls-psk-file": "/a b/keys"}
    listener = listen_unix(tmp_path / "s")
    uri = uri_of(listener, "x", secure=True, user="a@b", parameters=keys)
    assert uri == f"nbds+unix://a%40b@/x?socket={tmp_path}/s&tls-psk-file=/a%20b/keys"
    listener.close()
    listener = listen_tcp("127.0.0.1", 0)
    uri = uri_of(listener, secure=True, user="alice", parameters=keys)
    assert uri == f"nbds://alice@127.0.0.1:{listener.port}/?tls-psk-file=/a%20b/keys"
    listener.close()


def test_unix_uris_are_percent_encoded(tmp_path):
    listener = listen_unix(tmp_path / "a b&c#?%")
    assert uri_of(listener, "x&y") == f"nbd+unix:///x%26y?socket={tmp_path}/a%20b%26c%23%3F%25"
    listener.close()
