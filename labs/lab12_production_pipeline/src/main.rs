//! lab12: the same as `labs run 12`.

lab_kit::binary!(lab12::ProductionPipeline);
