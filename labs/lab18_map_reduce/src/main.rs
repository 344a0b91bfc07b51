//! lab18: the same as `labs run 18`.

lab_kit::binary!(lab18::MapReduce);
