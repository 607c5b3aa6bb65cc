//! `yamlencode` and `yamldecode`: values as YAML, one document.
//!
//! Invariant: what decodes is plain data with a bounded number of parts, also where aliases repeat them.

use crate::function::{Row, Run};

mod read;
mod write;

pub(super) const ROWS: &[Row] = &[
    Row(
        "yamlencode(value any) string",
        "Writes a value as YAML.",
        [
            "yamlencode({ foo = [1, { a = \"b\", c = \"d\" }], bar = \"baz\" })",
            "\"\\\"bar\\\": \\\"baz\\\"\\n\\\"foo\\\":\\n- 1\\n- \\\"a\\\": \\\"b\\\"\\n  \\\"c\\\": \\\"d\\\"\\n\"",
        ],
        Run::Values(write::encode),
    ),
    Row(
        "yamldecode(text string) any",
        "Reads one document of YAML.",
        ["yamldecode(\"{a: &x [1, true, null], b: *x}\")", "{ a = [1, true, null], b = [1, true, null] }"],
        Run::Values(read::decode),
    ),
];
