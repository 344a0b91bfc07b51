//! lab02: the same as `labs run 2`.

lab_kit::binary!(lab02::EventLoop);
