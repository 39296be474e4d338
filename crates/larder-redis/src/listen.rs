//! Announcements: what goes over the channel, and hearing it, on a connection of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use larder::remote::{Invalidation, Name, names};
use larder::{Error, ErrorKind};
use redis::cmd;
use tokio::sync::broadcast;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::connect::{Failure, client, panicked, silent};
use crate::errors::translate;
use crate::link::{Link, jitter};
use crate::steer::{Steer, channels};

/// How many bytes come before the name.
const HEAD: usize = 9;
/// What a message is: a key, a tag or a namespace that is no more, or only a sign that the channel carries.
const KEY: u8 = b'K';
const TAG: u8 = b'T';
const CLEAR: u8 = b'C';
const SIGN: u8 = b'S';

/// A message: a letter for what it is, the sender, the name.
pub(crate) fn encode(sender: u64, what: &Invalidation) -> Option<Vec<u8>> {
    let (letter, name) = match what {
        Invalidation::Key(name) => (KEY, name),
        Invalidation::Tag(name) => (TAG, name),
        Invalidation::Clear(name) => (CLEAR, name),
        Invalidation::Lost => return None,
    };
    Some(message(letter, sender, name))
}

fn message(letter: u8, sender: u64, name: &str) -> Vec<u8> {
    [&[letter], &sender.to_le_bytes()[..], name.as_bytes()].concat()
}

/// The message another process sent, if it says something. What cannot be read means that we do not know what was said.
pub(crate) fn decode(sender: u64, message: &[u8]) -> Option<Invalidation> {
    let (Some(head), Some(name)) = (message.get(..HEAD), message.get(HEAD..)) else { return Some(Invalidation::Lost) };
    if head[1..] == sender.to_le_bytes() || head[0] == SIGN && name.is_empty() {
        return None;
    }
    let Ok(name) = std::str::from_utf8(name) else { return Some(Invalidation::Lost) };
    if name.len() > names::MAX_BYTES {
        return Some(Invalidation::Lost);
    }
    let name = Name::from(name);
    Some(match head[0] {
        KEY => Invalidation::Key(name),
        TAG => Invalidation::Tag(name),
        CLEAR => Invalidation::Clear(name),
        _ => Invalidation::Lost,
    })
}

/// Who hears.
pub(crate) struct Ears {
    /// Who we are on the channel.
    pub(crate) sender: u64,
    pub(crate) heard: broadcast::Sender<Invalidation>,
    pub(crate) steer: Option<Arc<Steer>>,
}

/// Hears the channel, for ever. Whenever it has been down, everything said meanwhile is lost.
pub(crate) async fn listen(link: Arc<Link>, ears: Ears) {
    let mut backoff = Duration::ZERO;
    loop {
        sleep(jitter(backoff)).await;
        let start = Instant::now();
        let failure = AssertUnwindSafe(hear(&link, &ears)).catch_unwind().await.unwrap_or_else(|_| panicked().into());
        if link.counts.listening.swap(0, Relaxed) > 0 {
            tracing::warn!(error = %failure.error, "announcements of other processes are not heard");
        } else if link.answers().await {
            // Values come while word of their ends does not, as where the login may use no channel: what is in memory is doubted at each attempt. Not
            // before: where all connections are lost, there is nobody to ask about it.
            link.alert("announcements of other processes cannot be heard", &failure.error);
            let _ = ears.heard.send(Invalidation::Lost);
        }
        let next = (backoff * 2).clamp(link.config.backoff, link.config.longest_backoff);
        backoff = match (failure.login, start.elapsed() > Duration::from_secs(2)) {
            (true, _) => link.config.longest_backoff,
            (_, true) => Duration::ZERO,
            _ => next,
        };
    }
}

/// Returns when the channel is lost.
async fn hear(link: &Link, Ears { sender, heard, steer }: &Ears) -> Failure {
    let config = &link.config;
    let subscribe = async {
        let mut pubsub = client(config).await?.get_async_pubsub().await?;
        pubsub.subscribe(&config.channel).await?;
        if let Some(steer) = steer {
            pubsub.subscribe(&channels(&config.channel, steer.id)[..]).await?;
        }
        Ok::<_, Failure>(pubsub.split())
    };
    let (mut sink, mut stream) = match timeout(config.connect_within, subscribe.boxed()).await {
        Ok(Ok(halves)) => halves,
        Ok(Err(failure)) => return failure,
        Err(_) => return silent().into(),
    };
    // Nobody listening is no loss.
    let _ = heard.send(Invalidation::Lost);
    link.counts.losses.fetch_add(1, Relaxed);
    link.counts.listening.store(1, Relaxed);
    let mut pings = interval(config.ping_every);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut silence = Silence::Possible;
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => match steer {
                    Some(steer) if message.get_channel_name() != config.channel => {
                        steer.hear(message.get_payload_bytes());
                    }
                    _ => {
                        silence = Silence::Broken;
                        if let Some(what) = decode(*sender, message.get_payload_bytes()) {
                            if let (Some(steer), Invalidation::Key(name)) = (steer, &what) {
                                steer.gone(name);
                            }
                            let _ = heard.send(what);
                        }
                    }
                },
                None => return silent().into(),
            },
            _ = pings.tick() => {
                match timeout(config.answer_within, sink.ping::<redis::Value>()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return translate(error).into(),
                    Err(_) => return silent().into(),
                }
                silence = match silence {
                    Silence::Broken => Silence::Possible,
                    Silence::Possible if link.sign(*sender).await => Silence::Asked,
                    Silence::Possible => Silence::Possible,
                    Silence::Asked => return deaf().into(),
                };
            }
        }
    }
}

/// Whether the channel still carries what is published where the values are. A server that answers may be another by now: a node that was taken
/// out of its cluster, a master whose address has moved on. Any message proves it, so that of many processes one gives a sign for all.
enum Silence {
    /// Something came since the last look.
    Broken,
    /// Nothing did.
    Possible,
    /// Nothing did, and a sign should have come by the next look.
    Asked,
}

fn deaf() -> Error {
    Error::new(ErrorKind::Remote, "what is published where the values are does not arrive on the channel")
}

impl Link {
    /// Publishes a sign on the channel; whether the server took it.
    async fn sign(&self, sender: u64) -> bool {
        let mut publish = cmd("PUBLISH");
        publish.arg(&self.config.channel).arg(message(SIGN, sender, ""));
        self.many(vec![publish]).await.is_ok_and(|answers| answers.iter().all(Result::is_ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_and_an_echo_does_not() {
        for what in [
            Invalidation::Key("users:1\r\n\0".into()),
            Invalidation::Tag("users!tag:é".into()),
            Invalidation::Clear("users!all".into()),
        ] {
            let message = encode(7, &what).unwrap();
            assert_eq!(decode(8, &message), Some(what));
            assert_eq!(decode(7, &message), None);
        }
        assert_eq!(encode(7, &Invalidation::Lost), None);
    }

    #[test]
    fn what_cannot_be_read_is_a_loss() {
        let long = [&b"K12345678"[..], &[b'x'; 600]].concat();
        for message in [&b""[..], b"K", b"X12345678name", b"S12345678x", b"K12345678\xff", &long] {
            assert_eq!(decode(7, message), Some(Invalidation::Lost), "{message:?}");
        }
        assert_eq!(decode(7, &message(SIGN, 8, "")), None);
    }
}
