//! Pages made from the registries, so that they cannot fall behind the code.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use larder::metrics::Metric;
use larder_policy::{Param, admission, eviction};
use larder_trace::{Carries, FORMATS, Format, GENERATORS, Generator};

use crate::project::Project;

/// A generated page.
pub(crate) struct Page {
    /// Below the top folder.
    pub(crate) path: &'static str,
    /// Its text, from the registries alone.
    pub(crate) write: fn() -> String,
}

/// Every generated page.
pub(crate) const PAGES: &[Page] = &[
    Page { path: "docs/policies.md", write: policies },
    Page { path: "docs/formats.md", write: formats },
    Page { path: "docs/metrics.md", write: metrics },
];

/// Writes every page.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<bool> {
    ensure!(arguments.is_empty(), "docs takes no arguments");
    for page in PAGES {
        let path = project.root.join(page.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        std::fs::write(&path, (page.write)()).with_context(|| format!("writing {}", path.display()))?;
        println!("wrote {}", page.path);
    }
    Ok(true)
}

const NOTICE: &str =
    "<!-- Generated from the code by `cargo xtask docs`; `cargo xtask tidy` fails when it differs. -->\n";

fn policies() -> String {
    let mut page = Markdown::new("Policies");
    page.paragraph(
        "A policy is written `EVICTION[:NAME=VALUE[/NAME=VALUE…]][+ADMISSION[:NAME=VALUE…]]`, such as `lru`, \
         `s3fifo:small=0.2` or `lru+tinylfu`.",
    );
    page.heading("Eviction: who leaves");
    page.table(
        &["name", "what leaves", "published in"],
        eviction::REGISTRY.iter().map(|entry| {
            let oracle = if entry.needs_oracle { " (needs the future: replay only)" } else { "" };
            [code(entry.name), format!("{}{oracle}", entry.about), entry.source.to_owned()]
        }),
    );
    page.parameters(eviction::REGISTRY.iter().map(|entry| (entry.name, entry.params)));
    page.heading("Admission: who enters");
    page.table(
        &["name", "who enters", "published in"],
        admission::REGISTRY.iter().map(|entry| [code(entry.name), entry.about.to_owned(), entry.source.to_owned()]),
    );
    page.parameters(admission::REGISTRY.iter().map(|entry| (entry.name, entry.params)));
    page.text
}

fn formats() -> String {
    let mut page = Markdown::new("Trace formats");
    page.paragraph(
        "A format is seen by its content; `--format NAME` overrides that. Compression (`.gz`, `.zst`, `.xz`) is seen \
         by content too. A trace says what it carries, and what needs more is refused.",
    );
    page.table(
        &["name", "what it is", "endings", "carries beside keys", "written"],
        FORMATS.iter().map(|format| {
            let endings: Vec<_> = format.extensions.iter().map(|ending| code(&format!(".{ending}"))).collect();
            let written = if format.create.is_some() { "yes" } else { "no" };
            let about = format.about.to_owned();
            [code(format.name), about, endings.join(" "), carried(format), written.to_owned()]
        }),
    );
    page.paragraph(
        "Rows are taken in their order, which is to be that of time; one that goes back is told. `--columns` maps the columns of `csv`, the \
         fields of `jsonl` (`request.uri` leads into nested objects) and the columns of `parquet`: `key=url,size=bytes,time=ts:ms`. Fields are \
         `time`, `key`, `size`, `op`, `ttl` (in seconds) and `cost` (of a load, in microseconds), and of a table `header=yes` or `no` and \
         `delimiter`; `#2` is a column's number. What is not mapped is looked for under its usual names, and a terminal is told which were \
         found. Times are dates as `2024-03-01T12:00:00Z`, or numbers in the unit named: `s`, `ms`, `us` or `ns`. Without one they are in \
         seconds, and a number beyond the year 5138 is refused, since it is of another unit.",
    );
    page.paragraph(
        "In `access-log` and `redis-monitor` most rows tell no size (304, HEAD, PUT; GET, INCR): it is that of the key's last row that does. \
         Before any does, it is guessed to be the mean of the keys known so far; where more than one row in 20 is a guess, that is told.",
    );
    page.paragraph(
        "A size in bytes, a lifetime in seconds or a cost in microseconds beyond 4,294,967,295 (4 GiB, 136 years, 71 minutes) is read as that; \
         how many rows have one is told.",
    );
    page.paragraph(
        "In place of a file, `redis://[user:password@]host[:port][/db]/STREAM` reads what services recorded into a Redis Stream \
         (`larder_redis::RecordStream`), instances merged by time; `rediss://` in a build with the feature `tls`.",
    );
    page.heading("Generators");
    page.paragraph(
        "In place of a file, `gen:NAME:PARAMETER=VALUE/…` makes a trace, such as `gen:zipf:alpha=0.9/keys=1e5/seed=7`. \
         The same description gives the same requests.",
    );
    page.table(
        &["name", "which key comes next"],
        GENERATORS.iter().map(|generator| [code(generator.name), generator.about.to_owned()]),
    );
    page.paragraph("Parameters; a generator's own stand before those that all take.");
    let own = GENERATORS.iter().map(|generator| (code(generator.name), generator.params));
    let all = std::iter::once(("all".to_owned(), Generator::COMMON));
    page.table(
        &["generator", "parameter", "default", "meaning"],
        own.chain(all).flat_map(|(name, params)| {
            params.iter().map(move |param| {
                let default = param.default.map_or_else(|| "found".to_owned(), number);
                [name.clone(), code(param.name), default, param.about.to_owned()]
            })
        }),
    );
    page.text
}

fn metrics() -> String {
    let mut page = Markdown::new("Metrics");
    page.paragraph(
        "A cache tells the [`metrics`](https://docs.rs/metrics) facade once a second what it did and how it is; whichever recorder the \
         process installs gets it: `metrics-exporter-prometheus`, with the feature `otel` a meter of OpenTelemetry's \
         (`larder::metrics::otel_recorder`; [examples/opentelemetry.rs](../examples/opentelemetry.rs) sends metrics and traces to a \
         collector), or any other. Without one nothing happens, and `default-features = false` leaves it out. What a cache counted before the \
         recorder was installed is in no counter: install it first. `larder demo --metrics 127.0.0.1:9464` answers Prometheus; \
         `dashboards/` has what Grafana and Alertmanager need.",
    );
    page.paragraph(
        "Reads pay for it with a counter of their own thread; one in 64, drawn, is timed: some 6 of a hit's 319 instructions \
         (`cargo run -p larder --example metrics_cost`). A key is never a label, and a cache has at most 310 series, and seven more \
         for each prefix of keys that has an objective of its own, and up to 17 for classes with keys that alternate. A gauge that \
         no longer says anything is NaN: the gain while the policy is rolled back, and until the memory was turned over twice after it changed sides; \
         and all of them once the cache is dropped. Sums of histograms are told from the middles of powers of \
         two, and only about right.",
    );
    page.heading("Of a cache");
    page.paragraph("All carry the label `cache`, its name: two caches of one name in a process mix.");
    page.metrics(larder::metrics::CATALOGUE);
    page.heading("Of a Redis");
    page.paragraph(
        "`RedisConfig::metrics(name, every)` asks for them; all carry the label `redis`, that name. The server's come from its `INFO`, \
         which a cluster has no single one of.",
    );
    page.metrics(larder_redis::metrics::CATALOGUE);
    page.text
}

fn carried(format: &Format) -> String {
    let Carries { times, sizes, ops, ttls, costs, judged: _ } = format.carries;
    let fields =
        [(times, "times"), (sizes, "sizes"), (ops, "operations"), (ttls, "lifetimes"), (costs, "costs of loads")];
    let carried: Vec<_> = fields.iter().filter(|(carries, _)| *carries).map(|(_, name)| *name).collect();
    if carried.is_empty() { "nothing".to_owned() } else { carried.join(", ") }
}

/// A page in the making.
struct Markdown {
    text: String,
}

impl Markdown {
    fn new(title: &str) -> Self {
        Self { text: format!("{NOTICE}\n# {title}\n") }
    }

    fn heading(&mut self, text: &str) {
        self.paragraph(&format!("## {text}"));
    }

    fn paragraph(&mut self, text: &str) {
        // Writing to a string does not fail, here and below.
        let _ = write!(self.text, "\n{text}\n");
    }

    fn table<const N: usize>(&mut self, header: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
        let _ = write!(self.text, "\n| {} |\n|{}\n", header.join(" | "), " --- |".repeat(N));
        for row in rows {
            let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(self.text, "| {} |", cells.join(" | "));
        }
    }

    fn metrics(&mut self, catalogue: &[Metric]) {
        let rows = catalogue.iter().map(|metric| {
            let labels: Vec<_> =
                metric.labels.iter().map(|(label, values)| format!("{}: {values}", code(label))).collect();
            [code(metric.name), metric.kind.name().to_owned(), metric.help.to_owned(), labels.join("; ")]
        });
        self.table(&["name", "type", "what it is", "labels"], rows);
    }

    fn parameters(&mut self, owners: impl Iterator<Item = (&'static str, &'static [Param])> + Clone) {
        if owners.clone().all(|(_, params)| params.is_empty()) {
            return;
        }
        self.paragraph("Parameters:");
        let rows = owners.flat_map(|(owner, params)| {
            params.iter().map(move |param| {
                let range = format!("{} to {}", number(param.least), number(param.most));
                [code(owner), code(param.name), number(param.default), range, param.about.to_owned()]
            })
        });
        self.table(&["policy", "parameter", "default", "range", "meaning"], rows);
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Short for people: `0.1`, `1000000`, `1e18`.
fn number(value: f64) -> String {
    if value != 0.0 && !(1e-6..1e12).contains(&value.abs()) { format!("{value:e}") } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_everything_registered() {
        let policies = policies();
        let names = eviction::REGISTRY.iter().map(|entry| entry.name);
        for name in names.chain(admission::REGISTRY.iter().map(|entry| entry.name)) {
            assert!(policies.contains(&format!("| `{name}` |")), "{name}");
        }
        let formats = formats();
        let names = FORMATS.iter().map(|format| format.name);
        for name in names.chain(GENERATORS.iter().map(|generator| generator.name)) {
            assert!(formats.contains(&format!("| `{name}` |")), "{name}");
        }
        let metrics = metrics();
        for metric in larder::metrics::CATALOGUE.iter().chain(larder_redis::metrics::CATALOGUE) {
            assert!(metrics.contains(&format!("| `{}` |", metric.name)), "{}", metric.name);
        }
    }

    #[test]
    fn a_bar_does_not_break_a_table() {
        let mut page = Markdown::new("T");
        page.table(&["a"], std::iter::once(["x|y".to_owned()]));
        assert!(page.text.ends_with("\n| a |\n| --- |\n| x\\|y |\n"));
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.1, 1e6, 1e18, 1e-9].map(number);
        assert_eq!(all, ["0", "0.1", "1000000", "1e18", "1e-9"]);
    }
}
