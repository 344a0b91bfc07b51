//! lab15: the same as `labs run 15`.

lab_kit::binary!(lab15::Backpressure);
