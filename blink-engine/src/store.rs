//! Persistent state under `data_dir`: the identity, the device, the boot counter, and the state of
//! calls.

mod database;
mod directory;
#[doc(hidden)]
pub mod fuzzing;
mod memory;
mod opening;
mod repair;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use database::Store;
pub use directory::DataDirectory;
pub(crate) use opening::open;
pub use repair::Repair;
