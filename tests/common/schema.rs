//! The published documents of the interface, held against what a server says.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

pub static OPENAPI: LazyLock<Document> = LazyLock::new(|| Document::new(include_str!("../../docs/api/openapi.json")));
pub static ASYNCAPI: LazyLock<Document> = LazyLock::new(|| Document::new(include_str!("../../docs/api/asyncapi.json")));

/// A document and the validators that were made of its schemas.
pub struct Document {
    pub json: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Document {
    fn new(text: &str) -> Self {
        Self {
            json: serde_json::from_str(text).unwrap(),
            validators: Mutex::default(),
        }
    }

    /// The validator of the schema at a JSON pointer.
    pub fn validator(&self, pointer: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let made = validators.entry(pointer.to_owned()).or_insert_with(|| {
            assert!(self.json.pointer(pointer).is_some(), "there is no {pointer}");
            // The document itself with a reference at its root: so all references resolve.
            let mut schema = self.json.clone();
            // A reference is a URI, in which these may not stand as they are.
            let escaped = [(' ', "%20"), ('{', "%7B"), ('}', "%7D")];
            let pointer = escaped
                .iter()
                .fold(pointer.to_owned(), |pointer, (sign, code)| pointer.replace(*sign, code));
            schema["$ref"] = json!(format!("#{pointer}"));
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            Arc::new(options.build(&schema).unwrap())
        });
        Arc::clone(made)
    }

    fn assert_valid(&self, pointer: &str, value: &Value) {
        let validator = self.validator(pointer);
        let wrong: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{} (at {})", error, error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "not as {pointer} says: {}\n{value:#}", wrong.join("; "));
    }

    /// Where the answers of an operation with a status are described, references followed.
    fn response(&self, path: &str, method: &str, status: u16) -> Option<String> {
        let pointer = format!("/paths/{}/{method}/responses/{status}", escape(path));
        let found = self.json.pointer(&pointer)?;
        let reference = found
            .get("$ref")
            .map(|reference| reference.as_str().unwrap().trim_start_matches('#').to_owned());
        Some(reference.unwrap_or(pointer))
    }
}

/// A name as part of a JSON pointer (RFC 6901).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Checks a message to a live client.
pub fn assert_message(message: &Value) {
    let kind = message["type"].as_str().unwrap_or_else(|| panic!("no type: {message}"));
    let sent = ASYNCAPI.json["operations"]["tell"]["messages"].as_array().unwrap();
    let listed = json!({ "$ref": format!("#/channels/listen/messages/{kind}") });
    assert!(sent.contains(&listed), "{kind} is not documented as sent");
    ASYNCAPI.assert_valid(&format!("/components/messages/{kind}/payload"), message);
}

/// Checks an answer: that its status and content type are documented for the path, and JSON against the schema.
pub fn assert_answer(path: &str, status: u16, content_type: &str, body: &Value) {
    let paths = OPENAPI.json["paths"].as_object().unwrap();
    let fits = |template: &&String| {
        let (wanted, given) = (template.split('/'), path.split('/'));
        wanted.clone().count() == given.clone().count()
            && wanted.zip(given).all(|(wanted, given)| wanted == given || wanted.starts_with('{'))
    };
    let described = paths.keys().find(fits).and_then(|path| {
        let mut methods = paths[path].as_object().unwrap().keys();
        methods.find_map(|method| OPENAPI.response(path, method, status))
    });
    let response = described.unwrap_or_else(|| {
        // What every path answers to another method, and what is no path.
        assert!(matches!(status, 404 | 405), "{path}: {status} is not documented");
        format!("/components/responses/{status}")
    });
    let content = format!("{response}/content/{}", escape(content_type));
    assert!(
        OPENAPI.json.pointer(&content).is_some(),
        "{path}: {status} with {content_type} is not documented"
    );
    OPENAPI.assert_valid(&format!("{content}/schema"), body);
}
