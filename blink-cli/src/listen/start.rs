//! Checks before calls are waited for.

use std::path::{Path, PathBuf};

use blink_api::{Configuration, Invitations};
use blink_engine::Blink;

use crate::commands::Executor;
use crate::control;
use crate::failure::Failure;

/// Refuses to serve what another process serves.
pub(crate) async fn refuse_second(data_dir: Option<&Path>) -> Result<(), Failure> {
    let Some(data_dir) = data_dir else { return Ok(()) };
    match control::connect(Some(data_dir)).await {
        Some(_) => Err(Failure::input(format!(
            "blink already runs for this identity ({}): other commands use it; --ephemeral starts another identity",
            data_dir.display()
        ))),
        None => Ok(()),
    }
}

/// Executor with the contacts, which `call.from = "known"` cannot do without.
pub(super) async fn executor(
    blink: &Blink,
    configuration: &Configuration,
    recordings: PathBuf,
) -> Result<Executor, Failure> {
    let settings = configuration.settings();
    let executor = Executor::new(blink, settings.data_dir.clone(), recordings).await;
    let executor = match executor {
        Ok(executor) => executor.with_recorders(&settings.recorders).with_settings(configuration),
        Err(error) => {
            blink.shutdown().await;
            return Err(error.into());
        }
    };
    if settings.call.from == Invitations::Known && executor.contacts().iter().next().is_none() {
        blink.shutdown().await;
        return Err(Failure::input(
            "no call would ever ring: call.from is known and there are no contacts; add one with blink contacts add",
        ));
    }
    Ok(executor)
}
