//! lab01: the same as `labs run 1`.

lab_kit::binary!(lab01::WaitingAndWorking);
