//! AWS beside the hosts: what is recorded there is looked at before a plan is made.
//!
//! Invariant: what could not be asked stops a plan; it never counts as healthy.

use std::collections::BTreeMap;
use std::sync::Arc;

use lustre_apply::cloud::{Cloud, CloudError, Observed, observe};
use lustre_aws::Aws;
use lustre_language::Program;
use lustre_model::address::Address;
use lustre_model::diagnostic::Diagnostic;
use lustre_model::recorded::World;
use lustre_model::resource::{Attributes, CloudQuestion};

use crate::command::runtime;
use crate::exit::{Failure, chain};

/// Returns AWS; connections belong to the runtime that first uses them, so that nobody keeps this beyond one.
pub fn aws() -> Arc<dyn Cloud> {
    Arc::new(Aws::new())
}

/// Looks at everything that is recorded in AWS.
pub async fn look(
    world: &Arc<World>,
    parallelism: usize,
) -> (BTreeMap<Address, Observed>, BTreeMap<Address, CloudError>) {
    if !world.objects.values().any(|object| object.kind.is_in_aws()) {
        return (BTreeMap::new(), BTreeMap::new());
    }
    observe(aws().as_ref(), world, parallelism).await
}

/// Looks something up; the text is for the user.
pub fn find(question: &CloudQuestion) -> Result<Attributes, String> {
    let told = |error: CloudError| {
        let remedy = error.remedy().map(|remedy| format!(". To do: {remedy}"));
        format!("{}{}", chain(&error), remedy.unwrap_or_default())
    };
    let ended = runtime().map(|runtime| runtime.block_on(aws().find(question)));
    ended.map_err(|error: Failure| error.to_string())?.map_err(told)
}

/// Says how an object was found, in the words of drift.
pub fn cause(how: &Observed) -> String {
    match how {
        Observed::Same => "it is as recorded".to_owned(),
        Observed::Drifted(cause) => cause.clone(),
        Observed::Gone(cause) => format!("it is gone: {cause}"),
    }
}

/// Says that an object is not as recorded.
pub fn differs((address, how): (&Address, &Observed), program: &Program) -> Diagnostic {
    let (what, detail, hint) = match how {
        Observed::Gone(why) => {
            ("is gone", why.clone(), "`lustre apply` makes it anew, and what stands on it")
        }
        Observed::Drifted(_) | Observed::Same => {
            let hint = "`lustre apply` makes it as the spec says; change the spec to keep what is there";
            ("is not as recorded in AWS", cause(how), hint)
        }
    };
    let mut diagnostic = Diagnostic::warning("W1048", format!("{address} {what}"))
        .detail(detail)
        .hint(hint)
        .instance(address.clone());
    diagnostic.span = program.resource(&address.whole()).map(|block| block.span);
    diagnostic
}

/// Says that an object could not be asked for.
pub fn unasked((address, error): (&Address, &CloudError), program: &Program) -> Diagnostic {
    let remedy = error.remedy().map(|remedy| format!("{remedy}; ")).unwrap_or_default();
    let mut diagnostic = Diagnostic::error("E1049", format!("AWS could not be asked about {address}"))
        .detail(chain(error))
        .hint(format!("{remedy}-refresh=false plans without asking."))
        .instance(address.clone());
    diagnostic.span = program.resource(&address.whole()).map(|block| block.span);
    diagnostic
}
