//! `aggregates`: several aggregates in one step, which share the keys and the windows.

use std::any::Any;

use arrow_array::RecordBatch;
use arrow_schema::Field;
use pipectl_framework::plugin::{
    Aggregate, AggregateState, BindContext, BoundWindow, Groups, Input, PerKey, Problem, Result, Results,
    WindowPlugin, saved,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Several aggregates in one step: a result has the columns of each.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Aggregates {
    /// The aggregates, each under the name of its column in the result: `orders: count`, or with its
    /// settings, `revenue: { sum: { field: price } }`. Every window but `top-k` and this one can stand here.
    columns: Map<String, Value>,
}

register!(window: Aggregates);

impl WindowPlugin for Aggregates {
    const NAME: &'static str = "aggregates";
    const SUMMARY: &'static str = "several aggregates of the same keys and windows";
    const EXAMPLE: &'static str = "\
- window: aggregates
  with:
    key: province
    size: 1m
    columns:
      orders: count
      revenue: { sum: { field: price } }
      dearest: { max: { field: price } }";

    fn bind(self, input: &Input, context: &BindContext<'_>) -> Result<BoundWindow, Problem> {
        if self.columns.is_empty() {
            return Err(Problem::new("columns", "there is no aggregate")
                .help("name at least one, such as `columns: { orders: count }`"));
        }
        let (mut reads, mut parts) = (Vec::new(), Vec::new());
        for (column, written) in self.columns {
            let path = format!("columns.{column}");
            let (name, settings, path) = part(&path, &written)?;
            if settings.contains_key("as") {
                return Err(Problem::new(format!("{path}.as"), "the column has a name already")
                    .label(format!("it is `{column}`, before the aggregate")));
            }
            let mut settings = settings;
            settings.insert("as".to_owned(), Value::String(column));
            let bound = context.aggregate(&path, &name, &Value::Object(settings), input)?;
            if bound.aggregate.per_key() != PerKey::One {
                return Err(Problem::new(path, format!("`{name}` gives several rows for a key"))
                    .help(format!("let it be a window of its own: `- window: {name}`")));
            }
            reads.extend(bound.reads);
            parts.push(bound.aggregate);
        }
        Ok(BoundWindow { reads, aggregate: Box::new(Several(parts)) })
    }
}

/// The name, the settings and their path of an aggregate as written.
fn part(path: &str, written: &Value) -> Result<(String, Map<String, Value>, String), Problem> {
    let wrong = || {
        Problem::new(path, "expected an aggregate").help(
            "write a name such as `count`, or a name with its settings, such as `{ sum: { field: price } }`",
        )
    };
    match written {
        Value::String(name) => Ok((name.clone(), Map::new(), path.to_owned())),
        Value::Object(map) if map.len() == 1 => {
            let (name, settings) = map.iter().next().ok_or_else(wrong)?;
            match settings {
                Value::Object(settings) => Ok((name.clone(), settings.clone(), format!("{path}.{name}"))),
                Value::Null => Ok((name.clone(), Map::new(), format!("{path}.{name}"))),
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

struct Several(Vec<Box<dyn Aggregate>>);

impl Aggregate for Several {
    fn fields(&self) -> Vec<Field> {
        self.0.iter().flat_map(|part| part.fields()).collect()
    }

    fn state(&self) -> Box<dyn AggregateState> {
        Box::new(States(self.0.iter().map(|part| part.state()).collect()))
    }

    fn removes(&self) -> bool {
        self.0.iter().all(|part| part.removes())
    }

    fn only_counts(&self) -> bool {
        self.0.iter().all(|part| part.only_counts())
    }

    fn adds(&self) -> Vec<bool> {
        self.0.iter().flat_map(|part| part.adds()).collect()
    }

    fn version(&self) -> u32 {
        self.0.iter().fold(0, |all, part| all.wrapping_mul(31).wrapping_add(part.version()))
    }
}

struct States(Vec<Box<dyn AggregateState>>);

impl States {
    fn with(&mut self, other: &dyn AggregateState, f: impl Fn(&mut dyn AggregateState, &dyn AggregateState)) {
        if let Some(others) = other.as_any().downcast_ref::<Self>() {
            self.0.iter_mut().zip(&others.0).for_each(|(own, other)| f(own.as_mut(), other.as_ref()));
        }
    }
}

impl AggregateState for States {
    fn add(&mut self, batch: &RecordBatch, groups: Groups<'_>) {
        self.0.iter_mut().for_each(|state| state.add(batch, groups));
    }

    fn merge(&mut self, other: &dyn AggregateState, into: &[u32]) {
        self.with(other, |own, other| own.merge(other, into));
    }

    fn remove(&mut self, other: &dyn AggregateState, from: &[u32]) {
        self.with(other, |own, other| own.remove(other, from));
    }

    fn merge_group(&mut self, other: &dyn AggregateState, from: u32, into: u32) {
        self.with(other, |own, other| own.merge_group(other, from, into));
    }

    fn save(&self, group: u32, bytes: &mut Vec<u8>) {
        let each = self.0.iter().map(|state| {
            let mut bytes = Vec::new();
            state.save(group, &mut bytes);
            bytes
        });
        saved::write(&each.collect::<Vec<_>>(), bytes);
    }

    fn load(&mut self, group: u32, bytes: &[u8]) -> Result<()> {
        let each: Vec<Vec<u8>> = saved::read(bytes)?;
        self.0.iter_mut().zip(&each).try_for_each(|(state, bytes)| state.load(group, bytes))
    }

    fn reset(&mut self, group: u32) {
        self.0.iter_mut().for_each(|state| state.reset(group));
    }

    fn finish(&self, groups: &[u32], rows: &[i64]) -> Result<Results> {
        let mut columns = Vec::new();
        for state in &self.0 {
            columns.extend(state.finish(groups, rows)?.columns);
        }
        Ok(Results::each(columns))
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|state| state.bytes()).sum()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
