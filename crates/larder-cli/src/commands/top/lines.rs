//! One line a look and cache, for pipes and logs.

use super::frame::{History, Report};

pub(super) const HEADER: &str = "cache             reads/s  memory  remote  loads/s   stale            objective  gain, points        loss   drift drifts   behind  state";

pub(super) fn lines(history: &History) -> Vec<String> {
    let Some(frame) = history.last() else { return Vec::new() };
    frame.caches.iter().map(|shown| line(&shown.id, &shown.report, history)).collect()
}

fn line(id: &str, report: &Report, history: &History) -> String {
    let rates = history.rates(id).last();
    let rate =
        |of: fn(&super::frame::Rates) -> f64| rates.as_ref().map_or_else(dash, |rates| format!("{:.0}", of(rates)));
    let share = |share: Option<f64>| share.map_or_else(dash, |share| format!("{:.1}%", share * 100.0));
    let state = report.control.as_ref().map_or("no control", |control| control.state.as_str());
    format!(
        "{id:16} {:>8} {:>7} {:>7} {:>8}  {:17} {:>9}  {:18} {:>5} {:>7} {:>6} {:>8}  {state}",
        rate(|rates| rates.reads),
        share(rates.and_then(|rates| rates.memory)),
        share(rates.and_then(|rates| rates.remote)),
        rate(|rates| rates.loads),
        stale(report),
        report.freshness.objective.map_or_else(dash, |objective| format!("{}%", objective * 100.0)),
        gain(report),
        report.model.and_then(|model| model.loss).map_or_else(dash, |loss| format!("{loss:.2}")),
        share(report.model.map(|model| model.drift)),
        report.model.map_or_else(dash, |model| model.drifts.to_string()),
        report.behind.map_or_else(dash, |log| log.pending.to_string()),
    )
}

/// The rate measured with its interval.
pub(super) fn stale(report: &Report) -> String {
    let measured = report.freshness.measured;
    measured.map_or_else(dash, |of| format!("{:.2}% {:.2}–{:.2}", of.rate * 100.0, of.low * 100.0, of.high * 100.0))
}

/// The gain with its interval, in points.
pub(super) fn gain(report: &Report) -> String {
    let known = report.control.as_ref().filter(|control| control.requests > 0);
    known.map_or_else(dash, |of| format!("{:+.1} {:+.1}–{:+.1}", of.gain * 100.0, of.low * 100.0, of.high * 100.0))
}

fn dash() -> String {
    "-".into()
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::frame;
    use super::*;

    #[test]
    fn a_line_says_it_all() {
        let mut history = History::default();
        history.push(frame(1000, 0));
        assert!(lines(&history)[0].contains("demo                    -"), "{:?}", lines(&history));
        history.push(frame(2000, 1000));
        let lines = lines(&history);
        assert_eq!(lines.len(), 2);
        for part in [
            "demo",
            "1000",
            "80.0%",
            "10.0%",
            " 50 ",
            "0.80% 0.60–0.98",
            "1%",
            "+4.1 +3.2–+5.0",
            " 0.71 ",
            " 62.0%      2 ",
            " 1200 ",
            "ramping",
        ] {
            assert!(lines[0].contains(part), "{part}: {}", lines[0]);
        }
        let columns = |line: &str| line.chars().take_while(|letter| *letter != '%').count();
        assert!(columns(&lines[0]) < HEADER.find("remote").unwrap());
    }
}
