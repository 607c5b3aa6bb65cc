//! The plan as a comment: complete, short enough, and closed against whatever a spec has in its texts.
//!
//! The reader below knows of Markdown what is needed to tell our lines from a spec's: fences.
//! Invariant: outside of fences stands only what the renderer wrote, with texts of the spec as entities.

use std::fmt::Write as _;

use lustre_model::plan::Mode;
use lustre_model::recorded::World;
use lustre_plan::Options;
use lustre_plan::render::markdown::{COMMENT_BYTES_MAX, plan as comment};
use proptest::prelude::*;

use crate::harness::{applied, carry_out, destroyed, nothing, options, planned, try_plan};

const QUICKSTART: &str = include_str!("../../../../examples/quickstart/main.hcl");

fn quickstart(targets: &str, world: &World) -> lustre_model::plan::Plan {
    let vars = [("root", "/srv/demo"), ("targets", targets)];
    try_plan(QUICKSTART, &vars, world, &options()).unwrap_or_else(|told| panic!("{told}"))
}

/// Returns the lines outside of fences, as CommonMark sees them: a fence ends with a line of as many backticks and no more.
fn outside(text: &str) -> Vec<&str> {
    let (mut fence, mut lines) = (0, Vec::new());
    for line in text.split(['\n', '\r']) {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let ticks = line[indent..].len() - line[indent..].trim_start_matches('`').len();
        let behind = &line[indent + ticks..];
        if fence > 0 {
            if indent < 4 && ticks >= fence && behind.trim().is_empty() {
                fence = 0;
            }
        } else if indent < 4 && ticks >= 3 && !behind.contains('`') {
            fence = ticks;
        } else {
            lines.push(line);
        }
    }
    assert_eq!(fence, 0, "a fence stays open:\n{text}");
    lines
}

#[test]
fn a_comment_has_counts_gates_reasons_impacts_and_outputs() {
    let world = carry_out(&quickstart("4", &nothing()), &nothing());
    insta::assert_snapshot!("comment_grows", comment(&quickstart("5", &world), &[]));
    insta::assert_snapshot!(
        "comment_shrinks",
        comment(&quickstart("3", &world), &["main.hcl:3: old".to_owned()])
    );
    assert!(comment(&destroyed(&world), &[]).contains("### lustre destroy: **DATA LOSS**, 0 to add"));
    assert!(comment(&quickstart("4", &world), &[]).contains("### lustre plan: No changes."));
    let refresh = Options { mode: Mode::RefreshOnly, ..options() };
    let vars = [("root", "/srv/demo"), ("targets", "4")];
    let plan = try_plan(QUICKSTART, &vars, &world, &refresh).expect("it plans");
    assert!(comment(&plan, &[]).contains("### lustre refresh: No differences."));
}

#[test]
fn marks_stand_in_the_first_column_and_nothing_sensitive_is_shown() {
    let before = "value \"a\" {\n  input = { text = \"one\\n- two\\n\", list = [1, 2] }\n}\n\
                  value \"gone\" {\n  input = sensitive(\"s3cret\")\n}\noutput \"a\" {\n  value = 1\n}\n";
    let after = "value \"a\" {\n  input = { text = \"one\\n- three\\n\", list = [1, 3] }\n}\n\
                 value \"new\" {\n  input = sensitive(\"s3cret\")\n}\n\
                 output \"a\" {\n  value = 2\n}\noutput \"hidden\" {\n  value     = \"s3cret\"\n  sensitive = true\n}\n";
    let plan = planned(after, &applied(before, &nothing()));
    let shown = comment(&plan, &[]);
    assert!(!shown.contains("s3cret"), "{shown}");
    insta::assert_snapshot!("comment_marks", shown);
}

#[test]
fn a_long_plan_is_cut_with_the_number_of_what_is_left_out() {
    let many = format!("value \"a\" {{\n  count = 2000\n  input = \"{}\"\n}}\n", "x".repeat(200));
    let shown = comment(&planned(&many, &nothing()), &[]);
    assert!(shown.len() <= COMMENT_BYTES_MAX, "{}", shown.len());
    let drawn = shown.matches("<details>").count();
    assert!(shown.contains(&format!("**{} more changes are left out", 2000 - drawn)), "{drawn}: {shown}");
    let large = format!(
        "value \"a\" {{\n  input = \"{}\"\n}}\nvalue \"b\" {{\n  input = 1\n}}\n",
        "x\\n".repeat(50_000)
    );
    let shown = comment(&planned(&large, &nothing()), &[]);
    assert!(shown.contains("# what changes inside is too long for this comment"), "{shown}");
    assert!(shown.contains("+       input  = 1"), "the others are whole: {shown}");
    let outputs: String = (0..5000).fold(String::new(), |mut text, number| {
        let _ = write!(text, "output \"o{number}\" {{\n  value = \"{}\"\n}}\n", "y".repeat(40));
        text
    });
    let warnings: Vec<String> =
        (0..5000).map(|number| format!("warning {number} {}", "z".repeat(60))).collect();
    let shown = comment(&planned(&format!("{many}{outputs}"), &nothing()), &warnings);
    assert!(shown.len() <= COMMENT_BYTES_MAX, "{}", shown.len());
    assert!(shown.contains("# the rest is left out") && shown.contains(" more\n"));
}

/// Texts made of what could end a fence, an element or a line.
fn hostile() -> impl Strategy<Value = String> {
    let bits = [
        "```",
        "````",
        "~~~",
        "\n",
        "\r",
        "\r\n",
        "</code>",
        "</summary>",
        "</details>",
        "<script>",
        "@all",
        "|",
        "\\",
        "&lt;",
        " ",
        "- ",
        "+ ",
        "-->",
        "<!--",
        "\u{2028}",
        "\u{202e}",
        "\u{0}",
        "`",
        "# ",
        "word",
        "    ",
        "\t",
        "${",
        "EOT",
    ];
    prop::collection::vec(prop::sample::select(bits.to_vec()), 0..12).prop_map(|bits| bits.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_of_a_spec_leaves_its_fence(key in hostile(), text in hostile(), old in hostile(), warning in hostile()) {
        let literal = |text: &str| lustre_model::address::quote(text);
        let spec = |value: &str| format!(
            "value \"a\" {{\n  for_each = {{ {} = {} }}\n  input    = {{ text = each.value, (each.value) = [each.value] }}\n}}\n\
             output \"o\" {{\n  value = {{ for key, it in value.a : key => it.input }}\n}}\n",
            literal(&key), literal(value),
        );
        let world = applied(&spec(&old), &nothing());
        for plan in [planned(&spec(&text), &world), planned(&spec(&text), &nothing()), destroyed(&world)] {
            let shown = comment(&plan, std::slice::from_ref(&warning));
            let outside = outside(&shown);
            let count = |word: &str| outside.iter().filter(|line| line.contains(word)).count();
            let changes = plan.changes().iter().filter(|it| it.action != lustre_model::plan::Action::NoOp).count();
            prop_assert_eq!(count("<details>"), changes, "{}", shown);
            prop_assert_eq!(count("</details>"), changes, "{}", shown);
            prop_assert_eq!(count("<!--"), 1, "{}", shown);
            prop_assert_eq!(count("<script") + count("@all") + count("~~~") + count("`"), 0, "{}", shown);
            for line in &outside {
                let ours = line.is_empty() || ["<!-- lustre plan -->", "### ", "#### ", "> ", "<details><summary><code>value.a&#91;", "</details>"]
                    .iter().any(|start| line.starts_with(start));
                prop_assert!(ours, "{}: {}", line, shown);
                prop_assert_eq!(line.matches('<').count(), line.matches('>').count() - usize::from(line.starts_with("> ")), "{}", line);
            }
            let turned = shown.contains(['\u{202e}', '\r', '\u{0}']);
            prop_assert!(!turned, "{}", shown);
        }
    }
}
