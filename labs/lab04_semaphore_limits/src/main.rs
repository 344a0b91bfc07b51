//! lab04: the same as `labs run 4`.

lab_kit::binary!(lab04::SemaphoreLimits);
