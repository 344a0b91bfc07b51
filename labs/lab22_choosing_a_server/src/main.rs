//! lab22: the same as `labs run 22`.

lab_kit::binary!(lab22::ChoosingAServerLab);
