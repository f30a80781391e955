//! `model_config.yaml` as a tree of settings, with `${...}` references followed when a setting is read.
//!
//! What it does: parse with limits on size, depth and number of settings (a document that expands without end is refused),
//! typed reading with the key in every error. What it does not do: know what the settings mean (see `settings`).

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

/// Deepest nesting of settings.
const MAX_DEPTH: usize = 32;
/// Most settings, counting what references inside the document repeat.
const MAX_NODES: usize = 500_000;
/// Largest product of the text's length and the characters in it that open a flow list or map: the parser looks at every
/// open one for every token, so this is its work in the worst case (well below a second).
const MAX_WORK: usize = 1 << 27;
/// Most `${...}` followed to read one setting.
const MAX_HOPS: usize = 32;

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not YAML, or beyond the limits.
    #[error("model_config.yaml cannot be read")]
    Yaml(#[source] Box<yaml_serde::Error>),
    /// Beyond the limits before parsing.
    #[error("model_config.yaml has {0} opening brackets, too many for its length")]
    TooComplex(usize),
    /// A reference that leads nowhere or in a circle.
    #[error("setting {key} refers to {reference}, which leads nowhere")]
    Reference {
        /// Setting that holds the reference.
        key: String,
        /// The reference.
        reference: String,
    },
    /// A setting of another type.
    #[error("setting {key} is {found}, expected {wanted}")]
    Type {
        /// Setting.
        key: String,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A required setting.
    #[error("setting {0} is missing")]
    Missing(String),
    /// A value that this product does not implement.
    #[error("setting {key} = {found} is not supported ({supported})")]
    Unsupported {
        /// Setting.
        key: String,
        /// Its value.
        found: String,
        /// What is supported.
        supported: String,
    },
}

/// One setting or group of settings.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// `null` or nothing.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// Integer.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// List.
    List(Vec<Node>),
    /// Group, in the order of the document.
    Map(Vec<(String, Node)>),
}

/// A parsed configuration.
#[derive(Debug)]
pub(super) struct Config {
    root: Node,
}

impl Config {
    /// Parses the text; a configuration nested under `model:` is taken from there.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let brackets = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        if brackets.saturating_mul(text.len()) > MAX_WORK {
            return Err(ConfigError::TooComplex(brackets));
        }
        let budget = Cell::new(MAX_NODES);
        let seed = NodeSeed { budget: &budget, depth: 0 };
        let mut root = seed
            .deserialize(yaml_serde::Deserializer::from_str(text))
            .map_err(|error| ConfigError::Yaml(Box::new(error)))?;
        if let Node::Map(groups) = &mut root
            && !groups.iter().any(|(name, _)| name == "encoder")
            && let Some(at) = groups
                .iter()
                .position(|(name, node)| name == "model" && matches!(node, Node::Map(_)))
        {
            root = groups.swap_remove(at).1;
        }
        Ok(Config { root })
    }

    /// The setting at a dotted key, references followed; `None` if it is absent or null.
    pub(super) fn get(&self, key: &str) -> Result<Option<&Node>, ConfigError> {
        let path: Vec<&str> = key.split('.').collect();
        self.find(&path, &mut MAX_HOPS.clone())
            .map(|found| found.map(|(_, node)| node).filter(|node| **node != Node::Null))
    }

    /// Follows `path` from the root; gives the node with its own path, which differs where a reference was followed.
    fn find(&self, path: &[&str], hops: &mut usize) -> Result<Option<(Vec<String>, &Node)>, ConfigError> {
        let mut place: Vec<String> = Vec::new();
        let mut node = &self.root;
        for (index, part) in path.iter().enumerate() {
            let Node::Map(items) = node else { return Ok(None) };
            let Some((_, child)) = items.iter().find(|(name, _)| name == part) else {
                return Ok(None);
            };
            (node, place) = (child, [place, vec![(*part).to_owned()]].concat());
            let Node::Text(text) = node else { continue };
            let Some(reference) = text.strip_prefix("${").and_then(|text| text.strip_suffix('}')) else {
                continue;
            };
            let wrong = || ConfigError::Reference {
                key: path.get(..=index).unwrap_or_default().join("."),
                reference: text.clone(),
            };
            *hops = hops.checked_sub(1).ok_or_else(wrong)?;
            let target = self.target(&place, reference).ok_or_else(wrong)?;
            let target: Vec<&str> = target.iter().map(String::as_str).collect();
            (place, node) = self.find(&target, hops)?.ok_or_else(wrong)?;
        }
        Ok(Some((place, node)))
    }

    /// The path that a reference at `place` means: absolute, or relative with one leading dot for the own group.
    fn target(&self, place: &[String], reference: &str) -> Option<Vec<String>> {
        let names = reference.trim_start_matches('.');
        let up = reference.len() - names.len();
        let mut target = match up {
            0 => Vec::new(),
            _ => place.get(..place.len().checked_sub(up)?)?.to_vec(),
        };
        let mut names: Vec<String> = names.split('.').map(str::to_owned).collect();
        if up == 0 && names.len() > 1 && names.first().is_some_and(|name| name == "model") && !self.has_group("model") {
            names.remove(0);
        }
        target.append(&mut names);
        Some(target)
    }

    fn has_group(&self, name: &str) -> bool {
        matches!(&self.root, Node::Map(items) if items.iter().any(|(key, _)| key == name))
    }

    /// A text; numbers and booleans count as what they look like.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.get(key)? {
            None => Ok(None),
            Some(Node::List(_) | Node::Map(_)) => Err(self.mistyped(key, "a text")),
            Some(node) => Ok(Some(node.to_string())),
        }
    }

    /// A boolean.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.get(key)? {
            None => Ok(None),
            Some(Node::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(self.mistyped(key, "true or false")),
        }
    }

    /// A whole number.
    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, ConfigError> {
        match self.get(key)? {
            None => Ok(None),
            Some(Node::Int(value)) => Ok(Some(*value)),
            Some(_) => Err(self.mistyped(key, "a whole number")),
        }
    }

    /// A list of whole numbers.
    pub(super) fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, ConfigError> {
        match self.get(key)? {
            None => Ok(None),
            Some(Node::List(items)) => {
                let number = |item: &Node| if let Node::Int(value) = item { Some(*value) } else { None };
                items
                    .iter()
                    .map(number)
                    .collect::<Option<_>>()
                    .map(Some)
                    .ok_or_else(|| self.mistyped(key, "a list of whole numbers"))
            }
            Some(_) => Err(self.mistyped(key, "a list of whole numbers")),
        }
    }

    /// The entries of a group, in the order of the document; empty if it is absent.
    pub(super) fn group(&self, key: &str) -> Result<&[(String, Node)], ConfigError> {
        match self.get(key)? {
            None => Ok(&[]),
            Some(Node::Map(items)) => Ok(items),
            Some(_) => Err(self.mistyped(key, "a group of settings")),
        }
    }

    /// Refuses a setting whose value is not implemented.
    pub(super) fn unsupported(&self, key: &str, supported: impl Into<String>) -> ConfigError {
        ConfigError::Unsupported {
            key: key.to_owned(),
            found: self.shown(key),
            supported: supported.into(),
        }
    }

    /// Refuses a setting of another type.
    pub(super) fn mistyped(&self, key: &str, wanted: &'static str) -> ConfigError {
        ConfigError::Type {
            key: key.to_owned(),
            found: self.shown(key),
            wanted,
        }
    }

    fn shown(&self, key: &str) -> String {
        let mut text = self.get(key).ok().flatten().unwrap_or(&Node::Null).to_string();
        if let Some((end, _)) = text.char_indices().nth(80) {
            text.truncate(end);
            text.push('…');
        }
        text
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Null => f.write_str("null"),
            Node::Bool(value) => write!(f, "{value}"),
            Node::Int(value) => write!(f, "{value}"),
            Node::Float(value) => write!(f, "{value}"),
            Node::Text(value) => f.write_str(value),
            Node::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().take(8).enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(if items.len() > 8 { ", …]" } else { "]" })
            }
            Node::Map(items) => write!(f, "a group of {} settings", items.len()),
        }
    }
}

/// Reads one node within the budget.
#[derive(Clone, Copy)]
struct NodeSeed<'a> {
    budget: &'a Cell<usize>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let left = self
            .budget
            .get()
            .checked_sub(1)
            .ok_or_else(|| D::Error::custom(format_args!("more than {MAX_NODES} settings")))?;
        self.budget.set(left);
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom(format_args!("settings nested deeper than {MAX_DEPTH}")));
        }
        deserializer.deserialize_any(NodeSeed {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting without a tag")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Node, E> {
        i64::try_from(value)
            .map(Node::Int)
            .map_err(|_| E::custom("a whole number is too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(Key(key)) = items.next_key()? {
            map.push((key, items.next_value_seed(self)?));
        }
        Ok(Node::Map(map))
    }
}

/// A key of a group: a text, or a plain number or boolean written as one.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Key)
    }
}
