//! `lustre test`: test files, `*.test.hcl`, run against the spec; as `terraform test` does it.
//!
//! Which files there are and what is wrong with them is [`suite`]; how one file goes is [`session`].
//! Invariant: the spec's own state is neither read nor written; what was applied is destroyed, or named.

use lustre_model::diagnostic::{Diagnostic, Diagnostics};

use crate::cli::TestFlags;
use crate::exit::{Failure, Success};
use crate::view::test::View;
use crate::view::voice::Voice;

mod session;
mod suite;
mod undo;

pub use session::Status;
pub use suite::mistakes;

/// Runs the tests of the working folder.
pub fn run(flags: &TestFlags, voice: &Voice) -> Result<Success, Failure> {
    let view = View::new(voice, flags.verbose);
    view.version();
    let (suite, mistakes) = suite::load(flags)?;
    let wrong = mistakes.iter().any(|(found, _)| found.has_errors());
    mistakes.iter().for_each(|(found, sources)| view.found(found, sources));
    if wrong {
        return Err(Failure::shown());
    }
    let passed = session::run(&suite, &view, voice.terminal)?;
    if passed { Ok(Success::Done) } else { Err(Failure::shown()) }
}

fn collected(found: impl IntoIterator<Item = Diagnostic>) -> Diagnostics {
    let mut all = Diagnostics::new();
    all.extend(found);
    all
}
