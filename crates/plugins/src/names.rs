//! A setting that is the name of one field, or a list of such names.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// One field, or a list.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected the name of a field, or a list of such names")]
pub(crate) enum Fields {
    One(String),
    Several(Vec<String>),
}

/// Reads a setting that is there, as a list; for `#[serde(default, deserialize_with = ...)]`.
pub(crate) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Some(match Fields::deserialize(deserializer)? {
        Fields::One(field) => vec![field],
        Fields::Several(fields) => fields,
    }))
}
