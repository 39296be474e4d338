//! The page: what was built, how it was asked, and what each tier brings.

use hdrhistogram::Histogram;
use larder_benches::{SEED, machine};

use crate::service::REVIEWS;
use crate::{ALPHA, CHANGES, CONNECTIONS, MEMORY, Options, PRODUCTS, Row};

const SERVICE: &str = include_str!("service.rs");

pub(crate) fn page(rows: &[Row], options: &Options, load_average: Option<f64>) -> String {
    let facts = machine::facts().join("; ");
    let load = load_average.map_or_else(String::new, |load| {
        let noise =
            if load > 0.5 { ", so that other programs competed too and the tails are partly theirs" } else { "" };
        format!("; load average before the run: {load:.2}{noise}")
    });
    let (rate, seconds) = (options.rate, options.lasts.as_secs());
    format!(
        "# Walkthrough: a web API with and without each tier

A shop's API over SQLite gets a cache, tier by tier, and is asked {rate} times a second. What you need: Rust, and a `redis-server` on the path.

```sh
cargo run --release -p larder-benches --bin walkthrough -- --out docs/walkthrough.md
```

builds the service, starts a private Redis, measures, and writes this page. {facts}{load}. Seed {SEED}. Service, Redis and the client that \
asks share the machine, so that all of them compete for its processors.

## 1. The service

`GET /products/7` answers with a product, its stars, and its most helpful reviews. That takes three queries over {REVIEWS} reviews:

```rust,ignore
{query}
```

There are {PRODUCTS} products. They are asked for by Zipf's law (α = {ALPHA}), and {CHANGES} a second get another name by `PUT`.

## 2. A cache

```toml
[dependencies]
larder = \"0.1\"
larder-redis = \"0.1\"
```

```rust,ignore
{cache}
```

`memory` is how many products this process keeps: {MEMORY}, a tenth of all. `redis` is what all processes of the service share; it has room for \
all. Here every change goes through the service, which tells the cache; ten minutes are for what it does not hear of. Where others change \
the data, say instead how stale answers may be, `objective = \"1%\"`, and how long each product is kept is learned \
([freshness](freshness.md)).

## 3. The handlers

```rust,ignore
{handlers}
```

A read is `cache.load`: concurrent readers of one product share one query. A write tells the cache that the product has changed, and the other \
processes hear of it through Redis.

## 4. What it brings

{table}

Each row is a service of its own, with an empty Redis, warmed with {warm} s of requests. Then it is asked for {seconds} s at {rate} requests a \
second over {CONNECTIONS} connections.

- *answered*: requests answered a second, until the last answer. Clearly less than {rate}: the service does not carry it.
- *p50, p99, p99.9*: half of the requests were answered within, 99 %, 99.9 %. A latency counts from when a request was due, not from when a \
  connection was free to send it: a service that falls behind is charged for the queue before it.
- *memory, Redis, SQLite*: who answered, as shares of the requests.
- *queries*: products read from SQLite a second, by readers, renewals and audits of the freshness.
- *most*: answers a second when each connection asks again as soon as it is answered, measured for {most} s before.

The rows:

- *no cache*: every request runs the queries.
- *Redis alone*: a memory of one product, so that a request is a round trip to Redis and the decoding of its answer.
- *memory alone*: what a single process can do without a Redis. What memory does not hold is queried.
- *memory and Redis*: memory answers what is popular, Redis the rest, SQLite what has changed.

SQLite answers from this machine's own memory and is no farther away than Redis: what Redis spares here is queries, and with them processors. \
Before a database across a network, or one that many services share, it spares waiting too.

{verdict}
",
        query = between("the query"),
        cache = between("the cache"),
        handlers = between("the handlers"),
        table = table(rows),
        warm = crate::WARM_UP.as_secs(),
        most = options.lasts.as_secs_f64() / 4.0,
        verdict = verdict(rows),
    )
}

/// What stands in the service between a mark and the end of its part.
fn between(mark: &str) -> &'static str {
    let part = SERVICE.split_once(&format!("// --- {mark}\n")).map_or("", |(_, rest)| rest);
    part.split_once("// --- end").map_or(part, |(part, _)| part).trim_end()
}

fn table(rows: &[Row]) -> String {
    let mut table = "| tiers | answered | p50 | p99 | p99.9 | memory | Redis | SQLite | queries | most |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for Row { name, steady, queries, most } in rows {
        let all = steady.latencies.len().max(1) as f64;
        let [memory, redis, origin] = steady.tiers.map(|answers| format!("{:.1} %", answers as f64 / all * 100.0));
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| time(at(&steady.latencies, share)));
        let (answered, most) = (steady.rate(), most.rate());
        table += &format!(
            "| {name} | {answered:.0} | {p50} | {p99} | {p999} | {memory} | {redis} | {origin} | {queries:.0} | {most:.0} |\n"
        );
    }
    table.trim_end().to_owned()
}

/// Each row against the one without a cache, wins and losses.
fn verdict(rows: &[Row]) -> String {
    let [bare, cached @ ..] = rows else { return String::new() };
    let lines = cached.iter().map(|row| {
        let of = |share| at(&row.steady.latencies, share) / at(&bare.steady.latencies, share);
        format!(
            "- *{}* against *no cache*: {} of the queries, {} of the p50, {} of the p99, {:.1} times the most.",
            row.name,
            percent(row.queries / bare.queries),
            percent(of(0.5)),
            percent(of(0.99)),
            row.most.rate() / bare.most.rate()
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn percent(share: f64) -> String {
    if share < 0.1 { format!("{:.1} %", share * 100.0) } else { format!("{:.0} %", share * 100.0) }
}

/// In microseconds.
fn at(nanos: &Histogram<u64>, share: f64) -> f64 {
    nanos.value_at_quantile(share) as f64 / 1e3
}

/// Three digits and a unit.
fn time(micros: f64) -> String {
    match micros {
        micros if micros >= 1e6 => format!("{:.2} s", micros / 1e6),
        micros if micros >= 1e4 => format!("{:.1} ms", micros / 1e3),
        micros if micros >= 1e3 => format!("{:.2} ms", micros / 1e3),
        micros => format!("{micros:.0} µs"),
    }
}
