//! What comes back from the remote tier.

use std::collections::BTreeMap;

use bytes::Bytes;
use larder::codec::{Codec, MessagePack, Plain};
use larder::remote::envelope::{Envelope, Fence, Form, Kind, fence_of, fingerprint, holds_value};

use crate::{Decoder, repair};

const NAME: &str = "users:42";
const FORM: Form = Form { schema: 7, pack_above: 64, limit: 64 << 10 };

/// What a user may keep: a value of many kinds.
type Kept = (String, Option<u64>, Vec<BTreeMap<String, f32>>, Vec<u8>);

pub(crate) fn decoders() -> Vec<Decoder> {
    let kept = |kind, payload: Vec<u8>, version: Option<u64>, tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).into()).collect();
        let payload = payload.into();
        let (as_of, fresh_until, kept_until) = (1_000, 2_000, 3_000);
        let (fence, changed_at) = (Fence(99), version.map(|version| version * 100));
        let envelope =
            Envelope { kind, payload, as_of, fresh_until, kept_until, cost: 17, version, changed_at, tags, fence };
        envelope.encode(NAME, &FORM).expect("a small envelope").to_vec()
    };
    let value: Kept = ("größe".into(), Some(7), vec![[("a".into(), 1.5)].into(), [].into()], vec![0, 255]);
    vec![
        // A packed payload may be as long as the limit.
        Decoder::new("envelope", envelope)
            .repaired(|bytes| repair::envelope(bytes, fingerprint(NAME)))
            .sample(kept(Kind::Value, b"a value".to_vec(), Some(5), &["vip", ""]))
            .sample(kept(Kind::Value, vec![1; 5_000], None, &[]))
            .sample(kept(Kind::Absent, Vec::new(), None, &["t"]))
            .sample(kept(Kind::Invalidated, Vec::new(), None, &[]))
            .allocates(8 * FORM.limit, 64),
        Decoder::new("message-pack", message_pack)
            .sample(MessagePack.encode(&value).expect("a value").to_vec())
            .sample(MessagePack.encode(&("a".to_owned(), 1)).expect("a value").to_vec())
            .allocates(2 << 20, 256),
    ]
}

fn envelope(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let (fence, holds) = (fence_of(&bytes), holds_value(&bytes));
    let Ok(read) = Envelope::decode(NAME, &FORM, bytes.clone()) else { return };
    assert!(read.payload.len() <= FORM.limit);
    assert_eq!((fence, holds), (Some(read.fence), read.kind != Kind::Invalidated));
    let again = read.encode(NAME, &FORM).expect("what was read can be written");
    assert_eq!(Envelope::decode(NAME, &FORM, again.clone()), Ok(Envelope { ..read }));
}

fn message_pack(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(read) = Codec::<Kept>::decode(&MessagePack, &bytes) {
        MessagePack.encode(&read).expect("what was read can be written");
    }
    if let Ok(read) = Codec::<String>::decode(&Plain, &bytes) {
        assert_eq!(Plain.encode(&read).expect("a text"), bytes);
    }
}
