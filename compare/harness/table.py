"""The figures of all rounds as tables: what was seen, and which targets are met.

Never measures. A row that was not measured is not judged.
"""

import statistics

# Row, what it says, digits after the point.
ROWS = [
    ("cpu_100", "CPU µs a 64-byte TCP echo, 100 connections, one core", 2),
    ("cpu_1000", "CPU µs a 64-byte TCP echo, 1,000 connections, one core", 2),
    ("rate_100", "64-byte echoes a second, 100 connections, one core", 0),
    ("rate_1000", "64-byte echoes a second, 1,000 connections, one core", 0),
    ("hot", "64-byte echoes a second, one endpoint, all cores, 100 connections", 0),
    ("hot_cpu", "the same, CPU µs an echo", 2),
    ("hot_busiest", "the same, share of the busiest thread in all CPU time", 2),
    ("bulk", "16 KiB echoes a second, 4 in flight × 10 connections, one core", 0),
    ("bulk_cpu", "the same, CPU µs an echo", 2),
    ("uring_100", "CPU µs a 64-byte echo, 100 connections, beside io_uring", 2),
    ("uring_1000", "CPU µs a 64-byte echo, 1,000 connections, beside io_uring", 2),
    ("uring_bulk", "CPU µs a 16 KiB echo, 4 in flight × 10, beside io_uring", 2),
    ("connections", "connect–echo–close a second, 32 at a time, one core", 0),
    ("connections_cpu", "the same, CPU µs a connection", 1),
    ("access", "connect–echo–close a second, without and with the access log", 0),
    ("access_cpu", "the same, CPU µs a connection", 1),
    ("udp", "64-byte UDP echoes a second, 16 sockets × 16 in flight, one core", 0),
    ("udp_cpu", "the same, CPU µs an echo", 2),
    ("idle", "bytes an idle TCP session, of 9,000", 0),
    ("listener_tcp", "bytes an idle TCP listener, of 15,000", 0),
    ("listener_udp", "bytes an idle UDP listener, of 15,000", 0),
    ("start", "ms from exec until 15,000 TCP endpoints listen", 0),
    ("many", "ms to connect to 9,000 endpoints (or fewer) and echo once on each", 0),
    ("many_cpu", "the same, CPU µs an endpoint", 1),
    ("lone_alone", "p99 µs of a lone client, alone", 0),
    ("lone_flooded", "p99 µs of a lone client beside a flood", 0),
    ("plan_ms", "ms to plan 1,000,000 endpoints, the whole command", 1),
    ("plan_mb", "MiB of memory at most, the same", 1),
    ("scrape_ms", "ms to scrape `/metrics` of 100,000 endpoints, on one connection", 2),
    ("scrape_kib", "KiB that it takes, the same", 1),
]
ORDER = ["ipcow", "ipcow_log", "epoll", "uring", "udp_c", "tokio", "actix", "nginx", "haproxy"]


class Figures:
    """All samples, by row and server."""

    def __init__(self):
        self.samples = {}

    def add(self, rows):
        for row, servers in rows.items():
            for server, figure in servers.items():
                self.samples.setdefault(row, {}).setdefault(server, []).append(figure)

    def median(self, row, server):
        return statistics.median(self.samples[row][server])

    def rounds(self):
        return max((len(each) for row in self.samples.values() for each in row.values()), default=0)

    def of_round(self, number):
        """The figures of one round alone."""
        alone = Figures()
        for row, servers in self.samples.items():
            alone.samples[row] = {
                name: [each[number]] for name, each in servers.items() if number < len(each)}
        return alone

    def has(self, row, *servers):
        return all(server in self.samples.get(row, {}) for server in servers)

    def ratio(self, row, other, top=max):
        """IPCow's median over that of `other`, or of the best of several."""
        others = other if isinstance(other, list) else [other]
        if not self.has(row, "ipcow", *others):
            return None
        return self.median(row, "ipcow") / top(self.median(row, each) for each in others)

    def plain(self, row):
        return self.median(row, "ipcow") if self.has(row, "ipcow") else None

    def logged(self):
        if not self.has("access", "ipcow", "ipcow_log"):
            return None
        return self.median("access", "ipcow_log") / self.plain("access")

    def flooded(self):
        if not self.has("lone_flooded", "ipcow"):
            return None
        return self.plain("lone_flooded") / self.plain("lone_alone")


def ratio(row, other, top=max):
    return lambda figures: figures.ratio(row, other, top)


def plain(row):
    return lambda figures: figures.plain(row)


# What it is, how it is found, `<=` or `>=`, the bound.
TARGETS = [
    ("CPU a 64-byte echo ÷ raw epoll, 100 connections", ratio("cpu_100", "epoll"), "<=", 1.10),
    ("CPU a 64-byte echo ÷ raw epoll, 1,000 connections", ratio("cpu_1000", "epoll"), "<=", 1.10),
    ("one hot endpoint, all cores ÷ tokio multi-thread", ratio("hot", "tokio"), ">=", 0.95),
    ("one hot endpoint: share of the busiest thread", plain("hot_busiest"), "<=", 0.65),
    ("16 KiB × 4 × 10, a second ÷ best of epoll, tokio, actix",
     ratio("bulk", ["epoll", "tokio", "actix"]), ">=", 0.95),
    ("the same, CPU an echo ÷ the least of them",
     ratio("bulk_cpu", ["epoll", "tokio", "actix"], min), "<=", 1 / 0.95),
    ("connect–echo–close a second ÷ tokio", ratio("connections", "tokio"), ">=", 0.95),
    ("the same, CPU a connection ÷ tokio", ratio("connections_cpu", "tokio"), "<=", 1 / 0.95),
    ("connect–echo–close a second with the access log ÷ without", Figures.logged, ">=", 0.95),
    ("UDP echoes a second ÷ tokio `recv_from`", ratio("udp", "tokio"), ">=", 1.2),
    ("the same, CPU an echo ÷ tokio", ratio("udp_cpu", "tokio"), "<=", 1 / 1.2),
    ("CPU a UDP echo ÷ C `recvmmsg`", ratio("udp_cpu", "udp_c"), "<=", 1.10),
    ("bytes an idle TCP session", plain("idle"), "<=", 1600),
    ("bytes a TCP listener", plain("listener_tcp"), "<=", 1600),
    ("bytes an idle UDP listener", plain("listener_udp"), "<=", 1600),
    ("15,000 endpoints, exec to ready ÷ raw bind loop", ratio("start", "epoll"), "<=", 2.0),
    ("the same ÷ nginx", ratio("start", "nginx"), "<=", 1.0),
    ("the same ÷ haproxy", ratio("start", "haproxy"), "<=", 1.0),
    ("ms to plan 1,000,000 endpoints", plain("plan_ms"), "<=", 50),
    ("MiB to plan 1,000,000 endpoints", plain("plan_mb"), "<=", 20),
    ("p99 of a lone client: flooded ÷ alone", Figures.flooded, "<=", 3.0),
    ("ms to scrape `/metrics`, 100,000 endpoints", plain("scrape_ms"), "<=", 5),
    ("KiB of it", plain("scrape_kib"), "<=", 64),
]


def shown(value, digits):
    return f"{value:,.{digits}f}"


def cell(samples, digits):
    if not samples:
        return ""
    low, high = shown(min(samples), digits), shown(max(samples), digits)
    return f"{shown(statistics.median(samples), digits)} ({low}–{high})"


def print_rows(figures):
    servers = [name for name in ORDER if any(name in row for row in figures.samples.values())]
    print("| median (lowest–highest) | " + " | ".join(servers) + " |")
    print("|---" * (len(servers) + 1) + "|")
    for row, text, digits in ROWS:
        if row in figures.samples:
            cells = [cell(figures.samples[row].get(name), digits) for name in servers]
            print(f"| {text} | " + " | ".join(cells) + " |")


def judge(found, sign, bound):
    return "met" if (found <= bound if sign == "<=" else found >= bound) else "**missed**"


def print_targets(figures):
    """Each from the medians of all rounds, with what single rounds would have said."""
    print("| target | bound | IPCow (rounds) | |")
    print("|---|---|---|---|")
    alone = [figures.of_round(number) for number in range(figures.rounds())]
    for text, find, sign, bound in TARGETS:
        digits = 2 if bound < 10 else 0
        limit = f"{'≤' if sign == '<=' else '≥'} {shown(bound, digits)}"
        found = find(figures)
        if found is None:
            print(f"| {text} | {limit} | | not measured |")
            continue
        rounds = [each for each in map(find, alone) if each is not None]
        spread = f"{shown(min(rounds), digits)}–{shown(max(rounds), digits)}"
        cell_shown = f"{shown(found, digits)} ({spread})"
        print(f"| {text} | {limit} | {cell_shown} | {judge(found, sign, bound)} |")
