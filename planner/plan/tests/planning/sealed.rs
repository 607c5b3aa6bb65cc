//! Plan files: what was sealed comes back, and nothing else is accepted.

use lustre_model::plan::PLAN_VERSION;
use lustre_plan::file::{PlanFileError, StaleError, check_fresh, decode, encode};

use crate::harness::{applied, carry_out, nothing, planned};

const TEXT: &str =
    "value \"a\" {\n  input = { x = [1, \"two\", null] }\n}\noutput \"o\" {\n  value = value.a.output\n}\n";

#[test]
fn a_plan_comes_back_as_it_was() {
    let plan = planned(TEXT, &nothing());
    let bytes = encode(&plan).expect("encodes");
    assert_eq!(decode(&bytes).expect("decodes"), plan);
    assert_eq!(encode(&planned(TEXT, &nothing())).expect("encodes"), bytes, "planning is repeatable");
}

#[test]
fn altered_plans_are_refused() {
    let bytes = encode(&planned(TEXT, &nothing())).expect("encodes");
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert!(decode(&altered).is_err(), "a flipped bit at {at} went unnoticed");
    }
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "cut at {length}");
    }
    let (ours, next) = (format!("\"version\":{PLAN_VERSION}"), PLAN_VERSION + 1);
    let newer = String::from_utf8(bytes).expect("text").replacen(&ours, &format!("\"version\":{next}"), 1);
    assert!(matches!(decode(newer.as_bytes()), Err(PlanFileError::Version { found }) if found == next));
    assert!(matches!(decode(b"PK\x03\x04 something else\n"), Err(PlanFileError::OtherTool)));
    assert!(matches!(decode(b"{\"format_version\":\"1.2\"}\n"), Err(PlanFileError::Shown)));
    assert!(matches!(decode(b""), Err(PlanFileError::Empty)));
    assert!(matches!(decode(b"something else\n"), Err(PlanFileError::Foreign)));
}

#[test]
fn a_plan_fits_only_the_state_that_it_was_made_for() {
    let plan = planned(TEXT, &nothing());
    assert_eq!(check_fresh(&plan, &nothing()), Ok(()));
    let moved_on = carry_out(&plan, &nothing());
    assert!(matches!(check_fresh(&plan, &moved_on), Err(StaleError::Serial { planned: 0, .. })));
    let other = lustre_model::recorded::World::new(lustre_model::recorded::Lineage("other".into()));
    assert!(matches!(check_fresh(&plan, &other), Err(StaleError::Lineage { .. })));
    applied(TEXT, &nothing());
}
