//! How far what was said of examples is from what happened.

use super::chart::{Axis, Line, picture};
use super::page::STYLE;
use super::palette::pens;

/// A reliability diagram as SVG: of each model, the share that happened by the probability said. The diagonal is where both are
/// the same.
pub fn reliability(models: &[(&str, Vec<(f64, f64)>)]) -> String {
    // Drawn as the policies that all are compared with are.
    let names: Vec<&str> = ["belady"].into_iter().chain(models.iter().map(|model| model.0)).collect();
    let pens = pens(&names);
    let diagonal = Line { name: "as said", pen: pens[0], points: vec![(0.0, 0.0), (1.0, 1.0)], tips: Vec::new() };
    let lines = models.iter().zip(&pens[1..]).map(|((name, points), &pen)| Line {
        name,
        pen,
        points: points.clone(),
        tips: points.iter().map(|(said, happened)| format!("{name}: said {said:.3}, happened {happened:.3}")).collect(),
    });
    let lines: Vec<Line<'_>> = [diagonal].into_iter().chain(lines).collect();
    picture(STYLE, &Axis::shares("said", 0.0, 1.0), &Axis::shares("happened", 0.0, 1.0), &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_its_line() {
        let svg = reliability(&[("cold start", vec![(0.1, 0.2), (0.9, 0.7)]), ("prior", vec![(0.5, 0.5)])]);
        assert_eq!(svg.matches("<path").count(), 3);
        assert!(svg.contains("cold start: said 0.900, happened 0.700") && svg.starts_with("<svg"));
    }
}
