//! lab17: the same as `labs run 17`.

lab_kit::binary!(lab17::SharedState);
