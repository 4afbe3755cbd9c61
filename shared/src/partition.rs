//! Partition values and their Hive path.
