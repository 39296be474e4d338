//! Whether something grows: a line through the lowest of each while.

/// A line through what was seen, and how far off its slope may be.
#[derive(Clone, Copy, Debug)]
pub struct Trend {
    /// Per unit of time.
    pub slope: f64,
    /// Its standard error.
    pub error: f64,
}

/// Of the lowest value in each of `whiles` equal parts of the time: what comes and goes, such as queues during a fault, is not in it, and
/// what is lost for good is. Ordinary least squares.
pub fn of_minima(samples: &[(f64, f64)], whiles: usize) -> Trend {
    let (first, last) = (samples[0].0, samples[samples.len() - 1].0);
    let mut minima = vec![(0.0, f64::INFINITY); whiles];
    for &(at, value) in samples {
        let place = ((at - first) / (last - first) * whiles as f64) as usize;
        let least = &mut minima[place.min(whiles - 1)];
        if value < least.1 {
            *least = (at, value);
        }
    }
    minima.retain(|(_, value)| value.is_finite());
    let many = minima.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| minima.iter().map(of).sum::<f64>() / many;
    let (x, y) = (mean(|(at, _)| *at), mean(|(_, value)| *value));
    let spread: f64 = minima.iter().map(|(at, _)| (at - x).powi(2)).sum();
    let slope = minima.iter().map(|(at, value)| (at - x) * (value - y)).sum::<f64>() / spread;
    let left: f64 = minima.iter().map(|(at, value)| (value - y - slope * (at - x)).powi(2)).sum();
    Trend { slope, error: (left / (many - 2.0) / spread).sqrt() }
}
