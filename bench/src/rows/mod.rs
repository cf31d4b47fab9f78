//! What is measured: a file for each row.

use crate::report::Section;
use crate::{Outcome, Plan};

mod bytes;
pub mod child;
mod codec;
mod far_hit;
mod http_hit;
mod near_hit;
mod refresh;
mod stampede;
mod structures;
mod tag;
mod visible;
mod write;
mod write_behind;

/// A row: its name on the command line, and what runs it.
pub type Row = (&'static str, fn(&Plan) -> Outcome<Section>);

/// In the order of the report.
pub const ALL: &[Row] = &[
    ("near_hit", near_hit::run),
    ("far_hit", far_hit::run),
    ("refresh", refresh::run),
    ("stampede", stampede::run),
    ("visible", visible::run),
    ("write", write::run),
    ("tag", tag::run),
    ("bytes", bytes::run),
    ("codec", codec::run),
    ("http_hit", http_hit::run),
    ("structures", structures::run),
    ("write_behind", write_behind::run),
];
