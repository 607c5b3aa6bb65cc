//! Random bytes of the system's, for names that two machines must not choose alike.
//!
//! Not for keys.
//! Invariant: all bytes are drawn, or an error is returned.

use std::io::{self, Read as _};

/// Draws bytes.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fs_err::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
