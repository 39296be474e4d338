//! `larder policies` and `larder formats`: what the registries hold.

use std::io::{self, Write};

use larder_policy::{Param, admission, eviction};
use larder_trace::{FORMATS, GENERATORS, Generator};

use crate::failure::Failure;

pub(crate) fn policies() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "A policy is written EVICTION[:NAME=VALUE/…][+ADMISSION[:NAME=VALUE/…]].\n\nEviction:")?;
    for entry in eviction::REGISTRY {
        let future = if entry.needs_oracle && !entry.about.contains("future") { "; knows the future" } else { "" };
        policy(&mut out, entry.name, &format!("{}{future}", entry.about), entry.source, entry.params)?;
    }
    writeln!(out, "\nAdmission:")?;
    for entry in admission::REGISTRY {
        policy(&mut out, &format!("+{}", entry.name), entry.about, entry.source, entry.params)?;
    }
    Ok(())
}

fn policy(out: &mut impl Write, name: &str, about: &str, source: &str, params: &[Param]) -> Result<(), Failure> {
    writeln!(out, "  {name:14}  {about}")?;
    if !source.is_empty() {
        writeln!(out, "  {:14}  {source}", "")?;
    }
    for Param { name, default, least, most, about } in params {
        writeln!(out, "  {:14}    {name}={default} ({least} to {most}): {about}", "")?;
    }
    Ok(())
}

pub(crate) fn formats() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "Formats (compressed by gzip, zstd or xz, or plain; seen by the content unless --format names one):"
    )?;
    for format in FORMATS {
        let written = if format.create.is_some() { "" } else { " (read only)" };
        writeln!(out, "  {:16}  {}{written}", format.name, format.about)?;
    }
    writeln!(
        out,
        "\nIn a Redis: redis://[user:password@]host[:port][/db]/STREAM, what services recorded there, merged by time."
    )?;
    writeln!(out, "\nGenerators (gen:NAME:PARAMETER=VALUE/…, the same trace for the same seed):")?;
    let generator_param = |out: &mut io::StdoutLock<'_>, param: &larder_trace::Param| {
        let default = param.default.map_or_else(String::new, |value| format!("={value}"));
        writeln!(out, "  {:16}    {}{default}: {}", "", param.name, param.about)
    };
    for generator in GENERATORS {
        writeln!(out, "  {:16}  {}", generator.name, generator.about)?;
        for param in generator.params {
            generator_param(&mut out, param)?;
        }
    }
    writeln!(out, "  {:16}  parameters of every generator", "")?;
    for param in Generator::COMMON {
        generator_param(&mut out, param)?;
    }
    Ok(())
}
