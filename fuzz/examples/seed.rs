//! Puts each decoder's samples into its corpus: `cargo run -p larder-fuzz --example seed`.

use std::path::Path;
use std::{fs, io};

use larder_fuzz::DECODERS;

fn main() -> io::Result<()> {
    for decoder in DECODERS.iter() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets/corpus").join(&decoder.name);
        fs::create_dir_all(&corpus)?;
        for (sample, number) in decoder.samples.iter().zip(1..) {
            fs::write(corpus.join(format!("sample-{number}")), sample)?;
        }
    }
    Ok(())
}
