//! Settings of metrics.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `[metrics]`: endpoint of a program that serves the engine's metrics. The engine records them
/// through the facade `metrics` whatever the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MetricsSettings {
    /// Address of the HTTP endpoint `/metrics` in the text format of Prometheus; `None` for none.
    pub listen: Option<SocketAddr>,
}
