//! The deployed binary of function `ingest`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), weir_functions::ingest::RuntimeError> {
    weir_functions::ingest::run().await
}
