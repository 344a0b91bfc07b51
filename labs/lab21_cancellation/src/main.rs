//! lab21: the same as `labs run 21`.

lab_kit::binary!(lab21::CancellationLab);
