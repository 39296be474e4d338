//! The screen: a row a cache, and the chosen one's hit ratio, loads and experiment.

use ratatui::Frame as Canvas;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table, TableState, Wrap};

use super::frame::{Behind, Control, Freshness, History, Measured, Model, Report};
use super::lines::{failing, gain, stale};
use crate::commands::stats::span;
use crate::price_args::money;
use crate::table::count;

const COLUMNS: [&str; 8] = ["cache", "policy", "reads/s", "memory", "remote", "loads/s", "stale", "gain, points"];

pub(super) struct Screen {
    origin: String,
    pub(super) history: History,
    /// Why the last look failed.
    pub(super) lost: Option<String>,
    chosen: usize,
}

impl Screen {
    pub(super) fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), history: History::default(), lost: None, chosen: 0 }
    }

    /// Chooses the cache so many rows below.
    pub(super) fn choose(&mut self, by: isize) {
        let most = self.history.last().map_or(0, |frame| frame.caches.len().saturating_sub(1));
        self.chosen = self.chosen.saturating_add_signed(by).min(most);
    }

    pub(super) fn draw(&self, canvas: &mut Canvas<'_>) {
        let Some(frame) = self.history.last() else { return };
        let rows = u16::try_from(frame.caches.len() + 1).unwrap_or(u16::MAX).min(canvas.area().height / 3);
        let parts = [Constraint::Length(1), Constraint::Length(rows), Constraint::Length(6), Constraint::Min(3)];
        let [head, list, lines, trial] = Layout::vertical(parts).areas(canvas.area());
        self.draw_head(canvas, head);
        self.draw_list(canvas, list);
        let chosen = frame.caches.get(self.chosen.min(frame.caches.len().saturating_sub(1)));
        let Some(chosen) = chosen else {
            canvas.render_widget(Paragraph::new("The dashboard shows no cache yet."), trial);
            return;
        };
        self.draw_lines(canvas, lines, &chosen.id);
        let block = Block::new().title(format!(" {} ", chosen.id).bold());
        let mut text = told(&chosen.report);
        let failing = failing(self.history.rates(&chosen.id).last().as_ref());
        text.lines.splice(0..0, failing.map(|failing| Line::styled(failing, Style::new().fg(Color::Red))));
        canvas.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }).block(block), trial);
    }

    fn draw_head(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let state = match &self.lost {
            Some(why) => {
                Span::styled(format!("old numbers: {why}"), Style::new().fg(Color::Red).add_modifier(Modifier::BOLD))
            }
            None => Span::raw(format!("{}  ↑↓ choose, q quits", self.origin)),
        };
        canvas.render_widget(Line::from(vec![" larder ".bold().reversed(), " ".into(), state]), area);
    }

    fn draw_list(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let Some(frame) = self.history.last() else { return };
        let rows = frame.caches.iter().map(|shown| {
            let rates = self.history.rates(&shown.id).last();
            let share = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.1}%", share * 100.0));
            let rate = |rate: Option<f64>| rate.map_or("-".into(), |rate| count(rate as u64));
            Row::new([
                Text::raw(shown.id.clone()),
                Text::raw(shown.report.policy.clone()),
                Text::raw(rate(rates.map(|rates| rates.reads))).right_aligned(),
                Text::raw(share(rates.and_then(|rates| rates.memory))).right_aligned(),
                Text::raw(share(rates.and_then(|rates| rates.remote))).right_aligned(),
                Text::raw(rate(rates.map(|rates| rates.loads))).right_aligned(),
                Text::raw(stale(shown.report.freshness.recent)),
                Text::raw(gain(&shown.report)),
            ])
        });
        // A page of several instances names these too: so much of that as a third of the screen holds.
        let longest = frame.caches.iter().map(|shown| shown.id.chars().count()).max().unwrap_or(0);
        let name = u16::try_from(longest).unwrap_or(u16::MAX).min(area.width / 3).max(14);
        let widths = [name, 10, 9, 7, 7, 8, 19, 16].map(Constraint::Length);
        let table = Table::new(rows, widths)
            .header(Row::new(COLUMNS).style(Style::new().add_modifier(Modifier::DIM)))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        canvas.render_stateful_widget(table, area, &mut TableState::new().with_selected(self.chosen));
    }

    fn draw_lines(&self, canvas: &mut Canvas<'_>, area: Rect, id: &str) {
        let halves: [Rect; 2] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2).areas(area);
        let most = usize::from(halves[0].width);
        let rates: Vec<_> = self.history.rates(id).collect();
        let rates = &rates[rates.len().saturating_sub(most)..];
        let memory: Vec<u64> = rates.iter().map(|rates| (rates.memory.unwrap_or(0.0) * 1000.0) as u64).collect();
        let loads: Vec<u64> = rates.iter().map(|rates| rates.loads as u64).collect();
        let line = |title: &'static str, data: Vec<u64>, color| {
            Sparkline::default().block(Block::new().title(title)).data(data).style(Style::new().fg(color))
        };
        canvas.render_widget(line("hit ratio of memory, to 100%", memory, Color::Cyan).max(1000), halves[0]);
        canvas.render_widget(line("loads of the origin a second", loads, Color::Yellow), halves[1]);
    }
}

/// What is known of a cache, in words.
fn told(report: &Report) -> Text<'static> {
    let full = if report.capacity == 0 { 0.0 } else { report.weight as f64 / report.capacity as f64 };
    let mut lines = vec![Line::raw(format!("memory: {} entries, {:.0}% full", count(report.entries), full * 100.0))];
    let Freshness { objective, recent, prefixes } = &report.freshness;
    let of_all = if prefixes.is_empty() { "" } else { "other keys: " };
    lines.extend(objective.map(|objective| kept(of_all, objective, *recent)));
    lines.extend(prefixes.iter().map(|own| kept(&format!("{} ", own.prefix), own.objective, own.recent)));
    if let Some(remote) = &report.remote {
        let color = if remote.breaker == "closed" { Color::Reset } else { Color::Red };
        lines.push(Line::styled(format!("remote tier: breaker {}", remote.breaker), Style::new().fg(color)));
    }
    lines.extend(report.model.iter().flat_map(|model| [foretells(model), drifts(model)]));
    lines.extend(report.behind.map(waits));
    match &report.control {
        Some(control) => lines.extend(experiment(control)),
        None => lines.push(Line::raw("no control runs beside it")),
    }
    lines.into()
}

/// How the last hour's stale rate of some keys stands to their objective.
fn kept(whose: &str, objective: f64, recent: Option<Measured>) -> Line<'static> {
    let (verdict, color) = match recent {
        None => ("nothing was checked yet", Color::Reset),
        Some(measured) if measured.high <= objective => ("kept", Color::Green),
        Some(measured) if measured.low > objective => ("missed", Color::Red),
        Some(_) => ("not certain yet", Color::Yellow),
    };
    let rate = if whose.is_empty() { String::new() } else { format!(" ({})", stale(recent)) };
    Line::from(vec![
        Span::raw(format!("objective: {whose}{}% stale at most, ", objective * 100.0)),
        Span::styled(verdict, Style::new().fg(color).add_modifier(Modifier::BOLD)),
        Span::raw(rate),
    ])
}

/// How well the model foretells.
fn foretells(model: &Model) -> Line<'static> {
    let Model { parts, on_duty, loss, loss_to_prior, calibration_error, .. } = *model;
    let share = |of: Option<f64>| of.map_or_else(|| "?".to_owned(), |share| format!("{share:.2}"));
    let error = calibration_error.map_or_else(|| "?".to_owned(), |error| format!("{:.1}%", error * 100.0));
    let (base, prior) = (share(loss), share(loss_to_prior));
    let color = if on_duty == 0 || loss.is_some_and(|loss| loss >= 1.0) { Color::Red } else { Color::Reset };
    let what = format!(
        "model: on duty in {on_duty} of {parts} parts; loss {base} of the base rate's, {prior} of the prior's; calibration error {error}"
    );
    Line::styled(what, Style::new().fg(color))
}

/// How near it is to losing touch with the traffic. Half of the way and beyond is marked, as on the page.
fn drifts(Model { drift, drifts, .. }: &Model) -> Line<'static> {
    let color = if *drift < 0.5 { Color::Reset } else { Color::Red };
    let what = format!("drift: {:.0}% of what sets the model aside; began anew {drifts} times", drift * 100.0);
    Line::styled(what, Style::new().fg(color))
}

/// What the database does not have yet.
fn waits(Behind { pending, pending_bytes, oldest }: Behind) -> Line<'static> {
    let oldest = oldest.map_or_else(String::new, |oldest| format!(", the oldest for {oldest:.1} s"));
    Line::raw(format!("write-behind: {} writes pending, {} bytes{oldest}", count(pending), count(pending_bytes)))
}

fn experiment(control: &Control) -> Vec<Line<'static>> {
    let Control { policy, state, treated, parts, .. } = control;
    let mut lines = vec![Line::raw(format!("beside {policy}: {state}, {treated} of {parts} parts run the policy"))];
    if control.rollbacks > 0 {
        let why = control.last_breach.as_deref().unwrap_or("unknown");
        lines.push(Line::raw(format!("rolled back {} times; last: {why}", control.rollbacks)));
    }
    match control.counted_for {
        Some(seconds) => {
            lines.push(Line::raw(format!("the gain is that of the last {}", span((seconds * 1e6) as u64))))
        }
        None if *treated > 0 => lines.push(Line::raw(format!(
            "a gain is told once the memory was turned over twice, and so far it was {:.1} times",
            control.turnovers
        ))),
        None => {}
    }
    lines.extend(control.refusals.iter().map(|why| Line::raw(format!("nothing is concluded yet: {why}"))));
    // What stands against both is said once.
    let of_arms = control.arms.iter().flat_map(|arms| &arms.refusals).filter(|why| !control.refusals.contains(why));
    lines.extend(of_arms.map(|why| Line::raw(format!("nothing is concluded from the arms: {why}"))));
    let at = |scale: f64| control.sizes.iter().find(|size| size.scale == scale);
    if let (Some(here), Some(twice)) = (at(1.0), at(2.0)) {
        let [here, twice] = [here, twice].map(|size| format!("{:.1}%", size.hit_ratio * 100.0));
        lines.push(Line::raw(format!("at twice the memory {policy} would hit {twice} instead of {here}")));
    }
    let cost = |scale: f64| at(scale)?.cost.map(|cost| money(cost.total));
    if let Some(cheapest) = control.cheapest
        && let (Some(here), Some(twice), Some(least)) = (cost(1.0), cost(2.0), cost(cheapest))
    {
        lines.push(Line::raw(format!(
            "an hour costs {here}, at twice the memory {twice}; cheapest is {cheapest}x the memory with {least}"
        )));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::frame;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|canvas| screen.draw(canvas)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cells: Vec<_> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        cells.chunks(usize::from(width)).map(|row| row.concat() + "\n").collect()
    }

    #[test]
    fn the_screen_says_what_the_page_says() {
        let mut screen = Screen::new("http://127.0.0.1:9465");
        assert_eq!(drawn(&screen, 100, 24).trim(), "");
        (0..5).for_each(|second| screen.history.push(frame(1000 + second * 1000, second * 1000)));
        let text = drawn(&screen, 110, 34);
        for part in [
            "http://127.0.0.1:9465",
            "demo",
            "learned",
            "1,000",
            "80.0%",
            "0.80% 0.60–0.98",
            "+4.1 +3.2–+5.0",
            "20% of the loads fail",
            "500 entries, 83% full",
            "objective: other keys: 1% stale at most, kept (0.80% 0.60–0.98)",
            "objective: price: 0.1% stale at most, missed (2.00% 1.50–2.60)",
            "objective: new: 5% stale at most, nothing was checked yet",
            "the gain is that of the last 1h 30m",
            "nothing is concluded from the arms: few shards",
            "breaker half-open",
            "on duty in 3 of 4 parts; loss 0.71 of the base rate's, 0.98 of the prior's; calibration error 1.2%",
            "drift: 62% of what sets the model aside; began anew 2 times",
            "1,200 writes pending, 20,480 bytes, the oldest for 2.5 s",
            "beside wtinylfu: ramping, 16 of 64 parts",
            "rolled back 1 times; last: the hit ratio fell",
            "nothing is concluded yet: few slices",
            "would hit 76.0% instead of 70.0%",
            "an hour costs 1.500, at twice the memory 1.250; cheapest is 2x the memory with 1.250",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(text.contains('█') || text.contains('▇'), "a line is drawn:\n{text}");
        screen.choose(1);
        screen.choose(5);
        assert!(drawn(&screen, 110, 24).contains(" other \n") || drawn(&screen, 110, 24).contains(" other  "));
        screen.choose(-9);
        screen.lost = Some("connection refused".into());
        assert!(drawn(&screen, 110, 24).contains("old numbers: connection refused"));
        let mut several = frame(9000, 9000);
        several.caches[0].id = "instance-7.internal:9465 users".into();
        screen.history.push(several);
        assert!(
            drawn(&screen, 150, 24).contains("instance-7.internal:9465 users learned"),
            "{}",
            drawn(&screen, 150, 24)
        );
        // However small it is.
        for (width, height) in [(1, 1), (20, 5), (40, 12), (300, 100)] {
            drawn(&screen, width, height);
        }
    }
}
