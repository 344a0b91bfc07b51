//! lab23: the same as `labs run 23`.

lab_kit::binary!(lab23::CacheStampedeLab);
