//! lab09: the same as `labs run 9`.

lab_kit::binary!(lab09::Bottleneck);
