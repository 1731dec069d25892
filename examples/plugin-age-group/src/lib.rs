//! The `age-group` transform: a Taobao `age_range` code to a label that people understand.

use std::borrow::Cow;

use pipectl_framework::plugin::{BoundTransform, Input, Problem, TransformPlugin, lift};
use pipectl_framework::register;

/// Puts the label of an age range in a column of its own.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgeGroup {
    /// The column with the code, `0` to `8`.
    field: String,
    /// The column to write; in place of the code where it is not given.
    #[serde(rename = "as")]
    label: Option<String>,
}

register!(transform: AgeGroup);

impl TransformPlugin for AgeGroup {
    const NAME: &'static str = "age-group";
    const SUMMARY: &'static str = "replaces an age_range code by its label";
    const EXAMPLE: &'static str = "- transform: age-group\n  with: { field: age_range, as: age }";

    fn bind(self, input: &Input) -> Result<BoundTransform, Problem> {
        let label = self.label.as_deref().unwrap_or(&self.field);
        lift::map_text(input, "field", &self.field, label, |code| {
            Some(Cow::Borrowed(match code? {
                "1" => "under 18",
                "2" => "18-24",
                "3" => "25-29",
                "4" => "30-34",
                "5" => "35-39",
                "6" => "40-49",
                "7" | "8" => "50 and over",
                _ => "unknown",
            }))
        })
    }
}
