//! One descriptor for plugins of every kind, and the registry that is made of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{
    BoundSink, BoundSource, BoundTransform, BoundWindow, ConnectionPlugin, Decoder, Encoder, FormatPlugin,
    FormatSpec, Input, SinkPlugin, SourcePlugin, TransformPlugin, WindowPlugin,
};
use crate::config::{Diagnostic, Kind, Node, Problem, serde_problem};
use crate::log::Log;

/// What a plugin can do; a chain's guarantees are derived from those of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// A source that can start again at a position (a file, a topic; not a socket).
    Replayable,
    /// A source that can come to an end.
    Bounded,
    /// A source whose rows have the times that stand in them, not those at which they are read: read again,
    /// they have the same. One that says `time:` beside its `with:` has such rows too.
    EventTime,
    /// A sink that makes rows and the source's position durable together.
    Transactional,
    /// A sink in which writing a row again changes nothing.
    Idempotent,
    /// A sink of which every running copy wants all rows (a page in a browser): its chain reads topics alone,
    /// without a group, and commits nothing.
    PerInstance,
}

type Built<T> = Result<T, Vec<Diagnostic>>;
/// From a step's `with:`, or, in an `aggregates` step, from a value in it.
#[derive(Clone, Copy)]
pub(crate) struct BuildWindow {
    pub(crate) step: fn(&Node, &Input, &BindContext<'_>) -> Built<BoundWindow>,
    pub(crate) part: fn(&serde_json::Value, &Input, &BindContext<'_>) -> Result<BoundWindow, Problem>,
    pub(crate) needs_key: bool,
}

type BuildEncoder = fn(&serde_json::Value, &Input, Option<usize>) -> Result<Box<dyn Encoder>, Problem>;

/// How a plugin is made from its `with:`; one entry per kind.
#[derive(Clone, Copy)]
pub(crate) enum Build {
    Source(fn(&Node, &BindContext<'_>) -> Built<BoundSource>),
    Transform(fn(&Node, &Input) -> Built<BoundTransform>),
    Window(BuildWindow),
    Sink(fn(&Node, &Input, &BindContext<'_>) -> Built<BoundSink>),
    Format { decoder: fn(&serde_json::Value) -> Result<Box<dyn Decoder>, Problem>, encoder: BuildEncoder },
    Connection(fn(&Node, &BindContext<'_>) -> Built<Arc<dyn Log>>),
}

/// What is known of a plugin: everything that `plugins`, `describe`, `schema`, planning and the tests need.
#[derive(Clone, Copy)]
pub struct Plugin {
    /// Its kind.
    pub kind: Kind,
    /// Its name in the file; unique within its kind.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// YAML that a test binds.
    pub example: &'static str,
    /// What it can do.
    pub capabilities: &'static [Capability],
    /// The JSON Schema of its `with:`, from the doc comments of its configuration.
    pub config_schema: fn() -> schemars::Schema,
    pub(crate) build: Build,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

inventory::collect!(Plugin);

fn schema_of<C: schemars::JsonSchema>() -> schemars::Schema {
    schemars::schema_for!(C)
}

/// Reads `with:` and binds it; a problem of the binding is placed in `with:`.
fn read<C: DeserializeOwned, T>(node: &Node, bind: impl FnOnce(C) -> Result<T, Problem>) -> Built<T> {
    let config = node.deserialize::<C>()?;
    bind(config).map_err(|problem| vec![node.diagnose(&problem)])
}

fn read_value<C: DeserializeOwned>(settings: &serde_json::Value) -> Result<C, Problem> {
    serde_path_to_error::deserialize(settings).map_err(|e| {
        let path = e.path().to_string();
        serde_problem(&path, &e.into_inner().to_string())
    })
}

impl Plugin {
    /// The descriptor of a source.
    pub const fn source<C: SourcePlugin>() -> Self {
        Self {
            kind: Kind::Source,
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            capabilities: C::CAPABILITIES,
            config_schema: schema_of::<C>,
            build: Build::Source(|node, context| read::<C, _>(node, |c| c.bind(context))),
        }
    }

    /// The descriptor of a transform.
    pub const fn transform<C: TransformPlugin>() -> Self {
        Self {
            kind: Kind::Transform,
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            capabilities: &[],
            config_schema: schema_of::<C>,
            build: Build::Transform(|node, input| read::<C, _>(node, |c| c.bind(input))),
        }
    }

    /// The descriptor of a window.
    pub const fn window<C: WindowPlugin>() -> Self {
        Self {
            kind: Kind::Window,
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            capabilities: &[],
            config_schema: schema_of::<C>,
            build: Build::Window(BuildWindow {
                step: |node, input, context| read::<C, _>(node, |c| c.bind(input, context)),
                part: |settings, input, context| read_value::<C>(settings)?.bind(input, context),
                needs_key: C::NEEDS_KEY,
            }),
        }
    }

    /// The descriptor of a sink.
    pub const fn sink<C: SinkPlugin>() -> Self {
        Self {
            kind: Kind::Sink,
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            capabilities: C::CAPABILITIES,
            config_schema: schema_of::<C>,
            build: Build::Sink(|node, input, context| read::<C, _>(node, |c| c.bind(input, context))),
        }
    }

    /// The descriptor of a format.
    pub const fn format<C: FormatPlugin>() -> Self {
        Self {
            kind: Kind::Format,
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            capabilities: &[],
            config_schema: schema_of::<C>,
            build: Build::Format {
                decoder: |settings| read_value::<C>(settings)?.decoder(),
                encoder: |settings, input, key| read_value::<C>(settings)?.encoder(input, key),
            },
        }
    }

    /// The descriptor of a connection.
    pub const fn connection<C: ConnectionPlugin>() -> Self {
        Self {
            kind: Kind::Connection,
            name: C::NAME,
            summary: C::SUMMARY,
            example: C::EXAMPLE,
            capabilities: &[],
            config_schema: schema_of::<C>,
            build: Build::Connection(|node, context| read::<C, _>(node, |c| c.bind(context))),
        }
    }
}

/// Makes a plugin known: `register!(transform: AgeGroup);` beside the plugin's configuration.
#[macro_export]
macro_rules! register {
    ($kind:ident: $config:ty) => {
        $crate::inventory::submit! { $crate::plugin::Plugin::$kind::<$config>() }
    };
}

/// All plugins that are linked into this program.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    plugins: BTreeMap<(Kind, &'static str), Plugin>,
}

impl Registry {
    /// Collects every [`register!`](crate::register)ed plugin.
    ///
    /// # Errors
    /// Where two plugins of one kind have the same name.
    pub fn collect() -> crate::error::Result<Self> {
        let mut registry = Self::default();
        for plugin in inventory::iter::<Plugin> {
            registry.add(*plugin)?;
        }
        Ok(registry)
    }

    /// Adds one plugin.
    ///
    /// # Errors
    /// Where its kind and name are taken.
    pub fn add(&mut self, plugin: Plugin) -> crate::error::Result<()> {
        match self.plugins.insert((plugin.kind, plugin.name), plugin) {
            None => Ok(()),
            Some(_) => Err(crate::error::Error::fatal(format!(
                "two plugins are registered as {} `{}`",
                plugin.kind, plugin.name
            ))
            .remedy("rename one of them, or link only one of the crates that bring them")),
        }
    }

    /// The plugin of this kind and name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Plugin> {
        self.iter().find(|p| p.kind == kind && p.name == name)
    }

    /// All plugins, by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = &Plugin> {
        self.plugins.values()
    }

    /// The names of one kind.
    pub fn names(&self, kind: Kind) -> Vec<&'static str> {
        self.iter().filter(|p| p.kind == kind).map(|p| p.name).collect()
    }
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be looked at. Planning waits for nothing, and takes nothing that could not be read again.
    Check,
    /// To be run. Planning may wait for the beginning of what a source reads, and keep it for the source.
    Run {
        /// True where the run ends with what is there: only what comes to an end by itself is waited for.
        once: bool,
    },
}

/// What a plugin may ask while it is bound.
#[derive(Debug, Clone, Copy)]
pub struct BindContext<'a> {
    /// The plugins of this program.
    pub registry: &'a Registry,
    /// The folder of the pipeline file: relative paths in it start here.
    pub base: &'a Path,
    /// The names under `connections:`.
    pub connections: &'a [String],
    /// What the plan is made for.
    pub purpose: Purpose,
}

/// A whole path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop(),
            part => plain.push(part),
        }
    }
    plain
}

impl BindContext<'_> {
    /// A path of the file as a path of this process: a relative one starts at the pipeline file's folder.
    pub fn path(&self, written: &str) -> PathBuf {
        self.base.join(written)
    }

    /// The name of a file for its position: one name however its path is written. A file below the pipeline
    /// file's folder is named from there, another one by its whole path. Links are not followed: what a link
    /// leads to may change.
    pub fn file_name(&self, written: &str) -> String {
        let whole = |path: PathBuf| std::path::absolute(&path).map_or(path, |path| plain(&path));
        let (file, base) = (whole(self.path(written)), whole(self.base.to_owned()));
        file.strip_prefix(base).unwrap_or(&file).to_string_lossy().into_owned()
    }

    /// Checks that the file has a connection of this name; `path` is where the name stands in `with:`.
    ///
    /// # Errors
    /// A [`Problem`] that lists the connections that are there.
    pub fn connection(&self, path: &str, name: &str) -> Result<(), Problem> {
        if self.connections.iter().any(|c| c == name) {
            return Ok(());
        }
        let problem = Problem::new(path, format!("there is no connection `{name}`"));
        Err(if self.connections.is_empty() {
            problem.label("the file names no connections").help(format!(
                "add `connections: {{ {name}: {{ brokers: embedded }} }}` at the top of the file"
            ))
        } else {
            problem
                .label(format!("the file has: {}", self.connections.join(", ")))
                .suggest(name, self.connections.iter().map(String::as_str))
        })
    }

    /// Makes a decoder; `path` is where the format stands in `with:`.
    ///
    /// # Errors
    /// A [`Problem`]: no such format, or its own.
    pub fn decoder(&self, path: &str, spec: &FormatSpec) -> Result<Box<dyn Decoder>, Problem> {
        let (name, settings, plugin) = self.format(path, spec)?;
        match plugin {
            Build::Format { decoder, .. } => decoder(&settings).map_err(|p| under(p, path, &name, spec)),
            _ => Err(Problem::new(path, format!("`{name}` is not a format"))),
        }
    }

    /// Makes an encoder; `path` is where the format stands in `with:`.
    ///
    /// # Errors
    /// A [`Problem`]: no such format, or its own.
    pub fn encoder(
        &self,
        path: &str,
        spec: &FormatSpec,
        input: &Input,
        key: Option<usize>,
    ) -> Result<Box<dyn Encoder>, Problem> {
        let (name, settings, plugin) = self.format(path, spec)?;
        match plugin {
            Build::Format { encoder, .. } => {
                encoder(&settings, input, key).map_err(|p| under(p, path, &name, spec))
            }
            _ => Err(Problem::new(path, format!("`{name}` is not a format"))),
        }
    }

    /// Binds an aggregate that stands in another window's settings, at `path`.
    ///
    /// # Errors
    /// A [`Problem`]: no such window, or its own.
    pub fn aggregate(
        &self,
        path: &str,
        name: &str,
        settings: &serde_json::Value,
        input: &Input,
    ) -> Result<BoundWindow, Problem> {
        match self.registry.get(Kind::Window, name).map(|plugin| plugin.build) {
            Some(Build::Window(build)) => {
                (build.part)(settings, input, self).map_err(|problem| problem.within(path, false))
            }
            _ => Err(Problem::new(path, format!("there is no aggregate `{name}`"))
                .label(format!("the aggregates are: {}", self.registry.names(Kind::Window).join(", ")))
                .suggest(name, self.registry.names(Kind::Window))),
        }
    }

    fn format(&self, path: &str, spec: &FormatSpec) -> Result<(String, serde_json::Value, Build), Problem> {
        let empty = || serde_json::Value::Object(serde_json::Map::new());
        let (name, settings) = match spec {
            FormatSpec::Name(name) => (name.clone(), empty()),
            FormatSpec::WithSettings(map) => match map.iter().next() {
                Some((name, settings)) if map.len() == 1 => {
                    (name.clone(), if settings.is_null() { empty() } else { settings.clone() })
                }
                _ => {
                    return Err(Problem::new(path, "a format is one name with its settings")
                        .help("write it as `format: text`, or as `format: { json: { fields: ... } }`"));
                }
            },
        };
        match self.registry.get(Kind::Format, &name) {
            Some(plugin) => Ok((name, settings, plugin.build)),
            None => Err(Problem::new(path, format!("there is no format `{name}`"))
                .label(format!("the formats are: {}", self.registry.names(Kind::Format).join(", ")))
                .suggest(&name, self.registry.names(Kind::Format))),
        }
    }
}

/// Puts a format's problem under the place where the format is written.
fn under(problem: Problem, path: &str, name: &str, spec: &FormatSpec) -> Problem {
    match spec {
        FormatSpec::Name(_) => problem.within(path, true),
        FormatSpec::WithSettings(_) => problem.within(&format!("{path}.{name}"), false),
    }
}
