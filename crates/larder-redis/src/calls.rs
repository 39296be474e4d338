//! Calls over the link that check that each command has its answer.

use larder::{Error, ErrorKind};
use redis::{Cmd, RedisResult, Value};
use tokio::time::timeout;

use crate::errors::translate;
use crate::link::Link;
use crate::scripts::Call;
use crate::steer::Place;

impl Link {
    /// One command; in a cluster to the node at `place`, if one is named, whose failure says nothing of the connection as a whole.
    pub(crate) async fn ask(&self, place: Option<&Place>, cmd: &Cmd) -> Result<Value, Error> {
        let Some(place) = place else {
            return self.in_time(self.call(async |mut conn| conn.one(cmd).await)).await;
        };
        let (mut conn, _) = self.live()?;
        conn.at(place, cmd.clone()).await.map_err(translate)
    }

    /// Commands whose answers matter one by one. Errors of single answers are acted upon; what is left of them is the caller's.
    pub(crate) async fn many(&self, cmds: Vec<Cmd>) -> Result<Vec<RedisResult<Value>>, Error> {
        let asked = cmds.len();
        let generation = self.generation();
        let answers = self.in_time(self.call(async move |mut conn| conn.many(cmds).await)).await?;
        if answers.len() != asked {
            return Err(self.confused());
        }
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            if error.code() != Some("NOSCRIPT") {
                self.react(generation, error);
            }
        }
        Ok(answers)
    }

    /// Calls of scripts; a server that does not know one yet is told.
    pub(crate) async fn scripts(&self, calls: Vec<Call<'_>>) -> Result<Vec<RedisResult<Value>>, Error> {
        let mut answers = self.many(calls.iter().map(Call::by_hash).collect()).await?;
        let unknown: Vec<_> = (answers.iter().enumerate())
            .filter(|(_, answer)| matches!(answer, Err(error) if error.code() == Some("NOSCRIPT")))
            .map(|(at, _)| at)
            .collect();
        if !unknown.is_empty() {
            let cmds = unknown.iter().map(|&at| calls[at].by_text()).collect();
            for (at, answer) in unknown.into_iter().zip(self.many(cmds).await?) {
                answers[at] = answer;
            }
        }
        Ok(answers)
    }

    /// What a call brings, if it does so within the time allowed.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let late = || Err(Error::new(ErrorKind::Timeout, "the Redis did not answer in time"));
        timeout(self.config.answer_within, call).await.unwrap_or_else(|_| late())
    }

    /// An answer is of the wrong kind: it belongs to another question.
    pub(crate) fn confused(&self) -> Error {
        self.distrust();
        Error::new(ErrorKind::Remote, "the Redis answered another question")
    }
}
