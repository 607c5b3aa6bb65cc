//! `lustre import`: an object that is there already becomes recorded, as by an `import` block, and nothing else is done.
//!
//! The planner decides whether it can be, as it does for a block; of its plan, only the adoption is carried out.
//! Invariant: the state's lock is held, no host is touched, and the state as it was is in `<state>.backup`.

use lustre_language::Imported;
use lustre_model::address::Address;
use lustre_model::journal::Journal as _;
use lustre_model::plan::{Adoption, Mode};
use lustre_model::resource::Kind;
use lustre_plan::Options;

use super::recorded::{self, Recorded};
use super::spec::{self, Asking, Spec};
use super::state::{back_up, parse, unrecorded};
use crate::cli::ImportFlags;
use crate::exit::{Failure, Success};
use crate::terminal::Terminal;
use crate::view::diagnostic;
use crate::wiring;

/// Records one object under its address.
pub fn run(flags: &ImportFlags, terminal: Terminal) -> Result<Success, Failure> {
    let address = parse(&flags.address)?;
    let asking = if flags.input { Asking::Allowed(terminal) } else { Asking::Refused };
    let spec = spec::load(&flags.variables, asking)?;
    let recorded = recorded::lock(spec.place()?, "import", flags.lock.lock_timeout)?;
    let adoption = adoption(&spec, &recorded, (&address, &flags.id), terminal)?;
    let existed = !recorded.world.lineage.0.is_empty();
    let backup = if existed { Some(back_up(&recorded)?) } else { None };
    let journal = recorded.open("import")?;
    journal.append(&adoption.events()).map_err(|error| unrecorded(&error))?;
    journal.close()?;
    terminal.say(&format!(
        "{address}: imported from {:?}. `lustre plan` shows what the spec asks beyond that.",
        flags.id
    ));
    if let Some(backup) = backup {
        terminal.tell(&format!("The state as it was is in {}.", backup.display()));
    }
    Ok(Success::Done)
}

/// Returns the object as it is taken over, or why it cannot be.
fn adoption(
    spec: &Spec,
    recorded: &Recorded,
    (address, id): (&Address, &str),
    terminal: Terminal,
) -> Result<Adoption, Failure> {
    let said = |cause: String, hint: &str| Failure::Said { cause, hint: Some(hint.to_owned()) };
    if recorded.world.objects.contains_key(address) {
        let cause = format!("{address} is in the state already");
        return Err(said(cause, "`lustre state rm` forgets it without touching it, if it is another one"));
    }
    if Kind::from_name(&address.kind).is_none() || !address.parts.is_empty() {
        return Err(said(
            format!("{address} is no resource of its own"),
            "name a resource that the spec has",
        ));
    }
    let Some(block) = spec.program.resource(address) else {
        let cause = format!("the spec has no block for {address}");
        let hint = format!("write it first: {} \"{}\" {{ … }}", address.kind, address.name);
        return Err(said(cause, &hint));
    };
    let import = Imported { address: address.clone(), id: id.to_owned(), span: block.span };
    let options = Options { imports: vec![import], ..wiring::options(Mode::Normal) };
    let (plan, warnings) = wiring::plan(spec, recorded, options, None)?;
    if !warnings.is_empty() {
        let drawn = diagnostic::draw(&warnings, spec.program.sources(), terminal.err_colour());
        terminal.tell(drawn.trim_end());
    }
    let adopted = plan.parts().adopted.iter().find(|adopted| adopted.address == *address).cloned();
    adopted.ok_or_else(|| {
        let cause = format!("{address} would not be the imported object: the spec moves another one there");
        said(cause, "apply the move first, or import under another address")
    })
}
