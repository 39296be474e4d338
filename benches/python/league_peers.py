#!/usr/bin/env python3
"""Writes the peers' miss ratios that the `league` bench scores larder against.

usage: league_peers.py TRACES_DIR [--bytes] [--out FILE] [--policy NAME,...] [--only TRACE,...] [--limit SECONDS]
                                             (needs PyPI libcachesim 0.3.5 and the zstd command)

Objects of equal size, or with --bytes each of its size as first seen. Every row of a trace counts as an access,
whatever its operation. Capacities are shares of the distinct keys (or bytes), at least 64 objects (of the mean size);
shares that come to the same capacity are run once. Each run is a process of its own: one that takes too long is
written down as TIMEOUT, one that dies as FAIL and its exit code. Rows already in FILE are kept, so that an interrupted
run goes on where it stopped.
"""
import argparse
import csv
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import peer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/golden"))
from reference import LEAST, oracle_general, rows  # noqa: E402

SHARES = [0.001, 0.01, 0.05, 0.1, 0.2]
POLICIES = [
    "FIFO", "LRU", "ARC", "LIRS", "S3FIFO", "Sieve", "WTinyLFU", "TwoQ", "LHD", "GDSF", "Hyperbolic", "Cacheus", "LeCaR",
    "GLCache", "ThreeLCache", "LRB", "Belady",
]
# Those whose objective is to be chosen come twice; the last two know the future.
BYTES_POLICIES = POLICIES[:-1] + ["ThreeLCache-bytes", "LRB-bytes", "Belady", "BeladySize"]
# Good for little but eviction, and unlike all others there.
ALSO = ["addr-gcc", "addr-twolf"]
HEADER = ["trace", "policy", "capacity", "share", "requests", "miss_ratio", "seconds"]


def traces(folder, sized):
    """Names of the traces to replay, from the manifest."""
    with open(folder / "MANIFEST.tsv", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            is_for_eviction = "eviction" in row["good_for"].split(",") or row["name"] in ALSO
            if row["sizes"] == "yes" and row["reads_are"] == "real" if sized else is_for_eviction:
                yield row["name"]


def replay(path, policy, objects, capacity, results):
    # The library reports to both, sometimes without end.
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    cache = peer.cache(policy, objects, capacity)
    start = time.time()
    ratios = cache.process_trace(peer.reader(path))
    results.send((*ratios, time.time() - start))


def limited(limit, *arguments):
    """Object miss ratio, byte miss ratio and seconds of one run, or why there are none."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=replay, args=(*arguments, sender))
    process.start()
    sender.close()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
        return "TIMEOUT", "", ""
    # A process that died has sent nothing: its end of the pipe is closed.
    try:
        objects, of_bytes, seconds = receiver.recv()
    except EOFError:
        return f"FAIL{process.exitcode}", "", ""
    return f"{objects:.7f}", f"{of_bytes:.7f}", f"{seconds:.5f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--bytes", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--policy")
    parser.add_argument("--only")
    parser.add_argument("--limit", type=float, default=60)
    options = parser.parse_args()
    out = options.out or ROOT / "benches" / ("peers-bytes.tsv" if options.bytes else "peers.tsv")
    policies = options.policy.split(",") if options.policy else BYTES_POLICIES if options.bytes else POLICIES
    names = options.only.split(",") if options.only else traces(options.traces, options.bytes)
    header = HEADER + ["byte_miss_ratio"] if options.bytes else HEADER
    if not out.exists():
        out.write_text("\t".join(header) + "\n")
    with open(out, encoding="utf-8") as file:
        done = {(row["trace"], row["policy"], int(row["capacity"])) for row in csv.DictReader(file, delimiter="\t")}
    with open(out, "a", encoding="utf-8") as table:
        for name in names:
            write(table, name, policies, options, done)


def write(table, name, policies, options, done):
    """Appends the rows of one trace."""
    requests = list(rows(options.traces / f"{name}.csv.zst"))
    sizes = dict(requests)
    whole, mean = len(sizes), 1
    if options.bytes:
        whole = sum(sizes.values())
        mean = whole / len(sizes)
    with tempfile.TemporaryDirectory() as scratch:
        path = f"{scratch}/{name}"
        oracle_general(requests, "bytes" if options.bytes else "objects", path)
        count = len(requests)
        del requests, sizes
        for policy in policies:
            for share in SHARES:
                capacity = max(round(LEAST * mean), round(whole * share))
                if capacity >= whole or (name, policy, capacity) in done:
                    continue
                done.add((name, policy, capacity))
                ratio, of_bytes, seconds = limited(options.limit, path, policy, max(1, round(capacity / mean)), capacity)
                row = [name, policy, capacity, share, count, ratio, seconds] + ([of_bytes] if options.bytes else [])
                print(*row, sep="\t", file=table, flush=True)
                if sys.stderr.isatty():
                    print(*row, file=sys.stderr)


if __name__ == "__main__":
    main()
