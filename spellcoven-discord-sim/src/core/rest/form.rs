//! Request bodies: fields with their rules, and the tree of what is wrong with them.
//!
//! See: Discord documentation, Reference, "Error Messages".

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::Call;
use super::error::{ApiError, INVALID_JSON};
use crate::clock::parse_iso8601;
use crate::ids::{RoleId, UserId};
use crate::permissions::{Overwrite, OverwriteTarget, Permissions};

/// One thing that is wrong, with its place (`a.0.b`; empty for the whole body).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    path: String,
    code: &'static str,
    message: String,
}

impl Leaf {
    pub(super) fn new(
        path: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            code,
            message: message.into(),
        }
    }
}

/// The `errors` tree: keys as in the body, array positions as texts, leaves under `_errors`.
pub(super) fn tree(leaves: &[Leaf]) -> Value {
    let mut root = json!({});
    for leaf in leaves {
        let mut node = &mut root;
        for key in leaf.path.split('.').filter(|key| !key.is_empty()) {
            if node.get(key).is_none() {
                node[key] = json!({});
            }
            node = &mut node[key];
        }
        if node.get("_errors").is_none() {
            node["_errors"] = json!([]);
        }
        if let Some(list) = node["_errors"].as_array_mut() {
            list.push(json!({"code": leaf.code, "message": leaf.message}));
        }
    }
    root
}

/// A body being read. Each method reads one field and notes what is wrong with it.
pub(super) struct Form {
    fields: Map<String, Value>,
    leaves: Vec<Leaf>,
    /// Where the fields stand in the body, with a dot at the end; empty for the body itself.
    place: String,
}

impl Form {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, ApiError> {
        if !call.json_type {
            let message = "Expected \"Content-Type\" header to be one of {'application/json'}.";
            return Err(ApiError::form(vec![Leaf::new(
                "",
                "CONTENT_TYPE_INVALID",
                message,
            )]));
        }
        match serde_json::from_slice(call.body) {
            Ok(Value::Object(fields)) => Ok(Self::of(fields, String::new())),
            Ok(_) => Err(ApiError::form(vec![Leaf::new(
                "",
                "MODEL_TYPE_CONVERT",
                "Only dictionaries may be used in a ModelType",
            )])),
            Err(_) => Err(INVALID_JSON),
        }
    }

    /// An object inside a body; `place` is its path with a dot at the end.
    pub(super) fn of(fields: Map<String, Value>, place: String) -> Self {
        Self {
            fields,
            leaves: Vec::new(),
            place,
        }
    }

    pub(super) fn failed(&self) -> bool {
        !self.leaves.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub(super) fn raw(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    pub(super) fn wrong(
        &mut self,
        path: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        let path = format!("{}{}", self.place, path.into());
        self.leaves.push(Leaf::new(path, code, message));
    }

    /// A text with a length in characters. `None`: absent or wrong; `Some(None)`: null.
    #[expect(
        clippy::option_option,
        reason = "absent and null are different requests"
    )]
    pub(super) fn text(
        &mut self,
        name: &str,
        length: RangeInclusive<usize>,
    ) -> Option<Option<String>> {
        match self.fields.get(name)? {
            Value::Null => Some(None),
            Value::String(text) => {
                let count = text.chars().count();
                if length.contains(&count) {
                    return Some(Some(text.clone()));
                }
                let (code, message) = if *length.start() == 0 {
                    (
                        "BASE_TYPE_MAX_LENGTH",
                        format!("Must be {} or fewer in length.", length.end()),
                    )
                } else {
                    let (low, high) = (length.start(), length.end());
                    (
                        "BASE_TYPE_BAD_LENGTH",
                        format!("Must be between {low} and {high} in length."),
                    )
                };
                self.wrong(name, code, message);
                None
            }
            _ => {
                self.wrong(
                    name,
                    "STRING_TYPE_CONVERT",
                    "Could not interpret value as string.",
                );
                None
            }
        }
    }

    /// A whole number in a range.
    #[expect(
        clippy::option_option,
        reason = "absent and null are different requests"
    )]
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<Option<i64>> {
        let value = self.fields.get(name)?;
        if value.is_null() {
            return Some(None);
        }
        let number = match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        let Some(number) = number else {
            self.wrong(
                name,
                "NUMBER_TYPE_COERCE",
                format!("Value \"{value}\" is not int."),
            );
            return None;
        };
        if number > *range.end() {
            let message = format!("int value should be less than or equal to {}.", range.end());
            self.wrong(name, "NUMBER_TYPE_MAX", message);
            return None;
        }
        if number < *range.start() {
            let message = format!(
                "int value should be greater than or equal to {}.",
                range.start()
            );
            self.wrong(name, "NUMBER_TYPE_MIN", message);
            return None;
        }
        Some(Some(number))
    }

    #[expect(
        clippy::option_option,
        reason = "absent and null are different requests"
    )]
    pub(super) fn flag(&mut self, name: &str) -> Option<Option<bool>> {
        match self.fields.get(name)? {
            Value::Null => Some(None),
            Value::Bool(flag) => Some(Some(*flag)),
            _ => {
                self.wrong(
                    name,
                    "BOOLEAN_TYPE_CONVERT",
                    "Must be either true or false.",
                );
                None
            }
        }
    }

    #[expect(
        clippy::option_option,
        reason = "absent and null are different requests"
    )]
    pub(super) fn snowflake(&mut self, name: &str) -> Option<Option<u64>> {
        let value = self.fields.get(name)?;
        if value.is_null() {
            return Some(None);
        }
        let id = as_snowflake(value);
        if id.is_none() {
            self.wrong(
                name,
                "NUMBER_TYPE_COERCE",
                format!("Value \"{value}\" is not snowflake."),
            );
        }
        id.map(Some)
    }

    /// `permission_overwrites`: an array of `{id, type, allow?, deny?}`, at most 100 in one body.
    pub(super) fn overwrites(&mut self) -> Option<Vec<Overwrite>> {
        const NAME: &str = "permission_overwrites";
        let list = match self.fields.get(NAME)? {
            Value::Null => return Some(Vec::new()),
            Value::Array(list) => list.clone(),
            _ => {
                self.wrong(
                    NAME,
                    "LIST_TYPE_CONVERT",
                    "Only iterables may be used in a ListType",
                );
                return None;
            }
        };
        if list.len() > 100 {
            self.wrong(
                NAME,
                "BASE_TYPE_BAD_LENGTH",
                "Must be between 0 and 100 in length.",
            );
            return None;
        }
        let mut overwrites = Vec::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            let bits = |name: &str| match item.get(name) {
                None | Some(Value::Null) => Some(Permissions::empty()),
                Some(value) => as_snowflake(value).map(Permissions),
            };
            let id = item.get("id").and_then(as_snowflake);
            let target = match (id, item.get("type").and_then(as_snowflake)) {
                (Some(id), Some(0)) => Some(OverwriteTarget::Role(RoleId(id))),
                (Some(id), Some(1)) => Some(OverwriteTarget::Member(UserId(id))),
                (None, _) => {
                    self.wrong(
                        format!("{NAME}.{index}.id"),
                        "BASE_TYPE_REQUIRED",
                        "This field is required",
                    );
                    None
                }
                (Some(_), _) => {
                    let message = "Value must be one of {0, 1}.";
                    self.wrong(format!("{NAME}.{index}.type"), "BASE_TYPE_CHOICES", message);
                    None
                }
            };
            match (target, bits("allow"), bits("deny")) {
                (Some(target), Some(allow), Some(deny)) => overwrites.push(Overwrite {
                    target,
                    allow,
                    deny,
                }),
                (_, None, _) | (_, _, None) => {
                    self.wrong(
                        format!("{NAME}.{index}"),
                        "NUMBER_TYPE_COERCE",
                        "allow or deny is not int.",
                    );
                }
                (None, _, _) => {}
            }
        }
        Some(overwrites)
    }

    /// Permission bits; absent and null are none.
    pub(super) fn permissions(&mut self, name: &str) -> Permissions {
        match self.fields.get(name) {
            None | Some(Value::Null) => Permissions::empty(),
            Some(value) => as_snowflake(value).map(Permissions).unwrap_or_else(|| {
                let message = format!("{name} is not int.");
                self.wrong(name, "NUMBER_TYPE_COERCE", message);
                Permissions::empty()
            }),
        }
    }

    /// An ISO 8601 time, as Unix milliseconds.
    #[expect(
        clippy::option_option,
        reason = "absent and null are different requests"
    )]
    pub(super) fn timestamp(&mut self, name: &str) -> Option<Option<u64>> {
        match self.fields.get(name)? {
            Value::Null => Some(None),
            value => {
                let time = value.as_str().and_then(parse_iso8601);
                if time.is_none() {
                    let message = "Could not parse value. Should be ISO8601.";
                    self.wrong(name, "DATE_TIME_TYPE_PARSE", message);
                }
                time.map(Some)
            }
        }
    }

    /// A list of ids.
    pub(super) fn snowflakes(&mut self, name: &str) -> Option<Vec<u64>> {
        let list: Option<Vec<u64>> = match self.fields.get(name)? {
            Value::Null => Some(Vec::new()),
            Value::Array(list) => list.iter().map(as_snowflake).collect(),
            _ => None,
        };
        if list.is_none() {
            let message = "Only iterables of snowflakes may be used here.";
            self.wrong(name, "LIST_TYPE_CONVERT", message);
        }
        list
    }

    /// The end: an error if anything was wrong.
    pub(super) fn done(&mut self) -> Result<(), ApiError> {
        if self.leaves.is_empty() {
            Ok(())
        } else {
            Err(ApiError::form(std::mem::take(&mut self.leaves)))
        }
    }
}

/// A number as a text or an integer.
fn as_snowflake(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_follows_the_body() {
        let leaves = [
            Leaf::new("name", "BASE_TYPE_REQUIRED", "a"),
            Leaf::new("list.2.id", "X", "b"),
            Leaf::new("list", "Y", "c"),
            Leaf::new("", "Z", "d"),
        ];
        let wanted = json!({
            "_errors": [{"code": "Z", "message": "d"}],
            "name": {"_errors": [{"code": "BASE_TYPE_REQUIRED", "message": "a"}]},
            "list": {
                "_errors": [{"code": "Y", "message": "c"}],
                "2": {"id": {"_errors": [{"code": "X", "message": "b"}]}},
            },
        });
        assert_eq!(tree(&leaves), wanted);
    }
}
