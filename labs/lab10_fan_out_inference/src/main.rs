//! lab10: the same as `labs run 10`.

lab_kit::binary!(lab10::FanOutInference);
