//! What a text means to the grammar: its tree without blanks, comments and places.
//!
//! hcl-edit's trees compare equal whatever stands around their nodes, except for what it keeps within: blanks before a
//! closing bracket, around the words of a directive, before the end of a heredoc. These are taken out here.

use hcl_edit::expr::{Array, FuncArgs, Object};
use hcl_edit::parser::parse_body;
use hcl_edit::structure::Body;
use hcl_edit::template::{ForDirective, HeredocTemplate, IfDirective};
use hcl_edit::visit_mut::{self, VisitMut};

/// Returns the meaning of a text that parses.
pub(super) fn meaning(text: &str) -> Option<Body> {
    let mut body = parse_body(text).ok()?;
    Bare.visit_body_mut(&mut body);
    Some(body)
}

struct Bare;

impl VisitMut for Bare {
    fn visit_array_mut(&mut self, node: &mut Array) {
        node.set_trailing("");
        visit_mut::visit_array_mut(self, node);
    }

    fn visit_object_mut(&mut self, node: &mut Object) {
        node.set_trailing("");
        visit_mut::visit_object_mut(self, node);
    }

    fn visit_func_args_mut(&mut self, node: &mut FuncArgs) {
        node.set_trailing("");
        visit_mut::visit_func_args_mut(self, node);
    }

    fn visit_heredoc_template_mut(&mut self, node: &mut HeredocTemplate) {
        node.set_trailing("");
        visit_mut::visit_heredoc_template_mut(self, node);
    }

    fn visit_if_directive_mut(&mut self, node: &mut IfDirective) {
        node.if_expr.set_preamble("");
        if let Some(otherwise) = &mut node.else_expr {
            otherwise.set_preamble("");
            otherwise.set_trailing("");
        }
        node.endif_expr.set_preamble("");
        node.endif_expr.set_trailing("");
        visit_mut::visit_if_directive_mut(self, node);
    }

    fn visit_for_directive_mut(&mut self, node: &mut ForDirective) {
        node.for_expr.set_preamble("");
        node.endfor_expr.set_preamble("");
        node.endfor_expr.set_trailing("");
        visit_mut::visit_for_directive_mut(self, node);
    }
}
