//! Puts each format's sample into its corpus: `cargo run --example seed`.

use std::{fs, io, path::Path};

use larder_trace::FORMATS;

fn main() -> io::Result<()> {
    for format in FORMATS {
        for target in [format.name, "detect"] {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
            fs::create_dir_all(&corpus)?;
            fs::write(corpus.join(format!("{}-sample", format.name)), format.sample)?;
        }
    }
    Ok(())
}
