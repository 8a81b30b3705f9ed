//! Configuration `[codecs.pcmu]` and `[codecs.pcma]`.

use serde::{Deserialize, Serialize};

/// Configuration without keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct G711Config {}
