//! Tests on virtual time, over devices that exist in this process only.

mod clocks_and_formats;
mod unplugging;
mod virtual_host;
