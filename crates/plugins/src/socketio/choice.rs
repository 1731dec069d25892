//! Which columns the page shows: those that the file names, else those that are known to be the results of a
//! window.

use arrow_schema::DataType;
use pipectl_framework::plugin::{Input, Problem, RankedMeaning, ResultMeaning};

use super::results::{Columns, WINDOW_END, find_key, find_value};
use super::wire::Chart;

/// The column of the keys where nothing else is known.
const DEFAULT_KEY: &str = "key";
/// The column of the numbers, where it is there.
const DEFAULT_VALUE: &str = "count";

/// What the file says, and what comes in.
pub(super) struct Choice {
    input: Input,
    key: Option<Vec<String>>,
    value: Option<Vec<String>>,
    additive: Option<bool>,
}

/// What is shown, and what it means.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) columns: Columns,
    /// The values of one window add up.
    pub(super) additive: bool,
    /// Those of several windows do.
    pub(super) totals: bool,
    /// The chart that fits where the file names none.
    pub(super) chart: Chart,
}

impl Choice {
    /// Looks at what the file names. What it does not name is found once it is known what comes in: see
    /// [`shown`](Self::shown).
    ///
    /// # Errors
    /// Where a column is missing or of another type, and where nothing that comes in could be shown.
    pub(super) fn new(
        input: &Input,
        key: Option<Vec<String>>,
        value: Option<Vec<String>>,
        additive: Option<bool>,
    ) -> Result<Self, Problem> {
        let keys =
            key.as_deref().unwrap_or_default().iter().try_for_each(|key| find_key(input, key).map(drop));
        let named = match value.as_deref() {
            Some([]) => Err(Problem::new("value", "without a column of numbers there is nothing to show")
                .help("name one, or several: `value: [orders, revenue]`")),
            Some(values) => values.iter().try_for_each(|value| find_value(input, value).map(drop)),
            None if numbers(input).next().is_some() => Ok(()),
            None => find_value(input, DEFAULT_VALUE).map(drop),
        };
        keys?;
        if named.is_err() && key.is_none() {
            // Nothing can be known of a window then: both are wrong.
            find_key(input, DEFAULT_KEY)?;
        }
        named?;
        Ok(Self { input: input.clone(), key, value, additive })
    }

    /// The columns that may be shown. Which column of numbers says the places is known only later.
    pub(super) fn reads(&self) -> Vec<String> {
        let mut read: Vec<String> = match &self.key {
            Some(keys) => keys.clone(),
            None => {
                let texts = self.input.schema.fields().iter().filter(|f| *f.data_type() == DataType::Utf8);
                texts.map(|field| field.name().clone()).collect()
            }
        };
        read.extend(numbers(&self.input).map(str::to_owned));
        if self.input.schema.index_of(WINDOW_END).is_ok() {
            read.push(WINDOW_END.to_owned());
        }
        read
    }

    /// What is shown of rows that are known to mean this.
    ///
    /// # Errors
    /// Where they cannot be shown: a window has several rows for a line, or a column is missing.
    pub(super) fn shown(&self, meaning: Option<&ResultMeaning>) -> Result<Shown, Problem> {
        let default = || vec![DEFAULT_KEY.to_owned()];
        let Some(meaning) = meaning else {
            let keys = self.key.clone().unwrap_or_else(default);
            let values = self.value.clone().unwrap_or_else(|| vec![DEFAULT_VALUE.to_owned()]);
            let additive = self.additive.unwrap_or(false);
            let columns = Columns::find(&self.input, &keys, &values)?;
            return Ok(Shown { columns, additive, totals: additive, chart: Chart::Line });
        };
        let keys = self.key.clone().unwrap_or_else(|| self.keys_of(meaning));
        self.tells_apart(meaning, &keys)?;
        let values = self.values_of(meaning);
        let columns = Columns::find(&self.input, &keys, &values)?;
        if let Some(ranked) = &meaning.ranked {
            return self.ranked(meaning, ranked, columns);
        }
        let over_keys = values.iter().all(|value| meaning.over_keys.contains(value));
        let over_windows = values.iter().all(|value| meaning.over_windows.contains(value));
        // Two columns are two things, unless the file says otherwise.
        let additive = self.additive.unwrap_or(over_keys && values.len() == 1);
        // Windows that overlap count a row several times, whatever the file says of the values.
        let totals = match values.len() {
            1 => additive && (over_windows || !over_keys),
            _ => over_windows && self.additive != Some(false),
        };
        Ok(Shown { columns, additive, totals, chart: Chart::Line })
    }

    fn keys_of(&self, meaning: &ResultMeaning) -> Vec<String> {
        let mut keys = meaning.keys.clone();
        keys.extend(meaning.ranked.as_ref().and_then(|ranked| ranked.name.clone()));
        // Of one key that a filter has left, the line has the name.
        if keys.is_empty() && find_key(&self.input, DEFAULT_KEY).is_ok() {
            keys.push(DEFAULT_KEY.to_owned());
        }
        keys
    }

    fn values_of(&self, meaning: &ResultMeaning) -> Vec<String> {
        if let Some(values) = &self.value {
            return values.clone();
        }
        let known = meaning.values.iter().filter(|value| find_value(&self.input, value).is_ok());
        let known: Vec<String> = known.cloned().collect();
        match find_value(&self.input, DEFAULT_VALUE) {
            Err(_) if !known.is_empty() => known,
            _ => vec![DEFAULT_VALUE.to_owned()],
        }
    }

    /// Whether each line has one row of a window at most.
    fn tells_apart(&self, meaning: &ResultMeaning, keys: &[String]) -> Result<(), Problem> {
        let several = |of: &str| format!("a window has several rows for each line: one for each {of}");
        let ranked = meaning.ranked.as_ref();
        let needed: Vec<&String> =
            meaning.keys.iter().chain(ranked.and_then(|ranked| ranked.name.as_ref())).collect();
        if let Some(lost) = meaning.lost_keys.first() {
            return Err(Problem::new("key", several(&format!("`{lost}`")))
                .label(format!("`{lost}` is left out before"))
                .help(format!("let `{lost}` come here, and name it: `key: [...]`; or count without it")));
        }
        if ranked.is_some_and(|ranked| ranked.name.is_none()) {
            return Err(Problem::new("key", several("place"))
                .label("what stands at a place is left out before")
                .help("let the column of what is ranked come here"));
        }
        let missing: Vec<String> =
            needed.iter().filter(|key| !keys.contains(key)).map(|key| format!("`{key}`")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let all: Vec<&str> = needed.iter().map(|key| key.as_str()).collect();
        Err(Problem::new("key", several(&missing.join(" and ")))
            .help(format!("make a line of each: `key: [{}]`; or count by fewer fields", all.join(", "))))
    }

    /// What is shown of rows that are the first few in an order.
    fn ranked(
        &self,
        meaning: &ResultMeaning,
        ranked: &RankedMeaning,
        columns: Columns,
    ) -> Result<Shown, Problem> {
        if self.additive == Some(true) {
            return Err(Problem::new(
                "additive",
                "the first few are not all: they have no sum and no shares",
            )
            .help("remove `additive`; a window that counts by key has all of them"));
        }
        if columns.values() != 1 {
            return Err(Problem::new("value", "the rows of a ranking have one number each"));
        }
        let columns = match &ranked.place {
            Some(place) => columns.ranked(&self.input, place, &meaning.keys)?,
            None if ranked.again => {
                return Err(Problem::new("", "keys that have left the ranking would stay on the page")
                    .label("the window gives results again, and the places of its rows do not all come here")
                    .help(
                        "let the column of the places (`rank`) come here, with all rows; or let the window \
                         give each result once: `emit: final`, without `lateness`",
                    ));
            }
            None => columns,
        };
        Ok(Shown { columns, additive: false, totals: false, chart: Chart::Rank })
    }
}

/// The names of the columns that are numbers, as far as is known.
fn numbers(input: &Input) -> impl Iterator<Item = &str> {
    let names = input.schema.fields().iter().map(|field| field.name().as_str());
    names.filter(|name| find_value(input, name).is_ok())
}
