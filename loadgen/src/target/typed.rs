//! JSON documents → items of DynamoDB, each value with its type.
//!
//! | JSON | attribute |
//! |---|---|
//! | text | `S`; `B` in a field that holds bytes, as base64 |
//! | number | `N`, digit by digit as written |
//! | `true`, `false` | `BOOL` |
//! | `null` | `NULL` |
//! | object, array | `M`, `L` |
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html>

/// Append the item of a document; its top-level fields of these names hold bytes. What is no JSON is
/// cut off there, and the service refuses it.
pub(crate) fn write_item(document: &[u8], binary: &[String], out: &mut Vec<u8>) {
    let mut text = Text { bytes: document, at: 0 };
    text.skip_space();
    // Without a type of its own: an item is the inside of a map.
    text.object(binary, out);
}

struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Text<'_> {
    fn value(&mut self, is_binary: bool, out: &mut Vec<u8>) {
        self.skip_space();
        match self.bytes.get(self.at) {
            Some(b'"') => {
                out.extend_from_slice(if is_binary { b"{\"B\":" } else { b"{\"S\":" });
                self.string(out);
            }
            Some(b'{') => {
                out.extend_from_slice(b"{\"M\":");
                self.object(&[], out);
            }
            Some(b'[') => {
                out.extend_from_slice(b"{\"L\":");
                self.array(out);
            }
            Some(b't' | b'f') => {
                out.extend_from_slice(b"{\"BOOL\":");
                out.extend_from_slice(self.word());
            }
            Some(b'n') => {
                self.word();
                out.extend_from_slice(b"{\"NULL\":true");
            }
            _ => {
                out.extend_from_slice(b"{\"N\":\"");
                out.extend_from_slice(self.word());
                out.push(b'"');
            }
        }
        out.push(b'}');
    }

    fn object(&mut self, binary: &[String], out: &mut Vec<u8>) {
        self.members(b'}', out, |text, out| {
            let start = out.len();
            text.string(out);
            let name = out.get(start + 1..out.len().saturating_sub(1)).unwrap_or_default();
            let is_binary = binary.iter().any(|known| known.as_bytes() == name);
            text.skip_space();
            text.at += 1;
            out.push(b':');
            text.value(is_binary, out);
        });
    }

    fn array(&mut self, out: &mut Vec<u8>) {
        self.members(b']', out, |text, out| text.value(false, out));
    }

    /// What stands between brackets, whose first is here.
    fn members(&mut self, end: u8, out: &mut Vec<u8>, mut member: impl FnMut(&mut Self, &mut Vec<u8>)) {
        out.extend(self.bytes.get(self.at));
        self.at += 1;
        let mut first = true;
        loop {
            self.skip_space();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b) if *b == end => {
                    self.at += 1;
                    out.push(end);
                    return;
                }
                Some(_) => {
                    if !first {
                        out.push(b',');
                    }
                    first = false;
                    self.skip_space();
                    let before = self.at;
                    member(self, out);
                    if self.at == before {
                        return;
                    }
                }
                None => return,
            }
            self.skip_space();
        }
    }

    /// A string, quotes and escapes as written.
    fn string(&mut self, out: &mut Vec<u8>) {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += if *byte == b'\\' { 2 } else { 1 };
            if *byte == b'"' {
                break;
            }
        }
        self.at = self.at.min(self.bytes.len());
        out.extend_from_slice(&self.bytes[start.min(self.at)..self.at]);
    }

    /// Up to what ends a number or a literal.
    fn word(&mut self) -> &[u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let ends = |b: &u8| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace();
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item(document: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_item(document.as_bytes(), &["raw".to_owned()], &mut out);
        out
    }

    #[test]
    fn each_kind_of_value_has_its_type() {
        for (document, expected) in [
            ("{}", json!({})),
            (r#"{"a":"x"}"#, json!({"a": {"S": "x"}})),
            (r#" { "a" : "x\"},{" , "b" : [ ] } "#, json!({"a": {"S": "x\"},{"}, "b": {"L": []}})),
            (
                r#"{"n":-1.50e3,"m":12345678901234567890.10}"#,
                json!({"n": {"N": "-1.50e3"}, "m": {"N": "12345678901234567890.10"}}),
            ),
            (
                r#"{"t":true,"f":false,"n":null}"#,
                json!({"t": {"BOOL": true}, "f": {"BOOL": false}, "n": {"NULL": true}}),
            ),
            (
                r#"{"l":[1,{"k":["a",null]},{}]}"#,
                json!({"l": {"L": [{"N": "1"}, {"M": {"k": {"L": [{"S": "a"}, {"NULL": true}]}}}, {"M": {}}]}}),
            ),
            (
                r#"{"raw":"QUJD","in":{"raw":"x"}}"#,
                json!({"raw": {"B": "QUJD"}, "in": {"M": {"raw": {"S": "x"}}}}),
            ),
        ] {
            let found: Value = serde_json::from_slice(&item(document)).unwrap();
            assert_eq!(found, expected, "{document}");
        }
    }

    #[test]
    fn what_weir_makes_of_the_item_is_the_document() {
        for document in [
            r#"{"a":"caf\u00e9 \\","n":1.10,"l":[true,null,{"k":"v"}],"o":{"x":{"y":[1,2]}},"e":""}"#,
            r#"{"only":0}"#,
        ] {
            let item = String::from_utf8(item(document)).unwrap();
            let change = format!(
                r#"{{"eventSource":"aws:dynamodb","eventName":"INSERT","dynamodb":{{"SequenceNumber":"1","NewImage":{item}}}}}"#
            );
            let mut out = Vec::new();
            weir::unpack::write_document(change.as_bytes(), &mut out).unwrap();
            let mut found: Value = serde_json::from_slice(&out).unwrap();
            let fields = found.as_object_mut().unwrap();
            assert_eq!(
                (fields.remove("_op"), fields.remove("_ttl")),
                (Some("insert".into()), Some(false.into()))
            );
            assert_eq!(found, serde_json::from_str::<Value>(document).unwrap());
        }
    }

    #[test]
    fn no_text_is_without_an_end() {
        let document = r#"{"a":[1,{"b":"\""}],"c":tru"#;
        for end in 0..document.len() {
            item(&document[..end]);
        }
        for document in ["]", "{]", "{\"a\":]}", "{,,}", "{\"a\"", "[[[", "{\"a\":}"] {
            item(document);
        }
    }
}
