//! One line a look and cache, for pipes and logs.

use super::frame::{Frame, History, Measured, Prefix, Rates, Report};

const HEADER: &str = " reads/s  memory  remote  loads/s   stale            objective  gain, points        loss   drift drifts   behind  state";

/// Columns for the names of the caches: a page of several instances names these too.
pub(super) fn width(frame: &Frame) -> usize {
    frame.caches.iter().map(|shown| shown.id.chars().count()).fold(16, usize::max)
}

pub(super) fn header(width: usize) -> String {
    format!("{:width$} {HEADER}", "cache")
}

pub(super) fn lines(history: &History, width: usize) -> Vec<String> {
    let Some(frame) = history.last() else { return Vec::new() };
    frame.caches.iter().map(|shown| line(&shown.id, &shown.report, history, width)).collect()
}

fn line(id: &str, report: &Report, history: &History, width: usize) -> String {
    let rates = history.rates(id).last();
    let rate = |of: fn(&Rates) -> f64| rates.as_ref().map_or_else(dash, |rates| format!("{:.0}", of(rates)));
    let share = |share: Option<f64>| share.map_or_else(dash, |share| format!("{:.1}%", share * 100.0));
    let state = report.control.as_ref().map_or("no control", |control| control.state.as_str());
    let failing = failing(rates.as_ref()).map_or_else(String::new, |failing| format!("; {failing}"));
    let missed: String = report.freshness.prefixes.iter().filter_map(missed).collect();
    format!(
        "{id:width$} {:>8} {:>7} {:>7} {:>8}  {:17} {:>9}  {:18} {:>5} {:>7} {:>6} {:>8}  {state}{failing}{missed}",
        rate(|rates| rates.reads),
        share(rates.and_then(|rates| rates.memory)),
        share(rates.and_then(|rates| rates.remote)),
        rate(|rates| rates.loads),
        stale(report.freshness.recent),
        report.freshness.objective.map_or_else(dash, |objective| format!("{}%", objective * 100.0)),
        gain(report),
        report.model.and_then(|model| model.loss).map_or_else(dash, |loss| format!("{loss:.2}")),
        share(report.model.map(|model| model.drift)),
        report.model.map_or_else(dash, |model| model.drifts.to_string()),
        report.behind.map_or_else(dash, |log| log.pending.to_string()),
    )
}

/// How many of the loads fail, if some do.
pub(super) fn failing(rates: Option<&Rates>) -> Option<String> {
    let failed = rates?.failed.filter(|failed| *failed > 0.0)?;
    Some(format!("{:.0}% of the loads fail", failed * 100.0))
}

/// Keys whose own objective is missed: the columns are of the others.
fn missed(own: &Prefix) -> Option<String> {
    let recent = own.recent.filter(|recent| recent.low > own.objective)?;
    Some(format!("; {} {} stale, objective {}%", own.prefix, stale(Some(recent)), own.objective * 100.0))
}

/// The rate measured with its interval.
pub(super) fn stale(measured: Option<Measured>) -> String {
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
        assert!(lines(&history, 16)[0].contains("demo                    -"), "{:?}", lines(&history, 16));
        history.push(frame(2000, 1000));
        let lines = lines(&history, 16);
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
            "ramping; 20% of the loads fail; price: 2.00% 1.50–2.60 stale, objective 0.1%",
        ] {
            assert!(lines[0].contains(part), "{part}: {}", lines[0]);
        }
        let columns = |line: &str| line.chars().take_while(|letter| *letter != '%').count();
        assert!(columns(&lines[0]) < header(16).find("remote").unwrap());
    }

    #[test]
    fn columns_stay_in_line_where_several_instances_are_named() {
        let (mut history, mut named) = (History::default(), frame(1000, 0));
        named.caches[0].id = "instance-7.internal:9465 users".into();
        let wide = width(&named);
        history.push(named);
        let ends = |line: &str, of: &str| line.split_once(of).map(|(before, _)| before.chars().count() + of.len());
        let lines = lines(&history, wide);
        // Two caches, neither with a rate yet: the dash stands below the end of its heading.
        assert_eq!(ends(&header(wide), "reads/s"), ends(&lines[0], "      -"));
        assert_eq!(ends(&lines[1], " 0.71 "), ends(&lines[0], " 0.71 "));
    }
}
