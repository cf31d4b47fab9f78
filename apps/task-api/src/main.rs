//! Task API.
fn main() {}
