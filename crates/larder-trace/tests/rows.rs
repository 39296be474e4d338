//! What each format's sample, and a few harder lines, mean.
#![allow(clippy::unwrap_used)] // helpers outside `#[test]` functions fail the test just the same

use larder_policy::{Op, Time};
use larder_trace::{Columns, Error, FORMATS, Input, Options, Reader, Request, key_number, open_input};
use xxhash_rust::xxh3::xxh3_64;

fn read(bytes: &[u8], options: &Options) -> Result<(Vec<Request>, u64), Error> {
    let mut trace = open_input(Input::new("t", std::io::Cursor::new(bytes.to_vec()), None)?, options)?;
    let mut rows = Vec::new();
    while trace.read(&mut rows, 100)? > 0 {}
    Ok((rows, trace.skipped().other))
}

fn rows(format: &str, bytes: &[u8]) -> Vec<Request> {
    read(bytes, &Options { format: Some(format.to_owned()), ..Options::default() }).unwrap().0
}

/// The rows of a format's own sample.
fn sample(format: &str) -> Vec<Request> {
    rows(format, FORMATS.iter().find(|f| f.name == format).unwrap().sample)
}

fn row(seconds: f64, key: u64, size: u32, op: Op) -> Request {
    Request { at: Time((seconds * 1e6).round() as u64), key, size, ttl: 0, cost: 0, op }
}

fn get(seconds: f64, key: u64, size: u32) -> Request {
    row(seconds, key, size, Op::Get)
}

#[test]
fn larder() {
    let expected = [
        get(0.0, 17, 1),
        Request { ttl: 60, ..row(0.25, u64::MAX, 512, Op::Set) },
        Request { cost: 1500, ..get(1.000001, xxh3_64(b"/index.html"), 4096) },
        row(2.0, 17, 1, Op::Delete),
    ];
    assert_eq!(sample("larder"), expected);
    // Text that only looks like a number, and a size beyond 32 bits.
    let odd = rows("larder", b"time,key,size,op,ttl\n0,007,5000000000,get,\n0,18446744073709551616,1,get,9\n");
    assert_eq!(odd[0], get(0.0, xxh3_64(b"007"), u32::MAX));
    assert_eq!(odd[1], Request { ttl: 9, ..get(0.0, xxh3_64(b"18446744073709551616"), 1) });
    let carries = |rows: &str| {
        let text = format!("time,key,size,op,ttl\n{rows}");
        let input = Input::new("t", std::io::Cursor::new(text), None).unwrap();
        let carries = open_input(input, &Options::default()).unwrap().carries();
        (carries.times, carries.sizes)
    };
    assert_eq!(carries("0,1,1,get,\n1,2,1,get,\n2,1,1,set,\n"), (false, false));
    assert_eq!(carries("0,1,1,get,\n0.5,2,7,get,\n"), (true, true));
    // A byte order mark is no part of the header.
    assert_eq!(rows("larder", b"\xef\xbb\xbftime,key,size,op,ttl\n0,5,1,get,\n"), [get(0.0, 5, 1)]);
    for bad in ["0,1,1,get", "0,1,1,get,,", "0,1,,get,", "-1,1,1,get,", "0,1,1,got,", "0,1,1,get,x", "0,1,1.5,get,"] {
        let text = format!("time,key,size,op,ttl\n{bad}\n");
        assert!(read(text.as_bytes(), &Options::default()).is_err(), "{bad}");
    }
}

#[test]
fn oracle_general() {
    assert_eq!(sample("oracle-general"), [get(10.0, 42, 512), get(11.0, 43, 1024), get(13.0, 42, 512)]);
    // Written again it is the same, next requests and all; libCacheSim counts requests from 1.
    let path = tempfile::tempdir().unwrap().keep().join("t.oracleGeneral");
    let mut writer = larder_trace::create(&path, None).unwrap();
    writer.write(&sample("oracle-general")).unwrap();
    writer.finish().unwrap();
    let written = std::fs::read(&path).unwrap();
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert_eq!(written, FORMATS.iter().find(|f| f.name == "oracle-general").unwrap().sample);
}

#[test]
fn plain_numbers_and_blocks() {
    assert_eq!(
        sample("keys"),
        [get(0.0, 17, 1), get(1.0, xxh3_64(b"/index.html"), 1), get(2.0, u64::MAX, 1), get(3.0, 17, 1)]
    );
    assert_eq!(
        sample("lirs"),
        [1, 2, 3, 1, 2].iter().zip(0..).map(|(k, i)| get(f64::from(i), *k, 1)).collect::<Vec<_>>()
    );
    let blocks = [100, 101, 102, 7, 100, 101];
    assert_eq!(sample("arc"), blocks.iter().zip(0..).map(|(k, i)| get(f64::from(i), *k, 1)).collect::<Vec<_>>());
    let objects = [get(0.0, 17, 512), get(1.0, 18, 4096), get(1.0, 17, 512)];
    assert_eq!(sample("lrb"), objects);
    assert_eq!(sample("libcachesim-csv"), objects);
    assert_eq!(rows("lrb", b"0 17 512 3 4 5\n"), [get(0.0, 17, 512)]);
    let huge = Options { format: Some("arc".to_owned()), ..Options::default() };
    assert!(read(b"0 99999999999 0 0\n", &huge).unwrap_err().to_string().contains("99999999999"));
}

/// What a key's lifetime says of it once it is over: of Redis's commands and of memcached's log.
#[test]
fn lifetimes_that_are_over() {
    let set = |options: &str| {
        rows("redis-monitor", format!("1700000000.5 [0 127.0.0.1:5] \"SET\" \"k\" \"vv\"{options}\n").as_bytes())
    };
    let at = |op, size, ttl| vec![Request { ttl, ..row(1_700_000_000.5, xxh3_64(b"k"), size, op) }];
    assert_eq!(set(""), at(Op::Set, 2, 0));
    assert_eq!(set(" \"EX\" \"60\""), at(Op::Set, 2, 60));
    // The moment has passed: Redis deletes. No lifetime at all: it refuses.
    assert_eq!(set(" \"EXAT\" \"1600000000\""), at(Op::Delete, 1, 0));
    assert_eq!(set(" \"PXAT\" \"1600000000000\""), at(Op::Delete, 1, 0));
    for refused in [" \"EX\" \"0\"", " \"PX\" \"-5\"", " \"EX\" \"x\""] {
        assert_eq!(set(refused), [], "{refused}");
    }
    let stored = |ttl: &str| {
        let line = format!("ts=5 gid=2 type=item_store key=k status=stored cmd=set ttl={ttl} clsid=1 cfd=2 size=3\n");
        rows("memcached", line.as_bytes())[0].op
    };
    assert_eq!((stored("0"), stored("60"), stored("-1")), (Op::Set, Op::Set, Op::Delete));
}

#[test]
fn twitter_and_cachelib() {
    let rows = sample("twitter");
    assert_eq!(rows[0], get(0.0, xxh3_64(b"nz:u:eeW511W3dcH3de3d15ec"), 326));
    assert_eq!(rows[2], Request { ttl: 3600, ..row(1.0, xxh3_64(b"with,comma"), 100, Op::Set) });
    assert_eq!(rows[3].op, Op::Delete);
    assert_eq!(rows[3].key, rows[1].key);

    let rows = sample("cachelib");
    assert_eq!(rows[..2], [get(0.0, 1_668_601_171, 122), get(1.0, 1_668_601_171, 122)]);
    assert_eq!(rows[2], Request { ttl: 3600, ..row(2.0, 1_668_601_172, 130, Op::Set) });
    assert_eq!(rows[3].op, Op::Delete);
    let timed = self::rows("cachelib", b"op_time,key,key_size,op,op_count,size,ttl\n7,a,1,GET,1,9,-1\n");
    assert_eq!(timed, [get(7.0, xxh3_64(b"a"), 10)]);
}

#[test]
fn msr_expands_to_blocks() {
    let rows = sample("msr");
    // 32768 bytes from the middle of a block touch nine.
    let first: Vec<_> = rows.iter().filter(|r| r.at == Time(12_816_637_200_306_162)).collect();
    assert_eq!(first.len(), 9);
    assert!(first.windows(2).all(|w| w[1].key == w[0].key + 1));
    assert!(first.iter().all(|r| (r.size, r.cost, r.op) == (4096, 41, Op::Get)));
    // The same host's other disk has other keys; the last row reads a block that the first one did.
    assert!(!first.iter().any(|r| r.key == rows[9].key));
    assert_eq!(rows[9].op, Op::Set);
    assert!(first.iter().any(|r| r.key == rows.last().unwrap().key));

    let options = Options { block_size: 1 << 20, ..Options::default() };
    assert_eq!(read(b"128166372003061629,hm,0,Read,383496192,32768,413\n", &options).unwrap().0.len(), 1);
}

#[test]
fn access_logs() {
    let rows = sample("access-log");
    let start = 971_211_336.0;
    let expected = [
        get(start, xxh3_64(b"/a.png?v=1"), 2326),
        // Nothing tells its size: the mean of the others.
        row(start + 1.0, xxh3_64(b"/b"), 2326, Op::Set),
        get(start + 3.0, xxh3_64(b"/a.png?v=1"), 2326),
        row(start + 4.0, xxh3_64(b"/b"), 1, Op::Delete),
    ];
    assert_eq!(rows, expected);
    let bytes = FORMATS.iter().find(|f| f.name == "access-log").unwrap().sample;
    assert_eq!(read(bytes, &Options::default()).unwrap().1, 1);
    assert_eq!(read(bytes, &Options { all_statuses: true, ..Options::default() }).unwrap().0.len(), 5);
}

#[test]
fn redis_monitor() {
    let (one, two) = (xxh3_64(b"user:1"), xxh3_64(b"user:2"));
    let start = 1_339_518_083.0;
    let expected = [
        get(start + 0.107412, one, 1),
        Request { ttl: 60, ..row(start + 0.2, one, 11, Op::Set) },
        get(start + 1.0, one, 11),
        get(start + 1.0, two, 11),
        row(start + 3.0, xxh3_64(&[&one.to_le_bytes()[..], b"3"].concat()), 1, Op::Delete),
    ];
    // A new lifetime is no new value.
    assert_eq!(sample("redis-monitor"), expected);

    let line = |command: &str| rows("redis-monitor", format!("100.0 [0 127.0.0.1:1] {command}\n").as_bytes());
    assert_eq!(line(r#""SETEX" "k" "30" "abc""#)[0], Request { ttl: 30, ..row(100.0, xxh3_64(b"k"), 3, Op::Set) });
    assert_eq!(line(r#""PSETEX" "k" "1500" "abc""#)[0].ttl, 2);
    assert_eq!(line(r#""SET" "k" "v" "NX" "PXAT" "103500""#)[0].ttl, 4);
    assert_eq!(line(r#""EXPIREAT" "k" "90""#)[0].op, Op::Delete);
    assert_eq!(line(r#""MSET" "1" "a" "2" "bcd""#), [row(100.0, 1, 1, Op::Set), row(100.0, 2, 3, Op::Set)]);
    assert_eq!(line(r#""GET" "\x41\n""#)[0].key, key_number(b"A\n"));
    let k = xxh3_64(b"k");
    for passed in [
        "EXPIRE\" \"k\" \"10",
        "PEXPIRE\" \"k\" \"1",
        "EXPIREAT\" \"k\" \"101",
        "PEXPIREAT\" \"k\" \"100001",
        "PERSIST\" \"k",
        "TOUCH\" \"k",
        "TTL\" \"k",
        "EXISTS\" \"k",
        "EXPIRE\" \"k\" \"soon",
        "SETEX\" \"k\" \"0\" \"v",
    ] {
        assert_eq!(line(&format!("\"{passed}\"")), [], "{passed}");
    }
    for deleted in ["EXPIRE\" \"k\" \"0", "EXPIRE\" \"k\" \"-1", "PEXPIRE\" \"k\" \"0", "PEXPIREAT\" \"k\" \"99999"] {
        assert_eq!(line(&format!("\"{deleted}\"")), [row(100.0, k, 1, Op::Delete)], "{deleted}");
    }
    // These change a value: by what they bring, where they bring anything.
    assert_eq!(line(r#""APPEND" "k" "abc""#), [row(100.0, k, 3, Op::Set)]);
    assert_eq!(line(r#""INCR" "k""#), [row(100.0, k, 8, Op::Set)]);
    assert_eq!(line(r#""RENAME" "k" "7""#), [row(100.0, k, 1, Op::Delete), row(100.0, 7, 1, Op::Set)]);
    let bytes = b"100.0 [0 [::1]:60866] \"GET\" \"7\"\n";
    assert_eq!(self::rows("redis-monitor", bytes), [get(100.0, 7, 1)], "a client by IPv6");
    for bad in ["\"GET\" \"k", "\"GET\"", "\"MGET\"", "\"DEL\"", "\"MSET\" \"k\"", "\"EXPIRE\" \"k\""] {
        assert!(read(format!("100.0 [0 x] {bad}\n").as_bytes(), &Options::default()).is_err(), "{bad}");
    }
}

#[test]
fn memcached_watch() {
    let foo = xxh3_64(b"foo");
    let start = 1_700_000_000.0;
    let expected = [
        get(start + 0.123456, foo, 1),
        Request { ttl: 60, ..row(start + 0.2, foo, 300, Op::Set) },
        get(start + 1.0, xxh3_64(b"a b"), 12),
        row(start + 2.0, foo, 300, Op::Delete),
    ];
    assert_eq!(sample("memcached"), expected);
}

#[test]
fn tables_and_json() {
    let day = 1_709_251_200.0;
    assert_eq!(sample("csv"), [get(day, xxh3_64(b"/a"), 300), get(day + 1.5, xxh3_64(b"/b\"\tc"), 20)]);
    let mapped = |mapping: &str, bytes: &[u8]| {
        let columns = Columns::parse(mapping)?;
        read(bytes, &Options { columns, ..Options::default() }).map(|(rows, _)| rows)
    };
    let rows = mapped("time=#1:ms,key=#3,op=#2", b"1500,READ,9\n2500.5,W,8\n").unwrap();
    assert_eq!(rows, [get(1.5, 9, 1), row(2.5005, 8, 1, Op::Set)]);
    let rows = mapped("key=who,size=n,header=yes,delimiter=;", b"n;who\n5;\"a;b\"\n-1;c\n").unwrap();
    assert_eq!(rows, [get(0.0, xxh3_64(b"a;b"), 5), get(1.0, xxh3_64(b"c"), 1)]);
    // A mapping overrules our own header.
    assert_eq!(mapped("key=size", b"time,key,size,op,ttl\n5,1,77,get,\n").unwrap()[0].key, 77);
    let error = mapped("key=nowhere", b"n;who\n5;a\n").unwrap_err().to_string();
    assert!(error.contains("\"nowhere\"") && error.contains("n, who"), "{error}");
    let error = mapped("key=#2,time=#1", b"1,a\nsoon,b\n").unwrap_err();
    assert_eq!((error.at_line(), error.at_byte()), (Some(2), Some(4)));

    // A cell may hold a delimiter within quotes, blanks around them, and be empty; it may not be left out.
    let text = b"key,size,ttl\n \"a,b\" , \"7\",\nc\"d,,9\n\n";
    assert_eq!(
        self::rows("csv", text),
        [get(0.0, xxh3_64(b"a,b"), 7), Request { ttl: 9, ..get(1.0, xxh3_64(b"c\"d"), 1) }]
    );

    let rows = sample("jsonl");
    assert_eq!(rows, [get(0.0, 17, 512), Request { ttl: 60, ..row(0.5, xxh3_64(b"/a \"b\""), 300, Op::Set) }]);
    let nested = b"{\"at\":1700000000123,\"request\":{\"uri\":\"/x\",\"method\":\"PUT\"},\"size\":null}\n";
    let rows = mapped("time=at:ms,key=request.uri,op=request.method", nested).unwrap();
    assert_eq!(rows, [row(1_700_000_000.123, xxh3_64(b"/x"), 1, Op::Set)]);
    for bad in ["{\"key\":1", "{}", "[1]", "{\"key\":1,\"op\":\"f7!\"}", "{\"key\":1,\"time\":\"x\"}"] {
        let options = Options { format: Some("jsonl".to_owned()), ..Options::default() };
        assert!(read(bad.as_bytes(), &options).is_err(), "{bad}");
    }
}

#[test]
fn fields_that_no_object_has_are_not_there() {
    let carries = |mapping: &str, bytes: &'static [u8]| {
        let columns = Columns::parse(mapping).unwrap();
        let options = Options { format: Some("jsonl".to_owned()), columns, ..Options::default() };
        open_input(Input::new("t", bytes, None).unwrap(), &options)
            .map(|trace| (trace.carries().times, trace.carries().sizes, trace.carries().judged))
    };
    assert_eq!(carries("key=k", b"{\"k\":1}\n{\"k\":2,\"size\":null}\n").unwrap(), (false, false, true));
    assert_eq!(carries("key=k", b"{\"k\":1}\n{\"k\":2,\"size\":3,\"ts\":0}\n").unwrap(), (true, true, false));
    let error = carries("key=k,size=bites", b"{\"k\":1,\"bytes\":5}\n").unwrap_err().to_string();
    assert!(error.contains("\"bites\"; there are bytes, k"), "{error}");
    // A lifetime may come later.
    assert!(carries("key=k,ttl=lives", b"{\"k\":1}\n").is_ok());
}

#[test]
fn our_own_table_may_be_quoted_and_in_capitals() {
    let table = |header: &str, row: &str| {
        let options = Options { format: Some("larder".to_owned()), ..Options::default() };
        read(
            format!("{header}\n9,k,5,get,{}\n{row}\n", if header.ends_with("cost") { "," } else { "" }).as_bytes(),
            &options,
        )
        .map(|(rows, _)| rows[1])
    };
    let (five, six) = ("time,key,size,op,ttl", "time,key,size,op,ttl,cost");
    let text = Request { ttl: 60, ..row(9.5, xxh3_64(b"a,\"b\""), 10, Op::Get) };
    assert_eq!(table(five, "9.5,\"a,\"\"b\"\"\",10,get,60").unwrap(), text);
    assert_eq!(table(six, "\"9.5\",\"a,\"\"b\"\"\",\"10\",\"GET\",\"60\",\"7\"").unwrap(), Request { cost: 7, ..text });
    // A quoted key is the one without its quotes, and a number is a number.
    assert_eq!(table(five, "9,\"17\",1,get,").unwrap().key, 17);
    assert_eq!(table(five, "9,17,1,SET,").unwrap().op, Op::Set);
    assert_eq!(table(five, "9,17,1,Delete,").unwrap().op, Op::Delete);
    for (bad, what) in [
        ("9,\"a,1,get,", "a quote that is closed on its line"),
        ("9,\"a\",x,get,", "a size in whole bytes, found \"x\""),
        ("9,\"a\",1,get", "expected 5 columns, found 4"),
        ("9,a,1,got,", "get, set or delete"),
        ("9,a,1,GET", "get, set or delete and a column after it"),
    ] {
        let error = table(five, bad).unwrap_err().to_string();
        assert!(error.contains(what), "{bad}: {error}");
    }
}

#[test]
fn times_of_a_poller_are_times_and_an_index_is_none() {
    let are_times = |first: u64| {
        let rows: String = (first..first + 200).map(|at| format!("{at},{},7,get,\n", at % 9)).collect();
        let table = std::io::Cursor::new(format!("time,key,size,op,ttl\n{rows}"));
        open_input(Input::new("t", table, None).unwrap(), &Options::default()).unwrap().carries().times
    };
    assert_eq!([0, 1, 2, 1_700_000_000].map(are_times), [false, false, true, true]);
}

#[test]
fn sizes_of_redis_are_those_of_what_is_set() {
    let sizes = |bytes: &'static [u8]| {
        let carries = open_input(Input::new("t", bytes, None).unwrap(), &Options::default()).unwrap().carries();
        (carries.sizes, carries.judged)
    };
    assert_eq!(sizes(b"1.5 [0 127.0.0.1:1] \"GET\" \"a\"\n1.6 [0 127.0.0.1:1] \"DEL\" \"a\"\n"), (false, true));
    assert_eq!(sizes(b"1.5 [0 127.0.0.1:1] \"GET\" \"a\"\n1.6 [0 127.0.0.1:1] \"SET\" \"a\" \"b\"\n"), (true, false));
    // A name with a colon is no key of another database.
    let keys = rows("redis-monitor", b"1.5 [0 a:1] \"GET\" \"3:k\"\n1.5 [3 a:1] \"GET\" \"k\"\n");
    assert_ne!(keys[0].key, keys[1].key);
}

#[test]
fn large_numbers_and_those_with_exponents_are_read() {
    let mapped = |bytes: &[u8]| {
        let columns = Columns::parse("time=t,key=k,size=s").unwrap();
        read(bytes, &Options { columns, ..Options::default() }).map(|(rows, _)| rows)
    };
    let rows = mapped(b"t,k,s\n1.7e9,a,18000000000000\n1700000001,b,1.5e3\n").unwrap();
    let (one, two) = (xxh3_64(b"a"), xxh3_64(b"b"));
    assert_eq!(rows, [get(1.7e9, one, u32::MAX), get(1_700_000_001.0, two, 1500)]);
    for bad in [&b"t,k,s\n1e400,a,1\n"[..], b"t,k,s\n1e,a,1\n", b"t,k,s\n1e300,a,1\n", b"t,k,s\n1,a,inf\n"] {
        assert!(mapped(bad).is_err());
    }
}

#[test]
fn rows_of_a_table_that_lack_columns_or_a_closing_quote_are_bad_and_no_others() {
    let place = |mapping: &str, bytes: &[u8]| {
        let options = Options { columns: Columns::parse(mapping).unwrap(), ..Options::default() };
        let error = read(bytes, &options).unwrap_err();
        let skipping = Options { skip_bad: 1, ..options };
        let kept = read(bytes, &skipping).map(|(rows, _)| rows.iter().map(|row| row.size).collect::<Vec<_>>());
        (error.at_line(), error.at_byte(), error.to_string(), kept.unwrap())
    };
    let named = "key=url,size=bytes";
    for (mapping, text, line, byte, what) in [
        (named, "url,bytes\n/a,1\n/b\n/c,3\n", 3, 15, "expected 2 columns, found 1"),
        // An address with a comma that nobody quoted: its size is not what follows.
        (named, "url,bytes\n/a,1\n/b,2,5\n/c,3\n", 3, 15, "expected 2 columns, found 3"),
        (named, "url,bytes\n/a,1\n\"/b,2\n/c,3\n", 3, 15, "a quote that is closed on its line"),
        (named, "url,bytes\n/a,1\n/b,\"2\n/c,3\n", 3, 18, "a quote that is closed on its line"),
        (named, "url,bytes\n/a,1\n\"/b\"x,2\n/c,3\n", 3, 19, "a delimiter after a closing quote"),
        // The last line, cut.
        (named, "url,bytes\n/a,1\n/c,3\n\"/b", 4, 20, "a quote that is closed on its line"),
        // Without a header: the columns mapped, then as many as the first row has.
        ("key=#1,size=#2", "/b\n/a,1\n/c,3\n", 1, 0, "expected 2 columns, found 1"),
        ("key=#1,size=#2", "/a,1,x\n/c,3,x\n/b,2\n", 3, 14, "expected 3 columns, found 2"),
    ] {
        let (at_line, at_byte, shown, kept) = place(mapping, text.as_bytes());
        assert_eq!((at_line, at_byte), (Some(line), Some(byte)), "{text:?}: {shown}");
        assert!(shown.contains(what), "{text:?}: {shown}");
        assert_eq!(kept, [1, 3], "{text:?}");
    }
    let options = |mapping: &str| Options { columns: Columns::parse(mapping).unwrap(), ..Options::default() };
    let error = read(b"url,bytes\n/a,1\n", &options("key=url,size=#3")).unwrap_err().to_string();
    assert!(error.contains("no column \"#3\"; there are url, bytes"), "{error}");
    let error = read(b"\"url,bytes\n/a,1\n", &options("key=url")).unwrap_err();
    assert_eq!((error.at_line(), error.at_byte()), (Some(1), Some(0)), "{error}");
}

/// Sizes with how many of them are guesses.
fn sizes(format: &str, bytes: &[u8]) -> (Vec<u32>, u64) {
    let options = Options { format: Some(format.to_owned()), ..Options::default() };
    let mut trace = open_input(Input::new("t", std::io::Cursor::new(bytes.to_vec()), None).unwrap(), &options).unwrap();
    let mut rows = Vec::new();
    while trace.read(&mut rows, 100).unwrap() > 0 {}
    (rows.iter().map(|row| row.size).collect(), trace.skipped().guessed_sizes)
}

#[test]
fn a_value_of_redis_keeps_the_size_it_was_set_with() {
    let of = |commands: &[&str]| {
        let lines = commands.iter().map(|command| format!("1.5 [0 a:1] {command}\n"));
        sizes("redis-monitor", lines.collect::<String>().as_bytes())
    };
    let set = |key: &str, size: usize| format!("\"SET\" \"{key}\" \"{}\"", "v".repeat(size));
    let (a, b) = (set("a", 100), set("b", 50));
    // A delete has none, and what comes back after it is likely of the same size.
    assert_eq!(of(&[&a, "\"GET\" \"a\"", "\"DEL\" \"a\"", "\"GET\" \"a\""]), (vec![100, 100, 1, 100], 0));
    // Nothing is known, then the mean of what is.
    assert_eq!(of(&["\"GET\" \"x\"", &a, &b, "\"MGET\" \"x\" \"b\""]), (vec![1, 100, 50, 75, 50], 2));
    // A change of a part leaves the value as large as it was, or larger; a whole one does not.
    assert_eq!(of(&[&a, "\"APPEND\" \"a\" \"vv\"", &set("a", 7), "\"GET\" \"a\""]), (vec![100, 100, 7, 7], 0));
    assert_eq!(of(&[&a, "\"RENAME\" \"a\" \"c\"", "\"GET\" \"c\"", "\"GET\" \"z\""]), (vec![100, 1, 100, 100, 100], 1));
    // A counter is a number, however large its neighbours are.
    assert_eq!(of(&[&a, "\"INCR\" \"n\"", "\"GET\" \"n\""]), (vec![100, 8, 8], 0));
}

#[test]
fn what_a_web_server_answers_without_the_value_has_its_size() {
    let of = |answers: &[(&str, &str, &str, &str)]| {
        let line = |(method, path, status, bytes): &(&str, &str, &str, &str)| {
            format!("h - - [10/Oct/2000:13:55:36 -0700] \"{method} {path} HTTP/1.1\" {status} {bytes}\n")
        };
        sizes("access-log", answers.iter().map(line).collect::<String>().as_bytes())
    };
    let whole = ("GET", "/a", "200", "9000");
    assert_eq!(of(&[whole, ("GET", "/a", "304", "-"), ("HEAD", "/a", "200", "0")]), (vec![9000; 3], 0));
    // Some log the header's bytes as well.
    assert_eq!(of(&[whole, ("GET", "/a", "304", "180"), ("PUT", "/a", "200", "15")]), (vec![9000; 3], 0));
    assert_eq!(of(&[whole, ("GET", "/a", "206", "100"), ("GET", "/a", "200", "50")]), (vec![9000, 9000, 50], 0));
    assert_eq!(of(&[("GET", "/b", "304", "-"), whole, ("GET", "/b", "304", "-")]), (vec![1, 9000, 9000], 2));
    // An answer of no bytes is one.
    assert_eq!(of(&[("GET", "/pixel", "200", "-"), ("GET", "/pixel", "304", "-")]), (vec![1, 1], 0));
}

fn mapped(mapping: &str, bytes: &[u8]) -> Result<(Vec<Request>, u64), Error> {
    read(bytes, &Options { columns: Columns::parse(mapping)?, ..Options::default() })
}

#[test]
fn numbers_that_cannot_be_seconds_are_refused_with_their_unit() {
    for (number, unit) in [
        ("1602179021000", "ms"),
        ("1602179021000.5", "ms"),
        ("1.602e15", "us"),
        ("1700000000123456", "us"),
        ("1700000000123456789", "ns"),
    ] {
        for text in [format!("ts,key\n{number},a\n"), format!("{{\"key\":\"a\",\"ts\":{number}}}\n")] {
            let error = mapped("", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("--columns time=ts:{unit}")), "{number}: {error}");
        }
        // Who names the unit is believed.
        let named = mapped(&format!("time=ts:{unit}"), format!("ts,key\n{number},a\n").as_bytes()).unwrap().0;
        assert!((1_600_000_000..1_710_000_000).contains(&(named[0].at.0 / 1_000_000)), "{number}: {named:?}");
    }
    let far = mapped("time=ts:s", b"ts,key\n1602179021000,a\n").unwrap().0;
    assert_eq!(far[0].at, Time(1_602_179_021_000_000_000));
    assert_eq!(mapped("", b"ts,key\n99999999999,a\n").unwrap().0[0].at, Time(99_999_999_999_000_000));
}

#[test]
fn times_of_any_unit_may_have_decimals_and_exponents() {
    for (unit, text, micros) in [
        ("us", "1700000000123456.0", 1_700_000_000_123_456),
        ("us", "1.7e15", 1_700_000_000_000_000),
        ("ns", "1700000000123456789.0", 1_700_000_000_123_456),
        ("ns", "1.7e18", 1_700_000_000_000_000),
        ("ms", "1700000000123.25", 1_700_000_000_123_250),
        ("ms", "1.7e12", 1_700_000_000_000_000),
        ("s", "1.7e9", 1_700_000_000_000_000),
    ] {
        let rows = mapped(&format!("time=ts:{unit}"), format!("ts,key\n{text},a\n").as_bytes()).unwrap().0;
        assert_eq!(rows[0].at, Time(micros), "{text} {unit}");
    }
}

#[test]
fn a_row_without_a_time_is_bad_where_others_have_one() {
    for text in
        [&b"ts,key\n1700000000,a\n,b\n"[..], b"{\"ts\":1700000000,\"key\":\"a\"}\n{\"ts\":null,\"key\":\"b\"}\n"]
    {
        let error = mapped("", text).unwrap_err();
        assert_eq!(error.at_line(), Some(if text[0] == b't' { 3 } else { 2 }));
        assert!(error.to_string().contains("expected a time, found none"), "{error}");
    }
}

#[test]
fn operations_that_are_none_of_a_cache_are_passed_over() {
    let rows = |bytes: &[u8]| mapped("", bytes).map(|(rows, other)| (rows.len(), other)).unwrap();
    assert_eq!(rows(b"{\"method\":\"GET\",\"path\":\"/a\"}\n{\"method\":\"OPTIONS\",\"path\":\"/a\"}\n"), (1, 1));
    assert_eq!(rows(b"key,op\na,get\na,version-control\na,set\n"), (2, 1));
    assert!(mapped("", b"key,op\na,7\n").is_err());
}

#[test]
fn errors_of_tables_point_to_the_cell() {
    let place = |text: &[u8]| mapped("", text).map(|_| ()).unwrap_err().at_byte();
    assert_eq!(place(b"key,size\nabc,x\n"), Some(13));
    assert_eq!(place(b"{\"key\":\"abc\",\"size\":\"x\"}\n"), Some(21));
}

#[test]
fn what_columns_were_taken_for_is_told() {
    let told = |mapping: &str, bytes: &'static [u8]| {
        let options = Options { columns: Columns::parse(mapping).unwrap(), ..Options::default() };
        open_input(Input::new("t", bytes, None).unwrap(), &options).unwrap().mapping()
    };
    assert_eq!(told("", b"ts,id,url,bytes\n1,2,/a,3\n").as_deref(), Some("csv: key=id, time=ts (s), size=bytes"));
    assert_eq!(told("key=#2,time=#1:ms", b"1,2\n").as_deref(), Some("csv: key=#2, time=#1 (ms)"));
    assert_eq!(told("key=r.u", b"{\"r\":{\"u\":1},\"ts\":2}\n").as_deref(), Some("jsonl: key=r.u, time=ts (s)"));
    assert_eq!(told("", b"time,key,size,op,ttl\n0,5,1,get,\n"), None);
}
