"""How much, how slowly and how often: each limit refuses its own client and nobody else."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from sim_engine.api import server
from sim_engine.api.app import create_app
from sim_engine.api.limits import RateLimiter
from sim_engine.api.problems import Problem
from sim_engine.settings import Settings
from tests.api.conftest import OpenApp
from tests.api.server import Server, serving, world

TURN = b'{"submissions": []}'
MIB = 2**20


def head(length: int | str, path: str = "/turn") -> bytes:
    return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n").encode()


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The only answer that is on a connection: status, headers and body."""
    with connection.makefile("rb") as stream:
        return next_answer(stream)


def next_answer(stream: BinaryIO) -> tuple[int, dict[str, str], bytes]:
    status = int(stream.readline().split()[1])
    headers: dict[str, str] = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, stream.read(int(headers["content-length"]))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("limits") / "sim.db"
    limits = {"SIM_MAX_BODY_BYTES": str(2 * MIB), "SIM_BODY_SECONDS": "1.5"}
    with serving(path, **limits) as started:
        with started.client() as client:
            assert client.post("/init", json=world(3)).status_code == 201
        yield started


@contextmanager
def in_process(db_path: Path, agents: int = 1) -> Iterator[tuple[str, int]]:
    """A server in a thread, so that a test can shorten its patience; its address."""
    (listening,) = server.bind("127.0.0.1", 0)
    running = server.Server(create_app(Settings(db_path=db_path)))
    thread = threading.Thread(target=running.run, args=([listening],))
    thread.start()
    try:
        address: tuple[str, int] = listening.getsockname()
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.02)
        made = httpx.post("http://{}:{}/init".format(*address), json=world(agents), timeout=30)
        assert made.status_code == 201
        yield address
    finally:
        running.should_exit = True
        thread.join(30)


@contextmanager
def connected(db_path: Path) -> Iterator[socket.socket]:
    """A connection to a server in a thread."""
    with (
        in_process(db_path) as address,
        socket.create_connection(address, timeout=10) as connection,
    ):
        yield connection


def turn_of(engine: Server) -> int:
    with engine.client() as client:
        return int(client.get("/health").json()["turn"])


# -- how much --------------------------------------------------------------------------------------


def test_a_body_that_says_it_is_too_large_is_refused_unread(engine: Server):
    with engine.connect() as connection:
        connection.sendall(head(50 * 10**6))
        status, headers, body = read_answer(connection)
    assert status == 413
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == "body_too_large"
    assert "2,097,152 bytes" in json.loads(body)["detail"]


def test_a_whole_body_that_is_too_large_is_refused(engine: Server):
    before = turn_of(engine)
    with engine.client() as client:
        answer = client.post("/turn", content=TURN + b" " * (50 * 10**6))
        assert answer.status_code == 413
        # The connection is still good.
        assert client.get("/health").status_code == 200
    assert turn_of(engine) == before


@pytest.mark.parametrize(
    "start", [b"GET /", b"GET /state HTTP/1.1\r\nX-Long: ", b"GET /state HTTP/1.1\r\n"]
)
def test_a_head_that_is_too_large_is_refused(engine: Server, start: bytes):
    filling = b"X: y\r\n" if start.endswith(b"1\r\n") else b"x" * 6
    with engine.connect() as connection:
        connection.sendall(start + filling * 11_000)
        status, headers, body = read_answer(connection)
        assert (status, json.loads(body)["code"]) == (431, "head_too_large")
        assert headers["content-type"] == "application/problem+json"
        assert connection.recv(1) == b""
    with engine.client() as client:
        assert client.get("/health", headers={"X-Long": "x" * 60_000}).status_code == 200


def test_a_body_in_chunks_is_counted_as_it_comes(engine: Server):
    def chunks() -> Iterator[bytes]:
        yield TURN
        for _ in range(3 * 16):
            yield b" " * (MIB // 16)

    with engine.client() as client:
        assert client.post("/turn", content=chunks()).status_code == 413


def test_the_largest_body_is_taken(engine: Server):
    before = turn_of(engine)
    with engine.client() as client:
        content = TURN + b" " * (2 * MIB - len(TURN))
        assert client.post("/turn", content=content).status_code == 200
        assert client.post("/turn", content=content + b" ").status_code == 413
    assert turn_of(engine) == before + 1


def test_queued_actions_have_a_smaller_limit(engine: Server):
    with engine.client() as client:
        answer = client.post("/actions", content=b" " * (MIB + 1))
    assert answer.status_code == 413
    assert "1,048,576 bytes" in answer.json()["detail"]


# -- how slowly ------------------------------------------------------------------------------------


def test_a_slow_body_is_given_up_and_stops_nobody(engine: Server):
    before = turn_of(engine)
    with engine.connect() as connection:
        connection.sendall(head(len(TURN)) + TURN[:5])
        with engine.client() as client:
            assert client.post("/turn", content=TURN).status_code == 200
        status, headers, body = read_answer(connection)
        assert (status, json.loads(body)["code"]) == (408, "body_too_slow")
        assert headers["connection"] == "close"
        assert connection.recv(1) == b""
    assert turn_of(engine) == before + 1


def test_a_body_cut_in_half_changes_nothing(engine: Server):
    before = turn_of(engine)
    for sent in (TURN[:5], b""):
        with engine.connect() as connection:
            connection.sendall(head(len(TURN)) + sent)
    with engine.connect() as connection:  # in chunks, without the last one
        connection.sendall(
            b"POST /turn HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            + f"{len(TURN):x}\r\n".encode()
            + TURN
            + b"\r\n"
        )
    deadline = time.monotonic() + 10
    while len([one for one in engine.lines("request") if one["status"] == "400"]) < 3:
        assert time.monotonic() < deadline, engine.log[-5:]
        time.sleep(0.02)
    assert turn_of(engine) == before


def test_what_is_no_http_is_a_problem_too(engine: Server):
    with engine.connect() as connection:
        connection.sendall(b"\x16\x03\x01 what is this\r\n\r\n")
        status, headers, body = read_answer(connection)
        assert connection.recv(1) == b""
    assert (status, json.loads(body)["code"]) == (400, "bad_request")
    assert headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        (b"GET /state HTTP/1.0", b"", 200),
        (b"GET /state?agents=%ff HTTP/1.1", b"", 422),
        (b"GET /agent/%ff%00 HTTP/1.1", b"", 404),
        (b"GET /entries?account=%ed%a0%80%00 HTTP/1.1", b"", 200),
        (b"GET /block/%F0%9F%98%80 HTTP/1.1", b"", 404),
        (b"GET /contract/c%D9%A1 HTTP/1.1", b"", 404),
        (b"GET /contract/c99999999999999999999999 HTTP/1.1", b"", 404),
        (b"GET /speech/%D9%A1 HTTP/1.1", b"", 422),
        (b"GET /entries?after=999999999999999.999999999999999 HTTP/1.1", b"", 200),
        (b"GET /state HTTP/1.1", b"Connection: upgrade\r\nUpgrade: websocket\r\n", 200),
        (b"OPTIONS * HTTP/1.1", b"", 404),
        (b"TRACE /state HTTP/1.1", b"", 405),
        (b"CONNECT a:80 HTTP/1.1", b"", 400),
        (b"POST /turn HTTP/1.1", b"Content-Length: -5\r\n", 400),
        (b"POST /turn HTTP/1.1", b"Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        (b"POST /turn HTTP/1.1", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"POST /turn HTTP/1.1", b"Idempotency-Key: \xff\r\nContent-Length: 0\r\n", 422),
    ],
)
def test_odd_requests_are_answered_in_order(
    engine: Server, request_line: bytes, headers: bytes, status: int
):
    with engine.connect() as connection:
        connection.sendall(request_line + b"\r\nHost: a\r\n" + headers + b"\r\n")
        assert read_answer(connection)[0] == status
    assert [line for line in engine.log if "fault=" in line] == []


GET = b"GET /health HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize("padding", [0, 100_000, 1_000_000])
@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"what is this\r\n\r\n", 0),
        (b"\x16\x03\x01", 0),
        (b"}", 0),
        (b"\r\n" + GET + b"\r\nwhat is this\r\n\r\n", 1),
        (GET + b"\r\n" + GET + b"\r\nPOST /turn HTTP/1.1\r\nContent-Length: x\r\n\r\n", 2),
        (b"POST /turn HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 0),
    ],
)
def test_what_was_sent_whole_is_answered_before_what_follows_it_is_refused(
    engine: Server, padding: int, sent: bytes, answers: int
):
    """A turn that was sealed must not be answered as a request that could not be read."""
    body = TURN + b" " * padding
    before = turn_of(engine)
    with engine.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(head(len(body)) + body + sent)
        found = [next_answer(stream)[0] for _ in range(1 + answers)]
        assert found == [200] * (1 + answers)
        assert stream.read(1) == b""
    assert turn_of(engine) == before + 1


def test_a_head_that_comes_with_the_body_before_it_is_no_longer_for_that(engine: Server):
    body = TURN + b" " * 200_000
    with engine.connect() as connection:
        for start, rest in ((GET[:9], GET[9:]), (GET, b"Accept: a\r\n")):
            connection.sendall(head(len(body)) + body + start)
            assert read_answer(connection)[0] == 200
            connection.sendall(rest + b"\r\n")
            assert read_answer(connection)[0] == 200


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


def test_an_upgrade_is_declined_and_never_costs_a_body(engine: Server):
    before = turn_of(engine)
    for form in (b"Content-Length: 15\r\n", b"Transfer-Encoding: chunked\r\n"):
        with engine.connect() as connection:
            connection.sendall(
                b"POST /turn HTTP/1.1\r\nHost: a\r\n" + UPGRADE + form + b"\r\n" + TURN
            )
            status, _, body = read_answer(connection)
            assert (status, json.loads(body)["code"]) == (400, "bad_request")
            assert "without --http2" in json.loads(body)["detail"]
            assert connection.recv(1) == b""
    assert turn_of(engine) == before
    for form in (b"", b"Content-Length: 0\r\n"):
        with engine.connect() as connection:
            connection.sendall(GET + UPGRADE + form + b"\r\n" + GET + b"\r\n")
            status, headers, _ = read_answer(connection)
            assert (status, headers["connection"]) == (200, "close")
            assert connection.recv(1) == b""
    assert [line for line in engine.log if "level=warning" in line and "upgrade" in line] == []


def test_hundreds_of_half_open_connections_stop_nobody(engine: Server):
    opened = [engine.connect() for _ in range(300)]
    try:
        for number, connection in enumerate(opened):
            if number % 3 == 1:
                connection.sendall(b"GET /state HTTP/1.1\r\nHost: 127.0")
            elif number % 3 == 2:
                connection.sendall(head(len(TURN)) + TURN[:1])
        with engine.client() as client:
            for _ in range(5):
                assert client.get("/state").status_code == 200
                assert client.post("/turn", content=TURN).status_code == 200
    finally:
        for connection in opened:
            connection.close()


@pytest.mark.parametrize("sent", [b"", b"GET /state HT", b"GET /state HTTP/1.1\r\nHost: a"])
def test_a_head_that_never_ends_is_cut_off(
    sent: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    with in_process(tmp_path / "sim.db") as address:
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(sent)
            assert connection.recv(1) == b""
        # One whose head was complete is not cut, however long it then waits.
        with socket.create_connection(address, timeout=10) as connection:
            for _ in range(2):
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                assert read_answer(connection)[0] == 200
                time.sleep(0.8)


def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(server, "IDLE_SECONDS", 1)
    with connected(tmp_path / "sim.db") as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(connection)[0] == 200
        assert connection.recv(1) == b""


def test_line_ends_keep_no_connection_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(server, "IDLE_SECONDS", 1)
    with connected(tmp_path / "sim.db") as connection:
        connection.sendall(GET + b"\r\n")
        assert read_answer(connection)[0] == 200
        connection.sendall(b"\r\n")
        assert connection.recv(1) == b""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells so")
def test_a_flood_of_requests_takes_no_memory_without_end(engine: Server):
    def resident_mib() -> int:
        status = Path(f"/proc/{engine.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024

    before = resident_mib()
    with engine.connect() as connection, suppress(OSError):
        connection.settimeout(1)
        for _ in range(300):
            connection.sendall((GET + b"\r\n") * 1_000)  # and read nothing
    assert resident_mib() < before + 64


def test_many_requests_sent_ahead_are_all_answered(engine: Server):
    with engine.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall((GET + b"\r\n") * 900)
        assert {next_answer(stream)[0] for _ in range(900)} == {200}


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /state HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /state HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /state HTTP/1.1\r\nHost: a\r\n\r\nwhat is this\r\n\r\n",
        b"GET /state HTTP/1.1\r\nHost: a\r\n\r\n" * 3,
        b"GET /state HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
def test_an_answer_that_nobody_reads_is_cut_off_whatever_comes_after_it(
    sent: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(server, "IDLE_SECONDS", 1)
    monkeypatch.setattr(server, "STALLED_SECONDS", 1.0)
    with in_process(tmp_path / "sim.db", agents=24_000) as address, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(address)
        connection.sendall(sent)
        time.sleep(4)
        received = connection.recv(4_096)
        length = int(received.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        total = len(received)
        with suppress(ConnectionResetError):
            while part := connection.recv(MIB):
                total += len(part)
        assert total < length


@pytest.mark.parametrize("reads", [False, True], ids=["not read", "read slowly"])
def test_an_answer_that_nobody_reads_is_cut_off(
    reads: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(server, "IDLE_SECONDS", 1)
    monkeypatch.setattr(server, "STALLED_SECONDS", 1.0)
    with in_process(tmp_path / "sim.db", agents=24_000) as address, socket.socket() as connection:
        connection.settimeout(20)
        connection.connect(address)
        connection.sendall(b"GET /state HTTP/1.1\r\nHost: a\r\n\r\n")
        received = connection.recv(4_096)
        length = int(received.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        total = len(received) - received.index(b"\r\n\r\n") - 4
        deadline = time.monotonic() + 4  # four times the patience
        while time.monotonic() < deadline:
            time.sleep(0.1)
            total += len(connection.recv(MIB // 2)) if reads else 0
        with suppress(ConnectionResetError):
            while total < length and (part := connection.recv(MIB)):
                total += len(part)
        assert (total == length) == reads


def test_what_follows_a_refused_body_is_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(server, "UNREAD_BYTES_MAX", 4 * MIB)
    with connected(tmp_path / "sim.db") as connection:
        connection.sendall(head(10**9))
        assert read_answer(connection)[0] == 413
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(b" " * (200 * MIB))


@pytest.mark.parametrize("line", [b"X: " + b"y" * 60 + b"\r\n", b"y" * 65], ids=["many", "one"])
def test_a_trailer_that_never_ends_is_cut_off(engine: Server, line: bytes):
    with engine.connect() as connection:
        connection.sendall(b"POST /turn HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"0\r\n" + (b"" if line.endswith(b"\n") else b"X: "))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(line * 2_000_000)


def test_a_trailer_is_no_part_of_the_head(engine: Server):
    before = turn_of(engine)
    with engine.connect() as connection:
        connection.sendall(
            b"POST /turn HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            + f"{len(TURN):x}\r\n".encode()
            + TURN
            + b"\r\n0\r\nIdempotency-Key: from the trailer\r\n\r\n"
        )
        assert read_answer(connection)[0] == 200
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(connection)[0] == 200
    assert turn_of(engine) == before + 1


def drip(connection: socket.socket, *, seconds: float) -> None:
    """Go on sending, very slowly."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        connection.sendall(b" ")
        time.sleep(0.05)


def test_a_refused_request_must_come_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(server, "STALLED_SECONDS", 0.5)
    with connected(tmp_path / "sim.db") as connection:
        connection.sendall(head(10**9))
        assert read_answer(connection)[0] == 413
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            drip(connection, seconds=10)


# -- how often -------------------------------------------------------------------------------------


def test_a_bucket_empties_and_fills_again():
    now = 100.0
    limiter = RateLimiter(10, clock=lambda: now)
    for _ in range(20):
        limiter.take("a")
    with pytest.raises(Problem) as refused:
        limiter.take("a")
    assert refused.value.code == "rate_limited"
    assert refused.value.headers == {"Retry-After": "1"}
    limiter.take("b")
    now += 0.5
    for _ in range(5):
        limiter.take("a")
    with pytest.raises(Problem):
        limiter.take("a")
    now += 3_600
    for _ in range(20):
        limiter.take("a")
    with pytest.raises(Problem):
        limiter.take("a")


def test_callers_without_number_take_no_memory_without_end():
    limiter = RateLimiter(1)
    for number in range(30_000):
        limiter.take(f"peer {number}")
    assert len(limiter._buckets) == 10_000


def test_each_key_has_a_limit_of_its_own_and_the_operator_none(open_app: OpenApp):
    key = "operator-key-of-these-tests"
    client = open_app(operator_key=key, rate_limit=1)
    operator = {"Authorization": f"Bearer {key}"}
    body = world(["a", "b"], agent_keys=True)
    keys = client.post("/init", json=body, headers=operator).json()["agent_keys"]

    def ask(headers: dict[str, str], times: int) -> list[int]:
        return [client.get("/health", headers=headers).status_code for _ in range(times)]

    agent = {"Authorization": f"Bearer {keys['a']}"}
    statuses = ask(agent, 50)
    assert statuses[:2] == [200, 200]
    assert 429 in statuses
    assert ask({"Authorization": f"Bearer {keys['b']}"}, 1) == [200]
    assert ask(operator, 50) == [200] * 50
    # Guesses at keys count for the address that makes them, whatever they guess.
    guesses = [ask({"Authorization": f"Bearer guess-{n}"}, 1)[0] for n in range(50)]
    assert guesses[:2] == [401, 401]
    assert 429 in guesses
    refused = next(
        answer for answer in iter(lambda: client.get("/health"), None) if answer.status_code == 429
    )
    assert refused.json()["code"] == "rate_limited"
    assert int(refused.headers["Retry-After"]) >= 1


def test_rate_limit_can_be_switched_off(open_app: OpenApp):
    client = open_app(operator_key="operator-key-of-these-tests", rate_limit=0)
    assert {client.get("/health").status_code for _ in range(30)} == {200}
