#!/usr/bin/env python3
"""Makes data for the report page in the shape of the C++ side, and a page of it.

    sample_runs.py FOLDER     writes a page for each case

Nothing is simulated: numbers only look like a run's, and are the same each time."""
import functools
import hashlib
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile

REPORT = pathlib.Path(__file__).resolve().parents[2] / "tools" / "report"
LIBRARY = pathlib.Path("/usr/share/javascript")
DOWNLOAD, TRAIN, UPLOAD, MERGE, GROUP_DOWNLOAD, GROUP_UPLOAD = range(6)
DONE, BROKEN, CANCELLED = range(3)
# Name, seconds of a training step at full depth, megabytes a second.
BOARDS = [("jetson-tx2", 0.9, 1.3), ("jetson-xavier-nx", 0.5, 1.3), ("jetson-agx-xavier", 0.28, 4.0)]


def digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def columns(*names):
    return {name: [] for name in names}


def add(table, **values):
    assert set(values) == set(table), set(values) ^ set(table)
    for name, value in values.items():
        table[name].append(value)


def make_run(name, method="fedit", seed=1, boards=(8, 8, 4), rounds=20, chosen=None, classes=8, best=0.68, pace=6.0, depth=lambda client, round: 4,
             rank=lambda client, round: 8, group=None, experts=None, joules=False, off=0.0, dropped=0.0, own=True, metric="accuracy", learned=True,
             every=1, centralized=False, megabytes=4.7, gateways=0, clients_measured=True):
    dice = random.Random(f"{name} {seed}")
    device = [board for board, count in enumerate(boards) for _ in range(count)]
    count = len(device)
    run = {
        "name": name, "folder": f"results/{name}", "scenario": name.split("/")[0], "method": method, "seed": seed, "digest": digest(name, seed),
        "digests": {"scenario": digest("s", name), "data": digest("d"), "base": digest("b"), "adapter": digest("a", name), "world": None}, "version": "0.9.0",
        "numerics": "PORTABLE kernels, libtorch 1.13", "learningModel": "encoder of 4 layers, width 64", "timedModel": "roberta-base", "stopReason": f"{rounds} rounds",
        "metric": metric, "learned": learned, "assumptions": ["Bandwidths of the boards are round numbers for a home network.",
                                                              "jetson-tx2: efficiency 0.31 is fitted to published step times."],
        "notes": [], "classes": [f"topic {place}" for place in range(classes)], "endS": 0.0,
        "scenarioText": "description: \"20 Jetson boards tune a small encoder together.\"\ntask {\n  synthetic { train_rows: 4000 test_rows: 1000 }\n}\nmethod: \"%s\"\n" % method,
        "clients": columns("device", "trainRows", "testRows", "classRows", "offS"),
        "rounds": columns("round", "startS", "endS", "accuracy", "loss", "trainLoss", "clientAccuracy", "bytesUp", "bytesDown", "joules", "mergeS"),
        "parts": columns("round", "client", "depth", "rank", "group", "experts", "downloadS", "trainS", "uploadS", "waitS", "offS", "endS", "bytesUp", "bytesDown",
                         "dropped", "accuracy", "critical"),
        "ownAccuracies": columns("round", "client", "accuracy"),
        "events": columns("phase", "client", "round", "startS", "endS", "bytes", "end"),
    }
    for client in range(count):
        weights = [dice.gammavariate(0.4, 1) for _ in range(classes)]
        rows = dice.randint(80, 330)
        class_rows = [round(rows * weight / (sum(weights) or 1)) for weight in weights]
        add(run["clients"], device=BOARDS[device[client]][0], trainRows=sum(class_rows) if classes else rows, testRows=50, classRows=class_rows, offS=0.0 if off else None)

    best += dice.gauss(0, 0.012)
    late = dice.gauss(0.45, 0.03)

    def curve(at):
        low = 0.12
        return low + (best - low) / (1 + math.exp(-(at - late * rounds) / max(1.0, rounds / pace))) + dice.gauss(0, 0.008)

    skew = [dice.gauss(0, 0.07) for _ in range(count)]

    def measure(at, ends):
        value = max(0.0, min(1.0, curve(at))) if learned and (at % every == 0 or at == rounds) else None
        measured = value is not None and own and clients_measured
        values = [max(0.0, min(1.0, value + skew[client] + dice.gauss(0, 0.03))) for client in range(count)] if measured else []
        for client, own_value in enumerate(values):
            add(run["ownAccuracies"], round=at, client=client, accuracy=own_value)
        return value, sum(values) / len(values) if values else None

    if rounds >= 0:
        value, of_clients = measure(0, 0)
        add(run["rounds"], round=0, startS=0.0, endS=0.0, accuracy=value, loss=None if value is None else 2.1 - value, trainLoss=None, clientAccuracy=of_clients, bytesUp=0,
            bytesDown=0, joules=0.0 if joules else None, mergeS=0.0)
    clock = 0.0
    for at in range(1, rounds + 1):
        start = clock
        parts = []
        members = [] if centralized else sorted(dice.sample(range(count), chosen)) if chosen else range(count)
        for gateway in range(gateways):
            add(run["events"], phase=GROUP_DOWNLOAD, client=-2 - gateway, round=at, startS=start, endS=start + 1.2, bytes=int(megabytes * 1e6), end=DONE)
        for client in members:
            _, step, speed = BOARDS[device[client]]
            sent = megabytes * depth(client, at) / 4
            begin = start + (1.2 if gateways else 0.0)
            away = dice.random() < off
            away_s = dice.uniform(5, 25) if away else 0.0
            download = sent / speed * dice.uniform(0.9, 1.3)
            train = 20 * step * (0.5 + depth(client, at) / 8) * dice.uniform(0.95, 1.1)
            upload = sent / speed * 2 * dice.uniform(0.9, 1.5)
            lost = dice.random() < dropped
            if lost:
                upload *= 0.3
            parts.append((client, begin, away_s, download, train, upload, lost, int(sent * 1e6)))
        ends = [begin + away_s + down + train + up for _, begin, away_s, down, train, up, *_ in parts] or [start + 30]
        last = max(ends)
        merge = 0.4
        clock = last + merge + (1.5 if gateways else 0.0)
        critical = ends.index(last)
        value, of_clients = measure(at, ends)
        for place, (client, begin, away_s, down, train, up, lost, sent) in enumerate(parts):
            date = begin + away_s
            for phase, size, moved in ((DOWNLOAD, down, sent), (TRAIN, train, 0), (UPLOAD, up, sent)):
                end = (BROKEN if client % 2 else CANCELLED) if lost and phase == UPLOAD else DONE
                add(run["events"], phase=phase, client=client, round=at, startS=date, endS=date + size, bytes=moved, end=end)
                date += size
            if off:
                run["clients"]["offS"][client] += away_s
            add(run["parts"], round=at, client=client, depth=depth(client, at), rank=rank(client, at), group=group(client, at) if group else None,
                experts=experts(client, at) if experts else None, downloadS=down, trainS=train, uploadS=up, waitS=clock - date, offS=away_s, endS=date, bytesUp=sent,
                bytesDown=sent, dropped=int(lost), accuracy=None, critical=int(place == critical))
        for gateway in range(gateways):
            add(run["events"], phase=GROUP_UPLOAD, client=-2 - gateway, round=at, startS=last, endS=last + 1.5, bytes=int(megabytes * 1e6), end=DONE)
        add(run["events"], phase=MERGE, client=-1, round=at, startS=clock - merge, endS=clock, bytes=0, end=DONE)
        if centralized:
            add(run["events"], phase=TRAIN, client=-1, round=at, startS=start, endS=clock - merge, bytes=0, end=DONE)
        moved = sum(part[-1] for part in parts)
        add(run["rounds"], round=at, startS=start, endS=clock, accuracy=value, loss=None if value is None else 2.1 - value, trainLoss=2.0 - 1.2 * at / max(rounds, 1) if learned else None,
            clientAccuracy=of_clients, bytesUp=moved, bytesDown=moved, joules=sum(8 * part[4] + 3 * part[3] + 3 * part[5] for part in parts) if joules else None, mergeS=merge)
    run["endS"] = clock
    return run


def make_report(series, reason="90 % of the best final accuracy of the first series"):
    """series: [(label, [run, ...]), ...]"""
    runs, found = [], []
    for label, own in series:
        found.append({"label": label, "runs": list(range(len(runs), len(runs) + len(own)))})
        runs += own
    known = [value for run in runs[:1] for value in run["rounds"]["accuracy"] if value is not None]
    target = None
    if known and len(known) > 1:
        goal = round(0.9 * known[-1], 3)
        target = {"accuracy": goal, "reason": reason, "reached": []}
        for run in runs:
            rounds, reached, moved, spent = run["rounds"], None, 0, 0
            for place, value in enumerate(rounds["accuracy"]):
                moved += rounds["bytesUp"][place] + rounds["bytesDown"][place]
                spent += rounds["joules"][place] or 0
                if value is not None and value >= goal:
                    reached = {"s": rounds["endS"][place], "bytes": moved, "joules": spent if rounds["joules"][place] is not None else None}
                    break
            target["reached"].append(reached)
    return {"version": "0.9.0", "runs": runs, "series": found, "target": target}


def one(name, **wishes):
    run = make_run(name, **wishes)
    return make_report([(run["method"], [run])])


def three_methods():
    def run(method, seed, **wishes):
        return make_run(f"comparison/{method}/seed-{seed}", method=method, seed=seed, joules=True, **wishes)
    deep = lambda client, at: 4 if client >= 16 else 3 if client >= 8 else 2
    return make_report([
        ("fedit", [run("fedit", seed, rounds=30) for seed in (1, 2, 3)]),
        ("legend", [run("legend", seed, rounds=30, depth=deep, rank=lambda client, at: 2 + 2 * deep(client, at), pace=7.5, best=0.70) for seed in (1, 2, 3)]),
        ("hetlora, 40 % of clients", [run("hetlora", seed, rounds=30, chosen=8, rank=lambda client, at: (4, 8, 16)[client % 3], best=0.60) for seed in (1, 2, 3)]),
    ])


def eighty_by_hundred():
    return one("testbed-80", method="hierfedlora", boards=(30, 40, 10), rounds=100, joules=True, off=0.05, dropped=0.03, gateways=4, classes=20, best=0.83,
               depth=lambda client, at: 2 + (client // 30) * 4 + (2 if at > 40 and client % 5 == 0 else 0), rank=lambda client, at: (4, 8, 8, 16)[(client + at // 25) % 4],
               group=lambda client, at: (client * 7 + at // 10) % 4)


def nulls():
    return one("clock-only", learned=False, rounds=12)


def hostile():
    data = one("<b>bold</b> </script><script>alert(1)</script>", method="<img src=x onerror=alert(1)>", rounds=3)
    data["runs"][0]["clients"]["device"][0] = "<i>board</i> & \"quotes\""
    data["runs"][0]["classes"][0] = "<u>a class with a name that is far too long for any axis</u>"
    return data


def two_tasks():
    data = three_methods()
    for place in data["series"][0]["runs"]:
        data["runs"][place]["digests"]["data"] = digest("another task")
    return data


def many_series():
    return make_report([(f"a series with quite a long label, variant {place}", [make_run(f"sweep/{place}", seed=1, rounds=10, best=0.4 + 0.03 * place)]) for place in range(12)])


CASES = {
    "quickstart": lambda: one("quickstart", boards=(12, 8)),
    "three_methods": three_methods,
    "eighty_by_hundred": eighty_by_hundred,
    "no_rounds": lambda: one("empty", rounds=-1),
    "round_zero": lambda: one("only-round-0", rounds=0),
    "no_runs": lambda: {"version": "0.9.0", "runs": [], "series": [], "target": None},
    "one_round": lambda: one("one-round", rounds=1),
    "null_accuracy": nulls,
    "thousand_devices": lambda: one("thousand", boards=(400, 400, 200), rounds=50, chosen=100, depth=lambda client, at: 1 + client % 12, every=10, classes=62),
    "experts": lambda: one("mixtures", method="fedamole", experts=lambda client, at: 2 + (client * 3 + at) % 9, clients_measured=True),
    "rouge": lambda: one("instructions", metric="rouge_l", classes=0, best=0.45, rounds=12),
    "centralized": lambda: one("centralized", method="centralized", centralized=True, own=False),
    "hostile": hostile,
    "two_tasks": two_tasks,
    "many_series": many_series,
}


@functools.cache
def page_without_data():
    """As the program carries it: made by the script that makes that one."""
    with tempfile.TemporaryDirectory() as folder:
        page = pathlib.Path(folder) / "page.html"
        subprocess.run(["cmake", f"-DPAGE={REPORT / 'page'}", f"-DVEGA={LIBRARY}", f"-DOUT={page}", "-P", REPORT / "bundle.cmake"], check=True)
        return page.read_text()


def assemble(data):
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return page_without_data().replace("<!--fedclock:data-->", f"<script>window.FEDCLOCK = {text};</script>")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case, make in CASES.items():
        (folder / f"{case}.html").write_text(assemble(make()))
