//! `larder top`: a dashboard's numbers in a terminal.

mod frame;
mod lines;
mod screen;

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::frame::{Frame, History};
use self::screen::Screen;
use crate::client::Client;
use crate::failure::Failure;
use crate::top_args::TopArgs;

const EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &TopArgs) -> Result<(), Failure> {
    let client = Client::new(&args.url)?;
    // Fails before the terminal is taken over.
    let first = Frame::read(&client)?;
    let times = args.count.map_or(u64::MAX, |count| count.get());
    if args.lines || !io::stdout().is_terminal() { print(&client, first, times) } else { draw(&client, first, times) }
}

fn print(client: &Client, first: Frame, times: u64) -> Result<(), Failure> {
    let mut history = History::default();
    let mut width = lines::width(&first);
    history.push(first);
    let mut out = io::stdout().lock();
    writeln!(out, "{}", lines::header(width))?;
    for _ in 0..times {
        std::thread::sleep(EVERY);
        let frame = Frame::read(client)?;
        // Newcomers may have longer names.
        if lines::width(&frame) > width {
            width = lines::width(&frame);
            writeln!(out, "{}", lines::header(width))?;
        }
        history.push(frame);
        for line in lines::lines(&history, width) {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
    }
    Ok(())
}

fn draw(client: &Client, first: Frame, times: u64) -> Result<(), Failure> {
    let mut terminal = ratatui::try_init().map_err(|error| Failure::Failed(format!("the terminal: {error}")))?;
    let drawn = watch(&mut terminal, client, first, times);
    ratatui::restore();
    drawn
}

fn watch(terminal: &mut ratatui::DefaultTerminal, client: &Client, first: Frame, times: u64) -> Result<(), Failure> {
    let mut screen = Screen::new(client.origin());
    screen.history.push(first);
    let mut next = Instant::now() + EVERY;
    let mut looked = 0;
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        while event::poll(next.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                    KeyCode::Up | KeyCode::Char('k') => screen.choose(-1),
                    KeyCode::Down | KeyCode::Char('j') => screen.choose(1),
                    _ => {}
                },
                _ => {}
            }
            terminal.draw(|frame| screen.draw(frame))?;
        }
        next = Instant::now() + EVERY;
        looked += 1;
        if looked >= times {
            return Ok(());
        }
        match Frame::read(client) {
            Ok(frame) => {
                screen.lost = None;
                screen.history.push(frame);
            }
            // The service may come back.
            Err(Failure::Failed(why)) => screen.lost = Some(why),
            Err(failure) => return Err(failure),
        }
    }
}

/// What is shown of one answer after another of a dashboard, those that are none left out: lines and the screen. How many were reports.
#[cfg(feature = "fuzzing")]
pub fn looked(answers: impl IntoIterator<Item = serde_json::Value>) -> usize {
    use ratatui::{Terminal, backend::TestBackend};
    let mut screen = Screen::new("http://localhost");
    let mut reports = 0;
    for answer in answers {
        let Ok(frame) = Frame::of(answer) else { continue };
        screen.history.push(frame);
        reports += 1;
        let caches = screen.history.last().map_or(0, |frame| frame.caches.len());
        assert_eq!(lines::lines(&screen.history, 16).len(), caches, "a line a cache");
        let Ok(mut terminal) = Terminal::new(TestBackend::new(80, 24));
        let Ok(_) = terminal.draw(|canvas| screen.draw(canvas));
        screen.choose(1);
    }
    reports
}
