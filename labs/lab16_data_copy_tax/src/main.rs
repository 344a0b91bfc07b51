//! lab16: the same as `labs run 16`.

lab_kit::binary!(lab16::DataCopyTax);
