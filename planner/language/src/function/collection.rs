//! x
//!
use crate::function::Row;
pub(super) const ROWS: &[Row] = &[];
