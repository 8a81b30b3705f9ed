//! Commands that only read: `backends`, `config`, `id`.

use std::path::Path;

use blink_api::{Endpoint, ErrorKind, Registry};
use blink_engine::{Blink, DataDirectory};
use serde_json::{Value, json};

use crate::args::Global;
use crate::commands::Command;
use crate::control;
use crate::failure::Failure;
use crate::output::Output;
use crate::{backends, configuration, profile};

/// Runs `blink backends`.
pub(crate) fn backends(output: &Output) -> Result<(), Failure> {
    let backends = Registry::discovered()?.summaries();
    backends.iter().for_each(|backend| output.json_result(backend));
    let width = |column: fn(&blink_api::BackendSummary) -> &str| {
        backends.iter().map(|backend| column(backend).len()).max().unwrap_or(0)
    };
    let (kinds, names) = (width(|backend| backend.kind), width(|backend| backend.name));
    for backend in &backends {
        output.result(&format!("{:kinds$}  {:names$}  {}", backend.kind, backend.name, backend.summary));
        output.event(&format!("{:kinds$}  {:names$}    {}", "", "", capabilities(&backend.capabilities)));
    }
    Ok(())
}

/// Runs `blink config`.
pub(crate) fn config(global: &Global, output: &Output) -> Result<(), Failure> {
    let registry = Registry::discovered()?;
    let builder = || {
        let defaults = profile::defaults(backends::with_devices(&registry), global);
        configuration::options(configuration::file_and_environment(defaults, global), global)
    };
    let configuration = configuration::with_nodes(builder(), &builder().build()?, global)?.build()?;
    let values = configuration.effective();
    values.iter().for_each(|value| output.json_result(value));
    let keys = values.iter().map(|value| value.key.len()).max().unwrap_or(0);
    let texts: Vec<_> = values.iter().map(|value| value.value.to_string()).collect();
    let width = texts.iter().map(String::len).filter(|length| *length <= 40).max().unwrap_or(0);
    for (value, text) in values.iter().zip(&texts) {
        output.result(&format!("{:keys$}  {text:width$}  {}", value.key, value.source));
    }
    Ok(())
}

/// Runs `blink id`.
pub(crate) async fn id(global: &Global, output: &Output) -> Result<(), Failure> {
    let registry = Registry::discovered()?;
    let builder = || configuration::personal(&registry, global);
    // Build the full configuration first, to report its errors; then one without network and
    // devices.
    builder().build()?;
    let configuration = backends::offline(builder()).build()?;
    let data_dir = configuration.settings().data_dir.clone();
    if let Some(state) = control::ask(data_dir.as_deref(), Command::State {}).await? {
        show_id(&state["did"], &state["device"], data_dir.as_deref(), output);
        return Ok(());
    }
    let endpoint = match data_dir.as_deref().map(kept).transpose()?.flatten() {
        Some(endpoint) => endpoint,
        None => {
            let blink = Blink::start(&configuration).await?;
            let endpoint = blink.endpoint();
            blink.shutdown().await;
            endpoint
        }
    };
    show_id(&json!(endpoint.did), &json!(endpoint.device), data_dir.as_deref(), output);
    Ok(())
}

fn show_id(did: &Value, device: &Value, data_dir: Option<&Path>, output: &Output) {
    output.json_result(&json!({
        "did": did, "device": device, "kept": data_dir.is_some(),
        // As text: a path need not be UTF-8.
        "data_dir": data_dir.map(|directory| directory.display().to_string()),
    }));
    output.result(&format!("did     {}", did.as_str().unwrap_or_default()));
    output.result(&format!("device  {}", device.as_str().unwrap_or_default()));
    match data_dir {
        Some(directory) => output.event(&format!("stored in {}", directory.display())),
        None => output.event("not stored: a new identity at every start"),
    }
}

/// Endpoint stored in a directory. Starting an engine to read it would leave the calls of its
/// previous run.
fn kept(directory: &Path) -> Result<Option<Endpoint>, Failure> {
    match DataDirectory::open(directory).and_then(|kept| kept.endpoint()) {
        Ok(endpoint) => Ok(Some(endpoint)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Capabilities of a backend: flags that are set, and numbers.
fn capabilities(capabilities: &serde_json::Value) -> String {
    let Some(capabilities) = capabilities.as_object() else { return String::new() };
    let words = capabilities.iter().filter_map(|(name, value)| match value {
        serde_json::Value::Bool(true) => Some(name.replace('_', " ")),
        serde_json::Value::Bool(false) | serde_json::Value::Null => None,
        value => Some(format!("{} {value}", name.replace('_', " "))),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_the_flags_that_are_set_and_the_numbers() {
        let value = json!({ "audio": true, "video": false, "max_message": 16384, "ice_restart": true });
        let mut words: Vec<_> = capabilities(&value).split(", ").map(str::to_owned).collect();
        words.sort();
        assert_eq!(words, ["audio", "ice restart", "max message 16384"]);
    }
}
