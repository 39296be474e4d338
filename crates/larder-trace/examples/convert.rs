//! One trace format to another: `cargo run --release -p larder-trace --example convert -- FROM TO [FORMAT]`

use std::error::Error;

use larder_trace::{Options, Reader, create, open};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, format @ ..] = &*args else { return Err("give FROM, TO and perhaps a FORMAT".into()) };
    let mut trace = open(from, &Options::default())?;
    let mut writer = create(to, format.first().map(String::as_str))?;
    let mut batch = Vec::new();
    while trace.read(&mut batch, 8192)? > 0 {
        writer.write(&batch)?;
        batch.clear();
    }
    writer.finish()?;
    Ok(())
}
