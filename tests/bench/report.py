"""The report: what was aimed at, what was measured, and what the machine itself takes."""
from dataclasses import dataclass, field

import plot

# To seconds, bytes and plain numbers.
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "MB": 1e6,
         "kB": 1e3, "MB/s": 1e6}
SIZES = {"us": "s", "ms": "s", "s": "s", "B": "B", "kB": "B", "KiB": "B", "MiB": "B", "MB": "B"}


@dataclass
class Row:
    """A figure, the same of peers in the same run, and the aim."""
    title: str
    name: str
    peers: list = field(default_factory=list)  # (label, name of the figure)
    aim: str = ""                              # in words
    most: float = None                         # seconds, bytes or plain
    beside: dict = field(default_factory=dict)  # label: at least so many times as good


# Of peers a figure is a cost, unless its unit is a rate.
TABLE = [
    Row("resolves a second, one front thread, TLS, 8 connections x 32 in flight",
        "resolve.tls.8x32.rate",
        [("echo over the same TLS code", "resolve.echo.tls.8x32.rate"),
         ("redis-server GET -P 32, no TLS", "resolve.redis.tcp.8x32.rate"),
         ("OOR map-server, UDP", "oor.256.rate")],
        "at least 80 % of the echo, above OOR",
        beside={"echo over the same TLS code": 0.8, "OOR map-server, UDP": 1}),
    Row("resolve, 1 in flight, TLS, p50", "resolve.tls.1x1.p50",
        [("echo over the same TLS code", "resolve.echo.tls.1x1.p50"),
         ("OOR map-server, UDP", "oor.1.p50")],
        "at most 1.3 x the echo", beside={"echo over the same TLS code": 1 / 1.3}),
    Row("durable registers a second, 3 replicas, 256 outstanding",
        "replicated.eidmap.leader.256.rate",
        [("etcd, 3 members", "replicated.etcd.leader.256.rate")],
        "at least 8 x etcd", beside={"etcd, 3 members": 8}),
    Row("durable register, 3 replicas, 1 outstanding, p50", "replicated.eidmap.leader.1.p50",
        [("etcd, 3 members", "replicated.etcd.leader.1.p50")],
        "below etcd", beside={"etcd, 3 members": 1}),
    Row("attach on A until the kernel entry on B, 3 replicas, p50", "install.eidmap3.one.p50",
        [("FRR EVPN, one reflector", "install.frr.one.p50"),
         ("OVN, in userspace OVS", "ovs_peers.ovn.one.p50")],
        "at most 3 ms", most=3e-3),
    Row("the same, p99", "install.eidmap3.one.p99",
        [("FRR EVPN, one reflector", "install.frr.one.p99"),
         ("OVN, in userspace OVS, p95", "ovs_peers.ovn.one.p95")],
        "at most 10 ms", most=10e-3),
    Row("1,000 endpoints attached at once on A until the last kernel entry on B, 3 replicas",
        "install.eidmap3.thousand", [("FRR EVPN, one reflector", "install.frr.thousand")]),
    Row("50,000 endpoints registered at once on A until the last kernel entry on B, 3 replicas",
        "install.eidmap3.many",
        [("bare netlink loop", "install.bare.many"),
         ("FRR EVPN, one reflector", "install.frr.many")],
        "5 x FRR", beside={"FRR EVPN, one reflector": 5}),
    Row("a fresh agent joins a network of 100,000 until all is installed", "join.agent",
        [("bare netlink loop", "join.bare")],
        "at least 70 % of the bare loop", beside={"bare netlink loop": 0.7}),
    Row("node with 50,000 endpoints dead, from the verdict until the last packet goes to the "
        "standby, p99", "standby.many.p99",
        [("FRR EVPN, last withdraw", "install.frr.loss")],
        "at most 0.2 s", most=0.2),
    Row("full feed of 1,000,000 ports to a fresh subscriber", "feed.tls.time",
        [("the same bytes over TLS", "feed.copy.tls.time")],
        "at most 2 s, at least 50 % of the copy", most=2,
        beside={"the same bytes over TLS": 0.5}),
    Row("one change to 1,000 subscribers, until the last one has it, p99", "swarm.fanout.last.p99",
        [("bare writes to 1,000 TCP connections", "swarm.fanout.floor.last.p99")],
        "at most 20 ms", most=20e-3),
    Row("processor time of the server for one push", "swarm.fanout.cpu",
        [("a bare write to one of 1,000 TCP connections", "swarm.fanout.floor.cpu")],
        "at most 5 us", most=5e-6),
    Row("10,000 agents in 5 of 2,000 networks, 200 moves/s: processor time of the server",
        "swarm.steady.cpu", aim="under one core", most=100),
    Row("the same: memory for a connection", "swarm.steady.memory", aim="at most 60 kB",
        most=60e3),
    Row("disk of a map server with 1,000,000 ports", "footprint.eidmap.disk",
        [("etcd, one of three members, as many bytes", "footprint.etcd.disk")],
        "at most 350 MB", most=350e6),
    Row("memory of a map server with 1,000,000 ports", "footprint.eidmap.memory",
        [("etcd, one of three members, as many bytes", "footprint.etcd.memory")]),
    Row("memory of an agent with 1,000,000 endpoints", "cache.agent.resident",
        [("OOR map-server with as many", "oor.memory")],
        "at most 50 MB", most=50e6),
    Row("loss of a node with 100,000 ports: longest stall of other clients' resolves",
        "swarm.node.disable.stall",
        [("OOR map-server, 100,000 registrations expire", "oor.expiry.stall@100000")],
        "at most 10 ms", most=10e-3),
    Row("2,000 agents reconnect at once: until all are served", "swarm.restart.time",
        aim="at most 5 s", most=5),
    Row("the same: server's peak memory", "swarm.restart.peak"),
    Row("time(2N)/time(N) of register, N = 50,000", "growth.register.growth", aim="at most 2.3",
        most=2.3),
    Row("time(2N)/time(N) of feed, N = 50,000", "growth.feed.growth", aim="at most 2.3", most=2.3),
    Row("time(2N)/time(N) of install, N = 50,000", "plane.install.growth@100000",
        aim="at most 2.3", most=2.3),
    Row("time(2N)/time(N) of reconcile, N = 50,000", "plane.reconcile.growth@100000",
        aim="at most 2.3", most=2.3),
    Row("restart of a map server with 1,000,000 ports until it answers",
        "footprint.eidmap.restart", aim="at most 1 s", most=1),
]


class Figures:
    """By name, or name@run for benchmarks that run more than once."""

    def __init__(self, lines):
        self.all, self.runs, self.machine = {}, [], {}
        for line in lines:
            if "name" in line:
                key = line["name"] + ("@" + line["run"] if line["run"] else "")
                self.all[key] = line
            elif "benchmark" in line:
                self.runs.append(line)
            else:
                self.machine.update(line)

    def value(self, name):
        figure = self.all.get(name)
        if figure is None:
            return None
        return figure["value"] * UNITS.get(figure["unit"], 1)

    def tell(self, name):
        return tell(self.value(name), self.all[name]["unit"])

    def times_as_good(self, name, peer):
        """Above 1: better than the peer; None: one of them was not measured."""
        ours, theirs = self.value(name), self.value(peer)
        if not ours or not theirs:
            return None
        is_rate = self.all[name]["unit"] in ("1/s", "MB/s")
        return ours / theirs if is_rate else theirs / ours

    def why_missing(self, name):
        for run in self.runs:
            if run["benchmark"] == name.partition(".")[0] and run["why"]:
                return run["why"] if run["status"] == "ok" else f"{run['status']}: {run['why']}"
        return "not measured"


def _digits(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def tell(value, unit):
    """With three digits, in the unit of this size."""
    size = SIZES.get(unit)
    if size == "s":
        scale = next(((k, u) for k, u in ((1, "s"), (1e-3, "ms")) if value >= k), (1e-6, "us"))
    elif size == "B":
        scale = next(((k, u) for k, u in ((1e6, "MB"), (1e3, "kB")) if value >= k), (1, "B"))
    elif unit == "1/s":
        return f"{_digits(float(f'{value:.3g}'))}/s"
    elif unit == "MB/s":
        return f"{_digits(value / 1e6)} MB/s"
    else:
        return f"{_digits(value)} {unit}".strip()
    return f"{_digits(value / scale[0])} {scale[1]}"


# ---- the table of aims

def verdict(figures, row):
    """Of what has been measured; nothing, where that says nothing."""
    value = figures.value(row.name)
    if value is None or not row.aim:
        return ""
    by = {label: figures.times_as_good(row.name, name) for label, name in row.peers}
    checks = [by[label] >= least for label, least in row.beside.items() if by[label]]
    if row.most is not None:
        checks.append(value <= row.most)
    if not checks:
        return ""
    if not all(checks):
        return "**missed**"
    is_whole = all(by[label] for label in row.beside)
    return "met" if is_whole else "met, as far as measured"


def _peers(figures, row):
    cells, ratios = [], []
    for label, name in row.peers:
        if figures.value(name) is None:
            cells.append(f"{label}: {figures.why_missing(name)}")
            ratios.append("")
            continue
        cells.append(f"{label}: {figures.tell(name)}")
        by = figures.times_as_good(row.name, name)
        ratios.append(f"{by:.3g}" if by else "")
    return "<br>".join(cells), "<br>".join(ratios)


def aims(figures):
    yield "| figure | measured | peer in the same run | times as good | aim | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in TABLE:
        peers, ratios = _peers(figures, row)
        measured = figures.why_missing(row.name)
        if figures.value(row.name) is not None:
            measured = f"**{figures.tell(row.name)}**"
        yield (f"| {row.title} | {measured} | {peers} | {ratios} | {row.aim} | "
               f"{verdict(figures, row)} |")


# ---- plots

def _bars(figures, rows):
    return [(label, figures.value(name), kind) for label, name, kind in rows
            if figures.value(name)]


def _seconds(value):
    return tell(value, "s")


def _rate(value):
    return tell(value, "1/s")


def _bytes(value):
    return tell(value, "B")


def _cost(figures, name, seconds):
    """Microseconds for each endpoint, by the number of endpoints; from times, or from rates."""
    points = []
    for key in figures.all:
        value = figures.value(key)
        if seconds and key.startswith(name + ".") and key[len(name) + 1:].isdigit():
            n = int(key.rpartition(".")[2])
            points.append((n, value * 1e6 / n))
        elif not seconds and key.startswith(name + "@"):
            points.append((int(key.rpartition("@")[2]), 1e6 / value))
    return sorted(points)


BAR_PLOTS = [
    ("resolve", "Resolves a second, 8 connections x 32 in flight", _rate, False, [
        ("eidmap, TLS", "resolve.tls.8x32.rate", "ours"),
        ("eidmap, unix socket", "resolve.unix.8x32.rate", "ours"),
        ("echo, TLS", "resolve.echo.tls.8x32.rate", "limit"),
        ("echo, unix socket", "resolve.echo.unix.8x32.rate", "limit"),
        ("redis-server, TCP", "resolve.redis.tcp.8x32.rate", "peer"),
        ("redis-server, unix socket", "resolve.redis.unix.8x32.rate", "peer"),
        ("OOR map-server, UDP", "oor.256.rate", "peer")]),
    ("register", "Durable writes a second, three replicas", _rate, False, [
        (f"{label}, {n} outstanding", f"replicated.{name}.leader.{n}.rate", kind)
        for n in (1, 64, 256, 1000)
        for label, name, kind in (("eidmap", "eidmap", "ours"), ("etcd", "etcd", "peer"))]),
    ("attach", "From the attach on one host to the entry on another (logarithmic)", _seconds, True,
     [(f"{label}, {part}", f"{name}.{part}", kind)
      for part in ("p50", "p99", "p95")
      for label, name, kind in (
          ("eidmap, 1 map server", "install.eidmap.one", "ours"),
          ("eidmap, 3 map servers", "install.eidmap3.one", "ours"),
          ("FRR EVPN", "install.frr.one", "peer"),
          ("eidmap, userspace OVS", "ovs_peers.eidmap3.one", "ours"),
          ("OVN, userspace OVS", "ovs_peers.ovn.one", "peer"))]),
    ("bulk", "Many endpoints at once (logarithmic)", _seconds, True, [
        ("1,000 new: eidmap", "install.eidmap3.thousand", "ours"),
        ("1,000 new: FRR EVPN", "install.frr.thousand", "peer"),
        ("50,000 new: eidmap", "install.eidmap3.many", "ours"),
        ("50,000 new: FRR EVPN", "install.frr.many", "peer"),
        ("50,000 new: bare netlink loop", "install.bare.many", "limit"),
        ("join of 100,000: eidmap", "join.agent", "ours"),
        ("join of 100,000: bare netlink loop", "join.bare", "limit"),
        ("loss of 50,000: eidmap", "standby.many.p99", "ours"),
        ("loss of 50,000: FRR EVPN", "install.frr.loss", "peer")]),
    ("feed", "A whole network to a fresh subscriber", _seconds, False, [
        ("eidmap, TLS", "feed.tls.time", "ours"),
        ("the same bytes, TLS", "feed.copy.tls.time", "limit"),
        ("eidmap, unix socket", "feed.unix.time", "ours"),
        ("the same bytes, unix socket", "feed.copy.unix.time", "limit")]),
    ("footprint", "Memory and disk", _bytes, False, [
        ("map server, disk", "footprint.eidmap.disk", "ours"),
        ("etcd, disk", "footprint.etcd.disk", "peer"),
        ("map server, memory", "footprint.eidmap.memory", "ours"),
        ("etcd, memory", "footprint.etcd.memory", "peer"),
        ("agent, memory", "cache.agent.resident", "ours"),
        ("OOR map-server, memory", "oor.memory", "peer")]),
]


def plots(figures, out):
    """Writes them; yields Markdown."""
    for name, title, teller, is_log, rows in BAR_PLOTS:
        rows = _bars(figures, rows)
        if len(rows) < 2:
            continue
        (out / f"{name}.svg").write_text(plot.bars(title, rows, teller, is_log), encoding="utf-8")
        yield f"![{title}]({name}.svg)\n"
    series = [(label, _cost(figures, name, seconds)) for label, name, seconds in (
        ("register", "growth.register", True), ("feed", "growth.feed", True),
        ("install", "plane.install.rate", False), ("reconcile", "plane.reconcile.rate", False))]
    series = [(label, points) for label, points in series if len(points) > 1]
    if series:
        title = "Time for one endpoint, by how many there are (flat: linear growth)"
        svg = plot.lines(title, series, lambda x: f"{x:,}", lambda y: f"{y:g} us")
        (out / "growth.svg").write_text(svg, encoding="utf-8")
        yield f"![{title}](growth.svg)\n"


# ---- the whole

def head(figures):
    machine = figures.machine

    def known(name):
        return machine.get(name, "unknown")

    yield "# What was measured\n"
    yield ("Written by `tests/bench/run`; what the figures mean, and how each is measured, stands "
           "in `docs/performance.md` and in the head of each file of `tests/bench`.\n")
    if known("is_quick") is True:
        yield "**This was a quick run: small maps, short times. The figures mean nothing.**\n"
    yield "| the machine | |"
    yield "| --- | --- |"
    yield f"| date, commit, build | {known('date')}, {known('commit')}, {known('build')} |"
    yield f"| kernel | {known('kernel')} |"
    yield f"| processor | {known('cpu')}, {known('cores')} cores |"
    yield f"| memory | {known('memory_gib')} GiB |"
    yield f"| disk | {known('fdatasync_rate'):,} writes of 4 KiB a second, each with fdatasync |"
    yield (f"| load before and after | {' '.join(map(str, known('load_before')))}; "
           f"{' '.join(map(str, machine.get('load_after', ['unknown'])))} |\n")


def runs(figures):
    yield "| benchmark | arguments | s | |"
    yield "| --- | --- | --- | --- |"
    for run in figures.runs:
        why = run["why"].replace("|", "\\|")
        said = run["status"] + (f": {why}" if why else "")
        if run["status"] == "failed":
            said = f"**{said}**"
        yield f"| {run['benchmark']} | `{run['arguments']}` | {run['seconds']:.0f} | {said} |"


def everything(figures):
    yield "| figure | | |"
    yield "| --- | --- | --- |"
    for name, figure in figures.all.items():
        yield f"| {name} | {figures.tell(name)} | {figure['what']} |"


def write(lines, out):
    figures = Figures(lines)
    parts = [*head(figures), "## Aims\n",
             "\"Times as good\": above 1 ours is faster, or smaller, than the peer.\n",
             *aims(figures), "\n## Plots\n",
             "Blue is eidmap, orange is a peer, grey is a limit of the machine.\n",
             *plots(figures, out), "## Runs\n", *runs(figures), "\n## All figures\n",
             *everything(figures)]
    (out / "report.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
