//! The outermost layer of every message: `{op, d, s, t}` in any key order.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Opcodes that a client receives or sends.
///
/// Source: Discord documentation, "Opcodes and Status Codes", Gateway Opcodes.
pub(crate) mod op {
    pub(crate) const DISPATCH: u64 = 0;
    pub(crate) const HEARTBEAT: u64 = 1;
    pub(crate) const RECONNECT: u64 = 7;
    pub(crate) const INVALID_SESSION: u64 = 9;
    pub(crate) const HELLO: u64 = 10;
    pub(crate) const HEARTBEAT_ACK: u64 = 11;
}

/// `d` stays raw, and is parsed only where somebody wants it.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'a> {
    pub(crate) op: u64,
    #[serde(default)]
    pub(crate) s: Option<u64>,
    #[serde(borrow, default)]
    t: Option<Name<'a>>,
    #[serde(borrow, default)]
    d: Option<&'a RawValue>,
}

/// Serde borrows through a newtype, but not through `Option<Cow<str>>`.
#[derive(Debug, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Envelope<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(message)
    }

    /// The event's name; empty where there is none.
    pub(crate) fn name(&self) -> &str {
        self.t.as_ref().map_or("", |name| &name.0)
    }

    pub(crate) fn data(&self) -> &'a str {
        self.d.map_or("null", RawValue::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_order_and_spacing() {
        for text in [
            r#"{"t":"X","s":3,"op":0,"d":{"t":"inner","op":9,"s":77}}"#,
            r#"{ "d" : {"t":"inner","op":9,"s":77}, "op" : 0 , "s" : 3 , "t" : "X" , "new": [1,{}] }"#,
            "{\"op\":0,\"d\":{\"t\":\"inner\",\"op\":9,\"s\":77},\"t\":\"\\u0058\",\"s\":3}",
        ] {
            let envelope = Envelope::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (envelope.op, envelope.s, envelope.name()),
                (0, Some(3), "X")
            );
            assert_eq!(envelope.data(), r#"{"t":"inner","op":9,"s":77}"#);
        }
    }

    #[test]
    fn absent_and_null_are_the_same() {
        let envelope = Envelope::parse(br#"{"op":11}"#).unwrap();
        assert_eq!(
            (envelope.s, envelope.name(), envelope.data()),
            (None, "", "null")
        );
        let envelope = Envelope::parse(br#"{"t":null,"s":null,"op":11,"d":null}"#).unwrap();
        assert_eq!(
            (envelope.s, envelope.name(), envelope.data()),
            (None, "", "null")
        );
    }

    #[test]
    fn an_unescaped_name_is_borrowed() {
        let envelope = Envelope::parse(br#"{"op":0,"t":"READY"}"#).unwrap();
        assert!(matches!(envelope.t, Some(Name(Cow::Borrowed("READY")))));
    }
}
