//! The step that an input is of.

use arrow_schema::SchemaRef;

use crate::graph::ChainPlan;
use crate::run::promises::Promiser;

/// The step that an input is of, and what it has promised.
#[derive(Debug)]
pub(crate) struct SourceStep {
    /// `CHAIN.STEP`.
    pub(crate) place: String,
    /// The plugin's name.
    pub(crate) plugin: String,
    /// The columns of its rows.
    pub(crate) schema: SchemaRef,
}

impl SourceStep {
    /// The first step of a chain.
    pub(crate) fn of(chain: &ChainPlan) -> Self {
        let source = &chain.source;
        Self {
            place: format!("{}.{}", chain.name, source.id),
            plugin: source.plugin.clone(),
            schema: source.bound.schema.clone(),
        }
    }

    pub(super) fn source(&self) -> Promiser<'_> {
        Promiser { place: Some(&self.place), ..Promiser::of("source", &self.plugin) }
    }
}
