//! lab05: the same as `labs run 5`.

lab_kit::binary!(lab05::ResilientClient);
