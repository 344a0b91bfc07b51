//! lab14: the same as `labs run 14`.

lab_kit::binary!(lab14::ChatRoom);
