//! Reads the body of an error answer, whatever it is.

use bytes::Bytes;
use http::{HeaderMap, Response};
use serde_json::Value;

use crate::error::{ErrorAnswer, FieldError};

const MAX_RAW: usize = 4096;
const MAX_TEXT: usize = 512;
const MAX_ERRORS: usize = 32;
/// No request body of Discord is nested deeper than a few levels.
const MAX_DEPTH: usize = 16;

/// What is worth keeping of an error answer. Never fails: a body that is no JSON
/// (an HTML page of the edge) leaves code and errors empty.
pub(crate) fn read(answer: &Response<Bytes>) -> ErrorAnswer {
    let body = answer.body();
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let object = json.as_ref().and_then(Value::as_object);
    let mut errors = Vec::new();
    if let Some(object) = object {
        match object.get("errors") {
            Some(tree) => collect(tree, &mut String::new(), 0, &mut errors),
            // An older shape (observed): fields with lists of texts, no code.
            None if !object.contains_key("code") => collect_flat(object, &mut errors),
            None => {}
        }
    }
    ErrorAnswer {
        retry_after: None,
        status: answer.status().as_u16(),
        code: object.and_then(|o| o.get("code")).and_then(Value::as_u64),
        message: object
            .and_then(|o| o.get("message"))
            .and_then(Value::as_str)
            .map(cut)
            .unwrap_or_default(),
        errors,
        cf_ray: cf_ray(answer.headers()),
        raw: Bytes::copy_from_slice(&body[..body.len().min(MAX_RAW)]),
    }
}

fn cf_ray(headers: &HeaderMap) -> Option<String> {
    headers
        .get("cf-ray")
        .and_then(|value| value.to_str().ok())
        .map(cut)
}

/// Walks the tree: object keys and array positions lead down, `_errors` holds
/// the errors of a node, which may have children as well.
fn collect(node: &Value, path: &mut String, depth: usize, into: &mut Vec<FieldError>) {
    let Some(object) = node.as_object() else {
        return;
    };
    if depth > MAX_DEPTH {
        return;
    }
    for (key, value) in object {
        if into.len() >= MAX_ERRORS {
            return;
        }
        if key == "_errors" {
            for leaf in value
                .as_array()
                .into_iter()
                .flatten()
                .take(MAX_ERRORS - into.len())
            {
                let text = |name: &str| {
                    leaf.get(name)
                        .and_then(Value::as_str)
                        .map(cut)
                        .unwrap_or_default()
                };
                into.push(FieldError {
                    path: cut(path),
                    code: text("code"),
                    message: text("message"),
                });
            }
            continue;
        }
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        collect(value, path, depth + 1, into);
        path.truncate(length);
    }
}

fn collect_flat(object: &serde_json::Map<String, Value>, into: &mut Vec<FieldError>) {
    for (key, value) in object {
        let texts = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        for message in texts.take(MAX_ERRORS - into.len().min(MAX_ERRORS)) {
            into.push(FieldError {
                path: cut(key),
                code: String::new(),
                message: cut(message),
            });
        }
    }
}

/// At most [`MAX_TEXT`] bytes, cut between two characters.
fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(body: impl Into<Bytes>) -> ErrorAnswer {
        let response = Response::builder()
            .status(400)
            .header("cf-ray", "abc-FRA")
            .body(body.into())
            .unwrap();
        read(&response)
    }

    #[test]
    fn reads_the_tree() {
        let read = answer(
            r#"{"code":50035,"message":"Invalid Form Body","errors":{"_errors":[{"code":"A","message":"root"}],
            "name":{"_errors":[{"code":"B","message":"short"}],"x":{"_errors":[{"code":"D","message":"deep"}]}},
            "permission_overwrites":{"0":{"id":{"_errors":[{"code":"C","message":"bad"}]}}}}}"#,
        );
        assert_eq!(read.code, Some(50035));
        assert_eq!(read.cf_ray.as_deref(), Some("abc-FRA"));
        let flat: Vec<_> = read
            .errors
            .iter()
            .map(|e| (e.path.as_str(), e.code.as_str()))
            .collect();
        assert_eq!(
            flat,
            [
                ("", "A"),
                ("name", "B"),
                ("name.x", "D"),
                ("permission_overwrites.0.id", "C")
            ]
        );
    }

    #[test]
    fn reads_the_older_shape_and_no_json() {
        let read = answer(r#"{"permission_overwrites":["not a list"]}"#);
        assert_eq!(read.errors[0].path, "permission_overwrites");
        assert_eq!(read.code, None);
        let read = answer(format!("<html>{}", "x".repeat(10_000)));
        assert_eq!((read.code, read.raw.len()), (None, MAX_RAW));
    }

    #[test]
    fn bounds_what_it_keeps() {
        let leaf = r#"{"code":"A","message":"m"},"#.repeat(99);
        let read = answer(format!(
            r#"{{"code":1,"message":"{}","errors":{{"_errors":[{leaf}1]}}}}"#,
            "é".repeat(400)
        ));
        assert_eq!(read.errors.len(), MAX_ERRORS);
        assert!(read.message.len() <= MAX_TEXT);
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            answer(body);
        }
    }
}
