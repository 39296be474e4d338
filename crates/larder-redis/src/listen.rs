//! Announcements: what goes over the channel, and hearing it, on a connection of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use larder::remote::{Invalidation, Name, names};
use tokio::sync::broadcast;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::connect::{Failure, client, panicked, silent};
use crate::errors::translate;
use crate::link::{Link, jitter};
use crate::steer::{Steer, channels};

/// How many bytes come before the name.
const HEAD: usize = 9;

/// A message: a letter for what it is, the sender, the name.
pub(crate) fn encode(sender: u64, what: &Invalidation) -> Option<Vec<u8>> {
    let (letter, name) = match what {
        Invalidation::Key(name) => (b'K', name),
        Invalidation::Tag(name) => (b'T', name),
        Invalidation::Clear(name) => (b'C', name),
        Invalidation::Lost => return None,
    };
    Some([&[letter], &sender.to_le_bytes()[..], name.as_bytes()].concat())
}

/// The message another process sent. What cannot be read means that we do not know what was said.
pub(crate) fn decode(sender: u64, message: &[u8]) -> Option<Invalidation> {
    let (Some(head), Some(name)) = (message.get(..HEAD), message.get(HEAD..)) else { return Some(Invalidation::Lost) };
    if head[1..] == sender.to_le_bytes() {
        return None;
    }
    let Ok(name) = std::str::from_utf8(name) else { return Some(Invalidation::Lost) };
    if name.len() > names::MAX_BYTES {
        return Some(Invalidation::Lost);
    }
    let name = Name::from(name);
    Some(match head[0] {
        b'K' => Invalidation::Key(name),
        b'T' => Invalidation::Tag(name),
        b'C' => Invalidation::Clear(name),
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
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => match steer {
                    Some(steer) if message.get_channel_name() != config.channel => {
                        steer.hear(message.get_payload_bytes());
                    }
                    _ => {
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
            _ = pings.tick() => match timeout(config.answer_within, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return translate(error).into(),
                Err(_) => return silent().into(),
            },
        }
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
        for message in [&b""[..], b"K", b"X12345678name", b"K12345678\xff", &long] {
            assert_eq!(decode(7, message), Some(Invalidation::Lost), "{message:?}");
        }
    }
}
