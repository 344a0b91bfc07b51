//! lab06: the same as `labs run 6`.

lab_kit::binary!(lab06::IngestionPipeline);
