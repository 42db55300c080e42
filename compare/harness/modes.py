"""What is measured: one function a mode, one round a call.

Each returns `{row: {server: figure}}`. Servers follow each other within a round, so
that a busy minute of the machine touches all of them. Never judges a figure.
"""

import http.client
import json
import resource
import signal
import statistics
import subprocess
import time

from . import foreign
from .programs import BOTH_CORES, OUT, Block, Server, begin_load, has_uring, ipcow, load

SECONDS = 1.5
TCP_SERVERS = ["epoll", "tokio", "actix", "ipcow"]
START = Block("127.44.60.1", addrs=15, ports=1000)
IDLE_SESSIONS = 9_000
MILLION = ["both://127.1.0.0-127.1.1.243:10001-11000"]  # 500 addresses x 1,000 ports x 2
HUNDRED_THOUSAND = "127.44.100.0-127.44.100.99:20000-20999"


def micros(figures):
    return figures["cpu_seconds"] / figures["messages"] * 1e6


def per_second(figures):
    return figures["messages"] / figures["seconds"]


def block_of(name, **kind):
    """A block of its own for each server, so that none meets another's TIME_WAIT."""
    return Block(f"127.44.{10 + sorted([*TCP_SERVERS, 'udp_c', 'uring', 'ipcow_log']).index(name)}.1", **kind)


def streams(count, size, depth, servers=None):
    """CPU a message and messages a second on one core, for each TCP server."""
    cpu, rate = {}, {}
    for name in servers or TCP_SERVERS:
        block = block_of(name)
        with Server(name, block) as server:
            figures = load("stream", server, block, count, size, depth, SECONDS)
        cpu[name], rate[name] = micros(figures), per_second(figures)
    return cpu, rate


def tcp_100():
    cpu, rate = streams(100, 64, 1)
    return {"cpu_100": cpu, "rate_100": rate}


def tcp_1000():
    cpu, rate = streams(1000, 64, 1)
    return {"cpu_1000": cpu, "rate_1000": rate}


def bulk():
    cpu, rate = streams(10, 16_384, 4)
    return {"bulk": rate, "bulk_cpu": cpu}


def uring():
    """What io_uring would bring: its prototype beside epoll and IPCow."""
    if not has_uring():
        raise RuntimeError("no liburing to compile against (Debian: liburing-dev)")
    rows = {}
    for row, work in {"100": (100, 64, 1), "1000": (1000, 64, 1), "bulk": (10, 16_384, 4)}.items():
        rows[f"uring_{row}"], _ = streams(*work, servers=["epoll", "ipcow", "uring"])
    return rows


def hot():
    """One endpoint, all cores for the server and for the generator."""
    rows = {"hot": {}, "hot_cpu": {}, "hot_busiest": {}}
    for name in ["tokio", "ipcow"]:
        block = block_of(name)
        with Server(name, block, threads=None, cores=BOTH_CORES) as server:
            before = server.thread_seconds()
            figures = load("stream", server, block, 100, 64, 1, SECONDS, cores=BOTH_CORES)
            used = [spent - before.get(thread, 0)
                    for thread, spent in server.thread_seconds().items()]
        rows["hot"][name], rows["hot_cpu"][name] = per_second(figures), micros(figures)
        rows["hot_busiest"][name] = max(used) / sum(used)
    return rows


def access():
    """The access log's price. The file begins anew with each server."""
    rows = {"access": {}, "access_cpu": {}}
    for name in ["ipcow", "ipcow_log"]:
        (OUT / "access.log").unlink(missing_ok=True)
        block = block_of(name, ports=10)
        with Server(name, block) as server:
            figures = load("rate", server, block, 32, 64, 1, SECONDS)
        rows["access"][name], rows["access_cpu"][name] = per_second(figures), micros(figures)
    (OUT / "access.log").unlink(missing_ok=True)
    return rows


def rate():
    rows = {"connections": {}, "connections_cpu": {}}
    for name in TCP_SERVERS:
        block = block_of(name, ports=10)
        with Server(name, block) as server:
            figures = load("rate", server, block, 32, 64, 1, SECONDS)
        rows["connections"][name] = per_second(figures)
        rows["connections_cpu"][name] = micros(figures)
    return rows


def idle():
    """Growth of anonymous memory a session, after each has echoed 64 bytes."""
    grown = {}
    for name in TCP_SERVERS:
        block = block_of(name, ports=10)
        with Server(name, block) as server:
            before = server.anonymous_bytes()
            client = begin_load("hold", server, block, IDLE_SESSIONS)
            if client.stdout.readline() != b"held\n":
                raise RuntimeError(f"{name} does not hold {IDLE_SESSIONS} sessions")
            grown[name] = (server.anonymous_bytes() - before) / IDLE_SESSIONS
            client.communicate(timeout=60)
            if client.returncode != 0:
                raise RuntimeError(f"{name} lost an idle session")
    return {"idle": grown}


def listeners():
    """Anonymous memory of 15,000 idle listeners over that of ten, for each."""
    rows = {}
    for protocol in ["tcp", "udp"]:
        with Server("ipcow", Block(START.address, ports=10), None, protocol, BOTH_CORES) as server:
            few = server.anonymous_bytes()
        with Server("ipcow", START, None, protocol, BOTH_CORES) as server:
            many = server.anonymous_bytes()
        count = START.addrs * START.ports
        rows[f"listener_{protocol}"] = {"ipcow": (many - few) / (count - 10)}
    return rows


def udp():
    rows = {"udp": {}, "udp_cpu": {}}
    for name in ["udp_c", "tokio", "ipcow"]:
        block = block_of(name, ports=16)
        with Server(name, block, protocol="udp") as server:
            figures = load("udp", server, block, 16, 64, 16, SECONDS)
        if figures["lost"]:
            raise RuntimeError(f"{name} lost {figures['lost']} datagrams")
        rows["udp"][name], rows["udp_cpu"][name] = per_second(figures), micros(figures)
    return rows


def start():
    """From exec until all of 15,000 endpoints listen; then each is connected to."""
    taken = {}
    for name in ["epoll", "tokio", "ipcow"]:
        with Server(name, START, threads=None, cores=BOTH_CORES) as server:
            taken[name] = server.seconds * 1e3
            load("touch", server, START, cores=BOTH_CORES)
    for name in ["nginx", "haproxy"]:
        if foreign.is_there(name):
            taken[name] = foreign.start_seconds(name, START) * 1e3
    return {"start": taken}


def many():
    """One message on each of as many endpoints as the descriptors allow, at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    addrs = max(1, min(10, (hard - 1_000) // 2_000))
    rows = {"many": {}, "many_cpu": {}}
    for name in TCP_SERVERS:
        block = block_of(name, addrs=addrs, ports=1000)
        with Server(name, block) as server:
            figures = load("sweep", server, block)
        rows["many"][name] = (figures["seconds"] + figures["dial_seconds"]) * 1e3
        rows["many_cpu"][name] = micros(figures)
    return rows


def lone():
    """Latency of one client, alone and beside one that keeps 512 KiB in flight."""
    rows = {"lone_alone": {}, "lone_flooded": {}}
    for name in TCP_SERVERS:
        block = block_of(name)
        with Server(name, block) as server:
            alone = load("lone", server, block, seconds=SECONDS)
            # The flood gives way on the clients' core: the server's queue is measured.
            flood = begin_load("stream", server, block, 1, 65_536, 8, SECONDS + 1, nice=19)
            time.sleep(0.3)
            flooded = load("lone", server, block, seconds=SECONDS)
            flood.communicate(timeout=60)
            if flood.returncode != 0:
                raise RuntimeError(f"{name} lost bytes of the flood")
        rows["lone_alone"][name] = alone["p99_us"]
        rows["lone_flooded"][name] = flooded["p99_us"]
    return rows


def plan():
    """`ipcow plan` of a million endpoints: the whole command, findings included."""
    # Its log goes nowhere: the last line of stderr is what `spawn` says.
    command = [str(OUT / "bin" / "spawn"), ipcow(), "plan", "--config", "none", "--json", *MILLION]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    text, usage = done.stdout, json.loads(done.stderr.splitlines()[-1])
    total = json.loads(text)["endpoints"]["total"]
    if total != 1_000_000:
        raise RuntimeError(f"{total} endpoints were planned")
    return {"plan_ms": {"ipcow": usage["seconds"] * 1e3},
            "plan_mb": {"ipcow": usage["most_kib"] / 1024}}


def scrape():
    """What a scrape of `/metrics` takes, of as many endpoints as no machine serves at once:
    those that find no descriptor are known and counted like the others."""
    command = [ipcow(), "serve", "--config", "none", "--json", "--progress", "none", "--control",
               "none", "--admin", "127.0.0.1:0", HUNDRED_THOUSAND]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        ready = json.loads(server.stdout.readline())
        if ready["endpoints"]["total"] != 100_000:
            raise RuntimeError(f"not 100,000 endpoints: {ready['endpoints']}")
        client = http.client.HTTPConnection(ready["admin"], timeout=60)
        taken = []
        for _ in range(51):
            began = time.monotonic()
            client.request("GET", "/metrics")
            page = client.getresponse().read()
            taken.append((time.monotonic() - began) * 1e3)
        client.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    return {"scrape_ms": {"ipcow": statistics.median(taken)},
            "scrape_kib": {"ipcow": len(page) / 1024}}


MODES = {
    "tcp-100": tcp_100, "tcp-1000": tcp_1000, "bulk": bulk, "hot": hot, "rate": rate, "access": access,
    "idle": idle, "listeners": listeners, "udp": udp, "start": start, "many": many,
    "lone": lone, "plan": plan, "scrape": scrape,
}
# Asked for by name only.
EXTRA = {"uring": uring}
