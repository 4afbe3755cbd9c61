//! Lambda's Kinesis event, as the event source mapping writes it.

use std::fmt::Write as _;

/// Where an event's records stand in their stream.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// Sequence number of the first record; the others follow it by twos.
    pub first_sequence: u128,
    /// Approximate arrival of all of them, in seconds since the epoch.
    pub arrived_at_s: u64,
}

impl Default for Position {
    fn default() -> Self {
        // A real number has 56 digits: 18 of them stand for stream and shard.
        Self {
            first_sequence: 11_583_641_568_799_068_265_984_305_715_493_797_890,
            arrived_at_s: 1_795_162_230,
        }
    }
}

/// The event text for `payloads`.
pub fn event<P: AsRef<[u8]>>(payloads: &[P], at: Position) -> String {
    let bytes: usize = payloads.iter().map(|p| p.as_ref().len()).sum();
    let mut out = String::with_capacity(bytes * 4 / 3 + payloads.len() * 620);
    out.push_str(r#"{"Records":["#);
    for (i, payload) in payloads.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let sequence = format!("496546115410264685{:038}", at.first_sequence + 2 * i as u128);
        let (data, arrived) = (base64_simd::STANDARD.encode_to_string(payload.as_ref()), at.arrived_at_s);
        let _ = write!(
            out,
            r#"{comma}{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"{:08x}","sequenceNumber":"{sequence}","data":"{data}","approximateArrivalTimestamp":{arrived}.{:03}}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-000000000000:{sequence}","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/lambda-role","awsRegion":"us-east-1","eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/clickstream"}}"#,
            i * 2_654_435_761 % (1 << 32),
            i % 1000,
        );
    }
    out.push_str("]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_json_with_56_digit_sequence_numbers_in_order() {
        let text = event(&["{}", "{\"a\":1}"], Position::default());
        let parsed: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
        let numbers: Vec<&str> = (0..2)
            .map(|i| parsed["Records"][i]["kinesis"]["sequenceNumber"].as_str().expect("a number"))
            .collect();
        assert!(numbers[0] < numbers[1] && numbers.iter().all(|n| n.len() == 56), "{numbers:?}");
        assert_eq!(parsed["Records"][1]["kinesis"]["data"], "eyJhIjoxfQ==");
    }
}
