"""Builds the programs of a comparison, starts them, and stops what it started.

Never decides what is measured: `modes` does.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "target" / "compare"
LOAD = OUT / "bin" / "load"
SERVER_CORE, CLIENT_CORE = "0", "1"
BOTH_CORES = "0-1"
C_FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror"]
PATIENCE = 30


def build():
    """Compiles every program; IPCow too, unless $IPCOW names one."""
    (OUT / "bin").mkdir(parents=True, exist_ok=True)
    sources = ROOT / "compare" / "c"
    programs = {
        "load": ["load.c", "load_stream.c", "load_sessions.c", "load_udp.c"],
        "epoll_echo": ["epoll_echo.c"],
        "udp_echo": ["udp_echo.c"],
        "spawn": ["spawn.c"],
    }
    if has_uring():
        programs["uring_echo"] = ["uring_echo.c", "-luring"]
    for name, files in programs.items():
        words = [word if word.startswith("-") else str(sources / word) for word in files]
        subprocess.run(["cc", *C_FLAGS, "-o", str(OUT / "bin" / name), *words], check=True)
    cargo = ["cargo", "build", "--release", "--locked", "--quiet"]
    manifest = str(ROOT / "compare" / "Cargo.toml")
    subprocess.run([*cargo, "--manifest-path", manifest, "--target-dir", str(OUT)], check=True)
    if "IPCOW" not in os.environ:
        subprocess.run(cargo, cwd=ROOT, check=True)


def has_uring():
    """Whether liburing can be compiled against (Debian: liburing-dev)."""
    return Path("/usr/include/liburing.h").exists()


def ipcow():
    return os.environ.get("IPCOW", str(ROOT / "target" / "release" / "ipcow"))


def foreign(name):
    """A server of the distribution: $NGINX_BIN or $HAPROXY_BIN, else from the path.

    A variable `NGINX` would mean inherited sockets to nginx itself.
    """
    path = os.environ["PATH"] + ":/usr/sbin"
    return os.environ.get(f"{name.upper()}_BIN") or shutil.which(name, path=path)


class Block:
    """ADDRS loopback addresses in a row, PORTS ports in a row on each."""

    def __init__(self, address, addrs=1, port=20_000, ports=1):
        self.address, self.addrs, self.port, self.ports = address, addrs, port, ports

    def words(self):
        return [self.address, str(self.addrs), str(self.port), str(self.ports)]

    def addresses(self):
        head, last = self.address.rsplit(".", 1)
        return [f"{head}.{int(last) + more}" for more in range(self.addrs)]

    def spec(self, protocol="tcp"):
        last = self.addresses()[-1]
        return f"{protocol}://{self.address}-{last}:{self.port}-{self.port + self.ports - 1}"


def ipcow_log(block, threads, protocol):
    return [*SERVERS["ipcow"][0](block, threads, protocol), "--set",
            f"access_log.path={OUT / 'access.log'}"]


# How each server is started on a block, and what a reader has to know of it.
SERVERS = {
    "ipcow": (
        lambda block, threads, protocol: [
            ipcow(), "serve", "--config", "none", "--json", "--progress", "none",
            *(["--workers", str(threads)] if threads else []), block.spec(protocol)],
        "the built-in configuration: termination `!!quit!!` searched for, idle, write and "
        "keepalive time-outs on, max_sessions and backlog auto, UDP source ports refused, "
        "UDP rates on (loopback is exempt)"),
    "ipcow_log": (
        ipcow_log,
        "the same with `access_log.path`: a line for each session into a file, written by a "
        "thread on the server's core; only in the mode `access`"),
    "epoll": (
        lambda block, threads, protocol: [str(OUT / "bin" / "epoll_echo"), *block.words()],
        "C, one thread, level-triggered epoll, one 64 KiB buffer, backlog 4096, no time-outs"),
    "uring": (
        lambda block, threads, protocol: [str(OUT / "bin" / "uring_echo"), *block.words()],
        "C, one thread, io_uring: multishot accept and recv, 4,096 provided buffers of 16 KiB, "
        "DEFER_TASKRUN; a prototype, only in the mode of its name"),
    "udp_c": (
        lambda block, threads, protocol: [str(OUT / "bin" / "udp_echo"), *block.words()],
        "C, one thread, recvmmsg and sendmmsg of up to 64 datagrams, no guard"),
    "tokio": (
        lambda block, threads, protocol: [
            str(OUT / "release" / "tokio_echo"), protocol, str(threads or 2), *block.words()],
        "a task and a 16 KiB buffer a session (65,535 bytes a UDP socket), backlog 4096, no "
        "time-outs; current-thread on one core, multi-thread on all"),
    "actix": (
        lambda block, threads, protocol: [str(OUT / "release" / "actix_echo"), *block.words()],
        "an actor a session, FramedRead as stream, FramedWrite as sink, one thread, backlog "
        "4096, no time-outs"),
}


class Server:
    """One server, from its start until the end of the `with`."""

    def __init__(self, name, block, threads=1, protocol="tcp", cores=SERVER_CORE):
        command = SERVERS[name][0](block, threads, protocol)
        self.name = name
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            ["taskset", "-c", cores, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line = self.process.stdout.readline()
        self.seconds = time.monotonic() - self.began
        if b'"ready"' not in line and line != b"ready\n":
            self.stop()
            raise RuntimeError(f"{name} is not ready: {line!r}")
        if name.startswith("ipcow") and json.loads(line)["state"] != "ready":
            self.stop()
            raise RuntimeError(f"not every endpoint listens: {line[:500]!r}")
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def anonymous_bytes(self):
        """Memory of its own that is resident (RssAnon, proc(5))."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024

    def thread_seconds(self):
        """CPU time of each thread."""
        times = {}
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            times[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
        return times


def load_command(mode, server, block, count, size, depth, seconds, cores, nice):
    pid = server.pid if server else 0
    numbers = [str(each) for each in (count, size, depth, seconds)]
    return ["nice", "-n", str(nice), "taskset", "-c", cores, str(LOAD), mode, str(pid),
            *block.words(), *numbers]


def load(mode, server, block, count=1, size=64, depth=1, seconds=1.0, cores=CLIENT_CORE, nice=0):
    """Runs the generator to its end; its figures."""
    command = load_command(mode, server, block, count, size, depth, seconds, cores, nice)
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=120, check=True)
    return json.loads(done.stdout)


def begin_load(mode, server, block, count=1, size=64, depth=1, seconds=1.0, cores=CLIENT_CORE,
               nice=0):
    """Starts the generator and leaves it running, with its stdin and stdout."""
    command = load_command(mode, server, block, count, size, depth, seconds, cores, nice)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
