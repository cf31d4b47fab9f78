//! The structures, opened by the one handle.

use super::Larder;

impl Larder {}
