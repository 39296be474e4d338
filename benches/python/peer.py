"""Replays a trace with libcachesim, one order a line on stdin, one answer a line on stdout.

usage: peer.py TRACE BLANK          (`league_peers.py` imports how a cache is made)
  TRACE  oracleGeneral, every object of size 1
  BLANK  the same with every size 0: its reader passes over such requests, so a replay of it decodes and does no more

orders, separated by tabs; seconds are CPU time of the thread:
  replay POLICY OBJECTS  -> seconds, miss ratio
  decode                 -> seconds
"""

import importlib.metadata
import math
import sys
import time

import libcachesim as lcs


def reader(path):
    return lcs.TraceReader(path, lcs.TraceType.ORACLE_GENERAL_TRACE, lcs.ReaderInitParam())


def cache(policy, objects, capacity=None):
    """A cache of `capacity` bytes that hold about so many objects; without it, of so many objects of size 1.

    Policies that learn for an objective lower the object miss ratio, or with `-bytes` after their name the byte miss
    ratio.
    """
    policy, _, objective = policy.partition("-")
    # Four to eight buckets an object: its default of 2^24 is two to four times slower at these sizes.
    hashpower = max(12, math.ceil(math.log2(objects)) + 2)
    extra = {}
    if policy == "WTinyLFU":
        # A window of less than one object is refused.
        extra["window_size"] = max(0.01, 1.01 / objects)
    if policy in ("ThreeLCache", "LRB"):
        extra["objective"] = "byte-miss-ratio" if objective == "bytes" else "object-miss-ratio"
    return getattr(lcs, policy)(cache_size=capacity or objects, hashpower=hashpower, **extra)


def timed(policy, objects, trace):
    made = cache(policy, objects)
    start = time.thread_time()
    miss_ratio, _ = made.process_trace(trace)
    return time.thread_time() - start, miss_ratio


def answer(*fields):
    # The library writes to stdout as well; the mark tells our lines from its own.
    print("\nANSWER", *fields, sep="\t", flush=True)


def main():
    trace, blank = map(reader, sys.argv[1:3])
    answer(importlib.metadata.version("libcachesim"))
    for line in sys.stdin:
        match line.rstrip("\n").split("\t"):
            case ["replay", policy, objects]:
                answer(*timed(policy, int(objects), trace))
            case ["decode"]:
                answer(timed("FIFO", 100, blank)[0])


if __name__ == "__main__":
    main()
