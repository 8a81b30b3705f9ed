//! `[codecs.pcmu]` and `[codecs.pcma]`.

use serde::{Deserialize, Serialize};

/// There is nothing to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct G711Config {}
