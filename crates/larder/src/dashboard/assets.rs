//! The page's files, part of the program.

/// A file under its path.
pub(super) struct Asset {
    pub(super) path: &'static str,
    pub(super) kind: &'static str,
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($path:literal $kind:ident $file:literal,)*) => {
        &[$(Asset { path: $path, kind: $kind, text: include_str!(concat!("assets/", $file)) },)*]
    };
}

pub(super) const ASSETS: &[Asset] = assets![
    "/" HTML "index.html",
    "/style.css" CSS "style.css",
    "/icon.svg" SVG "icon.svg",
    "/app.js" JS "app.js",
    "/feed.js" JS "feed.js",
    "/pool.js" JS "pool.js",
    "/words.js" JS "words.js",
    "/charts.js" JS "charts.js",
    "/views.js" JS "views.js",
    "/lists.js" JS "lists.js",
    "/uplot.js" JS "vendor/uPlot.iife.min.js",
    "/uplot.css" CSS "vendor/uPlot.min.css",
];
