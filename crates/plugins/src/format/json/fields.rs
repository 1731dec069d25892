//! How a field of a record is written in a file: a type, or a type with where its value stands.

use std::fmt;

use arrow_schema::{DataType, TimeUnit};
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FieldType {
    Text,
    Integer,
    Number,
    Boolean,
    Time,
}

impl FieldType {
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        }
    }

    /// What a value of it is, for messages.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "an integer of 64 bits",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Time => "milliseconds since 1970 or RFC 3339 text",
        }
    }
}

/// A field: its type, or its type with more.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum FieldSpec {
    /// `integer`: the member of the record that has the field's name.
    Type(FieldType),
    /// `{ type: integer, path: "$.order.id" }`
    Long(LongField),
}

/// A field with where its value stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LongField {
    /// `text`, `integer`, `number`, `boolean` or `time`.
    #[serde(rename = "type")]
    pub(super) field_type: FieldType,
    /// Where the value stands when reading, such as `$.order.items[0]['unit price']`; a path that leads
    /// nowhere gives a null. With `rows`, `@` is the element that the row is made of, and `$` the record.
    /// Default: the member of the field's name.
    #[serde(default)]
    pub(super) path: Option<String>,
    /// Takes a text, a number and a truth value as the field's type when reading: `"12"` is the integer 12,
    /// an empty text a null, as for the transform `cast`. Default: `false`, and what is of another type makes
    /// the record unusable.
    #[serde(default)]
    pub(super) coerce: bool,
    /// Refuses a `number` with more digits than one of 64 bits keeps, when reading, as
    /// `0.1234567890123456789`. Default: `false`, which rounds it.
    #[serde(default)]
    pub(super) exact: bool,
}

impl FieldSpec {
    pub(super) fn field_type(&self) -> FieldType {
        match self {
            Self::Type(field_type) => *field_type,
            Self::Long(long) => long.field_type,
        }
    }
}

impl<'de> Deserialize<'de> for FieldSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spec;

        impl<'de> Visitor<'de> for Spec {
            type Value = FieldSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type such as `integer`, or `{ type: integer, path: \"$.order.id\" }`")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<FieldSpec, E> {
                FieldType::deserialize(name.into_deserializer()).map(FieldSpec::Type)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldSpec, A::Error> {
                LongField::deserialize(MapAccessDeserializer::new(map)).map(FieldSpec::Long)
            }
        }

        deserializer.deserialize_any(Spec)
    }
}
