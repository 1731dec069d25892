//! `sum`, `avg`, `min` and `max` of a number field.

use arrow_schema::DataType;
use pipectl_framework::plugin::fold::{self, Fold};
use pipectl_framework::plugin::{
    Aggregate, BindContext, BoundWindow, Error, Input, Problem, Result, WindowPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exact_sum::ExactSum;

/// The number field, and the result's column.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct OfNumbers {
    /// The field: an integer or a number. Nulls are left out.
    field: String,
    /// The name of the result's column. Default: the aggregate's own name, such as `sum`.
    r#as: Option<String>,
}

impl OfNumbers {
    fn bind<Integers: Fold, Floats: Fold>(self, input: &Input, name: &str) -> Result<BoundWindow, Problem> {
        let column =
            input.number_column("field", &self.field).map_err(|problem| needs_cast(problem, &self.field))?;
        let name = self.r#as.as_deref().unwrap_or(name);
        let aggregate: Box<dyn Aggregate> = match input.schema.field(column).data_type() {
            DataType::Int64 => fold::aggregate_of::<Integers>(name, column, &self.field),
            _ => fold::aggregate_of::<Floats>(name, column, &self.field),
        };
        Ok(BoundWindow { reads: vec![self.field], aggregate })
    }
}

/// A text that should be a number is the commonest mistake: every cell of a CSV file is text.
pub(super) fn needs_cast(problem: Problem, field: &str) -> Problem {
    if problem.message.ends_with("is not a number") {
        problem.help(format!(
            "make it one before: `- transform: cast` with `with: {{ fields: {{ {field}: number }} }}`"
        ))
    } else {
        problem
    }
}

macro_rules! of_numbers {
    ($plugin:ident, $name:literal, $summary:literal, $integers:ty, $floats:ty, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(transparent)]
        struct $plugin(OfNumbers);

        register!(window: $plugin);

        impl WindowPlugin for $plugin {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = $summary;
            const EXAMPLE: &'static str =
                concat!("- window: ", $name, "\n  with: { field: price, key: province, size: 1m }");

            fn bind(self, input: &Input, _context: &BindContext<'_>) -> Result<BoundWindow, Problem> {
                self.0.bind::<$integers, $floats>(input, $name)
            }
        }
    };
}

of_numbers!(
    Sum,
    "sum",
    "the sum of a number field",
    IntegerSum,
    FloatSum,
    "The sum of a number field; 0 where there is nothing to sum. It is exact: the order of rows does not matter."
);
of_numbers!(
    Avg,
    "avg",
    "the mean of a number field",
    IntegerMean,
    FloatMean,
    "The mean of a number field; null where there is nothing to average."
);
of_numbers!(
    Min,
    "min",
    "the least of a number field",
    Least<i64>,
    Least<f64>,
    "The least of a number field; null where there is none. NaN is left out."
);
of_numbers!(
    Max,
    "max",
    "the greatest of a number field",
    Greatest<i64>,
    Greatest<f64>,
    "The greatest of a number field; null where there is none. NaN is left out."
);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct IntegerSum(i128);

impl Fold for IntegerSum {
    type Value = i64;
    type Output = i64;
    const REMOVES: bool = true;
    const ADDS: bool = true;

    fn add(&mut self, x: i64) {
        self.0 += i128::from(x);
    }

    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    fn remove(&mut self, other: &Self) {
        self.0 -= other.0;
    }

    fn finish(&self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }

    fn try_finish(&self) -> Result<Option<i64>> {
        self.finish().map(Some).ok_or_else(|| {
            let end = if self.0 < 0 { "below the least" } else { "beyond the greatest" };
            Error::fatal(format!("the sum {} is {end} integer of 64 bits", self.0)).remedy(
                "make the field a `number` before, with `- transform: cast`: its sum has no such limit, and keeps about 17 digits; \
                 the window is another one then, and `--reset-state` gives up what is kept of it",
            )
        })
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct FloatSum(ExactSum);

impl Fold for FloatSum {
    type Value = f64;
    type Output = f64;
    const REMOVES: bool = true;
    const ADDS: bool = true;

    fn add(&mut self, x: f64) {
        self.0.add(x);
    }

    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    fn remove(&mut self, other: &Self) {
        self.0.remove(&other.0);
    }

    fn finish(&self) -> Option<f64> {
        Some(self.0.value())
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct IntegerMean {
    sum: i128,
    count: i64,
}

impl Fold for IntegerMean {
    type Value = i64;
    type Output = f64;
    const REMOVES: bool = true;

    fn add(&mut self, x: i64) {
        self.sum += i128::from(x);
        self.count += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    fn remove(&mut self, other: &Self) {
        self.sum -= other.sum;
        self.count -= other.count;
    }

    fn finish(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct FloatMean {
    sum: ExactSum,
    count: i64,
}

impl Fold for FloatMean {
    type Value = f64;
    type Output = f64;
    const REMOVES: bool = true;

    fn add(&mut self, x: f64) {
        self.sum.add(x);
        self.count += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.count += other.count;
    }

    fn remove(&mut self, other: &Self) {
        self.sum.remove(&other.sum);
        self.count -= other.count;
    }

    fn finish(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.value() / self.count as f64)
    }

    fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes()
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Least<T>(Option<T>);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Greatest<T>(Option<T>);

macro_rules! extreme {
    ($fold:ident, $type:ty, $pick:expr, $usable:expr) => {
        impl Fold for $fold<$type> {
            type Value = $type;
            type Output = $type;

            fn add(&mut self, x: $type) {
                if $usable(x) {
                    self.0 = Some(self.0.map_or(x, |own| $pick(own, x)));
                }
            }

            fn merge(&mut self, other: &Self) {
                if let Some(x) = other.0 {
                    self.add(x);
                }
            }

            fn finish(&self) -> Option<$type> {
                self.0
            }
        }
    };
}

extreme!(Least, i64, i64::min, |_| true);
extreme!(Greatest, i64, i64::max, |_| true);
extreme!(Least, f64, f64::min, |x: f64| !x.is_nan());
extreme!(Greatest, f64, f64::max, |x: f64| !x.is_nan());
