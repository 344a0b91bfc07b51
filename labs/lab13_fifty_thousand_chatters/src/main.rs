//! lab13: the same as `labs run 13`.

lab_kit::binary!(lab13::FiftyThousandChatters);
