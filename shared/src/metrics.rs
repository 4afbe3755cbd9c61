//! Counters of one invocation. Names are `noun_unit` in lower case.
