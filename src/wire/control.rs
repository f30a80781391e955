//! What a live client may say in text messages.

use serde_json::{Map, Value};

/// Most of a refused message that is sent back, in bytes.
const MAX_ECHO: usize = 1_024;

/// A client's text message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// The connection shall stay open.
    KeepAlive,
    /// Everything received shall be made final now.
    Finalize {
        /// One channel alone.
        channel: Option<usize>,
    },
    /// Everything received shall be made final and the connection closed.
    CloseStream,
    /// Features shall change.
    Configure {
        /// The terms to favour from now on. A sender that names them knows and awaits a reply.
        keyterms: Option<Vec<String>>,
        /// Numbers in digits from now on, or not. Nobody awaits a reply to that.
        numerals: Option<bool>,
    },
}

/// A text message that is none of the above.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct SchemaError {
    /// What is wrong, for the client.
    pub description: String,
    /// The message as it came, cut off at 1024 bytes.
    pub message: String,
}

impl SchemaError {
    /// What is wrong with the message `text`.
    pub fn new(description: String, text: &str) -> Self {
        let message = echo(text);
        Self { description, message }
    }
}

impl ClientMessage {
    /// Reads a text message. Unknown keys are ignored.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let refuse = |description: String| SchemaError::new(description, text);
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| refuse(format!("Could not parse the message as JSON: {error}.")))?;
        let Some(kind) = object.get("type") else {
            return Err(refuse("The message has no field `type`.".into()));
        };
        match kind.as_str() {
            Some("KeepAlive") => Ok(ClientMessage::KeepAlive),
            Some("CloseStream") => Ok(ClientMessage::CloseStream),
            Some("Finalize") => match object.get("channel") {
                None | Some(Value::Null) => Ok(ClientMessage::Finalize { channel: None }),
                Some(channel) => {
                    let index = channel.as_u64().and_then(|index| usize::try_from(index).ok());
                    let index = index.ok_or_else(|| refuse("The field `channel` is not a channel index.".into()))?;
                    Ok(ClientMessage::Finalize { channel: Some(index) })
                }
            },
            Some("Configure") => {
                let keyterms = object.get("keyterms").cloned().unwrap_or_default();
                // Old JavaScript clients say `processors`.
                let features = ["features", "processors"]
                    .into_iter()
                    .find_map(|key| object.get(key)?.get("numerals"));
                let numerals = features.and_then(Value::as_bool);
                serde_json::from_value(keyterms)
                    .map(|keyterms| ClientMessage::Configure { keyterms, numerals })
                    .map_err(|_| refuse("The field `keyterms` is not a list of texts.".into()))
            }
            _ => Err(refuse("The message is of an unknown `type`.".into())),
        }
    }
}

/// The beginning of `text`, cut between characters.
fn echo(text: &str) -> String {
    let mut end = text.len().min(MAX_ECHO);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;

    #[test]
    fn known_messages_are_read_and_unknown_keys_ignored() {
        let read = |text| ClientMessage::parse(text).unwrap();
        assert_eq!(read(r#"{"type":"KeepAlive"}"#), ClientMessage::KeepAlive);
        assert_eq!(read(r#" {"more":[1], "type" : "CloseStream"} "#), ClientMessage::CloseStream);
        assert_eq!(read(r#"{"type":"Finalize"}"#), ClientMessage::Finalize { channel: None });
        assert_eq!(
            read(r#"{"type":"Finalize","channel":1}"#),
            ClientMessage::Finalize { channel: Some(1) }
        );
        assert_eq!(
            read(r#"{"type":"Finalize","channel":null}"#),
            ClientMessage::Finalize { channel: None }
        );
    }

    #[test]
    fn configure_may_carry_keyterms() {
        let keyterms = |text| match ClientMessage::parse(text) {
            Ok(ClientMessage::Configure { keyterms, .. }) => keyterms,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            keyterms(r#"{"type":"Configure","keyterms":["Snow","a b"]}"#).unwrap(),
            ["Snow", "a b"]
        );
        assert_eq!(keyterms(r#"{"type":"Configure","keyterms":[]}"#), Some(Vec::new()));
        assert_eq!(keyterms(r#"{"type":"Configure","keyterms":null}"#), None);
        assert_eq!(keyterms(r#"{"type":"Configure","features":{"numerals":true}}"#), None);
        assert_eq!(keyterms(r#"{"type":"Configure","processors":{"numerals":true}}"#), None);
    }

    #[test]
    fn configure_may_switch_numerals_and_what_is_not_known_is_ignored() {
        let numerals = |text| match ClientMessage::parse(text) {
            Ok(ClientMessage::Configure { numerals, .. }) => numerals,
            other => panic!("{other:?}"),
        };
        for (text, wanted) in [
            (r#"{"type":"Configure","features":{"numerals":true,"punctuate":true}}"#, Some(true)),
            (r#"{"type":"Configure","processors":{"numerals":false}}"#, Some(false)),
            (r#"{"type":"Configure","features":{},"processors":{"numerals":true}}"#, Some(true)),
            (r#"{"type":"Configure","features":{"numerals":"yes"}}"#, None),
            (r#"{"type":"Configure","features":["numerals"]}"#, None),
            (r#"{"type":"Configure","features":null}"#, None),
            (r#"{"type":"Configure","numerals":true}"#, None),
            (r#"{"type":"Configure"}"#, None),
        ] {
            assert_eq!(numerals(text), wanted, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_message_itself() {
        for text in [
            "",
            "hello",
            "[]",
            "null",
            "{}",
            r#"{"type":"keepalive"}"#,
            r#"{"type":7}"#,
            r#"{"type":"Finalize","channel":-1}"#,
            r#"{"type":"Configure","keyterms":"snow"}"#,
            r#"{"type":"Configure","keyterms":[1]}"#,
        ] {
            let error = ClientMessage::parse(text).unwrap_err();
            assert_eq!(error.message, text);
            assert!(!error.description.is_empty());
        }
    }

    #[test]
    fn the_echo_is_bounded_and_cut_between_characters() {
        let error = ClientMessage::parse(&"ä€".repeat(1_000)).unwrap_err();
        assert!(error.message.len() <= MAX_ECHO && error.message.len() > MAX_ECHO - 4);
        let deep = format!("{}1", "[".repeat(100_000));
        assert!(ClientMessage::parse(&deep).is_err());
    }
}
