"""Silent connections: they give their process back, and lose nothing by it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import struct
import threading
import time

import pytest
from compare import assert_same
from fakes import (
    PATIENCE_S,
    Client,
    FakeColumns,
    FakeExport,
    FakeFiles,
    contexts,
    info,
    option,
    parked,
    pattern,
    request,
    until,
)
from hypothesis import given
from hypothesis import strategies as st
from vfloppy.export import MOST_DESCRIPTORS, MOST_STATE_BYTES, Detached
from vfloppy.nbd import Limits, listen_tcp, listen_unix
from vfloppy.nbd.protocol import wire
from vfloppy.nbd.protocol.block_status import CONTEXT_IDS
from vfloppy.nbd.protocol.exports import ExportTable
from vfloppy.nbd.protocol.handshake import Agreement
from vfloppy.nbd.server.connection import ConnectionLimits, serve_connection
from vfloppy.nbd.server.parking import Parked, receive_parked, send_parked
from vfloppy.synth.host.batch import HostSlice

SOON = Limits(park_after_s=0.05)


@pytest.fixture
def files(tmp_path):
    return FakeFiles(tmp_path, [pattern(3_000_000, 1)])


@pytest.fixture
def export(files):
    return FakeExport([pattern(1000), HostSlice(files, 0, 0, 3_000_000), b"end"])


@pytest.fixture
def listener(tmp_path):
    return listen_unix(tmp_path / "socket")


def leave(client):
    """Says goodbye; what the server answers with is that it has forgotten the client."""
    client.send(request(wire.NBD_CMD_DISC))
    assert client.at_end()


# --- what is handed over ---


@pytest.fixture
def channel():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@given(
    count=st.integers(1, 300),
    data=st.data(),
    style=st.sampled_from([(False, False), (True, False), (True, True)]),
    names=st.sets(st.sampled_from(sorted(CONTEXT_IDS))),
    state=st.binary(max_size=300) | st.integers(0, MOST_STATE_BYTES).map(bytes),
    files=st.integers(0, MOST_DESCRIPTORS),
)
def test_all_that_was_agreed_on_is_handed_over(count, data, style, names, state, files):
    exports = ExportTable({f"export {n}": FakeExport([bytes(512)]) for n in range(count)})
    offer = data.draw(st.sampled_from(list(exports)))
    selected = {name: each for name, each in CONTEXT_IDS.items() if name in names}
    near, far = socket.socketpair()
    with near, far, open(os.devnull) as null:
        agreement = Agreement(offer, *style, selected)
        detached = Detached(state, (null.fileno(),) * files)
        send_parked(far, exports, Parked(agreement, detached))
        found = receive_parked(near, exports)
    assert found.agreement == agreement
    assert list(found.agreement.contexts) == list(selected)
    assert found.detached.state == state
    assert len(found.detached.descriptors) == files
    for each in found.detached.descriptors:
        assert os.path.samestat(os.fstat(each), os.stat(os.devnull))
        assert not os.get_inheritable(each)
        os.close(each)


def test_a_connection_that_ended_leaves_nothing_to_go_on_with(channel):
    exports = ExportTable({"disk": FakeExport([bytes(512)])})
    assert receive_parked(channel[0], exports) is None
    channel[1].close()
    assert receive_parked(channel[0], exports) is None


NONSENSE = {
    "too short": struct.pack("@QBBB", 0, 0, 0, 10)[:-1],
    "an export that is not there": struct.pack("@QBBB", 1, 0, 0, 10),
    "a style that is not there": struct.pack("@QBBB", 0, 3, 0, 10),
}


@pytest.mark.parametrize("message", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_the_end_of_a_connection(channel, message):
    """Its process may be another's by now. What came with it is closed."""
    exports = ExportTable({"disk": FakeExport([bytes(512)])})
    before = os.listdir("/proc/self/fd")
    socket.send_fds(channel[1], [message], [0] * 10)
    assert receive_parked(channel[0], exports) is None
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("files", [0, 1, 3, 255])
def test_files_that_were_not_sent_are_not_believed(channel, files):
    exports = ExportTable({"disk": FakeExport([bytes(512)])})
    before = os.listdir("/proc/self/fd")
    socket.send_fds(channel[1], [struct.pack("@QBBB", 0, 0, 0, files) + b"state"], [0, 0])
    found = receive_parked(channel[0], exports)
    assert found.agreement.offer.name == "disk"
    assert found.detached == Detached()
    assert os.listdir("/proc/self/fd") == before


def test_where_no_descriptors_can_be_sent_the_rest_is(channel, monkeypatch):
    def fail(*_arguments):
        raise OSError(errno.ETOOMANYREFS, "too many")

    monkeypatch.setattr(socket, "send_fds", fail)
    exports = ExportTable({"disk": FakeExport([bytes(512)])})
    agreement = Agreement(next(iter(exports)), True, False, {})
    send_parked(channel[1], exports, Parked(agreement, Detached(b"state", (0,))))
    assert receive_parked(channel[0], exports) == Parked(agreement)


@pytest.mark.parametrize(
    "detached",
    [Detached(bytes(MOST_STATE_BYTES + 1)), Detached(b"", (0,) * (MOST_DESCRIPTORS + 1)),
     Detached(b"", (0,) * 300)],
    ids=["too long a state", "too many descriptors", "far too many"],
)  # fmt: skip
def test_what_is_more_than_can_be_sent_is_left_behind_whole(channel, detached):
    exports = ExportTable({"disk": FakeExport([bytes(512)])})
    agreement = Agreement(next(iter(exports)), True, False, {})
    send_parked(channel[1], exports, Parked(agreement, detached))
    assert receive_parked(channel[0], exports) == Parked(agreement)


# --- going on ---


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_reads_go_on_after_silence_again_and_again(serve, tmp_path, export, transport):
    if transport == "unix":
        listener = listen_unix(tmp_path / "socket")
        address = listener.path
    else:
        listener = listen_tcp("127.0.0.1", 0)
        address = ("127.0.0.1", listener.port)
    running = serve([listener], {"disk": export}, limits=SOON)
    with Client(address) as first, Client(address) as second:
        first.go()
        second.go()
        for _ in range(3):
            assert_same(first.read(900, 2_000_000), export.data[900:2_000_900])
            assert_same(second.read(0, export.size), export.data)
            parked(running)
        leave(first)
        assert second.read(0, 10) == export.data[:10]
    until(lambda: running.log.read_text().count("closed") == 2)
    log = running.log.read_text()
    assert log.count("opened") == 2
    assert "connection 1 closed" in log
    assert "connection 2 closed" in log


def test_simple_replies_stay_simple(serve, listener, export):
    running = serve([listener], {"disk": export}, limits=SOON)
    with Client(listener.path) as client:
        client.go(structured=False)
        parked(running)
        client.send(request(wire.NBD_CMD_READ, 500, 2_000_000))
        assert wire.SIMPLE_REPLY.unpack(client.take(16)) == (wire.NBD_SIMPLE_REPLY_MAGIC, 0, 7)
        assert_same(client.take(2_000_000), export.data[500:2_000_500])


@pytest.mark.parametrize("headers", ["compact", "extended"])
def test_contexts_and_headers_stay_agreed_on(serve, listener, export, headers):
    """The second of two exports, with the last of the contexts."""
    other = FakeExport([bytes(512)])
    running = serve([listener], {"a": other, "disk": export}, limits=SOON)
    style = {"compact": wire.NBD_OPT_STRUCTURED_REPLY, "extended": wire.NBD_OPT_EXTENDED_HEADERS}
    with Client(listener.path) as client:
        client.take(wire.GREETING.size)
        client.send(wire.CLIENT_FLAGS.pack(3) + option(style[headers]))
        assert client.option_reply()[1] == wire.NBD_REP_ACK
        query = contexts("disk", "x-vfloppy:kind")
        client.send(option(wire.NBD_OPT_SET_META_CONTEXT, query))
        assert client.option_reply()[1] == wire.NBD_REP_META_CONTEXT
        assert client.option_reply()[1] == wire.NBD_REP_ACK
        client.send(option(wire.NBD_OPT_GO, info("disk")))
        while client.option_reply()[1] == wire.NBD_REP_INFO:
            pass
        if headers == "compact":
            ask = request(wire.NBD_CMD_BLOCK_STATUS, 0, export.size)
            head = wire.CHUNK
        else:
            command = wire.NBD_EXTENDED_REQUEST_MAGIC << 32 | wire.NBD_CMD_BLOCK_STATUS
            ask = wire.EXTENDED_REQUEST.pack(command, 7, 0, export.size)
            head = wire.EXTENDED_CHUNK

        def status():
            client.send(ask)
            header = client.take(head.size)
            return header + client.take(head.unpack(header)[-1])

        before = status()
        parked(running)
        assert status() == before


def test_a_request_that_has_begun_is_waited_for(serve, listener, export):
    running = serve([listener], {"disk": export}, limits=SOON)
    whole = request(wire.NBD_CMD_READ, 0, 10)
    with Client(listener.path) as client:
        client.go()
        parked(running)
        client.send(whole[:1])
        until(running.children)
        time.sleep(0.3)
        assert len(running.children()) == 1
        client.send(whole[1:])
        assert client.chunk().payload == export.data[:10]
        parked(running)


def test_a_payload_that_has_begun_is_waited_for(serve, listener, export):
    running = serve([listener], {"disk": export}, limits=SOON)
    with Client(listener.path) as client:
        client.go()
        client.send(request(wire.NBD_CMD_WRITE, 0, 1000) + bytes(400))
        time.sleep(0.3)
        assert len(running.children()) == 1
        client.send(bytes(600))
        assert client.chunk().error == wire.NBD_EPERM
        assert client.read(0, 10) == export.data[:10]


def test_requests_that_come_in_the_moment_of_parking_are_answered(serve, listener, export):
    serve([listener], {"disk": export}, limits=Limits(park_after_s=0.002))
    with Client(listener.path) as client:
        client.go()
        for number in range(200):
            time.sleep(0.0015 + number % 10 * 1e-4)
            assert_same(client.read(number, 5000), export.data[number : number + 5000])


def test_a_file_that_changes_meanwhile_is_told(serve, listener, export, files):
    files.broken = {0}
    running = serve([listener], {"disk": export}, limits=SOON)
    with Client(listener.path) as client:
        client.go()
        for _ in range(2):
            parked(running)
            client.send(request(wire.NBD_CMD_READ, 1000, 100))
            assert client.chunk().text == "host0 has changed since the scan"
    running.stop()
    assert running.log.read_text().count("host0 has changed") == 1


# --- it counts as connected ---


def test_nobody_rescans_while_a_client_is_parked(serve, tmp_path, listener, export):
    asked = tmp_path / "asked"

    def refresh(_asked):
        with open(asked, "a") as file:
            file.write("!")

    running = serve([listener], {"disk": export}, limits=SOON, refresh=refresh)
    with Client(listener.path) as first:
        first.go()
        parked(running)
        with Client(listener.path) as second:
            second.go()
            leave(second)
        assert asked.read_text() == "!"
        leave(first)
    with Client(listener.path) as third:
        third.go()
        assert asked.read_text() == "!!"


def test_it_keeps_its_place_among_as_many_as_may_be(serve, listener, export):
    running = serve([listener], {"disk": export}, limits=Limits(connections=1, park_after_s=0.05))
    with Client(listener.path) as first, Client(listener.path) as second:
        first.go()
        parked(running)
        second.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            second.take(1)
        first.socket.close()
        second.socket.settimeout(PATIENCE_S)
        second.go()


def test_the_server_does_not_end_while_one_is_parked(serve, listener, export):
    running = serve([listener], {"disk": export}, limits=Limits(idle_exit_s=0.2, park_after_s=0.05))
    with Client(listener.path) as client:
        client.go()
        parked(running)
        time.sleep(0.5)
        assert client.read(0, 10) == export.data[:10]
        parked(running)
        left = time.monotonic()
    _, status = os.waitpid(running.process_id, 0)
    assert time.monotonic() - left >= 0.2
    running.status = os.waitstatus_to_exitcode(status)
    assert running.status == 0


# --- nothing stays behind ---


def descriptors(running):
    return len(os.listdir(f"/proc/{running.process_id}/fd"))


def test_those_that_leave_while_parked_leave_nothing(serve, listener, export):
    running = serve([listener], {"disk": export}, limits=SOON)
    with Client(listener.path) as client:
        client.go()
        leave(client)
    before = descriptors(running)
    clients = [Client(listener.path) for _ in range(20)]
    for client in clients:
        client.go()
    until(lambda: descriptors(running) == before + 20)
    for client in clients:
        client.socket.close()
    until(lambda: descriptors(running) == before)
    running.stop()
    assert running.log.read_text().count("closed") == 21


def test_the_end_of_the_server_is_theirs(serve, listener, export):
    running = serve([listener], {"disk": export}, limits=SOON)
    with Client(listener.path) as client:
        client.go()
        parked(running)
        assert running.stop() == 0
        assert client.at_end()


def test_a_connection_that_dies_is_closed_though_others_came_later(serve, listener, export):
    """They were forked while the server had its own copy of the socket."""
    running = serve([listener], {"disk": export}, limits=Limits(park_after_s=100))
    with Client(listener.path) as first:
        first.go()
        (child,) = running.children()
        with Client(listener.path) as second:
            second.go()
            os.kill(child, signal.SIGKILL)
            assert first.at_end()
            assert second.read(0, 10) == export.data[:10]


@pytest.fixture
def columns(files):
    return FakeColumns([pattern(1000), HostSlice(files, 0, 0, 3_000_000)])


def test_files_that_are_open_are_handed_on_and_closed_at_last(serve, listener, columns, files):
    files.held = dict.fromkeys([0, *range(2**31, 2**31 + 99)], files.descriptors[0])
    running = serve([listener], {"disk": columns}, limits=SOON)
    with Client(listener.path) as client:
        client.go()
        leave(client)
    before = descriptors(running)
    with Client(listener.path) as client:
        client.go()
        for _ in range(3):
            until(lambda: descriptors(running) == before + 101)
            assert_same(client.read(0, 2000), columns.data[:2000])
        until(lambda: descriptors(running) == before + 101)
    until(lambda: descriptors(running) == before)


def test_files_are_closed_where_the_server_is_short_of_descriptors(
    serve, listener, columns, files, monkeypatch
):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (160, limits[1]))
    files.held = dict.fromkeys(range(50), files.descriptors[0])
    running = serve([listener], {"disk": columns}, limits=SOON)
    with Client(listener.path) as first:
        first.go()
        leave(first)
    before = descriptors(running)
    with Client(listener.path) as first:
        first.go()
        until(lambda: descriptors(running) == before + 51)
        with Client(listener.path) as second:
            second.go()
            until(lambda: descriptors(running) == before + 52)
            assert second.read(0, 10) == columns.data[:10]


# --- where it is left alone ---


def stays(running, client, export):
    time.sleep(0.3)
    assert len(running.children()) == 1
    assert client.read(0, 10) == export.data[:10]


def test_a_server_that_is_short_of_descriptors(serve, listener, export, monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1, limits[1]))
    running = serve([listener], {"disk": export}, limits=SOON)
    with Client(listener.path) as client:
        client.go()
        stays(running, client, export)


def test_a_connection_with_more_files_than_can_be_handed_over(serve, listener, columns, files):
    files.open_count = MOST_DESCRIPTORS + 1
    running = serve([listener], {"disk": columns}, limits=SOON)
    with Client(listener.path) as client:
        client.go()
        stays(running, client, columns)


def test_a_connection_that_is_more_than_a_socket():
    """As TLS is: what it has buffered, and its keys, no other process could take up."""

    class Wrapped(socket.socket):
        pass

    near, far = socket.socketpair()
    export = FakeExport([pattern(1000)])
    wrapped = Wrapped(fileno=near.detach())
    table = ExportTable({"disk": export})
    parked_ones = []
    server = threading.Thread(
        target=serve_connection,
        args=(wrapped, table, lambda _level, _text: None),
        kwargs={"limits": ConnectionLimits(park_after_s=0.02), "park": parked_ones.append},
    )
    server.start()
    client = Client.__new__(Client)
    client.socket = far
    far.settimeout(PATIENCE_S)
    client.go()
    time.sleep(0.2)
    assert server.is_alive()
    assert client.read(0, 10) == export.data[:10]
    far.close()
    server.join(PATIENCE_S)
    assert not server.is_alive()
    assert not parked_ones
    wrapped.close()
