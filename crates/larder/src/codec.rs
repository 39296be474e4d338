//! Values as bytes, for whatever keeps them outside the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::{Error, ErrorKind};

/// Turns values into bytes and back. Equal values must give equal bytes: larder tells from them whether an origin's value changed.
pub trait Codec<V>: Send + Sync + 'static {
    /// The bytes of a value.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] if it has none. A panic is taken for that.
    fn encode(&self, value: &V) -> Result<Bytes, Error>;

    /// The value of the bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] if they are no value's; they are then treated as missing. A panic is taken for that.
    fn decode(&self, bytes: &Bytes) -> Result<V, Error>;
}

/// What a codec or a seal does, whose panic is an error as any other.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::new(ErrorKind::Codec, "the codec panicked")))
}

/// Bytes and texts as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Codec<Bytes> for Plain {
    fn encode(&self, value: &Bytes) -> Result<Bytes, Error> {
        Ok(value.clone())
    }

    fn decode(&self, bytes: &Bytes) -> Result<Bytes, Error> {
        Ok(bytes.clone())
    }
}

impl Codec<Vec<u8>> for Plain {
    fn encode(&self, value: &Vec<u8>) -> Result<Bytes, Error> {
        Ok(Bytes::copy_from_slice(value))
    }

    fn decode(&self, bytes: &Bytes) -> Result<Vec<u8>, Error> {
        Ok(bytes.to_vec())
    }
}

impl Codec<String> for Plain {
    fn encode(&self, value: &String) -> Result<Bytes, Error> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }

    fn decode(&self, bytes: &Bytes) -> Result<String, Error> {
        let text =
            str::from_utf8(bytes).map_err(|bad| Error::caused(ErrorKind::Codec, "a text that is not UTF-8", bad))?;
        Ok(text.to_owned())
    }
}

/// Whatever serde can handle, as MessagePack with field names, so that fields may be added later.
#[cfg(feature = "serde")]
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

#[cfg(feature = "serde")]
impl<V: serde::Serialize + serde::de::DeserializeOwned> Codec<V> for MessagePack {
    fn encode(&self, value: &V) -> Result<Bytes, Error> {
        let bytes = rmp_serde::to_vec_named(value);
        bytes
            .map(Bytes::from)
            .map_err(|bad| Error::caused(ErrorKind::Codec, format!("cannot encode a value: {bad}"), bad))
    }

    fn decode(&self, bytes: &Bytes) -> Result<V, Error> {
        rmp_serde::from_slice(bytes)
            .map_err(|bad| Error::caused(ErrorKind::Codec, format!("cannot decode a value: {bad}"), bad))
    }
}

/// Encrypts values before they go to the remote tier. The name of the key goes in, so that a value cannot be passed off as another
/// key's (as additional data of an AEAD). What is [written behind](crate::Builder::write_behind) the cache is not sealed: its sink, the origin, is to
/// read it, and its log is opened before there is a cache. Encrypt the log's disk.
pub trait Seal: Send + Sync + 'static {
    /// Encrypts. With a random nonce equal values no longer look equal, so digests are taken before.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`].
    fn seal(&self, name: &str, plain: Bytes) -> Result<Bytes, Error>;

    /// Decrypts.
    ///
    /// # Errors
    /// [`ErrorKind::Codec`] if they were not sealed under this name with a known key; they are then treated as missing.
    fn open(&self, name: &str, sealed: Bytes) -> Result<Bytes, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_come_back() {
        let text = "größe".to_owned();
        assert_eq!(Codec::<String>::decode(&Plain, &Plain.encode(&text).unwrap()).unwrap(), text);
        let bytes = Bytes::from_static(b"\xff\0");
        assert_eq!(Codec::<Bytes>::decode(&Plain, &Plain.encode(&bytes).unwrap()).unwrap(), bytes);
        let error = Codec::<String>::decode(&Plain, &bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_field_may_be_added() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Old {
            name: String,
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        struct New {
            name: String,
            #[serde(default)]
            age: u32,
        }
        let bytes = MessagePack.encode(&Old { name: "a".into() }).unwrap();
        let new: New = MessagePack.decode(&bytes).unwrap();
        assert_eq!((new.name.as_str(), new.age), ("a", 0));
        let bad: Result<New, _> = MessagePack.decode(&Bytes::from_static(b"\x93"));
        assert_eq!(bad.err().unwrap().kind(), ErrorKind::Codec);
    }
}
