//! Tests on virtual time, over devices that exist in this process only.

mod clocks_and_formats;
mod device_samples;
mod unplugging;
mod virtual_clock;
mod virtual_host;
mod virtual_spec;
