//! Line charts as SVG, drawn for one width each: text keeps its size on a telephone.

use std::fmt::Write as _;

use super::html::Text;
use super::palette::Pen;

/// Points in a chart, from its axes' low ends.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) pen: Pen,
    pub(super) points: Vec<(f64, f64)>,
    /// What a reader sees on hovering over a point; none draws no markers.
    pub(super) tips: Vec<String>,
}

/// An axis: its range and the places it names.
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Around the shares of 1 from `least` to `most`, with ticks at round percentages: from 0, unless that would press
    /// the lines together.
    pub(super) fn shares(title: &str, least: f64, most: f64) -> Self {
        let most = most.clamp(0.01, 1.0);
        let least = if least > most / 3.0 { least.min(most) } else { 0.0 };
        let steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
        let step = steps.into_iter().find(|step| (most - least) / step <= 6.0).unwrap_or(0.2);
        let (first, last) = ((least / step).floor() as u32, (most / step).ceil() as u32);
        // All equal and round: there must be some height.
        let first = if first == last { first.saturating_sub(1) } else { first };
        let tick = |at: u32| (f64::from(at) * step, format!("{}%", round(f64::from(at) * step * 100.0)));
        let ticks = (first..=last).map(tick).collect();
        Self { title: title.to_owned(), low: f64::from(first) * step, high: f64::from(last) * step, ticks }
    }

    fn place(&self, value: f64) -> f64 {
        if self.high > self.low { ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0) } else { 0.5 }
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A chart's size and the room around its plot, in pixels.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
}

/// For screens and paper.
pub(super) const WIDE: Frame = Frame { class: "wide", width: 880.0, height: 430.0, left: 50.0, right: 128.0 };
/// For telephones.
pub(super) const NARROW: Frame = Frame { class: "narrow", width: 350.0, height: 380.0, left: 38.0, right: 92.0 };

const TOP: f64 = 26.0;
const BOTTOM: f64 = 46.0;
/// Labels at the lines' ends keep this distance.
const LABEL: f64 = 15.0;

/// The chart in both widths; the style sheet shows the one that fits.
pub(super) fn chart(x: &Axis, y: &Axis, lines: &[Line<'_>]) -> String {
    draw(WIDE, x, y, lines) + &draw(NARROW, x, y, lines)
}

/// The wide chart as a file of its own, on the paper's colour.
pub(super) fn picture(style: &str, x: &Axis, y: &Axis, lines: &[Line<'_>]) -> String {
    let Frame { width, height, .. } = WIDE;
    let chart = draw(WIDE, x, y, lines);
    let inside = chart.split_once('>').map_or("", |(_, inside)| inside);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\"><style>{style}</style><rect width=\"{width}\" height=\"{height}\" \
         style=\"fill:var(--paper)\"/>{inside}\n"
    )
}

fn draw(frame: Frame, x: &Axis, y: &Axis, lines: &[Line<'_>]) -> String {
    let Frame { class, width, height, left, right, .. } = frame;
    let to_x = |value: f64| left + x.place(value) * (width - left - right);
    let to_y = |value: f64| height - BOTTOM - y.place(value) * (height - TOP - BOTTOM);
    let mut svg = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        svg,
        "<svg class=\"chart {class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{} by {}\" \
         data-plot=\"{left} {TOP} {} {}\" data-y=\"{} {}\">",
        Text(&y.title),
        Text(&x.title),
        width - right,
        height - BOTTOM,
        y.low,
        y.high
    );
    for (value, label) in &y.ticks {
        let at = to_y(*value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            width - right,
            left - 7.0,
            at + 4.0
        );
    }
    let base = height - BOTTOM;
    for (at, label) in thinned(&x.ticks, &to_x) {
        let _ = write!(
            svg,
            "<line class=\"tick\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{base}\" y2=\"{}\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            base + 4.0,
            base + 18.0,
            Text(label)
        );
    }
    let _ = write!(
        svg,
        "<text class=\"axis\" x=\"{left}\" y=\"12\">{}</text>\
         <text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        Text(&y.title),
        width - right,
        height - 8.0,
        Text(&x.title)
    );
    let ends = label_places(lines.iter().map(|line| line.points.last().map_or(base, |point| to_y(point.1))), base);
    for (line, label) in lines.iter().zip(ends) {
        draw_line(&mut svg, line, &to_x, &to_y, width - right, label);
    }
    svg.push_str("</svg>");
    svg
}

/// A line, its markers, and its name at its end with a thin line leading there.
fn draw_line(
    svg: &mut String,
    line: &Line<'_>,
    to_x: &dyn Fn(f64) -> f64,
    to_y: &dyn Fn(f64) -> f64,
    edge: f64,
    label: f64,
) {
    let Pen { class, dash } = line.pen;
    let name = Text(line.name);
    let _ = write!(svg, "<g class=\"line {class}\" data-name=\"{name}\"><path d=\"");
    for (at, &(x, y)) in line.points.iter().enumerate() {
        let _ = write!(svg, "{}{:.1} {:.1}", if at == 0 { 'M' } else { 'L' }, to_x(x), to_y(y));
    }
    svg.push('"');
    if !dash.is_empty() {
        let _ = write!(svg, " stroke-dasharray=\"{dash}\"");
    }
    let _ = write!(svg, "><title>{name}</title></path>");
    for (&(x, y), tip) in line.points.iter().zip(&line.tips) {
        let _ = write!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}</title></circle>",
            to_x(x),
            to_y(y),
            Text(tip)
        );
    }
    if let Some(&(x, y)) = line.points.last() {
        let _ = write!(
            svg,
            "<polyline class=\"leader\" points=\"{:.1},{:.1} {:.1},{label:.1} {:.1},{label:.1}\"/>\
             <text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
            to_x(x),
            to_y(y),
            edge + 14.0,
            edge + 18.0,
            edge + 22.0,
            label + 4.0
        );
    }
    svg.push_str("</g>");
}

/// Heights for labels as near to `wanted` as can be (least squares), none nearer to another than [`LABEL`], as long as
/// the chart has the room.
fn label_places(wanted: impl Iterator<Item = f64>, base: f64) -> Vec<f64> {
    let wanted: Vec<f64> = wanted.collect();
    let (top, bottom) = (8.0, base + 14.0);
    let apart = LABEL.min((bottom - top) / wanted.len().saturating_sub(1).max(1) as f64);
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&one, &other| wanted[one].total_cmp(&wanted[other]));
    // Pool adjacent violators: labels that would collide form a block around their mean.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (rank, &at) in order.iter().enumerate() {
        let mut block = (wanted[at] - rank as f64 * apart, 1);
        while let Some(&(before, size)) = blocks.last()
            && before >= block.0
        {
            block = ((before * size as f64 + block.0 * block.1 as f64) / (size + block.1) as f64, size + block.1);
            blocks.pop();
        }
        blocks.push(block);
    }
    let starts = blocks.iter().flat_map(|&(start, size)| std::iter::repeat_n(start, size));
    let most = bottom - wanted.len().saturating_sub(1) as f64 * apart;
    let mut places = vec![0.0; wanted.len()];
    for (rank, (&at, start)) in order.iter().zip(starts).enumerate() {
        places[at] = start.clamp(top, most.max(top)) + rank as f64 * apart;
    }
    places
}

/// The ticks whose labels have room, from the last on, with their places.
fn thinned<'a>(ticks: &'a [(f64, String)], to_x: &dyn Fn(f64) -> f64) -> Vec<(f64, &'a str)> {
    let mut kept: Vec<(f64, &str)> = Vec::new();
    for (value, label) in ticks.iter().rev() {
        let at = to_x(*value);
        // Half of either label at about 7 pixels a character, and a gap.
        let room = |&(next, other): &(f64, &str)| next - at >= 3.5 * (label.len() + other.len()) as f64 + 8.0;
        if kept.last().is_none_or(room) {
            kept.push((at, label));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap() {
        let wanted = [100.0, 101.0, 102.0, 300.0, 384.0, 384.0, 384.0, 5.0];
        let places = label_places(wanted.into_iter(), 384.0);
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= LABEL - 1e-9), "{places:?}");
        assert!(sorted.iter().all(|&place| (0.0..=400.0).contains(&place)));
        assert_eq!(places[3], 300.0, "a label with room stays where its line ends");
        assert!((places[1] - 101.0).abs() < 1e-9, "a crowd spreads around its middle");
    }

    #[test]
    fn axes_end_at_round_shares() {
        for (least, most, low, high) in [
            (0.0, 0.0, 0.0, 0.01),
            (0.1, 0.43, 0.0, 0.5),
            (0.36, 0.88, 0.3, 0.9),
            (0.5, 0.5, 0.499, 0.5),
            (0.9, 1.0, 0.9, 1.0),
            (0.01, 0.052, 0.0, 0.06),
        ] {
            let axis = Axis::shares("miss ratio", least, most);
            assert!((axis.high - high).abs() < 1e-9 && (axis.low - low).abs() < 1e-9, "{} to {}", axis.low, axis.high);
            assert!(axis.ticks.len() <= 8);
        }
    }

    #[test]
    fn ticks_without_room_are_left_out() {
        let ticks = [(0.0, "1%".to_owned()), (90.0, "10%".to_owned()), (100.0, "64 MiB".to_owned())];
        let kept = |width: f64| thinned(&ticks, &|value| value * width).into_iter().map(|(_, label)| label).collect();
        let (near, far): (Vec<_>, Vec<_>) = (kept(1.0), kept(10.0));
        assert_eq!(near, ["64 MiB", "1%"]);
        assert_eq!(far, ["64 MiB", "10%", "1%"]);
    }
}
