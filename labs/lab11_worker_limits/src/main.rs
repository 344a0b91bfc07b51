//! lab11: the same as `labs run 11`.

lab_kit::binary!(lab11::WorkerLimits);
