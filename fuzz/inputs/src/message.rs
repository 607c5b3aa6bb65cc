//! What a peer sends: bodies of messages. Frames around them are `agents/wire`'s, and tested there.
//!
//! Invariant: as for texts, nothing is read but the bytes.

use lustre_model::{control, metadata, object};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes → message. A body is read as each kind of message, or refused; what is read is written as the same.
pub fn message(bytes: &[u8]) {
    read::<control::Call>(bytes);
    read::<control::Answer>(bytes);
    read::<metadata::Call>(bytes);
    read::<metadata::Answer>(bytes);
    read::<metadata::Notice>(bytes);
    read::<object::Request>(bytes);
    read::<object::Answer>(bytes);
}

fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok((message, _)) = postcard::take_from_bytes::<T>(bytes) else { return };
    let written = postcard::to_stdvec(&message);
    let again = written.as_deref().map(postcard::from_bytes::<T>);
    let same = matches!(&again, Ok(Ok(again)) if postcard::to_stdvec(again) == written);
    assert!(same, "a message is read as it was written: {:?}", again.map(|again| again.err()));
}
