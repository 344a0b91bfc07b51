//! lab07: the same as `labs run 7`.

lab_kit::binary!(lab07::HybridSpeedup);
