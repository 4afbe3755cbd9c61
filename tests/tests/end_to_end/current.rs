//! The current state of a table of changes: what DynamoDB itself holds, and what a map by key holds of
//! changes that were loaded, read by DuckDB where the catalog says.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::lake::Lake;
use weir_tests::ministack::MiniStack;
use weir_tests::place::checkout;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;

/// `orders_changes` in days of the changes, with a table `orders` for its current state.
fn tables(folder: &Path, changed_at: &str) {
    let schema = std::fs::read_to_string(checkout().join("schemas/orders_changes.json")).unwrap();
    let mut table: Value = serde_json::from_str(&schema).unwrap();
    let columns = table["StorageDescriptor"]["Columns"].as_array_mut().unwrap();
    let column = columns.iter_mut().find(|column| column["Name"] == "_changed_at").unwrap();
    column["Parameters"]["weir.time_format"] = changed_at.into();
    table["Parameters"]["weir.keys"] = "customer_id,order_no".into();
    table["Parameters"]["weir.current"] = "orders".into();
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("orders_changes.json"), table.to_string()).unwrap();
}

/// The rows that a reader finds who follows the catalog; none if it does not show a state yet.
fn rows(python: &Python, lake: &Lake) -> Option<Vec<Value>> {
    let entry = lake.path().join("_weir/catalog/partitions/orders/snapshot=current.json");
    entry.is_file().then(|| lines(&python.run("readers/read_current.py", [&entry])))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_current_state_of_a_stream_is_what_dynamodb_itself_holds() {
    let (Some(python), Some(stack)) = (Python::get(), MiniStack::start()) else { return };
    let lake = Lake::empty();
    let schemas = lake.path().join("schemas");
    // Days that are long over: the seconds are read as milliseconds.
    tables(&schemas, "epoch_ms");
    let applied = process::run(lake.weir(["tables", "apply", "--schemas"]).arg(&schemas));
    assert!(
        applied.contains("+ orders: create") && applied.contains("+ partition key snapshot"),
        "{applied}"
    );
    let (stream, endpoint) = (stack.change_orders(["table"]).trim().to_owned(), stack.endpoint());
    let mut weir = lake.weir(["up", "--table", "orders_changes", "--window", "1s", "--close-every", "1s"]);
    weir.args(["--dynamodb-stream", &stream, "--endpoint", &endpoint]).arg("--schemas").arg(&schemas);
    weir.arg("--state").arg(lake.path().join("state"));
    let up = Running::start(&mut weir, &lake.path().join("up.log"));
    // Inserted, modified and removed; then some of the removed are there again, and others changed.
    for (from, to) in [("0", "30"), ("5", "12"), ("28", "40")] {
        stack.change_orders(["change", from, to]);
        let expected = lines(&stack.change_orders(["scan"]));
        let until = Instant::now() + Duration::from_secs(120);
        while rows(&python, &lake).is_none_or(|rows| rows != expected) {
            assert!(Instant::now() < until, "{from}..{to}: {:?}\n{}", rows(&python, &lake), up.written());
            std::thread::sleep(Duration::from_millis(500));
        }
        let count = lake.number("select count(*) from orders where snapshot = 'current'");
        assert_eq!(count, expected.len() as i64);
    }
    assert!(up.written().contains("current state of orders_changes in orders: state "), "{}", up.written());
    assert!(up.stop(Duration::from_secs(30)).success());
    let verified = process::run(&mut lake.weir(["verify"]));
    assert!(verified.contains("no gap, no duplicate"), "{verified}");
}

/// Numbers from a seed.
fn below(state: &mut u64, n: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % n
}

/// A change of an order as a stream has it, and what the order is then.
fn change(random: &mut u64, number: u64, there: bool) -> (Value, Option<Value>) {
    let (order, day) = (below(random, 300), number / 1_500);
    let keys =
        json!({"customer_id": {"S": format!("c-{}", order % 7)}, "order_no": {"N": order.to_string()}});
    let removed = there && below(random, 3) == 0;
    let mut images = json!({"ApproximateCreationDateTime": 1_735_689_600 + day * 86_400 + number % 1_500,
        "Keys": keys, "SequenceNumber": format!("{:021}", number + 1), "StreamViewType": "NEW_IMAGE"});
    let total = format!("{}.25", 10u128.pow(33) + u128::from(number));
    if !removed {
        images["NewImage"] = keys;
        images["NewImage"]["total"] = json!({"N": total});
    }
    let name = if removed { "REMOVE" } else { "MODIFY" };
    let mut event = json!({"eventID": number.to_string(), "eventName": name, "eventSource": "aws:dynamodb",
        "dynamodb": images, "eventSourceARN": "arn"});
    if removed && number.is_multiple_of(2) {
        // Its time was over.
        event["userIdentity"] = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
    }
    let row = json!({"customer_id": format!("c-{}", order % 7), "order_no": order, "total": total});
    (event, (!removed).then_some(row))
}

#[test]
fn the_current_state_of_loaded_changes_is_the_last_image_of_each_key() {
    let Some(python) = Python::get() else { return };
    let lake = Lake::empty();
    let schemas = lake.path().join("schemas");
    tables(&schemas, "epoch_s");
    process::run(lake.weir(["tables", "apply", "--schemas"]).arg(&schemas));
    let (mut random, mut model, mut text, mut expired) = (7, BTreeMap::new(), String::new(), 0);
    for number in 0..6_000 {
        let mut peek = random;
        let order = below(&mut peek, 300);
        let (event, row) = change(&mut random, number, model.contains_key(&order));
        text += &format!("{event}\n");
        expired += i64::from(event.get("userIdentity").is_some());
        match row {
            Some(row) => _ = model.insert(order, row),
            None => _ = model.remove(&order),
        }
    }
    let file = lake.path().join("changes.ndjson");
    std::fs::write(&file, text).unwrap();
    let load = || {
        process::run(lake.weir(["ingest", "--table", "orders_changes", "--schemas"]).arg(&schemas).arg(&file))
    };
    load();
    let closed = process::run(&mut lake.weir(["close", "--table", "orders_changes"]));
    assert!(closed.contains("current state of orders_changes in orders: state 1, "), "{closed}");
    let of_file = |rows: Vec<Value>| -> Vec<Value> {
        let row = |row: Value| json!({"customer_id": row["customer_id"], "order_no": row["order_no"], "total": row["total"]});
        rows.into_iter().map(row).collect()
    };
    let expected: Vec<Value> = model.values().cloned().collect();
    assert!(expected.len() > 100 && expected.len() < 290, "{}", expected.len());
    assert_eq!(of_file(rows(&python, &lake).unwrap()), expected);
    let found = lake
        .query("select customer_id, order_no, cast(total as varchar) as total from orders order by order_no");
    assert_eq!(found, expected);

    let of_time_to_live = "select count(*) from orders_changes where _ttl and _op = 'remove'";
    assert!(expired > 100 && lake.number(of_time_to_live) == expired, "{expired}");
    // Nothing is new: no further state. A stranger cannot load into it.
    load();
    let again = process::run(&mut lake.weir(["close", "--table", "orders_changes", "--json"]));
    let report: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(report["views"][0]["made"], 0, "{again}");
    let refused = process::output(lake.weir(["ingest", "--table", "orders"]).arg(&file));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("load them into orders_changes"), "{said}");
    let status: Value = serde_json::from_str(&process::run(&mut lake.weir(["status", "--json"]))).unwrap();
    let view = &status["closing"]["views"][0];
    assert_eq!(
        (&view["view"], &view["state"], &view["items"]),
        (&json!("orders"), &json!(1), &json!(expected.len()))
    );
}
