use std::sync::OnceLock;
static K: OnceLock<Vec<Option<f64>>> = OnceLock::new();
#[allow(clippy::disallowed_methods)]
pub(super) fn knob(i: usize, default: f64) -> f64 {
    K.get_or_init(|| (0..20).map(|i| std::env::var(format!("K{i}")).ok().and_then(|v| v.parse().ok())).collect())[i].unwrap_or(default)
}
