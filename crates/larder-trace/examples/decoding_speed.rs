//! How fast traces decode: `cargo run --release -p larder-trace --example decoding_speed -- TRACE...`

use std::{error::Error, time::Instant};

use larder_trace::{Options, Reader, open};

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let start = Instant::now();
        let mut trace = open(&path, &Options::default())?;
        let (mut batch, mut rows) = (Vec::new(), 0);
        loop {
            batch.clear();
            match trace.read(&mut batch, 4096)? {
                0 => break,
                read => rows += read,
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let (name, format) = (trace.name(), trace.format());
        println!("{name} as {format}: {rows} rows in {seconds:.3} s, {:.1} M rows/s", rows as f64 / seconds / 1e6);
    }
    Ok(())
}
