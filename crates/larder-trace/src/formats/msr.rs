//! MSR Cambridge and other SNIA block traces: `Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime`, times
//! in units of 100 ns; a request for each block touched. Blocks of different disks are different keys.

use larder_policy::{Op, Time};

use super::{Format, likely};
use crate::{
    Carries, Input, Options, Reader, Request,
    key::text,
    lines::{Bad, LineParser, Lines, Rows, Run},
    parse,
};

pub(super) const FORMAT: Format = Format {
    name: "msr",
    about: "MSR Cambridge (SNIA) block CSV: Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime",
    extensions: &["csv"],
    carries: Carries { ttls: false, ..Carries::ALL },
    mapped: false,
    detect: |head| likely(head, |line| is_header(line) || parse(line, 4096).is_ok()),
    open: |input: Input, options: &Options| -> Result<Box<dyn Reader>, _> {
        Lines::boxed(input, options, Msr { block: options.block_size })
    },
    create: None,
    sample: b"128166372003061629,hm,0,Read,383498240,32768,413\n128166372016382155,hm,1,Write,2822144,4096,2421\n\
              128166372026382245,hm,0,Read,383500288,100,100\n",
};

fn is_header(line: &[u8]) -> bool {
    line.starts_with(b"Timestamp,Hostname,")
}

fn parse(line: &[u8], block: u32) -> Result<Run, Bad> {
    let mut fields = line.split(|b| *b == b',');
    let mut next = || fields.next().ok_or_else(|| Bad::new(line.len(), "expected seven columns"));
    let (time, host, disk) = (next()?, next()?, next()?);
    let (kind, offset, size, response) = (next()?, next()?, next()?, next()?.trim_ascii());
    let number = |field, wanted| parse::whole(field).ok_or_else(|| Bad::field(line, field, wanted));
    number(disk, "a disk's number")?;
    let op = match kind {
        b"Read" | b"read" | b"R" => Op::Get,
        b"Write" | b"write" | b"W" => Op::Set,
        _ => return Err(Bad::field(line, kind, "Read or Write")),
    };
    let at = Time(number(time, "a time in units of 100 ns")? / 10);
    let start = number(offset, "an offset in bytes")?;
    let length = number(size, "a size in bytes")?.max(1);
    let end = start.checked_add(length - 1).ok_or_else(|| Bad::field(line, offset, "an offset on a disk"))?;
    // Host and disk give the number space its start; 64 bits are wide enough that two disks do not meet.
    let volume = text(&line[time.len() + 1..time.len() + host.len() + disk.len() + 2]);
    let (block, cost) = (u64::from(block), parse::cap(number(response, "a response time in units of 100 ns")? / 10));
    let key = volume.wrapping_add(start / block);
    let first = Request { at, key, size: parse::cap(block), ttl: 0, cost, op };
    Ok(Run { first, count: end / block - start / block + 1, key_step: 1, tick: 0 })
}

struct Msr {
    block: u32,
}

impl LineParser for Msr {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        if is_header(line) {
            rows.pass();
            return Ok(());
        }
        rows.run(parse(line, self.block)?)
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
}
