#!/usr/bin/env python3
"""Writes the reference's miss counts that `tests/golden.rs` demands of our policies.

usage: reference.py TRACES_DIR > reference.tsv          (needs PyPI libcachesim 0.3.5 and the zstd command)

Every row of a trace counts as an access, whatever its operation. With `objects` each object weighs 1 and the
capacities are shares of the distinct keys; with `bytes` each weighs its size as first seen, and the capacities are
shares of the sum of these sizes.
"""
import os
import struct
import subprocess
import sys
import tempfile

import libcachesim

TRACES = ["cloudphysicsio", "web07", "tencent-cbs-ns3300", "mooncake-conversation", "lirs-sprite"]
SHARES = [0.005, 0.01, 0.05, 0.1, 0.2]
LEAST = 64
# Our name and the reference's.
OBJECTS = {
    "fifo": "FIFO", "lru": "LRU", "clock": "Clock", "sieve": "Sieve", "twoq": "TwoQ", "s3fifo": "S3FIFO",
    "arc": "ARC", "lirs": "LIRS", "lfu:decay=0": "LFU", "gdsf": "GDSF", "belady": "Belady",
}
BYTES = {name: OBJECTS[name] for name in ["fifo", "lru", "clock", "sieve", "arc", "lfu:decay=0", "gdsf", "belady"]}
BYTES_TRACES = ["adaptsize-request", "tencent-cbs-ns3300"]


def rows(path):
    first_size = {}
    with subprocess.Popen(["zstd", "-dcq", path], stdout=subprocess.PIPE, text=True) as process:
        next(process.stdout)
        for line in process.stdout:
            _, key, size, _ = line.split(",", 3)
            yield int(key), first_size.setdefault(int(key), max(1, int(size)))
    if process.returncode:
        sys.exit(f"{path}: zstd ended with {process.returncode}")


def oracle_general(requests, weigh, path):
    next_access, last = [-1] * len(requests), {}
    for at in range(len(requests) - 1, -1, -1):
        key = requests[at][0]
        next_access[at] = last.get(key, -1)
        last[key] = at
    ids = {key: number + 1 for number, key in enumerate(last)}
    with open(path, "wb") as file:
        for at, (key, size) in enumerate(requests):
            file.write(struct.pack("<IQIq", at, ids[key], size if weigh == "bytes" else 1, next_access[at]))


def misses(path, policy, capacity):
    reader = libcachesim.TraceReader(path, libcachesim.TraceType.ORACLE_GENERAL_TRACE, libcachesim.ReaderInitParam())
    ratio = getattr(libcachesim, policy)(cache_size=capacity).process_trace(reader)[0]
    return ratio


def main():
    folder = sys.argv[1]
    print(f"# libcachesim {libcachesim.__version__}: python3 tests/golden/reference.py TRACES_DIR > tests/golden/reference.tsv")
    print("trace\tweigh\tpolicy\treference\tcapacity\trequests\tmisses", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for weigh, traces, policies in [("objects", TRACES, OBJECTS), ("bytes", BYTES_TRACES, BYTES)]:
            for trace in traces:
                requests = list(rows(f"{folder}/{trace}.csv.zst"))
                sizes = dict(requests)
                path = f"{scratch}/{trace}.{weigh}"
                oracle_general(requests, weigh, path)
                whole = len(sizes) if weigh == "objects" else sum(sizes.values())
                for name, reference in policies.items():
                    for share in SHARES:
                        capacity = max(LEAST, round(whole * share))
                        ratio = misses(path, reference, capacity)
                        print(f"{trace}\t{weigh}\t{name}\t{reference}\t{capacity}\t{len(requests)}\t{round(ratio * len(requests))}", flush=True)


if __name__ == "__main__":
    main()
