//! Streams to partitioned Parquet.
