//! lab20: the same as `labs run 20`.

lab_kit::binary!(lab20::RateIsNotConcurrency);
