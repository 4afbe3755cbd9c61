//! The Lambda function `aggregate`: a closed partition → a partition of another table.

use std::process::ExitCode;
use std::rc::Rc;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use weir_aggregate::{Aggregate, AggregateEvent, line};
use weir_functions::context::{check_runtime, process_env};

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let opened = match check_runtime(process_env) {
        Ok(()) => Aggregate::open(process_env).await,
        Err(error) => Err(error),
    };
    let function = match opened {
        Ok(function) => Rc::new(function),
        Err(error) => return stop(&error.to_string()),
    };
    let service = service_fn(move |event: LambdaEvent<AggregateEvent>| {
        let function = Rc::clone(&function);
        async move {
            let done = function.handle(&event.payload).await;
            println!("{}", line(&event.payload, &event.context.request_id, &done));
            done.map_err(|error| Diagnostic {
                error_type: "Weir.Aggregate".into(),
                error_message: error.to_string(),
            })
        }
    });
    match lambda_runtime::run(service).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => stop(&format!("could not reach the Lambda Runtime API: {problem}")),
    }
}

fn stop(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}
