//! A plan: as text, or as the lines of the event stream.
//!
//! The text itself is the planner's; here it gets colours and a frame.
//! Invariant: both ways end with the same counts.

use lustre_model::plan::{Action, ActionReason, Change, Mode, OutputChange, Plan};
use lustre_plan::render::{json as render, text};
use serde_json::{Map, Value as Json, json};

use crate::terminal::Terminal;
use crate::view::stream::{Stream, resource};
use crate::view::styled;

/// Prints a plan as text.
pub fn show(terminal: Terminal, plan: &Plan) {
    let drawn = styled::draw(&text::plan(plan), terminal.out_colour());
    terminal.say(drawn.trim_end());
}

/// Prints a plan as lines of the stream.
pub fn stream(stream: &Stream, plan: &Plan) {
    for change in plan.changes() {
        let Some(word) = planned_action(change) else { continue };
        let mut json =
            json!({ "resource": resource(&change.address), "action": word, "impact": change.impact });
        if let Some(reason) = change.reason {
            json["reason"] = reason_word(reason);
        }
        if let Some(id) = &change.imported {
            json["importing"] = json!({ "id": id });
        }
        if let Some(previous) = &change.previous_address {
            json["previous_resource"] = resource(previous);
        }
        let message = format!("{}: Plan to {word}", change.address);
        stream.line("info", &message, "planned_change", json!({ "change": json }));
    }
    for (address, cause) in &plan.parts().drift {
        let json = json!({ "resource": resource(address), "action": "update", "cause": cause });
        let message = format!("{address}: Not as recorded: {cause}");
        stream.line("warn", &message, "resource_drift", json!({ "change": json }));
    }
    let counts = text::counts(plan);
    let operation = match plan.parts().mode {
        Mode::Normal | Mode::RefreshOnly => "plan",
        Mode::Destroy => "destroy",
    };
    let message = format!("Plan: {}.", text::summary(plan));
    let changes = json!({
        "add": counts.add, "change": counts.change, "remove": counts.destroy,
        "import": plan.parts().adopted.len(), "forget": plan.parts().forgotten.len(), "operation": operation,
    });
    stream.line("info", &message, "change_summary", json!({ "changes": changes }));
    let outputs: Map<String, Json> =
        plan.parts().outputs.iter().map(|output| (output.name.clone(), output_json(output))).collect();
    if !outputs.is_empty() {
        let message = format!("Outputs: {}", outputs.len());
        stream.line("info", &message, "outputs", json!({ "outputs": outputs }));
    }
}

fn output_json(change: &OutputChange) -> Json {
    let mut json = json!({ "action": action(change.action) });
    if let Some(after) = &change.after {
        json["sensitive"] = json!(after.sensitive);
        if !after.sensitive && after.value.is_wholly_known() {
            json["value"] = render::plain(&after.value);
        }
    }
    json
}

/// Returns what a line of the stream says of an object; nothing is said of one that stays as and where it is.
fn planned_action(change: &Change) -> Option<&'static str> {
    let stays = change.action == Action::NoOp;
    match (stays, &change.imported, &change.previous_address) {
        (false, _, _) => Some(action(change.action)),
        (true, Some(_), _) => Some("import"),
        (true, None, Some(_)) => Some("move"),
        (true, None, None) => None,
    }
}

/// Returns a reason as Terraform's stream names it, which is shorter than in a plan where something is replaced.
fn reason_word(reason: ActionReason) -> Json {
    match reason {
        ActionReason::ReplaceBecauseCannotUpdate => json!("cannot_update"),
        ActionReason::ReplaceBecauseTainted => json!("tainted"),
        ActionReason::ReplaceBecauseGone => json!("gone"),
        ActionReason::ReplaceByRequest => json!("requested"),
        ActionReason::ReplaceByTriggers
        | ActionReason::ReplaceBecauseParentReplaced
        | ActionReason::ReplaceBecauseHalfDeleted
        | ActionReason::DeleteBecauseNoResourceConfig
        | ActionReason::DeleteBecauseNoModule
        | ActionReason::DeleteBecauseEachKey
        | ActionReason::DeleteBecauseCountIndex
        | ActionReason::DeleteBecauseNoTarget
        | ActionReason::DeleteBecauseTargetReplaced
        | ActionReason::DeleteBecauseDeposed
        | ActionReason::DeleteByRequest
        | ActionReason::ResumeInterrupted
        | ActionReason::RepairBecauseDrifted => json!(reason),
    }
}

/// Returns an action as Terraform's stream names it.
fn action(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
        Action::Read => "read",
        Action::Forget => "forget",
        Action::NoOp => "noop",
    }
}
