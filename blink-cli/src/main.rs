//! The program `blink`.
fn main() {}
