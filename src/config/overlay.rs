//! Where configuration comes from: files and the environment, as TOML tables laid over each other.
//!
//! What it does: reads the files, replaces `${NAME}`, translates compatible files, lays variables over the result, and turns the
//! table into types. What it does not do: validate values. Who calls it: [`super::Config::load`].

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Config, ConfigError, MAX_FILE_BYTES, Warning, compat};

/// What every variable that is a key begins with.
const PREFIX: &str = "HARK_";
/// What separates a section from its key in a variable's name.
const LEVEL: &str = "__";

/// What a file says, in our keys; or several, laid over each other.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) table: Table,
    /// Keys of compatible files that have no effect.
    pub(super) warnings: Vec<Warning>,
    /// Our keys whose value comes from a key of a compatible file, with that key.
    pub(super) origins: BTreeMap<&'static str, String>,
    /// It is an `engine.toml`.
    pub(super) of_engine: bool,
}

impl Layer {
    /// Lays another over this one.
    pub(super) fn lay(&mut self, over: Layer) {
        self.origins.retain(|key, _| find(&over.table, &split(key)).is_none());
        self.origins.extend(over.origins);
        self.warnings.extend(over.warnings);
        lay(&mut self.table, over.table);
    }

    /// The error, with the key of the compatible file that the value comes from, unless a variable took its place.
    pub(super) fn named(&self, error: ConfigError, env: &BTreeMap<String, String>) -> ConfigError {
        match error {
            ConfigError::Invalid { key, reason } => {
                let variable = format!("{PREFIX}{}", key.replace('.', LEVEL).to_uppercase());
                let reason = match self.origins.get(key) {
                    Some(theirs) if !env.contains_key(&variable) => format!("{reason} (from {theirs})"),
                    _ => reason,
                };
                ConfigError::Invalid { key, reason }
            }
            other => other,
        }
    }
}

/// The parts of a key.
pub(super) fn split(key: &str) -> Vec<&str> {
    key.split('.').collect()
}

/// Lays a table over another: its values count, where both are tables key by key.
fn lay(table: &mut Table, over: Table) {
    for (key, value) in over {
        match value {
            Value::Table(over) if table.get(&key).is_some_and(Value::is_table) => {
                if let Some(Value::Table(inner)) = table.get_mut(&key) {
                    lay(inner, over);
                }
            }
            value => {
                table.insert(key, value);
            }
        }
    }
}

/// Reads a file of ours or a compatible one.
pub(super) fn file(path: &Path, env: &BTreeMap<String, String>) -> Result<Layer, ConfigError> {
    let text = read(path)?;
    let origin = path.display().to_string();
    let mut table: Table = text.parse().map_err(|error| refused(&origin, &error))?;
    if compat::is_compatible(&table) {
        return compat::translate(table, &origin, env);
    }
    // Straight from the text first: only so does an error show the line. Values that hold `${NAME}` are strings either way.
    if !text.contains("${") {
        toml::from_str::<Config>(&text).map_err(|error| refused(&origin, &error))?;
    }
    substitute(&mut table, "", env)?;
    typed(table.clone(), &origin)?;
    Ok(Layer { table, ..Layer::default() })
}

/// The built-in defaults; a key without a value is not in it.
pub(super) fn defaults() -> Result<Table, ConfigError> {
    Table::try_from(Config::default()).map_err(|error| refused("defaults", &error))
}

/// Lays the variables over the table, each checked alone so that an error names it.
pub(super) fn environment(table: &mut Table, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let defaults = defaults()?;
    for (name, text) in env {
        let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains(LEVEL)) else {
            continue;
        };
        let path: Vec<String> = path.split(LEVEL).map(str::to_lowercase).collect();
        let value = value(text, find(&defaults, &path)).map_err(|reason| ConfigError::Parse {
            origin: name.clone(),
            reason,
        })?;
        let mut alone = Table::new();
        put(&mut alone, &path, value.clone());
        typed(alone, name)?;
        put(table, &path, value);
    }
    Ok(())
}

/// The table as configuration; absent keys have their defaults.
pub(super) fn typed(table: Table, origin: &str) -> Result<Config, ConfigError> {
    Config::deserialize(Value::Table(table)).map_err(|error| refused(origin, &error))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_path_buf(),
        source,
    };
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(failed)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(ConfigError::TooLong { path: path.to_path_buf() });
    }
    Ok(text)
}

fn refused(origin: &str, error: &impl std::fmt::Display) -> ConfigError {
    ConfigError::Parse {
        origin: origin.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    }
}

/// A variable's text as the type that the key has by default; keys without a default take a number if it is one.
fn value(text: &str, default: Option<&Value>) -> Result<Value, String> {
    let number = || {
        text.parse()
            .map(Value::Integer)
            .map_err(|_| format!("{text:?} is not a whole number"))
    };
    match default {
        Some(Value::String(_)) => Ok(Value::String(text.to_owned())),
        Some(Value::Integer(_)) => number(),
        Some(Value::Float(_)) => text.parse().map(Value::Float).map_err(|_| format!("{text:?} is not a number")),
        Some(Value::Boolean(_)) => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_| format!("{text:?} is neither true nor false")),
        Some(_) => Err("this key can only be set in a file".to_owned()),
        None => Ok(number()
            .ok()
            .or_else(|| fraction(text))
            .unwrap_or_else(|| Value::String(text.to_owned()))),
    }
}

/// A number such as `0.7`; `nan` and `1e5` may be names.
fn fraction(text: &str) -> Option<Value> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain).map(Value::Float)
}

fn find<'a>(table: &'a Table, path: &[impl AsRef<str>]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = table.get(first.as_ref())?;
    if rest.is_empty() {
        Some(value)
    } else {
        find(value.as_table()?, rest)
    }
}

/// Sets the value at the path; whatever is no table on the way gives way to one.
pub(super) fn put(table: &mut Table, path: &[impl AsRef<str>], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.insert(first.as_ref().to_owned(), value);
        return;
    }
    let entry = table.entry(first.as_ref()).or_insert_with(|| Value::Table(Table::new()));
    if !entry.is_table() {
        *entry = Value::Table(Table::new());
    }
    if let Value::Table(inner) = entry {
        put(inner, rest, value);
    }
}

/// Replaces `${NAME}` in every string by the variable's value. Values are taken after parsing, so they cannot add keys.
pub(super) fn substitute(table: &mut Table, path: &str, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        substitute_value(value, &path, env)?;
    }
    Ok(())
}

fn substitute_value(value: &mut Value, path: &str, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    match value {
        Value::String(text) => *text = expand(text, path, env)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| substitute_value(item, path, env))?,
        Value::Table(inner) => substitute(inner, path, env)?,
        _ => {}
    }
    Ok(())
}

fn expand(text: &str, path: &str, env: &BTreeMap<String, String>) -> Result<String, ConfigError> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else { break };
        let value = env.get(name).ok_or_else(|| ConfigError::UnsetVariable {
            key: path.to_owned(),
            name: name.to_owned(),
        })?;
        expanded.push_str(before);
        expanded.push_str(value);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
