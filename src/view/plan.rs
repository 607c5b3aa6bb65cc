//! A plan: as text, or as the lines of the event stream.
//!
//! The text itself is the planner's; here it gets colours and a frame.
//! Invariant: both ways end with the same counts.

use lustre_model::plan::{Action, Mode, OutputChange, Plan};
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
    for change in plan.changes().iter().filter(|change| change.action != Action::NoOp) {
        let word = action(change.action);
        let mut json =
            json!({ "resource": resource(&change.address), "action": word, "impact": change.impact });
        json["reason"] = json!(change.reason);
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
    let message =
        format!("Plan: {} to add, {} to change, {} to destroy.", counts.add, counts.change, counts.destroy);
    let changes = json!({
        "add": counts.add, "change": counts.change, "remove": counts.destroy, "import": 0, "operation": operation,
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
