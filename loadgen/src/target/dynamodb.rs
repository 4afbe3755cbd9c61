//! A DynamoDB table, by BatchWriteItem: its change stream carries the events.
//!
//! ```text
//! {"event_id":"…","price":9.90}  ─►  {"event_id":{"S":"…"},"price":{"N":"9.90"}}
//! ```
//!
//! An item put again as it is changes nothing and makes no record of a change, so each event is an
//! item of its own: the stamp has to stand in the table's key.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use weir::schema::{HiveType, TableSchema};

use super::signed::{Service, Signed};
use super::{Answer, AwsArgs, Limits, PutFailure, Record, typed};

/// 25 items and 16 MB a request, 400 KB an item.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
pub(super) const LIMITS: Limits = Limits { records: 25, bytes: 16 << 20, record_bytes: 400_000, frame: 0 };

const SERVICE: Service =
    Service { name: "dynamodb", target: "DynamoDB_20120810", content_type: "application/x-amz-json-1.0" };

/// An open table.
#[derive(Debug)]
pub struct DynamoDb {
    signed: Signed,
    table: String,
    keys: Vec<String>,
    /// Top-level fields that hold bytes.
    binary: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    table: Description,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    key_schema: Vec<Key>,
    stream_specification: Option<StreamSpecification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    attribute_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamSpecification {
    #[serde(default)]
    stream_enabled: bool,
    #[serde(default)]
    stream_view_type: String,
}

impl DynamoDb {
    /// Open the table `name`, whose changes are rows of `of`.
    pub(super) async fn open(name: &str, of: &TableSchema, aws: &AwsArgs) -> Result<Self> {
        let signed = Signed::new(SERVICE, aws)?;
        let body = json!({"TableName": name}).to_string().into_bytes();
        let answer =
            signed.call("DescribeTable", body).await.map_err(|failure| anyhow::anyhow!(failure.text));
        let answer = answer.with_context(|| {
            format!("could not reach table {name} in DynamoDB; give --stream NAME, --region and --endpoint")
        })?;
        let Described { table } = serde_json::from_slice(&answer)
            .with_context(|| format!("could not read what describes {name}"))?;
        let view = table.stream_specification.filter(|s| s.stream_enabled).map(|s| s.stream_view_type);
        match view.as_deref() {
            Some("NEW_IMAGE" | "NEW_AND_OLD_IMAGES") => {}
            found => bail!(
                "the stream of table {name} must bring new images (NEW_IMAGE or NEW_AND_OLD_IMAGES), found {}; \
                 enable one with `aws dynamodb update-table --stream-specification`",
                found.unwrap_or("no stream")
            ),
        }
        let keys = table.key_schema.into_iter().map(|key| key.attribute_name).collect();
        let bytes = of.columns.iter().filter(|c| c.ty == HiveType::Binary);
        let binary = bytes.filter_map(|c| c.from.first().cloned()).collect();
        Ok(Self { signed, table: name.to_owned(), keys, binary })
    }

    /// Names of the key's attributes.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Append the item of an event.
    pub(super) fn write_item(&self, event: &[u8], out: &mut Vec<u8>) {
        typed::write_item(event, &self.binary, out);
    }

    pub(super) async fn put(&self, records: &[Record]) -> Result<Vec<Answer>, PutFailure> {
        let answer = self.signed.call("BatchWriteItem", self.request(records)).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|e| PutFailure {
            may_be_stored: true,
            throttled: false,
            permanent: false,
            text: format!("could not read the answer to BatchWriteItem: {e}"),
        })?;
        Ok(self.answers(records, &answer))
    }

    fn request(&self, records: &[Record]) -> Vec<u8> {
        let mut body = format!("{{\"RequestItems\":{{{}:[", Value::from(self.table.as_str())).into_bytes();
        for (at, record) in records.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(b"{\"PutRequest\":{\"Item\":");
            body.extend_from_slice(&record.data);
            body.extend_from_slice(b"}}");
        }
        body.extend_from_slice(b"]}}");
        body
    }

    /// What is among `UnprocessedItems` was not taken.
    fn answers(&self, records: &[Record], answer: &Value) -> Vec<Answer> {
        let left = answer["UnprocessedItems"][&self.table].as_array().map_or(&[][..], Vec::as_slice);
        if left.is_empty() {
            return vec![Answer::Stored; records.len()];
        }
        let left: Vec<_> = left.iter().map(|request| self.key_of(&request["PutRequest"]["Item"])).collect();
        let answer_of = |record: &Record| {
            let item: Value = serde_json::from_slice(&record.data).unwrap_or_default();
            if left.contains(&self.key_of(&item)) { Answer::Throttled } else { Answer::Stored }
        };
        records.iter().map(answer_of).collect()
    }

    fn key_of(&self, item: &Value) -> Vec<Value> {
        self.keys.iter().map(|key| item[key].clone()).collect()
    }
}
