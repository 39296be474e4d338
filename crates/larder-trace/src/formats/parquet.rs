//! Parquet tables, their columns mapped or under their usual names. The footer lies at the end, so it takes a plain
//! file and no stream.

use std::{fs::File, sync::Arc};

use larder_policy::{Op, Time};
use parquet::{
    basic::{Compression, ConvertedType, LogicalType, TimeUnit, ZstdLevel},
    column::{
        reader::{ColumnReader, ColumnReaderImpl},
        writer::ColumnWriter,
    },
    data_type::{ByteArray, DataType},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    schema::{parser::parse_message_type, types::ColumnDescriptor},
};

use super::{
    Format,
    mapped::{self, FIELDS, Field, Found},
    ops,
};
use crate::{
    Carries, Confidence, Error, ErrorKind, Input, Options, Output, Progress, Reader, Request, Skipped, Unit, Writer,
    key::key_number, lines::TICK, parse,
};

/// Rows decoded at a time.
const ROWS: usize = 4096;

/// Rows of a row group we write: some megabytes before compression.
const GROUP: usize = 1 << 18;

const SCHEMA: &str = "message trace {
    required int64 time (TIMESTAMP(MICROS,true));
    required int64 key (INTEGER(64,false));
    required int32 size (INTEGER(32,false));
    required binary op (STRING);
    required int32 ttl (INTEGER(32,false));
    required int32 cost (INTEGER(32,false));
}";

pub(super) const FORMAT: Format = Format {
    name: "parquet",
    about: "Parquet, columns mapped or under their usual names; needs the feature `parquet`",
    extensions: &["parquet"],
    carries: Carries::ALL,
    mapped: true,
    detect: |head| if head.starts_with(b"PAR1") { Confidence::Certain } else { Confidence::No },
    open: |input, options| Ok(Box::new(Parquet::open(input, options)?)),
    create: Some(create),
    sample: include_bytes!("../../samples/sample.parquet"),
};

struct Parquet {
    input: Input,
    file: SerializedFileReader<File>,
    length: u64,
    /// The column of each of [`FIELDS`].
    places: [Option<Place>; FIELDS.len()],
    found: Found,
    group: usize,
    columns: [Option<ColumnReader>; FIELDS.len()],
    cells: [Cells; FIELDS.len()],
    /// Rows decoded in `cells`, and the next of them.
    decoded: usize,
    next: usize,
    row: u64,
    index: u64,
    skip_bad: u64,
    skipped: Skipped,
}

#[derive(Clone, Copy)]
struct Place {
    column: usize,
    max_definition: i16,
    /// 32-bit numbers are unsigned.
    unsigned: bool,
}

impl Parquet {
    fn open(input: Input, options: &Options) -> Result<Self, Error> {
        let Some(path) = input.seekable() else {
            let error =
                Error::new(ErrorKind::Unsupported, "Parquet is read from its end, which a stream does not have");
            return Err(input.place(error.help("save it to a plain file first")));
        };
        let file = File::open(path).map_err(|e| input.place(Error::io(e, "opening")))?;
        let length = file.metadata().map_err(|e| input.place(Error::io(e, "opening")))?.len();
        let file = guarded(|| SerializedFileReader::new(file)).map_err(|e| input.place(damaged(e)))?;
        check(&file, length).map_err(|e| input.place(e))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let names: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
        let mut places = [None; FIELDS.len()];
        let mut calls = Found { names: Default::default(), unit: options.columns.unit };
        for field in FIELDS {
            let found = field.find(&options.columns, &names).filter(|&i| i < names.len());
            if let Some(column) = found {
                let descriptor = schema.column(column);
                if field == Field::Time {
                    calls.unit = unit(&descriptor).or(calls.unit);
                }
                calls.names[field as usize] = Some(names[column].clone());
                if descriptor.max_rep_level() > 0 {
                    let what = format!("column {:?} holds lists", names[column]);
                    return Err(input.place(Error::option(what)));
                }
                let (max_definition, unsigned) = (descriptor.max_def_level(), unsigned(&descriptor));
                places[field as usize] = Some(Place { column, max_definition, unsigned });
            } else if field.mapped(&options.columns).is_some() || field == Field::Key {
                let wanted = field.mapped(&options.columns).unwrap_or("key");
                let what = format!("no column {wanted:?}; there are {}", names.join(", "));
                return Err(input.place(Error::option(what).help("map the columns, such as key=url")));
            }
        }
        Ok(Self {
            input,
            file,
            length,
            places,
            found: calls,
            group: 0,
            columns: Default::default(),
            cells: Default::default(),
            decoded: 0,
            next: 0,
            row: 0,
            index: 0,
            skip_bad: options.skip_bad,
            skipped: Skipped::default(),
        })
    }

    /// Decodes the next rows of all columns; none left is `false`.
    fn decode(&mut self) -> Result<bool, ParquetError> {
        self.next = 0;
        loop {
            self.decoded = 0;
            for ((column, cells), place) in self.columns.iter_mut().zip(&mut self.cells).zip(&self.places) {
                let (Some(column), Some(place)) = (column, place) else { continue };
                self.decoded = cells.decode(column, *place)?;
            }
            if self.decoded > 0 {
                return Ok(true);
            }
            if self.group == self.file.num_row_groups() {
                return Ok(false);
            }
            let group = self.file.get_row_group(self.group)?;
            for (column, place) in self.columns.iter_mut().zip(&self.places) {
                *column = place.map(|p| group.get_column_reader(p.column)).transpose()?;
            }
            self.group += 1;
        }
    }

    fn request(&self, row: usize) -> Result<Option<Request>, String> {
        let value = |field: Field| self.cells[field as usize].get(row);
        let number = |field, neutral, wanted| match value(field) {
            Value::Null => Ok(neutral),
            Value::Int(-1) => Ok(neutral),
            Value::Int(n) => u64::try_from(n).map(parse::cap).map_err(|_| format!("expected {wanted}, found {n}")),
            Value::Float(n) if n >= 0.0 => Ok(n as u32),
            other => Err(format!("expected {wanted}, found {other:?}")),
        };
        let op = match value(Field::Op) {
            Value::Null => Op::Get,
            Value::Bytes(word) => match mapped::op(word)? {
                Some(op) => op,
                None => return Ok(None),
            },
            other => return Err(format!("expected an operation such as get, set or delete, found {other:?}")),
        };
        Ok(Some(Request {
            at: match value(Field::Time) {
                Value::Null if self.places[Field::Time as usize].is_none() => Time(self.index.saturating_mul(TICK)),
                Value::Null => return Err("expected a time, found none".to_owned()),
                value => time(value, &self.found)?,
            },
            key: match value(Field::Key) {
                Value::Int(key) => key.cast_unsigned(),
                Value::Bytes(key) => key_number(key),
                other => return Err(format!("expected a number or text as key, found {other:?}")),
            },
            size: number(Field::Size, 1, "a size in bytes")?,
            ttl: number(Field::Ttl, 0, "a ttl in seconds")?,
            cost: number(Field::Cost, 0, "a cost in microseconds")?,
            op,
        }))
    }
}

/// The library trusts a footer's offsets: those that lead out of the file would panic.
fn check(file: &SerializedFileReader<File>, length: u64) -> Result<(), Error> {
    let mut chunks = file.metadata().row_groups().iter().flat_map(|g| g.columns());
    let inside = chunks.all(|chunk| {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
        chunk.num_values() >= 0
            && range.is_some_and(|(start, size)| start.checked_add(size).is_some_and(|e| e <= length))
    });
    let what = "the footer's offsets lead out of the file: it is truncated or damaged";
    if inside { Ok(()) } else { Err(Error::new(ErrorKind::Corrupt, what).help("fetch it again")) }
}

/// The library's decoders panic on some damaged pages (version 60 does where a dictionary is missing): to a user that
/// is one more damaged file.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    caught.unwrap_or_else(|_| Err(ParquetError::General("a page does not follow the format".to_owned())))
}

fn time(value: Value<'_>, found: &Found) -> Result<Time, String> {
    let unit = found.unit.unwrap_or_default();
    let (number, micros) = match value {
        Value::Bytes(text) => return mapped::time(text, found),
        Value::Int(n) => (n as f64, u64::try_from(n).ok().and_then(|n| unit.micros(n))),
        // A float beyond the range becomes its end.
        Value::Float(n) if n >= 0.0 => (n, Some((n * (1e6 / unit.per_second() as f64)) as u64)),
        _ => (0.0, None),
    };
    found.check_seconds(number)?;
    micros.map(Time).ok_or_else(|| format!("expected a time, found {value:?}"))
}

/// The unit a column declares.
fn unit(column: &ColumnDescriptor) -> Option<Unit> {
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Timestamp(time)), _) => Some(match time.unit {
            TimeUnit::MILLIS => Unit::Millis,
            TimeUnit::MICROS => Unit::Micros,
            TimeUnit::NANOS => Unit::Nanos,
        }),
        (_, ConvertedType::TIMESTAMP_MILLIS) => Some(Unit::Millis),
        (_, ConvertedType::TIMESTAMP_MICROS) => Some(Unit::Micros),
        _ => None,
    }
}

fn unsigned(column: &ColumnDescriptor) -> bool {
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Integer(int)), _) => !int.is_signed,
        (_, converted) => converted == ConvertedType::UINT_32,
    }
}

/// Decoded rows of one column; nulls take no place among the values.
#[derive(Default)]
struct Cells {
    ints: Vec<i64>,
    floats: Vec<f64>,
    bytes: Vec<ByteArray>,
    /// For each row the index of its value, or none for null.
    at: Vec<Option<u32>>,
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Null,
    Int(i64),
    Float(f64),
    Bytes(&'a [u8]),
}

impl Cells {
    fn get(&self, row: usize) -> Value<'_> {
        let Some(i) = self.at.get(row).copied().flatten().map(|i| i as usize) else { return Value::Null };
        let bytes = || self.bytes.get(i).map(|b| Value::Bytes(b.data()));
        let int = || self.ints.get(i).map(|n| Value::Int(*n));
        int().or_else(|| self.floats.get(i).map(|n| Value::Float(*n))).or_else(bytes).unwrap_or(Value::Null)
    }

    fn decode(&mut self, column: &mut ColumnReader, place: Place) -> Result<usize, ParquetError> {
        let (Self { ints, floats, bytes, at }, max_definition) = (self, place.max_definition);
        ints.clear();
        floats.clear();
        bytes.clear();
        match column {
            ColumnReader::Int32ColumnReader(r) => {
                let mut values = Vec::new();
                let rows = records(r, max_definition, &mut values, at)?;
                let wide = |v: i32| if place.unsigned { i64::from(v.cast_unsigned()) } else { i64::from(v) };
                ints.extend(values.into_iter().map(wide));
                Ok(rows)
            }
            ColumnReader::Int64ColumnReader(r) => records(r, max_definition, ints, at),
            ColumnReader::DoubleColumnReader(r) => records(r, max_definition, floats, at),
            ColumnReader::FloatColumnReader(r) => {
                let mut values = Vec::new();
                let rows = records(r, max_definition, &mut values, at)?;
                floats.extend(values.into_iter().map(f64::from));
                Ok(rows)
            }
            ColumnReader::ByteArrayColumnReader(r) => records(r, max_definition, bytes, at),
            ColumnReader::FixedLenByteArrayColumnReader(r) => {
                let mut values = Vec::new();
                let rows = records(r, max_definition, &mut values, at)?;
                bytes.extend(values.into_iter().map(ByteArray::from));
                Ok(rows)
            }
            _ => Err(ParquetError::NYI("columns of booleans and 96-bit times".to_owned())),
        }
    }
}

/// Reads up to [`ROWS`] rows, their values to `values` and where each row's lies to `at`.
fn records<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    max_definition: i16,
    values: &mut Vec<T::T>,
    at: &mut Vec<Option<u32>>,
) -> Result<usize, ParquetError> {
    let mut levels = Vec::new();
    let (rows, ..) = reader.read_records(ROWS, (max_definition > 0).then_some(&mut levels), None, values)?;
    let mut next = 0;
    let mut place = |present: bool| {
        present.then(|| {
            next += 1;
            next - 1
        })
    };
    at.clear();
    at.extend((0..rows).map(|row| place(max_definition == 0 || levels.get(row) == Some(&max_definition))));
    Ok(rows)
}

impl Reader for Parquet {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, Error> {
        let start = batch.len();
        while batch.len() - start < max {
            if self.next == self.decoded && !guarded(|| self.decode()).map_err(|e| self.input.place(damaged(e)))? {
                break;
            }
            self.row += 1;
            match self.request(self.next) {
                Ok(Some(request)) => {
                    batch.push(request);
                    self.index += 1;
                }
                Ok(None) => self.skipped.other += 1,
                Err(what) => {
                    let error = Error::new(ErrorKind::BadRow, what).help("--skip-bad N passes over so many bad rows");
                    self.skipped.bad(self.input.place(error.line(self.row)), self.skip_bad)?;
                }
            }
            self.next += 1;
        }
        Ok(batch.len() - start)
    }

    fn carries(&self) -> Carries {
        mapped::carries(|field| self.places[field as usize].is_some())
    }

    fn skipped(&self) -> Skipped {
        self.skipped.clone()
    }

    fn mapping(&self) -> Option<String> {
        Some(self.found.mapping())
    }

    /// The share of the rows, in bytes of the file.
    fn progress(&self) -> Progress {
        let rows = self.file.metadata().file_metadata().num_rows().max(1);
        let bytes = (self.row as f64 / rows as f64 * self.length as f64) as u64;
        Progress { bytes: bytes.min(self.length), total: Some(self.length) }
    }
}

fn damaged(error: ParquetError) -> Error {
    let kind = match error {
        ParquetError::EOF(_) | ParquetError::NeedMoreData(_) | ParquetError::NeedMoreDataRange(_) => {
            ErrorKind::Truncated
        }
        ParquetError::NYI(_) => ErrorKind::Unsupported,
        _ => ErrorKind::Corrupt,
    };
    Error::new(kind, format!("reading Parquet: {error}")).with_source(error)
}

fn create(output: Output) -> Result<Box<dyn Writer>, Error> {
    let writer = parse_message_type(SCHEMA).and_then(|schema| {
        let compression = Compression::ZSTD(ZstdLevel::try_new(3)?);
        let properties = WriterProperties::builder().set_compression(compression).build();
        SerializedFileWriter::new(output, Arc::new(schema), Arc::new(properties))
    });
    Ok(Box::new(Table { writer: writer.map_err(unwritten)?, held: Vec::new() }))
}

/// Holds one row group at a time.
struct Table {
    writer: SerializedFileWriter<Output>,
    held: Vec<Request>,
}

impl Table {
    fn end_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        let rows = &self.held;
        let mut place = 0;
        while let Some(mut column) = group.next_column()? {
            let ints = |of: fn(&Request) -> u32| rows.iter().map(|r| of(r).cast_signed()).collect::<Vec<_>>();
            let longs = |of: fn(&Request) -> u64| rows.iter().map(|r| of(r).cast_signed()).collect::<Vec<_>>();
            match (column.untyped(), place) {
                (ColumnWriter::Int64ColumnWriter(w), 0) => w.write_batch(&longs(|r| r.at.0), None, None)?,
                (ColumnWriter::Int64ColumnWriter(w), _) => w.write_batch(&longs(|r| r.key), None, None)?,
                (ColumnWriter::Int32ColumnWriter(w), 2) => w.write_batch(&ints(|r| r.size), None, None)?,
                (ColumnWriter::Int32ColumnWriter(w), 4) => w.write_batch(&ints(|r| r.ttl), None, None)?,
                (ColumnWriter::Int32ColumnWriter(w), _) => w.write_batch(&ints(|r| r.cost), None, None)?,
                (ColumnWriter::ByteArrayColumnWriter(w), _) => {
                    let names: Vec<_> = rows.iter().map(|r| ByteArray::from(ops::name(r.op))).collect();
                    w.write_batch(&names, None, None)?
                }
                _ => return Err(ParquetError::General("a column outside the schema".to_owned())),
            };
            column.close()?;
            place += 1;
        }
        group.close()?;
        self.held.clear();
        Ok(())
    }
}

impl Writer for Table {
    fn write(&mut self, requests: &[Request]) -> Result<(), Error> {
        for chunk in requests.chunks(GROUP) {
            self.held.extend_from_slice(chunk);
            if self.held.len() >= GROUP {
                self.end_group().map_err(unwritten)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<u64, Error> {
        Ok(self.writer.bytes_written() as u64)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        if !self.held.is_empty() {
            self.end_group().map_err(unwritten)?;
        }
        self.writer.into_inner().map_err(unwritten)?.finish()
    }
}

fn unwritten(error: ParquetError) -> Error {
    Error::new(ErrorKind::Io, format!("writing Parquet: {error}")).with_source(error)
}
