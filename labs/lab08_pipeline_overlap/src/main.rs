//! lab08: the same as `labs run 8`.

lab_kit::binary!(lab08::PipelineOverlap);
