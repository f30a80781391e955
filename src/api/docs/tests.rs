use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::error::ApiError;
use crate::wire::pairs::ASKED;
use crate::wire::query::{ListenOptions, parse_file, parse_live};

type Parse = fn(&str) -> Result<ListenOptions, ApiError>;

/// The two requests with parameters: method of `/v1/listen`, and who reads them.
const REQUESTS: [(&str, Parse); 2] = [("post", parse_file), ("get", parse_live)];
/// What must be given beside a parameter for it to matter.
const BESIDE: [(&str, &str); 4] = [
    ("encoding", "linear16"),
    ("sample_rate", "16000"),
    ("utterances", "true"),
    ("interim_results", "true"),
];

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What a reference within a document points to; anything else is itself.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value.get("$ref") else { return value };
    let pointer = reference.as_str().unwrap().strip_prefix('#').expect("a reference to elsewhere");
    let found = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} does not exist"));
    resolve(document, found)
}

/// The parameters of one request.
fn parameters(method: &str) -> Vec<Value> {
    let openapi = document(OPENAPI);
    let listed = openapi["paths"]["/v1/listen"][method]["parameters"].as_array().unwrap();
    listed.iter().map(|parameter| resolve(&openapi, parameter).clone()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A query with a parameter's values and what must be beside it.
fn query(name: &str, values: &[String]) -> String {
    let escaped = |value: &str| value.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let beside = BESIDE.iter().filter(|(beside, _)| *beside != name);
    let beside = beside.map(|(name, value)| format!("{name}={value}"));
    let given = values.iter().map(|value| format!("{name}={}", escaped(value)));
    beside.chain(given).collect::<Vec<_>>().join("&")
}

/// Values that a scalar's schema allows, at its limits where it has some, and values that it does not.
fn probes(schema: &Value) -> (Vec<String>, Vec<String>) {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    if let Some(values) = schema["enum"].as_array() {
        return (values.iter().map(text).collect(), owned(&["no-such"]));
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return (
            choices.iter().flat_map(|choice| probes(choice).0).collect(),
            owned(&["-1", "no-such"]),
        );
    }
    match schema["type"].as_str().unwrap() {
        "boolean" => (owned(&["true", "False"]), owned(&["1", "no-such"])),
        "integer" | "number" => {
            let limits = [("minimum", -1), ("maximum", 1)].map(|(limit, beyond)| Some((schema[limit].as_i64()?, beyond)));
            let limits: Vec<(i64, i64)> = limits.into_iter().flatten().collect();
            assert!(!limits.is_empty(), "{schema}");
            let (at, past) = limits
                .iter()
                .map(|(at, beyond)| (at.to_string(), (at + beyond).to_string()))
                .unzip();
            (at, past)
        }
        _ => (Vec::new(), Vec::new()),
    }
}

#[test]
fn the_parameters_are_those_that_are_read() {
    for (method, parse) in REQUESTS {
        ASKED.take();
        parse("encoding=linear16&sample_rate=16000").unwrap();
        let documented: Vec<String> = parameters(method).iter().map(|parameter| text(&parameter["name"])).collect();
        let names: BTreeSet<String> = documented.iter().cloned().collect();
        assert_eq!(names.len(), documented.len(), "{method}: one is there twice");
        assert_eq!(names, ASKED.take(), "{method}: documented, and read");
    }
}

#[test]
fn values_are_taken_up_to_the_documented_limits_and_no_further() {
    for (method, parse) in REQUESTS {
        for parameter in parameters(method) {
            let (name, schema, example) = (text(&parameter["name"]), &parameter["schema"], &parameter["example"]);
            let takes = |values: &[String]| parse(&query(&name, values)).is_ok();
            let Some(examples) = example.as_array() else {
                let (good, bad) = probes(schema);
                for value in good.into_iter().chain([text(example)]) {
                    assert!(takes(std::slice::from_ref(&value)), "{method}: {name}={value} was refused");
                }
                for value in bad {
                    assert!(!takes(std::slice::from_ref(&value)), "{method}: {name}={value} was taken");
                }
                continue;
            };
            assert_eq!(schema["type"], "array", "{name}");
            let given: Vec<String> = examples.iter().map(text).collect();
            assert!(takes(&given), "{method}: {name} {given:?}");
            if let Some(most) = schema["maxItems"].as_u64() {
                let most = usize::try_from(most).unwrap();
                assert!(takes(&vec![given[0].clone(); most]), "{method}: {most} of {name}");
                assert!(!takes(&vec![given[0].clone(); most + 1]), "{method}: more than {most} of {name}");
            }
            if let Some(most) = schema["items"]["maxLength"].as_u64() {
                let long = |length: usize| format!("{}{}", given[0], "x".repeat(length - given[0].len()));
                let most = usize::try_from(most).unwrap();
                assert!(takes(&[long(most)]), "{method}: {name} of {most}");
                assert!(!takes(&[long(most + 1)]), "{method}: {name} of more than {most}");
            }
        }
    }
}

#[test]
fn defaults_are_what_is_done_without_the_parameter() {
    for (method, parse) in REQUESTS {
        for parameter in parameters(method) {
            let (name, default) = (text(&parameter["name"]), &parameter["schema"]["default"]);
            if !default.is_null() {
                let given = parse(&query(&name, &[text(default)])).unwrap();
                assert_eq!(given, parse(&query(&name, &[])).unwrap(), "{method}: {name}");
            }
        }
    }
}

#[test]
fn documented_encodings_have_a_decoder() {
    for (method, parse) in REQUESTS {
        let parameters = parameters(method);
        let encoding = parameters.iter().find(|parameter| parameter["name"] == "encoding").unwrap();
        for name in encoding["schema"]["enum"].as_array().unwrap().iter().map(text) {
            let options = parse(&query("encoding", std::slice::from_ref(&name))).unwrap();
            let spec = crate::api::audio_spec(&options.audio, method == "post");
            assert!(spec.is_ok(), "{method}: {name}");
        }
    }
}

#[test]
fn every_path_of_the_server_is_documented_and_no_other() {
    let (outside, inside) = include_str!("../mod.rs").split_once("web::scope(base)").unwrap();
    let pages = |code: &str, prefix: &str| -> Vec<String> {
        let literals = code.split("page(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        literals.map(|path| format!("{prefix}{path}")).collect()
    };
    let served: BTreeSet<String> = [pages(outside, ""), pages(inside, "/v1")].concat().into_iter().collect();
    let documented: BTreeSet<String> = document(OPENAPI)["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(documented, served);
}

#[test]
fn every_reference_resolves_and_everything_is_used() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(entries) => {
                found.extend(entries.get("$ref").map(text));
                entries.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    for text in [OPENAPI, ASYNCAPI] {
        let document = document(text);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for reference in &found {
            resolve(&document, &json!({ "$ref": reference }));
        }
        for (kind, entries) in document["components"].as_object().unwrap() {
            // Security schemes are named without a reference; 405 belongs to every path.
            let named = |name: &str| kind == "securitySchemes" || (kind == "responses" && name == "405");
            for name in entries.as_object().unwrap().keys().filter(|name| !named(name)) {
                assert!(found.contains(&format!("#/components/{kind}/{name}")), "nothing uses {kind}/{name}");
            }
        }
    }
}

#[test]
fn operations_have_what_the_standard_demands() {
    let openapi = document(OPENAPI);
    assert_eq!(
        (&openapi["openapi"], &document(ASYNCAPI)["asyncapi"]),
        (&json!("3.1.0"), &json!("3.0.0"))
    );
    let mut ids = BTreeSet::new();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = text(&operation["operationId"]);
            assert!(["get", "post"].contains(&method.as_str()), "{method} {path}");
            assert!(ids.insert(id), "{method} {path}");
            let listed = operation["parameters"].as_array().into_iter().flatten();
            let in_path = listed
                .map(|parameter| resolve(&openapi, parameter))
                .filter(|parameter| parameter["in"] == "path");
            let in_path: Vec<String> = in_path.map(|parameter| format!("{{{}}}", text(&parameter["name"]))).collect();
            let templates: Vec<&str> = path.split('/').filter(|part| part.starts_with('{')).collect();
            assert_eq!(in_path, templates, "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!((100..600).contains(&status.parse::<u16>().unwrap()), "{method} {path}");
                let response = resolve(&openapi, response);
                assert!(response["description"].is_string(), "{method} {path}: {status}");
                assert!(response["headers"]["dg-request-id"].is_object(), "{method} {path}: {status}");
            }
        }
    }
}

#[test]
fn both_documents_say_the_same() {
    let (openapi, asyncapi) = (document(OPENAPI), document(ASYNCAPI));
    for document in [&openapi, &asyncapi] {
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
    for name in ["ModelInfo", "Word", "Search", "Entity"] {
        let of = |document: &Value| document["components"]["schemas"][name].clone();
        assert_eq!(of(&openapi), of(&asyncapi), "{name}");
    }
    let handshake = &asyncapi["channels"]["listen"]["bindings"]["ws"]["query"]["properties"];
    let listed = parameters("get");
    assert_eq!(handshake.as_object().unwrap().len(), listed.len());
    for parameter in listed {
        let name = text(&parameter["name"]);
        assert_eq!(handshake[&name], parameter["schema"], "{name}");
    }
}

#[test]
fn the_page_takes_nothing_from_elsewhere() {
    for text in ["://", "src=", "@import", "url("] {
        assert!(!PAGE.contains(text), "{text}");
    }
    assert!(PAGE.contains("openapi.json") && PAGE.contains("asyncapi.json"));
}
