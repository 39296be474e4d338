//! The plug-in over real connections: what it changes, and all it does not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use larder_redis::{Freshness, Given, Learned, LearnedConfig};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Value, pipe};
use support::server::Server;

async fn learned(server: &Server) -> Learned<MultiplexedConnection> {
    learned_with(server, Given::Stands).await
}

async fn learned_with(server: &Server, given: Given) -> Learned<MultiplexedConnection> {
    let conn = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    // An audit would answer a hit as a miss, now and then.
    let config = LearnedConfig::new(Freshness::stale_reads(0.01).unwrap(), &["page:"]);
    Learned::new(conn, LearnedConfig { audits: false, given, ..config })
}

#[tokio::test]
async fn a_set_without_a_lifetime_gets_one_and_nothing_else_does() {
    need_redis!();
    let server = Server::start(&[]);
    let mut conn = learned(&server).await;
    let left = async |key: &str| conn.clone().pttl::<_, i64>(key).await.unwrap();

    let () = conn.clone().set("page:1", "x").await.unwrap();
    assert!(left("page:1").await > 0);
    assert_eq!(conn.clone().get::<_, String>("page:1").await.unwrap(), "x");
    let () = conn.clone().set_ex("page:2", "x", 100).await.unwrap();
    assert!((99_000..=100_000).contains(&left("page:2").await));
    let () = conn.clone().set("data:1", "x").await.unwrap();
    assert_eq!(left("data:1").await, -1, "not a key of ours");
    let () = redis::cmd("SET").arg("page:lock").arg("x").arg("NX").query_async(&mut conn.clone()).await.unwrap();
    assert_eq!(left("page:lock").await, -1, "locks are left alone");
    let () = redis::cmd("EVAL")
        .arg("return redis.call('SET', KEYS[1], 'x')")
        .arg(1)
        .arg("page:lua")
        .query_async(&mut conn.clone())
        .await
        .unwrap();
    assert_eq!(left("page:lua").await, -1, "so is Lua");
    let () = conn.hset("page:hash", "f", 1).await.unwrap();
    assert!(conn.get::<_, String>("page:hash").await.is_err_and(|error| error.code() == Some("WRONGTYPE")));
    let state = conn.state();
    assert_eq!((state.chosen, state.hits), (1, 1));
}

#[tokio::test]
async fn pipelines_and_transactions_go_through() {
    need_redis!();
    let server = Server::start(&[]);
    let mut conn = learned(&server).await;
    let mut pipeline = pipe();
    pipeline.set("page:1", "a").ignore().get("page:1").cmd("PING").set("data:1", "b").ignore().get("data:1");
    let answers: (String, String, String) = pipeline.query_async(&mut conn).await.unwrap();
    assert_eq!(answers, ("a".into(), "PONG".into(), "b".into()));
    assert!(conn.pttl::<_, i64>("page:1").await.unwrap() > 0);
    assert_eq!(conn.pttl::<_, i64>("data:1").await.unwrap(), -1);

    let mut transaction = pipe();
    transaction.atomic().set("page:2", "c").ignore().get("page:2").incr("count", 2).mget(&["page:1", "page:none"]);
    let answers: (String, i64, (String, Option<String>)) = transaction.query_async(&mut conn).await.unwrap();
    assert_eq!(answers, ("c".into(), 2, ("a".into(), None)));
    assert!(conn.pttl::<_, i64>("page:2").await.unwrap() > 0);

    let mut broken = pipe();
    broken.set("page:3", "d").hget("page:3", "field").get("page:3").ignore_errors();
    let answers: Vec<redis::RedisResult<Value>> = broken.query_async(&mut conn).await.unwrap();
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok());
    assert_eq!(conn.state().hits, 4);
}

#[tokio::test]
async fn what_redis_refuses_is_refused() {
    need_redis!();
    let server = Server::start(&[]);
    let mut conn = learned_with(&server, Given::IsTheMost).await;
    let over = i64::MAX.to_string();
    for (unit, number) in [("EX", "0"), ("EX", "-1"), ("EX", "+7"), ("PX", "007"), ("EX", &over), ("PX", &over)] {
        let set = redis::cmd("SET").arg("page:1").arg("x").arg(unit).arg(number).to_owned();
        let answer = set.query_async::<Value>(&mut conn).await;
        assert!(answer.is_err(), "{unit} {number}: {answer:?}");
    }
    assert!(!conn.exists::<_, bool>("page:1").await.unwrap());
    let () = conn.set_ex("page:1", "x", 1 << 40).await.unwrap();
    assert!(conn.ttl::<_, u64>("page:1").await.unwrap() <= 86_400);
}

#[tokio::test]
async fn what_is_deleted_and_set_anew_in_one_pipeline_is_known() {
    need_redis!();
    let server = Server::start(&[]);
    let mut conn = learned(&server).await;
    let () = pipe().del("page:1").ignore().set("page:1", "x").ignore().query_async(&mut conn).await.unwrap();
    assert_eq!(conn.state().keys, 1);
    let () = conn.del("page:1").await.unwrap();
    assert_eq!(conn.state().keys, 0);
}
