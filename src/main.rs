//! The `ipcow` program.
fn main() {}
